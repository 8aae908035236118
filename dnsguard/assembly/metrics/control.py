# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of the control API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dnsguard.observers.exposition import Metric, Reading

__all__ = ["CONTROL"]


def _refused(guard: Any) -> Reading:
    if guard.control is not None:
        for status, count in sorted(guard.control.factory.refused.items()):
            yield (str(status) if status else "connection",), count


def _answered(guard: Any) -> Reading:
    if guard.control is not None and guard.control.site is not None:
        for (family, method, status), count in sorted(guard.control.site.requests.items()):
            yield (family.lower().replace(" ", "_"), method, str(status)), count


def _audit(name: str) -> Callable[[Any], int | None]:
    def read(guard: Any) -> int | None:
        audit = None if guard.control is None else guard.control.audit
        return None if audit is None else getattr(audit, name)

    return read


CONTROL = (
    Metric.counter(
        "dnsguard_control_requests_total",
        "Requests answered, by what they are about, as docs/control-api.rst has it, by method and"
        " by status.",
        _answered,
        ("family", "method", "status"),
    ),
    Metric.gauge(
        "dnsguard_control_connections",
        "Connections to the control API.",
        lambda guard: None if guard.control is None else guard.control.factory.connections.total(),
    ),
    Metric.counter(
        "dnsguard_control_refused_total",
        "Requests refused before they were read, by status; under connection, connections that"
        " were too many.",
        _refused,
        ("status",),
    ),
    Metric.counter(
        "dnsguard_control_wrong_tokens_total",
        "Requests with a token or password that isn't valid.",
        lambda guard: None if guard.control is None else guard.control.authenticator.failures,
    ),
    Metric.counter(
        "dnsguard_control_shut_out_total",
        "Requests from addresses that guessed wrong too often, and weren't looked at.",
        lambda guard: None if guard.control is None else guard.control.authenticator.limit.shutOut,
    ),
    Metric.counter(
        "dnsguard_control_audit_lines_total", "Lines written to the audit log.", _audit("written")
    ),
    Metric.counter(
        "dnsguard_control_audit_lost_total",
        "Lines of it that the disk didn't take.",
        _audit("lost"),
    ),
)
