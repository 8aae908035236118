# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of the server and its listeners.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dnsguard.observers.exposition import Metric, Reading

__all__ = ["SERVER"]

_ENDS = ("answered", "refused", "malformed", "dropped")
_TROUBLES = ("failed", "overloaded", "expired", "undelivered", "truncated", "unobserved")
_CLOSED = ("idle", "slow", "stalled", "broken")
_LOST = ("portless", "malformed", "oversized", "missesDropped", "dropped", "unsent", "errors")


def _words(name: str) -> str:
    """
    Turn an attribute's name into a label's value.
    """
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _of(part: Callable[[Any], Any], names: tuple[str, ...]) -> Callable[[Any], Reading]:
    """
    Read some of a part's counters, each under its name as the label.
    """

    def read(guard: Any) -> Reading:
        counters = part(guard)
        if counters is not None:
            for name in names:
                yield (_words(name),), getattr(counters, name)

    return read


def _sockets(name: str) -> Callable[[Any], int]:
    """
    Add a counter of all UDP sockets up, those that are closed included.
    """

    def read(guard: Any) -> int:
        open = sum(getattr(socket, name, 0) for socket in guard.listeners.inner.datagramCounters)
        past: int = guard.pastSockets.counted[name]
        return past + open

    return read


def _lookupErrors(guard: Any) -> Reading:
    yield ("udp",), _sockets("lookupErrors")(guard)
    yield ("tcp",), _streams(guard).lookupErrors


def _lost(guard: Any) -> Reading:
    for name in _LOST:
        yield (_words(name),), _sockets(name)(guard)


def _streams(guard: Any) -> Any:
    return guard.server.streams.counters


SERVER = (
    Metric.counter(
        "dnsguard_requests_total",
        "Requests by what became of them: answered as queries, refused as no query, malformed,"
        " or dropped. Replayed ones aren't among them.",
        _of(lambda guard: guard.server.counters, _ENDS),
        ("result",),
    ),
    Metric.counter(
        "dnsguard_request_troubles_total",
        "Requests that went other than they should: an answerer failed, too many waited"
        " (overloaded), the time was up (expired), the reply couldn't be written (undelivered)"
        " or had to be cut (truncated), or an observer failed (unobserved).",
        _of(lambda guard: guard.server.counters, _TROUBLES),
        ("trouble",),
    ),
    Metric.gauge(
        "dnsguard_queries_pending",
        "Queries that wait for their answers.",
        lambda guard: len(guard.server.pending),
    ),
    Metric.gauge(
        "dnsguard_queries_pending_limit",
        "How many queries may wait; further ones are answered SERVFAIL.",
        lambda guard: guard.server.limits.pending,
    ),
    Metric.gauge(
        "dnsguard_udp_sockets",
        "UDP sockets listened on.",
        lambda guard: guard.listeners.inner.udpSockets,
    ),
    Metric.counter(
        "dnsguard_udp_received_total",
        "Datagrams read.",
        _sockets("received"),
    ),
    Metric.counter(
        "dnsguard_udp_replayed_total",
        "Datagrams answered from the replay store.",
        _sockets("replayed"),
    ),
    Metric.counter(
        "dnsguard_udp_recalled_total",
        "Datagrams answered from the replay store after they had waited for the reactor, which had"
        " an equal one answered meanwhile.",
        _sockets("recalled"),
    ),
    Metric.counter("dnsguard_udp_sent_total", "Datagrams sent.", _sockets("sent")),
    Metric.counter(
        "dnsguard_udp_segmented_total",
        "Datagrams among those that were given to the system together with others to the same"
        " client.",
        _sockets("segmented"),
    ),
    Metric.counter(
        "dnsguard_udp_unsegmented_total",
        "Times that the system didn't take several together: they were sent one by one.",
        _sockets("unsegmented"),
    ),
    Metric.counter(
        "dnsguard_udp_queued_total",
        "Replies that had to wait for the socket.",
        _sockets("queued"),
    ),
    Metric.counter(
        "dnsguard_udp_drops_total",
        "Datagrams lost, by why: from port 0 (portless), no request (malformed, oversized), too"
        " many waiting for the reactor (misses_dropped) or for the socket (dropped), refused by"
        " the system (unsent), or an error while reading (errors).",
        _lost,
        ("reason",),
    ),
    Metric.counter(
        "dnsguard_replay_failures_total",
        "Times that the replay store failed, so that requests went the long way.",
        _lookupErrors,
        ("transport",),
    ),
    Metric.gauge(
        "dnsguard_tcp_connections_open",
        "TCP connections open.",
        lambda guard: len(guard.server.streams.connections),
    ),
    Metric.counter(
        "dnsguard_tcp_connections_total",
        "TCP connections by whether they were accepted, refused because there were too many, or"
        " refused because there were too many of one address.",
        _of(_streams, ("accepted", "refused", "refusedAddress")),
        ("result",),
    ),
    Metric.counter(
        "dnsguard_tcp_replayed_total",
        "Queries over TCP answered from the replay store.",
        lambda guard: guard.server.streams.counters.replayed,
    ),
    Metric.counter(
        "dnsguard_tcp_closed_total",
        "TCP connections that we closed: idle, slow to send a message, stalled in taking"
        " replies, or broken by what is no request.",
        _of(_streams, _CLOSED),
        ("reason",),
    ),
    Metric.counter(
        "dnsguard_tcp_paused_total",
        "Times that a client had to wait for having too many queries under way.",
        lambda guard: guard.server.streams.counters.paused,
    ),
)
