# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A day of traffic over real names, in virtual time: what refreshing is worth, and
what it costs.

Run C{python -m bench.simulate_refresh NAMES} from the root, where C{NAMES} is a
file of domain names in rank order, one a line. The caches, the refresher and
the sweeper are dnsguard's own, over a clock that is moved by hand; upstream is
a function that answers at once, except in one hour of the evening, when it
isn't there.

The traffic: names are asked for as Zipf's law says (exponent 0.9), more by day
than by night, each with a TTL that it keeps, drawn from what popular names have.
For comparison, a plain cache that prefetches as unbound does (C{prefetch: yes}:
a hit in the last tenth of the TTL asks upstream), as a model of a few lines.
C{bench.simulate_unbound} runs unbound itself on the same day, and this model.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.assembly.refreshing import Caches
from dnsguard.config import Config, loadText
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answerer
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.wire.names import fromText
from dnsguard.wire.records import Record, join

DAY = 86400.0
OUTAGE = (20 * 3600.0, 21 * 3600.0)
EXPONENT = 0.9

TTLS = (
    (20, 5),
    (30, 5),
    (60, 22),
    (120, 5),
    (300, 35),
    (600, 6),
    (1800, 4),
    (3600, 13),
    (86400, 5),
)
"""TTLs in seconds, and what share of the names has each, in percent."""

UNREACHED = Answer.failure(dns.ESERVER, Outcome.UPSTREAM_ERROR, final=False)


@attrs.frozen
class Trace:
    """
    A day's queries.

    @ivar names: The names, in wire form, in rank order.
    @ivar ttls: The TTL of each.
    @ivar queries: When which of them is asked for.
    """

    names: list[bytes]
    ttls: list[int]
    queries: list[tuple[float, int]]


@attrs.define
class Result:
    """
    What came of it. Counts of queries, but for C{upstream} and C{away}, which is
    how many of these there were while upstream was away, where that is known.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    failed: int = 0
    past: int = 0
    upstream: int = 0
    away: int = 0

    def row(self, label: str, seconds: float) -> str:
        """
        One line of the table.
        """
        total = self.hits + self.misses + self.stale + self.failed
        return (
            f"{label:34} {100 * self.hits / total:8.2f} {self.upstream / total:10.3f}"
            f" {100 * self.stale / total:8.2f} {100 * self.failed / total:8.2f}"
            f" {100 * self.past / total:10.2f} {seconds:6.0f} s"
        )


def makeTrace(path: Path, names: int, queries: int) -> Trace:
    """
    Deal a day's queries.
    """
    chance = random.Random(4)
    lines = path.read_text("utf-8").split()[:names]
    weights = list(accumulate(1 / rank**EXPONENT for rank in range(1, len(lines) + 1)))
    kinds, shares = zip(*TTLS, strict=True)
    times = sorted(_times(chance, queries))
    asked = chance.choices(range(len(lines)), cum_weights=weights, k=queries)
    return Trace(
        [fromText(line) for line in lines],
        chance.choices(kinds, weights=shares, k=len(lines)),
        list(zip(times, asked, strict=True)),
    )


def _times(chance: random.Random, queries: int) -> Iterator[float]:
    """
    Times of day, six times as many in the afternoon as before dawn.
    """
    for _ in range(queries):
        while True:
            at = chance.random() * DAY
            if chance.random() < 0.58 - 0.42 * math.cos(2 * math.pi * (at / DAY - 1 / 6)):
                yield at
                break


def isAway(now: float) -> bool:
    """
    Is upstream away?
    """
    return OUTAGE[0] <= now < OUTAGE[1]


class Upstream(Answerer):
    """
    Answers every name with an address, and counts.
    """

    def __init__(self, trace: Trace, clock: Clock) -> None:
        super().__init__()
        self.asked = 0
        self._clock = clock
        self._answers: dict[bytes, Answer] = {}
        for name, ttl in zip(trace.names, trace.ttls, strict=True):
            record = Record.make(name, dns.A, ttl, b"\xc0\0\2\1")
            wire, layout = join(name + b"\0\1\0\1", [record], (), flags=0x8180)
            self._answers[name] = Answer.fromWire(
                wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=ttl
            )

    def answer(self, query: ClientQuery) -> Answer:
        """
        Answer one query.
        """
        self.asked += 1
        return UNREACHED if isAway(self._clock.seconds()) else self._answers[query.qname]


def simulate(trace: Trace, config: Config) -> Result:
    """
    Run a day with dnsguard's caches.
    """
    clock = Clock()
    upstream = Upstream(trace, clock)
    caches = Caches(config, upstream, clock, clock.seconds)
    caches.startService()
    memory = caches.memory
    assert memory is not None
    chain = AnswererChain([memory, caches.backoff, upstream], clock=clock)
    queries = [ClientQuery(name) for name in trace.names]
    result = Result()
    for at, number in trace.queries:
        clock.advance(at - clock.rightNow)
        answer: Any = chain.answer(queries[number])
        if answer.outcome is Outcome.CACHED:
            result.hits += 1
            entry = answer.entry
            age = entry.storedTTL - (entry.softExpiry - at)
            result.past += age > entry.authTTL
        elif answer.outcome is Outcome.STALE:
            result.stale += 1
            result.past += 1
        elif answer.outcome is Outcome.UPSTREAM:
            result.misses += 1
        else:
            result.failed += 1
    result.upstream = upstream.asked
    return result


def simulatePrefetch(trace: Trace, size: int, least: int, most: int, share: float) -> Result:
    """
    Run a day with a plain cache that prefetches.

    @param size: Entries; the least recently used one goes first.
    @param least: Keep answers at least so many seconds; so for C{most}.
    @param share: The last part of its time in which a hit prefetches.
    """
    kept: OrderedDict[int, tuple[float, int]] = OrderedDict()
    result = Result()
    for at, number in trace.queries:
        ttl = min(max(trace.ttls[number], least), most)
        until, stored = kept.get(number, (0.0, 0))
        left = until - at
        fetched = left <= 0 or left < share * stored
        if left > 0:
            result.hits += 1
            result.past += stored - left > trace.ttls[number]
            kept.move_to_end(number)
        elif isAway(at):
            result.failed += 1
        else:
            result.misses += 1
        if fetched:
            result.upstream += 1
            result.away += isAway(at)
            if not isAway(at):
                kept[number] = (at + ttl, ttl)
                kept.move_to_end(number)
                if len(kept) > size:
                    kept.popitem(last=False)
    return result


def main() -> None:
    """
    Print the table.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", type=Path, help="a file of names in rank order")
    parser.add_argument("--count", type=int, default=20_000, help="use so many of them")
    parser.add_argument("--queries", type=int, default=100_000, help="queries of the day")
    parser.add_argument("--size", type=int, default=10_000, help="entries in the cache")
    options = parser.parse_args()
    trace = makeTrace(options.names, options.count, options.queries)
    distinct = len({number for _, number in trace.queries})
    print(f"{len(trace.queries)} queries for {distinct} names, {options.size} entries")
    print(
        f"{'':34} {'hits %':>8} {'upstream':>10} {'stale %':>8} {'failed %':>8} {'past TTL %':>10}"
    )
    for label, least, most, share in (
        ("plain cache, its own TTLs", 0, 86400, 0.0),
        ("the same, prefetch (model)", 0, 86400, 0.1),
        ("prefetch, min_ttl 5m, max_ttl 1h", 300, 3600, 0.1),
    ):
        began = time.process_time()
        result = simulatePrefetch(trace, options.size, least, most, share)
        print(result.row(label, time.process_time() - began), flush=True)
    for label, settings in (
        ("dnsguard, refresh off", "enabled: false"),
        ("conservative, no sweep", "refresh_mode: conservative, sweep_interval: 24h"),
        ("balanced, no sweep", "refresh_mode: balanced, sweep_interval: 24h"),
        ("aggressive, no sweep", "refresh_mode: aggressive, sweep_interval: 24h"),
        ("balanced, sweep_hit_window 20m", "refresh_mode: balanced, sweep_hit_window: 20m"),
        ("conservative, sweep", "refresh_mode: conservative"),
        ("balanced, sweep", "refresh_mode: balanced"),
        ("aggressive, sweep", "refresh_mode: aggressive"),
    ):
        config = loadText(
            f"cache: {{client_ttl_cap: 5m, lru_size: {options.size}, max_bytes: 256MB,"
            " hit_counter_max_entries: 40000,"
            f" snapshot: {{enabled: false}}, refresh: {{{settings}}}}}"
        ).config
        began = time.process_time()
        result = simulate(trace, config)
        print(result.row(label, time.process_time() - began), flush=True)


if __name__ == "__main__":
    main()
