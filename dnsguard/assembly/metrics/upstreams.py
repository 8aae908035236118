# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of upstreams.

An upstream that a reload removes is published no more. Two of the same name
are told apart by their addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dnsguard.observers.exposition import Metric, Reading

__all__ = ["UPSTREAMS"]

_NAMES = ("upstream", "address")
_ODDITIES = (
    ("retransmissions", "retransmitted"),
    ("late", "late"),
    ("mismatched", "mismatched"),
    ("malformed", "malformed"),
    ("caseChanged", "case_changed"),
    ("truncated", "truncated"),
    ("plain", "without_edns"),
    ("reconnects", "reconnected"),
    ("unsent", "unsent"),
)


def _each(read: Callable[[Any, Any], Any]) -> Callable[[Any], Reading]:
    """
    Read something of each upstream, and its standing.
    """

    def reading(guard: Any) -> Reading:
        for upstream in guard.forwarder.upstreams.upstreams:
            value = read(upstream, upstream.standing)
            if value is not None:
                yield (upstream.name, str(upstream.address)), value

    return reading


def _failures(guard: Any) -> Reading:
    for upstream in guard.forwarder.upstreams.upstreams:
        for kind, count in upstream.standing.failures.items():
            yield (upstream.name, str(upstream.address), kind.value), count


def _oddities(guard: Any) -> Reading:
    for upstream in guard.forwarder.upstreams.upstreams:
        for name, word in _ODDITIES:
            count = getattr(upstream.standing, name)
            yield (upstream.name, str(upstream.address), word), count


def _ports(name: str) -> Callable[[Any], Reading]:
    def read(upstream: Any, standing: Any) -> int | None:
        pool = getattr(upstream, "ports", None)
        if pool is None:
            return None
        return len(pool) if name == "open" else getattr(pool, name)

    return _each(read)


def _usable(guard: Any) -> Reading:
    now = guard.reactor.seconds()
    return _each(lambda upstream, standing: int(standing.usable(now)))(guard)


UPSTREAMS = (
    Metric.gauge(
        "dnsguard_upstream_up",
        "1 if the upstream may be asked, 0 while it is left alone after failures.",
        _usable,
        _NAMES,
    ),
    Metric.counter(
        "dnsguard_upstream_queries_total",
        "Queries handed to the upstream.",
        _each(lambda upstream, standing: standing.queries),
        _NAMES,
    ),
    Metric.counter(
        "dnsguard_upstream_replies_total",
        "Usable replies.",
        _each(lambda upstream, standing: standing.replies),
        _NAMES,
    ),
    Metric.counter(
        "dnsguard_upstream_refusals_total",
        "Replies among them that say SERVFAIL, REFUSED or another error.",
        _each(lambda upstream, standing: standing.refusals),
        _NAMES,
    ),
    Metric.counter(
        "dnsguard_upstream_failures_total",
        "Queries without a usable reply, by why.",
        _failures,
        (*_NAMES, "kind"),
    ),
    Metric.counter(
        "dnsguard_upstream_oddities_total",
        "Things that happen to queries on the way: sent again (retransmitted), replies that came"
        " late, that answer nothing asked (mismatched: spoofed, most likely), are malformed or"
        " came with changed letters, or were truncated; questions repeated without EDNS or on a"
        " fresh connection, and datagrams that the system had no room for (unsent).",
        _oddities,
        (*_NAMES, "oddity"),
    ),
    Metric.histogram(
        "dnsguard_upstream_duration_seconds",
        "Time from asking the upstream to its usable reply.",
        _each(lambda upstream, standing: standing.times),
        _NAMES,
    ),
    Metric.gauge(
        "dnsguard_upstream_latency_seconds",
        "The smoothed time to a reply that upstreams are chosen by.",
        _each(lambda upstream, standing: standing.latency),
        _NAMES,
    ),
    Metric.gauge(
        "dnsguard_upstream_in_flight",
        "Queries that wait for a datagram.",
        _each(lambda upstream, standing: getattr(upstream, "inFlight", None)),
        _NAMES,
    ),
    Metric.gauge(
        "dnsguard_upstream_ports", "UDP ports open to be asked from.", _ports("open"), _NAMES
    ),
    Metric.counter(
        "dnsguard_upstream_ports_opened_total", "UDP ports opened.", _ports("opened"), _NAMES
    ),
    Metric.counter(
        "dnsguard_upstream_port_shortages_total",
        "Times that no further UDP port could be opened.",
        _ports("shortages"),
        _NAMES,
    ),
    Metric.gauge(
        "dnsguard_exchanges_in_flight",
        "Questions under way to upstreams.",
        lambda guard: len(guard.forwarder.exchanges),
    ),
    Metric.counter(
        "dnsguard_exchanges_joined_total",
        "Questions that shared an exchange under way.",
        lambda guard: guard.forwarder.exchanges.joined,
    ),
    Metric.counter(
        "dnsguard_exchanges_refused_total",
        "Questions turned away because too much was under way.",
        lambda guard: guard.forwarder.exchanges.refused,
    ),
    Metric.counter(
        "dnsguard_unforwarded_total",
        "Questions for names that aren't asked for anywhere.",
        lambda guard: guard.forwarder.unforwarded,
    ),
)
