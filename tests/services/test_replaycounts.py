# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests that every query answered from the replay store is counted and recorded
exactly once: the store, the service that drains it and those who are told, together.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from twisted.internet.task import Clock

from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.observers.hitcounter import HitCounter
from dnsguard.observers.metrics import QueryMetrics
from dnsguard.query import Transport
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.services.replaydrain import ReplayDrainService
from dnsguard.testing import RecordingObserver
from tests.support.replay import CLIENT, FakePolicy
from tests.support.storerules import V6, InC, InPython, StoreRules


class CountingRules(StoreRules):
    """
    Nothing is lost, and nothing counted twice.
    """

    def takeRows(self) -> None:
        """
        Empty the buffer.
        """
        block = self.recorder.buffer.take()
        if block is not None:
            self.rows.update((row[4], row[3]) for row in block.tuples())

    def drained(self, store: Any) -> ReplayDrainService:
        """
        Have a store drained, and those told who count.
        """
        self.clock = Clock()
        self.metrics = QueryMetrics()
        self.hits = HitCounter(HitRates[Key](100_000, 60.0), self.clock)
        self.recorder = QueryRecorder(1_000_000, Exclusion(), Anonymizer())
        self.recorder.pressed = self.takeRows
        self.plain = RecordingObserver()
        self.rows: Counter[tuple[str, str]] = Counter()
        observers = [self.metrics, self.hits, self.recorder, self.plain]
        service = ReplayDrainService(store, lambda: observers, self.clock)
        service.startService()
        return service

    def test_exactlyOnce(self) -> None:
        """
        Whatever becomes of entries meanwhile, as many queries as were answered
        are in the metrics, in the hit counts and among the rows, each under its
        own name and transport; a plain observer sees the same.
        """
        store = self.makeStore(maxEntries=64)
        service = self.drained(store)
        chance = random.Random(7)
        sent: Counter[tuple[str, str]] = Counter()
        for step in range(6000):
            number = int(chance.random() ** 2 * 150)
            datagram, stream = self.name(number), chance.random() < 0.2
            address = chance.choice((CLIENT, V6, bytes((192, 0, 2, number))))
            if store.lookup(datagram, address, 100.0, stream=stream) is None:
                self.remember(store, datagram, 300)
            else:
                sent[f"host{number}.example.org", "tcp" if stream else "udp"] += 1
            if step % 1700 == 1699:
                store.adopt(FakePolicy(step))
            if step % 500 == 499:
                self.clock.advance(0.05)
            if step % 900 == 899:
                self.takeRows()
        service.stopService()
        self.hits.stopService()
        self.takeRows()
        total = sent.total()
        self.assertGreater(total, 2000)
        self.assertEqual(self.rows, sent)
        self.assertEqual(self.metrics.replayed, total)
        by = {key.transport: replayed for key, _, replayed in self.metrics.queries()}
        self.assertEqual(
            by[Transport.TCP], sum(n for (_, word), n in sent.items() if word == "tcp")
        )
        self.assertEqual(self.hits.replayed, total)
        self.assertEqual(sum(sum(b.hits.values()) for b in self.plain.batches), total)
        self.assertEqual(store.counters()["hits"], total)
        self.assertEqual((service.drained, service.failures), (total, 0))

    def test_overflow(self) -> None:
        """
        What the ring had no room for is counted as that, and nowhere else.
        """
        store = self.makeStore(ringSize=256)
        service = self.drained(store)
        self.remember(store, self.name(1), 300)
        for _ in range(1000):
            self.assertIsNotNone(store.lookup(self.name(1), CLIENT, 100.0))
        service.stopService()
        self.hits.stopService()
        self.takeRows()
        counters = store.counters()
        self.assertEqual((counters["hits"], counters["ringDropped"]), (1000, 744))
        for count in (self.metrics.replayed, self.hits.replayed, self.rows.total()):
            self.assertEqual(count + counters["ringDropped"], 1000)


class PythonCountingTests(InPython, CountingRules):
    """
    So it is with the store in Python.
    """


class CompiledCountingTests(InC, CountingRules):
    """
    So it is with the compiled one.
    """
