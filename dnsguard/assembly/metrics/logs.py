# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of logs and the query store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dnsguard.assembly.metrics.parts import numberOf, sibling
from dnsguard.observers.exposition import Metric, Reading

__all__ = ["LOGS"]


def _requestLog(name: str) -> Callable[[Any], int | None]:
    return numberOf(lambda guard: guard.requestLog, name)


def _flush(guard: Any) -> Any:
    return None if guard.queryStore is None else guard.queryStore.flush


def _store(name: str) -> Callable[[Any], int | None]:
    return numberOf(_flush, name)


_GONE = ("lost_rows", "broken_rows")
_DELIVERED = ("delivered_rows", "recovered_rows", *_GONE)


def _rows(guard: Any) -> Reading:
    service = _flush(guard)
    if service is not None:
        counters = service.counters()
        for name in _DELIVERED:
            if name in counters:
                yield (name.removesuffix("_rows"),), counters[name]


def _kept(guard: Any) -> Reading:
    service = _flush(guard)
    if service is not None:
        counters = service.counters()
        for name in ("waiting_rows", "spooled_rows", "stored_rows"):
            if name in counters:
                yield (name.removesuffix("_rows"),), counters[name]


def _writer(name: str) -> Callable[[Any], int | None]:
    def read(guard: Any) -> int | None:
        service = sibling("applog")(guard)
        return None if service is None else getattr(service.writer, name)

    return read


def _errors(guard: Any) -> Reading:
    service = sibling("errors")(guard)
    if service is not None:
        for severity, count in service.errors.errors.items():
            yield (severity,), count


def _errorsDropped(guard: Any) -> int | None:
    service = sibling("errors")(guard)
    return None if service is None else service.dropped


def _reloads(guard: Any) -> Reading:
    service = sibling("reload")(guard)
    if service is not None:
        yield ("applied",), service.reloads
        yield ("kept_old",), service.failures


LOGS = (
    Metric.counter(
        "dnsguard_request_log_lines_total", "Lines written.", _requestLog("total_recorded")
    ),
    Metric.counter(
        "dnsguard_request_log_dropped_total",
        "Lines lost: the queue was full, or the disk refused them.",
        _requestLog("dropped_events"),
    ),
    Metric.gauge(
        "dnsguard_request_log_waiting",
        "Lines that wait to be written.",
        _requestLog("buffer_used"),
    ),
    Metric.counter(
        "dnsguard_application_log_dropped_total",
        "Lines of the application log that couldn't be written fast enough.",
        _writer("dropped"),
    ),
    Metric.counter(
        "dnsguard_application_log_failures_total",
        "Times that the application log couldn't be written at all.",
        _writer("failed"),
    ),
    Metric.counter(
        "dnsguard_logged_errors_total",
        "Warnings and errors logged, as far as the level of the log lets them through.",
        _errors,
        ("severity",),
    ),
    Metric.counter(
        "dnsguard_error_file_dropped_total",
        "Warnings and errors that couldn't be written to their file.",
        _errorsDropped,
    ),
    Metric.counter(
        "dnsguard_trace_lines_total",
        "Lines about single queries, exchanges and refreshes.",
        lambda guard: guard.observers.tracer.written,
    ),
    Metric.counter(
        "dnsguard_trace_suppressed_total",
        "Such lines left out because there were too many.",
        lambda guard: guard.observers.tracer.suppressed,
    ),
    Metric.counter(
        "dnsguard_trace_unseen_total",
        "Replayed queries of which it isn't known whether there would have been a line, as too"
        " many came at a time to look at each.",
        lambda guard: guard.observers.tracer.unseen,
    ),
    Metric.counter(
        "dns_querystore_recorded_total", "Rows put into the buffer.", _store("total_recorded")
    ),
    Metric.counter("dns_querystore_dropped_total", "Rows lost.", _store("dropped_events")),
    Metric.gauge("dns_querystore_buffer_used", "Rows in the buffer.", _store("buffer_used")),
    Metric.gauge(
        "dnsguard_querystore_buffer_size", "Rows the buffer has room for.", _store("buffer_size")
    ),
    Metric.counter(
        "dnsguard_querystore_rows_total",
        "What became of rows: delivered to the store, recovered from the spool at start, lost"
        " for want of room, or broken on disk.",
        _rows,
        ("result",),
    ),
    Metric.gauge(
        "dnsguard_querystore_held_rows",
        "Rows that wait in memory, are spooled to disk, or are in the store.",
        _kept,
        ("place",),
    ),
    Metric.gauge(
        "dnsguard_querystore_spooled_bytes", "Octets of the spool.", _store("spooled_octets")
    ),
    Metric.counter(
        "dnsguard_querystore_failed_deliveries_total",
        "Deliveries to the store that failed, and blocks that the main process didn't take"
        " of another one.",
        _store("failed_deliveries"),
    ),
    Metric.counter(
        "dnsguard_querystore_rests_total",
        "Times that rows were left in the spool for a while, as storing them would have taken"
        " the CPU from answers.",
        _store("store_rests"),
    ),
    Metric.counter(
        "dnsguard_reloads_total",
        "Reloads of the configuration: applied, or given up with the old one kept.",
        _reloads,
        ("result",),
    ),
)
