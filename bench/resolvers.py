# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the chain and the memory cache cost, in microseconds a call.

Run as C{python bench/resolvers.py} in the source tree; takes some seconds. Each
figure is the least of five runs.
"""

from __future__ import annotations

import itertools
import random
import sys
import timeit
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.sieve import Sieve
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answerer
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.caching.messages import A, message, record

LOCAL = Answer.failure(0, Outcome.LOCAL)


class Miss(Answerer):
    """
    Answers nothing.
    """

    def answer(self, query: ClientQuery) -> None:
        """
        Miss.
        """
        return None


class Hit(Answerer):
    """
    Answers everything.
    """

    def answer(self, query: ClientQuery) -> Answer:
        """
        Hit.
        """
        return LOCAL


def show(what: str, call: Callable[[], object], number: int = 50000) -> None:
    """
    Print what one call costs.
    """
    seconds = min(timeit.repeat(call, number=number, repeat=5)) / number
    print(f"{what:45} {seconds * 1e6:8.2f} us")


def upstreamAnswer(name: bytes, ttl: int = 3600) -> Answer:
    """
    Four addresses for a name.
    """
    wire, _ = message([record(A, ttl, owner=b"\xc0\x0c")] * 4, qname=name)
    wire = bytes(bytearray(wire))
    return Answer.fromWire(wire, scan(wire), outcome=Outcome.UPSTREAM, cacheSeconds=ttl)


def hitRate(share: float, initial: bool, names: int = 20000, room: int = 1500) -> float:
    """
    The hit rate over Zipf-like names, new entries coming with a mark or not.
    """
    weights = list(itertools.accumulate(1 / (rank + 1) ** share for rank in range(names)))
    cache: Sieve[int, int] = Sieve(room, 1 << 40)
    hits = 0
    for name in random.Random(1).choices(range(names), cum_weights=weights, k=200000):
        if cache.get(name) is not None:
            hits += 1
        else:
            cache.put(name, 1, 1)
            if initial:
                cache.get(name)
    return hits / 200000


def main() -> None:
    """
    Print all figures.
    """
    name = fromText("www.example.org")
    query = ClientQuery(name, view=View())
    hits = AnswererChain([*(Miss() for _ in range(5)), Hit()])
    show("chain of six, the last answers", lambda: hits.answer(query))
    misses = AnswererChain([Miss() for _ in range(6)])
    show("chain of six, nobody answers", lambda: misses.answer(query))
    for what, onDue in [("", None), (", hits counted", lambda query, tier: None)]:
        cache = MemoryCacheResolver(10000, onDue=onDue)
        cache.cacheResult(query, upstreamAnswer(name))
        show(f"memory cache hit, 4 records{what}", lambda cache=cache: cache.answer(query))
    other = ClientQuery(fromText("other.example.org"))
    show("memory cache miss", lambda: cache.answer(other))
    names = [fromText(f"host{n}.example{n % 977}.org") for n in range(20000)]
    big = MemoryCacheResolver(20000, maxBytes=1 << 40)
    tracemalloc.start()
    for each in names:
        big.cacheResult(ClientQuery(bytes(bytearray(each))), upstreamAnswer(each))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    said = big.statistics.bytes
    print(f"{'memory of 20,000 entries, measured':45} {taken / len(names):8.0f} octets an entry")
    print(f"{'the same, as accounted for':45} {said / len(names):8.0f} octets an entry")
    for share in (0.8, 0.9, 1.0):
        plain, marked = hitRate(share, False), hitRate(share, True)
        print(f"hit rate, Zipf {share}: new entries unmarked {plain:.3f}, marked {marked:.3f}")


if __name__ == "__main__":
    main()
