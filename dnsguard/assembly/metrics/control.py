# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of the control API.
"""

from __future__ import annotations

from typing import Any

from dnsguard.observers.exposition import Metric, Reading

__all__ = ["CONTROL"]


def _refused(guard: Any) -> Reading:
    if guard.control is not None:
        for status, count in sorted(guard.control.factory.refused.items()):
            yield (str(status) if status else "connection",), count


CONTROL = (
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
)
