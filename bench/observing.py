# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What observing costs: counting replayed queries and others, storing them,
publishing the numbers, and taking profiles while queries go through the chain.

Usage: C{python -m bench.observing} from the root of the source tree, on an idle
machine; it takes half a minute.
"""

from __future__ import annotations

import random
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from os import getpid
from typing import Any

from twisted.internet.task import Clock

from dnsguard.answer import Outcome
from dnsguard.caching.hits import HitRates
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.observers.hitcounter import HitCounter
from dnsguard.observers.metrics import QueryMetrics
from dnsguard.query import Transport
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.replay import newStore
from dnsguard.replay.batch import ReplayBatch
from dnsguard.replay.bounds import DRAIN_LIMIT
from dnsguard.services.heapwatch import summary
from dnsguard.services.sampler import Sampler
from tests.support.events import entryFor, eventOf
from tests.support.guard import makeGuard
from tests.support.process import request
from tests.support.replay import CLIENT, facts, reply
from tests.support.replay import request as replayRequest

RECORD = struct.Struct("=qQIHBB16s")
DRAINS = 20
"""How often the ring is drained in a second."""

OUTCOMES = (Outcome.CACHED, Outcome.BLOCKED, Outcome.LOCAL)


def batch(queries: int, entries: int) -> ReplayBatch:
    """
    A batch of queries spread evenly over entries.
    """
    numbers = [random.randrange(entries) for _ in range(queries)]
    records = b"".join(
        RECORD.pack(0, number, random.randrange(3000, 90000), 100, 0, 4, bytes(16))
        for number in numbers
    )
    facts = {number: entryFor(outcome=OUTCOMES[number % 3]) for number in range(entries)}
    return ReplayBatch(records, facts.__getitem__)


def counting(rate: int = 500_000) -> None:
    """
    Measure the counter.
    """
    for entries in (10, 1000, 10_000, 100_000):
        metrics = QueryMetrics()
        drained = batch(rate // DRAINS, entries)
        metrics.queriesReplayed(drained)
        seconds = []
        for _ in range(40):
            began = time.perf_counter()
            metrics.queriesReplayed(drained)
            seconds.append(time.perf_counter() - began)
        share = 100 * statistics.median(seconds) * DRAINS
        print(f"{rate} replayed queries/s over {entries} entries: {share:.2f} % of a core")
    metrics, event = QueryMetrics(), eventOf()
    began = time.perf_counter()
    for _ in range(100_000):
        metrics.queryAnswered(event)
    print(f"a query through the chain: {(time.perf_counter() - began) * 10:.2f} us")


def emptying(names: int = 10_000) -> None:
    """
    Measure what a turn of the reactor costs in which a full batch is taken from
    the ring and told to those who count and store.
    """
    store = newStore()
    asked = [replayRequest(f"host{number}.example.org") for number in range(names)]
    for datagram in asked:
        store.remember(datagram, reply(datagram, 300), facts(datagram), 300.0, 100.0)
    recorder = QueryRecorder(1 << 20, Exclusion(), Anonymizer())
    observers = (QueryMetrics(), HitCounter(HitRates(20_000, 60.0), Clock()), recorder)
    seconds = []
    for _ in range(30):
        for _ in range(DRAIN_LIMIT):
            store.lookup(asked[random.randrange(names)], CLIENT, 100.0)
        began = time.perf_counter()
        taken = store.drain()
        for observer in observers:
            observer.queriesReplayed(taken)
        seconds.append(time.perf_counter() - began)
        recorder.buffer.take()
    middle = statistics.median(seconds)
    print(
        f"{DRAIN_LIMIT} queries from the ring to all observers, {names} names:"
        f" {middle * 1000:.2f} ms, {middle / DRAIN_LIMIT * 1e9:.0f} ns a query"
    )


class Load:
    """
    Queries that go through the chain, one after the other.
    """

    def __init__(self) -> None:
        self.guard = makeGuard(tempfile.mkdtemp())
        self.requests = [request(f"n{number}.localhost") for number in range(200)]

    def run(self, seconds: float) -> tuple[float, float]:
        """
        Ask for some time.

        @return: Queries in a second of processor time, and the longest time
            that 200 of them took.
        """
        server: Any = self.guard.server
        count, worst, cost = 0, 0.0, time.thread_time()
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            for each in self.requests:
                server.requestReceived(each, b"\x7f\0\0\1", Transport.TCP, lambda reply: True)
            count += len(self.requests)
            worst = max(worst, time.perf_counter() - now)
        return count / (time.thread_time() - cost), worst

    def show(self, what: str, plain: float, found: tuple[float, float]) -> None:
        """
        Compare with the load alone.
        """
        less = 100 * (plain - found[0]) / plain
        print(f"{what}: {less:.1f} % fewer queries, longest halt {found[1] * 1000:.0f} ms")


def profiling() -> None:
    """
    Measure profiles under load.
    """
    load = Load()
    load.run(0.5)
    plain, worst = load.run(3)
    print(f"load alone: {plain:.0f} queries/s, longest halt {worst * 1000:.0f} ms")
    profiles: list[Any] = []
    looking = threading.Thread(target=lambda: profiles.append(Sampler(None).look(3)))
    looking.start()
    load.show("profile", plain, load.run(3))
    looking.join()
    print(f"profile: looking took {100 * profiles[0].cost / profiles[0].seconds:.2f} %")
    arguments = ["--native", "--threads", "--format", "raw", "--rate", "100", "--duration", "4"]
    with tempfile.NamedTemporaryFile() as output:
        try:
            spy = subprocess.Popen(
                ["py-spy", "record", *arguments, "--output", output.name, "--pid", str(getpid())],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            print(f"py-spy: {error}", file=sys.stderr)
        else:
            time.sleep(1)
            load.show("profile of compiled code", plain, load.run(3))
            spy.wait()
    tracemalloc.start(1)
    load.show("memory watched", plain, load.run(3))
    summing(200_000)
    tracemalloc.stop()


def summing(blocks: int) -> None:
    """
    Measure for how long others wait for a summary of what is held.
    """
    held = [bytes(50) for _ in range(blocks)]
    gaps: list[float] = []
    done = threading.Event()

    def watch() -> None:
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    watching = threading.Thread(target=watch)
    watching.start()
    summary()
    done.set()
    watching.join()
    print(f"summary of {len(held)} blocks: longest halt {max(gaps) * 1000:.0f} ms")


def publishing() -> None:
    """
    Measure what a scrape costs.
    """
    exposition = Load().guard.exposition
    gathering, writing = [], []
    for _ in range(20):
        began = time.perf_counter()
        gathered = exposition.gather()
        read = time.perf_counter()
        exposition.encode("", gathered)
        gathering.append(read - began)
        writing.append(time.perf_counter() - read)
    print(
        f"a scrape: {statistics.median(gathering) * 1000:.2f} ms in the reactor,"
        f" {statistics.median(writing) * 1000:.2f} ms beside it"
    )


if __name__ == "__main__":
    counting()
    emptying()
    publishing()
    profiling()
