# -*- test-case-name: tests.assembly.metrics.test_processes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of the processes that serve together; nothing where one
serves alone.

The main process is number 0. All other numbers on the page are of all
processes together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dnsguard.observers.exposition import Metric, Reading
from dnsguard.processes.helper import Helper
from dnsguard.processes.run import Stage

__all__ = ["PROCESSES"]

_QUERIES = "dnsguard_queries_total"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def _helpers(guard: Any) -> tuple[Helper, ...]:
    return () if guard.helpers is None else guard.helpers.helpers


def _each(read: Callable[[Helper], Any]) -> Callable[[Any], Reading]:
    def reading(guard: Any) -> Reading:
        for helper in _helpers(guard):
            yield (str(helper.number),), read(helper)

    return reading


def _queries(guard: Any) -> Reading:
    helpers = _helpers(guard)
    if helpers:
        own = sum(chained + replayed for _, chained, replayed in guard.observers.metrics.queries())
        yield ("0",), own
    for helper in helpers:
        past = guard.past.queries[helper.number]
        yield (str(helper.number),), past + helper.counts.total(_QUERIES)


def _ends(guard: Any) -> Reading:
    yield from (((reason,), count) for reason, count in sorted(guard.past.ends.items()))


def _memory(guard: Any) -> Reading:
    if guard.helpers is None:
        return
    for number, pid in _pids(guard):
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        except (OSError, ValueError, IndexError):
            continue  # It has just ended.
        yield (str(number),), pages * _PAGE


def _cpu(guard: Any) -> Reading:
    if guard.helpers is None:
        return
    for number, pid in _pids(guard):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
        except (OSError, ValueError, IndexError):
            continue  # It has just ended.
        yield (str(number),), ticks / _TICKS


def _pids(guard: Any) -> Iterator[tuple[int, int]]:
    yield 0, os.getpid()
    for helper in _helpers(guard):
        if helper.run is not None:
            yield helper.number, helper.run.pid


def _late(guard: Any) -> int | None:
    return None if guard.helpers is None else guard.helpers.lateCounts


def _received(guard: Any) -> int | None:
    store = guard.queryStore
    return None if guard.helpers is None or store is None else store.flush.received


PROCESSES = (
    Metric.gauge(
        "dnsguard_process_up",
        "1 if a helper process serves; 0: the main process answers what the system sends it.",
        _each(lambda helper: int(helper.stage is Stage.SERVING)),
        ("process",),
    ),
    Metric.counter(
        "dnsguard_process_starts_total",
        "Times that a helper process was started.",
        _each(lambda helper: helper.starts),
        ("process",),
    ),
    Metric.counter(
        "dnsguard_process_ends_total",
        "Times that a helper process ended without being told to: by itself (ended), or killed for"
        " being slow to start, silent, or disobedient.",
        _ends,
        ("reason",),
    ),
    Metric.counter(
        "dnsguard_process_queries_total",
        "Queries answered by each process, 0 being the main one. Numbers of helpers are up to two"
        " seconds old.",
        _queries,
        ("process",),
    ),
    Metric.gauge(
        "dnsguard_process_resident_bytes",
        "Memory of each process, pages included that all of them share, such as block lists.",
        _memory,
        ("process",),
    ),
    Metric.counter(
        "dnsguard_process_cpu_seconds_total",
        "Processor time of each process, of the one that runs now.",
        _cpu,
        ("process",),
    ),
    Metric.counter(
        "dnsguard_process_rows_taken_total",
        "Rows that helper processes have handed over for the query store.",
        _received,
    ),
    Metric.counter(
        "dnsguard_process_late_total",
        "Times that this page was made with a helper's last numbers, as it took too long.",
        _late,
    ),
)
