# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of the replay store, the caches and the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dnsguard.answer import Outcome
from dnsguard.observers.exposition import Metric, Reading
from dnsguard.resolvers.chain import AnswererChain

__all__ = ["CACHES"]


def _replay(name: str) -> Callable[[Any], int]:
    def read(guard: Any) -> int:
        number: int = guard.replay.counters()[name]
        return number

    return read


def _stored(guard: Any) -> Reading:
    counters = guard.replay.counters()
    for name in ("stored", "replaced", "refused", "evicted", "expired", "carried", "ended"):
        yield (name,), counters[name]


def _carried(guard: Any) -> Reading:
    carrier = guard.carrier
    yield ("whole",), carrier.whole
    yield ("late",), carrier.late
    yield ("other",), carrier.prepared - carrier.whole - carrier.late


def _memory(name: str) -> Callable[[Any], int | None]:
    """
    Read a number of L0's statistics, unless it is switched off.
    """

    def read(guard: Any) -> int | None:
        memory = guard.chain.memory
        if memory is None:
            return None
        number: int = getattr(memory.statistics, name)
        return number

    return read


def _lookups(guard: Any) -> Reading:
    memory = guard.chain.memory
    if memory is not None:
        statistics = memory.statistics
        yield ("hit",), statistics.hits
        yield ("stale",), statistics.staleHits
        yield ("miss",), statistics.misses


def _l0Hits(guard: Any) -> int | None:
    memory = guard.chain.memory
    if memory is None:
        return None
    # A replayed reply is one that L0 would have given.
    replayed: int = sum(
        replayed
        for key, _, replayed in guard.observers.metrics.queries()
        if key.outcome is Outcome.CACHED
    )
    hits: int = memory.statistics.hits
    return hits + replayed


def _chains(element: Any) -> Iterator[AnswererChain]:
    """
    Give a chain and those in it.
    """
    if isinstance(element, AnswererChain):
        yield element
        for inner in element.elements:
            yield from _chains(inner)


def _allChains(name: str) -> Callable[[Any], int]:
    def read(guard: Any) -> int:
        return sum(getattr(chain, name) for chain in _chains(guard.chain.resolver))

    return read


CACHES = (
    Metric.gauge("dnsguard_replay_entries", "Finished replies held.", _replay("entries")),
    Metric.gauge("dnsguard_replay_bytes", "Octets they take.", _replay("bytes")),
    Metric.counter("dnsguard_replay_hits_total", "Lookups that found a reply.", _replay("hits")),
    Metric.counter("dnsguard_replay_misses_total", "Lookups that found none.", _replay("misses")),
    Metric.counter(
        "dnsguard_replay_changes_total",
        "What became of replies offered (stored, replaced, refused) and of those held (evicted"
        " for room, expired; carried over to another policy that leaves them as they are, or"
        " ended with the one before).",
        _stored,
        ("change",),
    ),
    Metric.counter(
        "dnsguard_replay_policies_total",
        "Policies that finished replies were gone through for: whole, they left all as they were;"
        " late, there was no time for all; other.",
        _carried,
        ("result",),
    ),
    Metric.counter(
        "dnsguard_replay_carry_failures_total",
        "Times that comparing a policy with the one before failed.",
        lambda guard: guard.carrier.failures,
    ),
    Metric.counter(
        "dnsguard_replay_ring_dropped_total",
        "Replayed queries that no log and no counter has seen, because the ring was full.",
        _replay("ringDropped"),
    ),
    Metric.counter(
        "dnsguard_replay_drained_total",
        "Replayed queries handed to logs and counters.",
        lambda guard: guard.getServiceNamed("replaydrain").drained,
    ),
    Metric.counter(
        "dnsguard_replay_drain_failures_total",
        "Times that replayed queries couldn't be handed on.",
        lambda guard: guard.getServiceNamed("replaydrain").failures,
    ),
    Metric.counter(
        "dns_l0_hits_total", "Queries answered from L0, or replayed in its stead.", _l0Hits
    ),
    Metric.gauge("dns_l0_entries", "Answers held in L0.", _memory("entries")),
    Metric.gauge("dnsguard_l0_max_entries", "The most answers L0 holds.", _memory("maxEntries")),
    Metric.gauge("dnsguard_l0_bytes", "Octets that L0's answers take, about.", _memory("bytes")),
    Metric.gauge("dnsguard_l0_max_bytes", "The most octets they may take.", _memory("maxBytes")),
    Metric.counter(
        "dnsguard_l0_lookups_total",
        "Lookups in L0 by what was found: a fresh answer (hit), a stale one, or none (miss).",
        _lookups,
        ("result",),
    ),
    Metric.counter(
        "dnsguard_l0_evictions_total", "Answers pushed out for lack of room.", _memory("evictions")
    ),
    Metric.counter(
        "dnsguard_l0_refused_total", "Answers too large for the whole of L0.", _memory("refused")
    ),
    Metric.gauge(
        "dnsguard_backoff_entries",
        "Questions that upstream failed to answer and is spared for a while.",
        lambda guard: len(guard.chain.backoff.table),
    ),
    Metric.gauge(
        "dnsguard_backoff_failing_refreshes",
        "Questions whose refresh failed since it last succeeded.",
        lambda guard: guard.chain.backoff.table.counted,
    ),
    Metric.counter(
        "dnsguard_backoff_answered_total",
        "Queries answered SERVFAIL because upstream had just failed.",
        lambda guard: guard.chain.backoff.answered,
    ),
    Metric.counter(
        "dnsguard_backoff_evictions_total",
        "Such questions forgotten before their time.",
        lambda guard: guard.chain.backoff.table.evictions,
    ),
    Metric.counter(
        "dnsguard_chain_broken_total",
        "Times that an element of the chain raised; the query got SERVFAIL.",
        _allChains("broken"),
    ),
    Metric.counter(
        "dnsguard_chain_offers_failed_total",
        "Times that a cache raised when it was offered an answer.",
        _allChains("offersFailed"),
    ),
    Metric.counter(
        "dnsguard_chain_hurried_total",
        "Stale answers given because a fresh one took too long.",
        _allChains("hurried"),
    ),
)
