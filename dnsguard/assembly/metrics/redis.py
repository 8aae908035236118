# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of L1, the store of shared answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dnsguard.observers.exposition import Metric, Reading

__all__ = ["REDIS"]

_CONNECTION = ("connection",)

_TROUBLES = ("errors", "corrupt", "overtaken")

_FOUND = {"hits": "hit", "misses": "miss", "legacy": "legacy"}

_LINK_TROUBLES = {
    "timeouts": "timeout",
    "late": "late",
    "refused": "refused",
    "overflows": "overflow",
    "lost": "lost",
    "stalls": "stall",
}

_REDIRECTIONS = {"moved": "moved", "asked": "asking", "overdue": "overdue"}


def _hits(guard: Any) -> int | None:
    shared = guard.chain.shared
    return None if shared is None else shared.hits


def _lookups(guard: Any) -> Reading:
    shared = guard.chain.shared
    if shared is not None:
        yield ("hit",), shared.hits
        yield ("stale",), shared.staleHits
        yield ("miss",), shared.misses
        yield ("failed",), shared.failures
        yield ("skipped",), shared.skipped


def _found(guard: Any) -> Reading:
    if guard.redis is not None:
        counters = guard.redis.store.counters()
        for name, result in _FOUND.items():
            yield (result,), counters[name]


def _troubles(guard: Any) -> Reading:
    if guard.redis is not None:
        counters = guard.redis.store.counters()
        for name in _TROUBLES:
            yield (name,), counters[name]


def _writes(guard: Any) -> Reading:
    if guard.redis is not None:
        counters = guard.redis.store.counters()
        yield ("written",), counters["written"]
        yield ("dropped",), counters["writes_dropped"]
        yield ("failed",), counters["writes_failed"]


def _pending(guard: Any) -> int | None:
    if guard.redis is None:
        return None
    pending: int = guard.redis.store.counters()["writes_pending"]
    return pending


def _linkTroubles(guard: Any) -> Reading:
    for connection, counters in _connections(guard):
        for name, trouble in _LINK_TROUBLES.items():
            yield (connection, trouble), counters[name]


def _redirections(guard: Any) -> Reading:
    for connection, counters in _connections(guard):
        for name, kind in _REDIRECTIONS.items():
            if name in counters:
                yield (connection, kind), counters[name]


def _lookedAround(guard: Any) -> Reading:
    for connection, counters in _connections(guard):
        if "refreshes" in counters:
            yield (connection,), counters["refreshes"]


def _nodes(guard: Any) -> Reading:
    for connection, counters in _connections(guard):
        if "nodes" in counters:
            yield (connection, "known"), counters["nodes"]
            yield (connection, "available"), counters["nodes_available"]


def _connections(guard: Any) -> Iterator[tuple[str, Mapping[str, int]]]:
    if guard.redis is not None:
        for connection, counted in guard.redis.connections.items():
            yield connection, counted.counters()


def _each(name: str) -> Callable[[Any], Reading]:
    """
    Read a number off each connection.
    """

    def read(guard: Any) -> Reading:
        for connection, counters in _connections(guard):
            yield (connection,), counters[name]

    return read


def _clearings(name: str) -> Callable[[Any], int | None]:
    """
    Read a number off what listens for clearings.
    """

    def read(guard: Any) -> int | None:
        return None if guard.redis is None else guard.redis.clearings.counters()[name]

    return read


REDIS = (
    Metric.gauge(
        "dnsguard_redis_up",
        "1 if Redis is connected and answers, else 0.",
        lambda guard: None if guard.redis is None else int(guard.redis.store.available),
    ),
    Metric.counter(
        "dnsguard_redis_transitions_total",
        "Times that Redis went away or came back.",
        lambda guard: None if guard.redis is None else guard.redis.service.transitions,
    ),
    Metric.counter("dns_l1_hits_total", "Queries answered from L1.", _hits),
    Metric.counter(
        "dnsguard_l1_lookups_total",
        "Lookups in L1 by what was found: a fresh answer (hit), a stale one, none (miss), or that"
        " Redis failed; skipped are queries it wasn't asked about because it was away.",
        _lookups,
        ("result",),
    ),
    Metric.counter(
        "dnsguard_redis_lookups_total",
        "Answers looked up in Redis for queries, refreshes and warm starts: found (hit), not there"
        " (miss), or, among the hits, in the oldest form (legacy), which is written anew.",
        _found,
        ("result",),
    ),
    Metric.counter(
        "dnsguard_redis_troubles_total",
        "Lookups that failed (errors), values that answer no such question (corrupt), and answers"
        " that a clearing had overtaken.",
        _troubles,
        ("trouble",),
    ),
    Metric.counter(
        "dnsguard_redis_writes_total",
        "Answers written, let go for whatever reason (dropped), and of these those that Redis"
        " didn't take (failed).",
        _writes,
        ("result",),
    ),
    Metric.gauge("dnsguard_redis_writes_pending", "Answers that wait to be written.", _pending),
    Metric.counter(
        "dnsguard_redis_commands_total",
        "Commands sent, by connection: that of lookups and locks, or that of all the rest"
        " (background).",
        _each("commands"),
        _CONNECTION,
    ),
    Metric.counter(
        "dnsguard_redis_round_trips_total",
        "Writes that these commands took: those of one turn of the reactor are one.",
        _each("writes"),
        _CONNECTION,
    ),
    Metric.gauge(
        "dnsguard_redis_waiting", "Commands that wait for replies.", _each("waiting"), _CONNECTION
    ),
    Metric.counter(
        "dnsguard_redis_connections_total", "Connections made.", _each("connected"), _CONNECTION
    ),
    Metric.counter(
        "dnsguard_redis_connection_troubles_total",
        "Requests without a reply in time (timeout), replies behind their time (late), requests"
        " not sent because the server was known to be away (refused) or because too many waited"
        " (overflow); connections that ended (lost), and of these those cut off as nothing came"
        " any more (stall).",
        _linkTroubles,
        (*_CONNECTION, "trouble"),
    ),
    Metric.counter(
        "dnsguard_redis_breaker_trips_total",
        "Times that a server began to be left alone, after a failure.",
        _each("trips"),
        _CONNECTION,
    ),
    Metric.counter(
        "dnsguard_redis_failures_total",
        "Failures of servers: those that trip the breaker, and of those left alone failed probes"
        " and connections.",
        _each("failures"),
        _CONNECTION,
    ),
    Metric.counter(
        "dnsguard_redis_probes_total",
        "Times that a server left alone was tried out.",
        _each("probes"),
        _CONNECTION,
    ),
    Metric.counter(
        "dnsguard_redis_redirections_total",
        "Commands that a cluster's nodes sent on, because a slot has moved or is moving (asking),"
        " and those given up as that took too long (overdue).",
        _redirections,
        (*_CONNECTION, "kind"),
    ),
    Metric.counter(
        "dnsguard_redis_topology_refreshes_total",
        "Times that a cluster's nodes said who has what.",
        _lookedAround,
        _CONNECTION,
    ),
    Metric.gauge(
        "dnsguard_redis_nodes",
        "Nodes of a cluster that are connected to (known), and of these those in use.",
        _nodes,
        (*_CONNECTION, "state"),
    ),
    Metric.gauge(
        "dnsguard_redis_listening",
        "1 if what other instances clear is heard of, else 0.",
        _clearings("listening"),
    ),
    Metric.counter(
        "dnsguard_redis_clearings_missed_total",
        "Times that something may have been cleared unheard, so that everything was.",
        _clearings("missed"),
    ),
)
