# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a hit in L1 costs: lookups a second on one core, redis-server on the other.

Run as C{python bench/redis_l1.py [--seconds 2]} in the source tree, on a machine
with two cores and C{redis-server}. Ten thousand names are put into Redis, then
looked up at random, a number of them at a time:

  - hmget, the naive client: txredisapi's own one on one connection, with hiredis;
    one C{HMGET} awaited for each query, so one round trip a query;
  - hget: the same with four C{HGET}s in parallel, as programs have it that know
    the fields one by one;
  - dnsguard: L{RedisCacheResolver}, lookups of one reactor turn in one write.

All make the same checked answers of what they get, with the same code. After
that the ways to lay a value out are compared: the documented hash against one
packed value. Each figure is the median of three runs; the ratios of CPU mean more
than those of rates on a machine that has other work.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import txredisapi
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from dnsguard.caching.key import Key
from dnsguard.caching.stored import fromFields, fromPacked, toPacked
from dnsguard.query import ClientQuery
from dnsguard.redis.cachestore import RedisAnswerStore
from dnsguard.redis.endpoints import Place, endpointOf
from dnsguard.redis.keys import answerName
from dnsguard.redis.link import Link
from dnsguard.resolvers.cached import freshAnswer
from dnsguard.resolvers.rediscache import RedisCacheResolver
from tests.redis.entries import POLICY, entryFor, keyFor
from tests.support.redisserver import RedisServer

NAMES = 10_000
FIELDS = (b"msg", b"soft_expiry", b"created_at", b"stored_ttl", b"auth_ttl")


class Bench:
    """
    A server with answers, and ways to look them up.
    """

    def __init__(self, reactor: Any, server: RedisServer, seconds: float) -> None:
        self.reactor = reactor
        self.server = server
        self.seconds = seconds
        self.keys = [keyFor(f"host{number}.example.org") for number in range(NAMES)]
        self.order = random.Random(1).choices(range(NAMES), k=50_000)
        self.queries = [ClientQuery(key[0], key[1]) for key in self.keys]
        endpoint = endpointOf(Place("127.0.0.1", server.port), reactor)
        # A benchmark isn't about deadlines.
        self.link = Link(endpoint, reactor, deadline=5.0)
        self.store = RedisAnswerStore(self.link, self.link, reactor, ttlPolicy=POLICY)
        self.l1 = RedisCacheResolver(self.store, clock=reactor, ttlPolicy=POLICY)
        self.naive = txredisapi.lazyConnection(
            "127.0.0.1", server.port, charset=None, convertNumbers=False
        )

    async def fill(self) -> None:
        """
        Put the answers in, in both layouts.
        """
        self.link.start()
        while not self.link.available:
            await deferLater(self.reactor, 0.01)
        now = self.reactor.seconds()
        epoch = time.time() - now
        for start in range(0, NAMES, 100):
            some = self.keys[start : start + 100]
            for key in some:
                self.store.put(key, entryFor(key, now, 3600))
            await deferLater(self.reactor, 0.02)
            packed = [
                (b"SET", b"p:" + answerName(key), toPacked(entryFor(key, now, 3600), epoch))
                for key in some
            ]
            await self.link.execute(packed)

    # Ways to look one up: each gives a Deferred.

    def dnsguard(self, place: int) -> Any:
        """
        As dnsguard does it.
        """
        return self.l1.answer(self.queries[place])

    def hmget(self, place: int) -> Any:
        """
        One command of txredisapi's own client.
        """
        key = self.keys[place]
        return self.naive.hmget(answerName(key), FIELDS).addCallback(self.fromHash, key)

    def hget(self, place: int) -> Any:
        """
        Four of them, in parallel.
        """
        key = self.keys[place]
        name = answerName(key)
        asked = gatherResults(
            [self.naive.hget(name, field) for field in FIELDS if field != b"created_at"]
        )
        return asked.addCallback(
            lambda values: self.fromHash([values[0], values[1], None, *values[2:]], key)
        )

    def hashed(self, place: int) -> Any:
        """
        A pipeline over the documented layout, without the element.
        """
        key = self.keys[place]
        asked: Any = self.link.execute([(b"HMGET", answerName(key), *FIELDS)])
        return asked.addCallback(lambda replies: self.fromHash(replies[0], key))

    def packed(self, place: int) -> Any:
        """
        The same over the packed one.
        """
        key = self.keys[place]
        asked: Any = self.link.execute([(b"GET", b"p:" + answerName(key))])
        return asked.addCallback(lambda replies: self.fromOne(replies[0], key))

    def fromHash(self, values: list[bytes | None], key: Key) -> Any:
        """
        An answer of fields.
        """
        now = self.reactor.seconds()
        fields = dict(zip(FIELDS, values, strict=True))
        entry = fromFields(fields, key, now, time.time() - now, POLICY)
        return freshAnswer(entry, entry.remaining(now), 1.0)

    def fromOne(self, value: bytes, key: Key) -> Any:
        """
        An answer of a packed value.
        """
        now = self.reactor.seconds()
        entry = fromPacked(value, key, time.time() - now, POLICY)
        return freshAnswer(entry, entry.remaining(now), 1.0)

    async def rate(self, look: Callable[[int], Any], atATime: int) -> tuple[float, float]:
        """
        Look names up for a while, so many at a time.

        @return: How many a second, and the microseconds of CPU each took.
        """
        chosen = itertools.cycle(self.order)
        done = 0
        ending = time.perf_counter() + self.seconds
        started, worked = time.perf_counter(), time.process_time()

        async def worker() -> None:
            nonlocal done
            while time.perf_counter() < ending:
                answer = await look(next(chosen))
                if answer is None:
                    raise AssertionError("a miss")
                done += 1

        await gatherResults([Deferred.fromCoroutine(worker()) for _ in range(atATime)])
        cost = 1e6 * (time.process_time() - worked) / done
        return done / (time.perf_counter() - started), cost

    async def compare(self, names: list[str], atATime: int) -> None:
        """
        Print the rates of several ways, run in turns.
        """
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for _ in range(3):
            for name in names:
                runs[name].append(await self.rate(getattr(self, name), atATime))
        rates, costs = (
            {name: statistics.median(run[which] for run in each) for name, each in runs.items()}
            for which in (0, 1)
        )
        for name in names:
            print(
                f"{atATime:4} at a time  {name:10} {rates[name]:8,.0f}/s"
                f"  x{rates[name] / rates[names[0]]:.2f}  {costs[name]:6.1f} us of CPU"
                f"  1/{costs[names[0]] / costs[name]:.2f}",
                flush=True,
            )


async def run(reactor: Any, seconds: float) -> None:
    """
    Run all of it.
    """
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis")
        os.sched_setaffinity(0, {cores[-1]})
        server.start()
        os.sched_setaffinity(0, {cores[0]})
        try:
            bench = Bench(reactor, server, seconds)
            await bench.fill()
            for atATime in (1, 100):
                await bench.compare(["hmget", "hget", "dnsguard"], atATime)
            print("layouts:")
            await bench.compare(["hashed", "packed"], 100)
            for name in ("hmget", "get"):
                facts = server.ask("INFO", "commandstats").decode()
                line = next(line for line in facts.splitlines() if f"_{name}:" in line)
                print("in the server:", line)
            for name in (b"", b"p:"):
                key = (name + answerName(bench.keys[0])).decode()
                print("octets in memory:", server.ask("MEMORY", "USAGE", key), key)
            await bench.link.stop()
            await bench.naive.disconnect()
        finally:
            server.stop()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    arguments.add_argument("--seconds", type=float, default=2.0)
    given = arguments.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, given.seconds)))
