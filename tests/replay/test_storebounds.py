# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.store} and, the same ones, for its compiled twin:
its bounds, and what it tells of queries answered.
"""

from __future__ import annotations

import gc
import time
import weakref

from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IReplayBatch
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.replay import store as storeModule
from dnsguard.replay.batch import RECORD, ReplayBatch
from dnsguard.replay.bounds import DRAIN_LIMIT
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.support.replay import CLIENT, FakePolicy, reply, request
from tests.support.storerules import V6, InC, InPython, StoreRules


class StoreBoundsRules(StoreRules):
    """
    What is kept and what is told.
    """

    def test_boundOfEntries(self) -> None:
        """
        There are never more entries than allowed, and what was stored last is
        among them.
        """
        store = self.makeStore(maxEntries=50)
        for number in range(500):
            self.remember(store, self.name(number), 300)
            self.assertLessEqual(store.counters()["entries"], 50)
            self.assertIsNotNone(store.lookup(self.name(number), CLIENT, 100.0))
        counters = store.counters()
        self.assertEqual(counters["stored"], 500)
        self.assertEqual(counters["evicted"], 500 - counters["entries"])
        self.assertGreater(counters["entries"], 40)

    def test_boundOfOctets(self) -> None:
        """
        What entries cost stays within bounds.
        """
        store = self.makeStore(maxEntries=10000, maxBytes=1 << 16)
        for number in range(1000):
            self.remember(store, self.name(number), *[300] * 20)
            self.assertLessEqual(store.counters()["bytes"], 1 << 16)
        self.assertGreater(store.counters()["entries"], 10)

    def test_usedEntriesStay(self) -> None:
        """
        Entries that are replayed now and then outlive a flood of others.
        """
        store = self.makeStore(maxEntries=64)
        hot = [request(f"hot{number}.example.org") for number in range(8)]
        for datagram in hot:
            self.remember(store, datagram, 300)
        for number in range(1000):
            self.remember(store, self.name(number), 300)
            if number % 8 == 0:
                store.drain()
                for datagram in hot:
                    store.lookup(datagram, CLIENT, 100.0)
        kept = sum(store.lookup(datagram, CLIENT, 100.0) is not None for datagram in hot)
        self.assertEqual(kept, 8)

    def test_records(self) -> None:
        """
        Each query answered leaves one record of the documented form.
        """
        store = self.makeStore()
        before = time.time_ns()
        made = self.remember(store, request(), 300)
        store.lookup(request(), CLIENT, 100.0)
        store.lookup(request(), V6, 100.0, stream=True)
        store.lookup(request(), bytes(10) + b"\xff\xff" + CLIENT, 100.0)
        store.lookup(self.name(1), CLIENT, 100.0)
        after = time.time_ns()
        batch = store.drain()
        self.assertEqual(len(batch), 3)
        self.assertEqual(len(batch.records), 120)
        records = list(RECORD.iter_unpack(batch.records))
        self.assertEqual(len({record[1] for record in records}), 1)
        for record in records:
            self.assertTrue(before <= record[0] <= after)
            self.assertLess(record[2], 1 << 32)
            self.assertEqual(record[3], len(made))
        self.assertEqual([record[4] for record in records], [0, 1, 0])
        self.assertEqual([record[5] for record in records], [4, 6, 4])
        self.assertEqual(
            [record[6] for record in records], [CLIENT + bytes(12), V6, CLIENT + bytes(12)]
        )

    def test_batch(self) -> None:
        """
        A batch adds up its records, and knows the facts behind each.
        """
        store = self.makeStore()
        for number in range(3):
            self.remember(store, self.name(number), 300)
            for _ in range(number):
                store.lookup(self.name(number), CLIENT, 100.0)
        batch = store.drain()
        self.assertEqual(len(batch), 3)
        counts = {batch.entries[number].qname: hits for number, hits in batch.hits.items()}
        self.assertEqual(
            counts, {fromText("host1.example.org"): 1, fromText("host2.example.org"): 2}
        )
        self.assertEqual(len(store.drain()), 0)
        self.assertEqual(store.counters()["hits"], 3)

    def test_factsAsAsked(self) -> None:
        """
        What is told of an entry is what was said of it, whatever it has in
        common with others, and however often entries come and go.
        """
        store = self.makeStore(maxEntries=16)
        store.adopt(FakePolicy(1))
        rule = Attribution(RuleKind.LIST, "ads", "example.org")
        for turn in range(40):
            told = {}
            for number in range(12):
                datagram = self.name(number)
                made = reply(datagram, 300)
                name = fromText(f"host{number}.example.org")
                entry = ReplayedAnswer(
                    name,
                    1,
                    1,
                    Outcome.CACHED,
                    number % 3,
                    f"group{turn % 5}",
                    rule if number % 4 == 3 else None,
                    Answer.fromWire(made, scan(made), outcome=Outcome.CACHED),
                    0,
                    1,
                )
                store.remember(datagram, made, entry, 300.0, 100.0)
                store.lookup(datagram, CLIENT, 100.0)
                told[name] = entry
            batch = store.drain()
            self.assertEqual({batch.entries[each].qname for each in batch.hits}, set(told))
            for each in batch.hits:
                found = batch.entries[each]
                entry = told[found.qname]
                self.assertEqual(
                    (found.rCode, found.groupID, found.attribution, found.answer.wire),
                    (entry.rCode, entry.groupID, entry.attribution, entry.answer.wire),
                )

    def test_batchIsGoneAtOnce(self) -> None:
        """
        Nothing of a batch is left to the garbage collector, whatever was asked
        of it: its octets are used again.
        """
        octets = bytearray(2 * RECORD.size)
        self.addCleanup(gc.enable)
        gc.disable()
        batch = ReplayBatch(octets, dict.fromkeys((0, 1)).__getitem__)  # type: ignore[arg-type]
        self.assertEqual((dict(batch.hits), batch.entries[0]), ({0: 2}, None))
        # As long as somebody looks at them, they can't grow.
        self.assertRaises(BufferError, octets.append, 0)
        del batch
        octets.append(0)

    def test_factsOutliveTheEntry(self) -> None:
        """
        Records of an entry that is gone by the time of the drain still have
        their facts, however it went.
        """
        store = self.makeStore(maxEntries=64)
        store.adopt(FakePolicy(1))
        for number in range(4):
            self.remember(store, self.name(number), 300)
            store.lookup(self.name(number), CLIENT, 100.0)
        store.forget(fromText("host0.example.org"))
        self.remember(store, self.name(1), 60)
        store.adopt(FakePolicy(2))
        for number in range(100, 400):
            self.remember(store, self.name(number), 300)
        batch = store.drain()
        self.assertEqual(
            sorted(batch.entries[number].qname for number in batch.hits),
            [fromText(f"host{number}.example.org") for number in range(4)],
        )

    def test_factsAreLetGo(self) -> None:
        """
        Facts of entries that are gone aren't kept after the next drains.
        """

        class Watched:
            viewNumber = 0
            generation = 0

        store = self.makeStore()
        watched = Watched()
        reference = weakref.ref(watched)
        made = reply(request(), 300)
        store.remember(request(), made, watched, 300.0, 100.0)  # type: ignore[arg-type]
        del watched
        store.lookup(request(), CLIENT, 100.0)
        store.forget(fromText("www.example.org"))
        self.assertEqual(list(store.drain().hits.values()), [1])
        store.drain()
        store.drain()
        gc.collect()
        self.assertIsNone(reference())

    def test_entries(self) -> None:
        """
        The facts of the entries in a batch are there by their numbers; what is
        asked for besides is not.
        """
        store = self.makeStore()
        for number in range(3):
            self.remember(store, self.name(number), 300)
        for number in (0, 2, 2):
            store.lookup(self.name(number), CLIENT, 100.0)
        batch = store.drain()
        verifyObject(IReplayBatch, batch)
        self.assertEqual(sorted(batch.hits.values()), [1, 2])
        self.assertEqual(
            sorted(batch.entries[number].qname for number in batch.hits),
            [fromText("host0.example.org"), fromText("host2.example.org")],
        )
        for number in (0, 1 << 32 | 1 << 20, 7 << 32, (1 << 64) - 1):
            with self.assertRaises(KeyError):
                batch.entries[number]

    def test_entriesLater(self) -> None:
        """
        Facts asked for when it is too late aren't another entry's: they are
        there no more.
        """
        store = self.makeStore()
        self.remember(store, request(), 300)
        store.lookup(request(), CLIENT, 100.0)
        batch = store.drain()
        (number,) = batch.hits
        store.forget(None)
        for _ in range(3):
            store.drain()
        for other in range(3):
            self.remember(store, self.name(other), 300)
        try:
            kept = batch.entries[number].qname
        except KeyError:
            return
        self.assertEqual(kept, fromText("www.example.org"))

    def test_recordsCanBeKept(self) -> None:
        """
        The octets of a batch that somebody keeps don't change.
        """
        store = self.makeStore()
        kept = []
        for number in range(4):
            self.remember(store, self.name(number), 300)
            for _ in range(number + 1):
                store.lookup(self.name(number), CLIENT, 100.0)
            batch = store.drain()
            kept.append((batch.records, bytes(batch.records)))
            self.assertTrue(memoryview(batch.records).readonly)
        for records, octets in kept:
            self.assertEqual(bytes(records), octets)
        self.assertEqual([len(octets) // RECORD.size for _, octets in kept], [1, 2, 3, 4])

    def test_ringIsBounded(self) -> None:
        """
        Records that find the ring full are counted; the query is answered.
        """
        store = self.makeStore(ringSize=16)
        self.remember(store, request(), 300)
        for _ in range(20):
            self.assertIsNotNone(store.lookup(request(), CLIENT, 100.0))
        counters = store.counters()
        self.assertEqual(counters["ringDropped"], 4)
        self.assertEqual(counters["hits"], 20)
        self.assertEqual(len(store.drain()), 16)
        store.lookup(request(), CLIENT, 100.0)
        self.assertEqual(len(store.drain()), 1)

    def test_ringGoesRound(self) -> None:
        """
        Records come out as they went in, whether all were taken before or not,
        and however often the ring has gone round.
        """
        store = self.makeStore(ringSize=16)
        for number in range(40):
            self.remember(store, self.name(number), 300)
        for round in range(60):
            asked = [self.name((round * 7 + each) % 40) for each in range(1 + round % 16)]
            for datagram in asked:
                self.assertIsNotNone(store.lookup(datagram, CLIENT, 100.0))
            drained = store.drain()
            names = [
                drained.entries[record[1]].qname for record in RECORD.iter_unpack(drained.records)
            ]
            self.assertEqual(names, [datagram[12:-4] for datagram in asked])
        self.assertEqual(store.counters()["ringDropped"], 0)

    def test_numbersAreNew(self) -> None:
        """
        An entry has another number than those that went before it had.
        """
        store = self.makeStore()
        numbers: set[int] = set()
        for _ in range(20):
            self.remember(store, request(), 300)
            store.lookup(request(), CLIENT, 100.0)
            (number,) = store.drain().hits
            self.assertNotIn(number, numbers)
            numbers.add(number)
            store.forget(None)
            store.drain()
            store.drain()

    def test_drainsInParts(self) -> None:
        """
        A drain gives a bounded number of records, and the next ones the rest:
        each query exactly once.
        """
        store = self.makeStore()
        names = [self.name(number) for number in range(7)]
        for datagram in names:
            self.remember(store, datagram, 300)
        for number in range(35000):
            store.lookup(names[number % 7], CLIENT, 100.0)
            if number == 17500:
                store.forget(fromText("host3.example.org"))
        total = {fromText(f"host{number}.example.org"): 0 for number in range(7)}
        sizes: list[int] = []
        while sizes[-1:] != [0]:
            batch = store.drain()
            sizes.append(len(batch))
            self.assertLessEqual(len(batch), DRAIN_LIMIT)
            self.assertEqual(sum(batch.hits.values()), len(batch))
            for number, hits in batch.hits.items():
                total[batch.entries[number].qname] += hits
        self.assertEqual(sum(total.values()), store.counters()["hits"])
        self.assertEqual(total[fromText("host3.example.org")], 2500)
        self.assertEqual(total[fromText("host0.example.org")], 5000)

    def test_badBounds(self) -> None:
        """
        Bounds that make no sense are refused with the name of the argument.
        """
        for name, value in [
            ("maxEntries", 0),
            ("maxBytes", 10),
            ("payloadLimit", 511),
            ("payloadLimit", 65536),
            ("ringSize", 0),
        ]:
            with self.assertRaises(ValueError) as caught:
                self.makeStore(**{name: value})
            self.assertIn(name, str(caught.exception))


class PythonStoreBoundsTests(InPython, StoreBoundsRules):
    """
    They hold in Python.
    """

    def test_placesAreBounded(self) -> None:
        """
        Addresses that are looked up don't pile up.
        """
        store = self.makeStore()
        for number in range(70000):
            store.lookup(b"", number.to_bytes(4, "big"), 100.0)
        self.assertLessEqual(len(store._places), 65536)

    def test_clockIsSet(self) -> None:
        """
        When the system's clock is set while a query is answered, it is
        answered, and its record says that it took no time.
        """
        store = self.makeStore()
        self.remember(store, request(), 300)
        for step in (-5, 1 << 33):
            times = iter([10**18, 10**18 + step])
            self.patch(storeModule, "time_ns", lambda times=times: next(times))
            self.assertIsNotNone(store.lookup(request(), CLIENT, 100.0))
        took = [record[2] for record in RECORD.iter_unpack(store.drain().records)]
        self.assertEqual(took, [0, 0])


class CompiledStoreBoundsTests(InC, StoreBoundsRules):
    """
    They hold in C.
    """
