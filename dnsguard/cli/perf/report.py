# -*- test-case-name: tests.cli.perf.test_report -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a measurement says, in lines, in a picture and as JSON.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

from dnsguard.cli.perf.run import Result
from dnsguard.cli.perf.tally import COUNTS, Tally, microsecondsOf
from dnsguard.wire.mnemonics import rCodeName

__all__ = ["Bar", "bars", "lines", "picture", "stamped", "summary"]

PERCENTS = (50, 90, 95, 99, 99.9)

_WIDTH = 50
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def stamped(line: str, now: float | None = None) -> str:
    """
    Put before a line what programs that read this know it by.

    @param now: Seconds since the epoch; the present by default.
    """
    when = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(now))
    return f"perf-tester {when} {line}"


def lines(result: Result) -> Iterator[str]:
    """
    Give the documented lines.
    """
    tally = result.tally
    median, ninetyFive, ninetyNine = tally.percentiles(50, 95, 99)
    cut = "" if result.complete else "interrupted: "
    yield f"{cut}completed {tally.samples} queries with {tally.errors} errors"
    yield f"elapsed: {_span(result.seconds)}"
    yield f"qps: {result.rate:.2f}"
    yield (
        f"latency (ms): avg={tally.average:.3f} p50={median:.3f} p95={ninetyFive:.3f} "
        f"p99={ninetyNine:.3f} min={tally.least:.3f} max={tally.greatest:.3f}"
    )
    yield "rcode counts:"
    for code, number in enumerate(tally.rCodes):
        if number:
            yield f"  {rCodeName(code)} ({code}): {number}"
    yield f"errors: {tally.errors}"
    kinds = ("timeouts", "wrong", "refused", "unexpected", "truncated")
    told = [f"{kind}={tally[kind]}" for kind in kinds if tally[kind]]
    if told:
        yield f"of these and others: {' '.join(told)}"


def _span(seconds: float) -> str:
    """
    Write a span of time as Go does: C{1m2.5s}, C{324.218ms}.
    """
    if seconds < 1:
        return f"{round(seconds * 1000, 6):g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{shown}{round(rest, 6):.9g}s"


def summary(result: Result) -> dict[str, Any]:
    """
    Give all of it for programs. Latencies are in milliseconds.
    """
    tally = result.tally
    values = tally.percentiles(*PERCENTS)
    return {
        "complete": result.complete,
        "queries": tally.samples,
        "errors": tally.errors,
        "elapsed_seconds": round(result.seconds, 6),
        "qps": round(result.rate, 2),
        "latency_ms": {
            "avg": round(tally.average, 3),
            "min": round(tally.least, 3),
            "max": round(tally.greatest, 3),
            **{
                f"p{percent:g}": round(value, 3)
                for percent, value in zip(PERCENTS, values, strict=True)
            },
        },
        "counts": {name: tally[name] for name in COUNTS},
        "rcodes": {rCodeName(code): number for code, number in enumerate(tally.rCodes) if number},
        "histogram": [
            {"from_ms": bar.begin, "to_ms": bar.end, "count": bar.count} for bar in bars(tally)
        ],
    }


class Bar:
    """
    One bar of a histogram: latencies from C{begin} to below C{end}, in
    milliseconds.
    """

    __slots__ = ("begin", "count", "end")

    def __init__(self, begin: float, end: float, count: int) -> None:
        self.begin = begin
        self.end = end
        self.count = count


def bars(tally: Tally) -> list[Bar]:
    """
    Sum latencies up, four bars for each doubling; from the first to the last
    that isn't empty.
    """
    found: dict[int, int] = {}
    for bucket, number in tally.filled():
        place = math.floor(4 * math.log2(max(microsecondsOf(bucket), 1)) + 1e-9)
        found[place] = found.get(place, 0) + number
    if not found:
        return []
    edge = {
        place: round(2 ** (place / 4) / 1000, 4) for place in range(min(found), max(found) + 2)
    }
    return [
        Bar(edge[place], edge[place + 1], found.get(place, 0))
        for place in range(min(found), max(found) + 1)
    ]


def picture(tally: Tally) -> Iterator[str]:
    """
    Draw the histogram.
    """
    shown = _shortened(bars(tally))
    most = max((bar.count for bar in shown), default=0)
    total = tally.samples
    for bar in shown:
        share = 100 * bar.count / total
        yield f"{bar.begin:>10.3f} ms  {_drawn(bar.count / most):<{_WIDTH}}  {share:5.1f}%  {bar.count}"


def _shortened(found: list[Bar]) -> Iterable[Bar]:
    """
    Put neighbours together until there are few enough to be looked at.
    """
    while len(found) > 24:
        found = [
            Bar(pair[0].begin, pair[-1].end, sum(bar.count for bar in pair))
            for pair in (found[at : at + 2] for at in range(0, len(found), 2))
        ]
    return found


def _drawn(part: float) -> str:
    """
    Draw a bar, at least something for what isn't nothing.
    """
    eighths = math.ceil(part * _WIDTH * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
