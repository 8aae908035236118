# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.store} and, the same ones, for its compiled twin.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.interfaces import IReplayBatch, IReplayStore
from dnsguard.policy.view import View
from dnsguard.replay.batch import RECORD
from dnsguard.replay.store import PythonReplayStore
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.support.replay import CLIENT, FakePolicy, compiled, facts, reply, request

_store = compiled("_store")

if TYPE_CHECKING:
    Case = SynchronousTestCase
else:
    Case = object

V6 = bytes.fromhex("20010db8000000000000000000000001")


class ReplayStoreRules(Case):
    """
    What holds for every replay store.
    """

    def makeStore(self, **bounds: int) -> PythonReplayStore:
        """
        Make the store to be tested.
        """
        raise NotImplementedError

    def remember(
        self,
        store: PythonReplayStore,
        datagram: bytes,
        *ttls: int,
        seconds: float = 300.0,
        now: float = 100.0,
        view: int | None = 0,
        policy: int | None = None,
    ) -> bytes:
        """
        Make a reply and have it kept.
        """
        made = reply(datagram, *ttls)
        number = store.generation if policy is None else policy
        store.remember(datagram, made, facts(datagram, view, number), seconds, now)
        return made

    def ttls(self, message: bytes | None) -> list[int]:
        """
        The TTLs in a reply.
        """
        assert message is not None
        layout = scan(message)
        return [int.from_bytes(message[at : at + 4], "big") for at in layout.ttls]

    def test_interface(self) -> None:
        """
        The store and its batches keep the promises of their interfaces.
        """
        store = self.makeStore()
        self.assertTrue(verifyObject(IReplayStore, store))
        self.assertTrue(verifyObject(IReplayBatch, store.drain()))

    def test_emptyKnowsNothing(self) -> None:
        """
        A store in which nothing was kept answers nothing, whatever it is sent.
        """
        store = self.makeStore()
        for datagram in (request(), b"", b"\0", bytes(600)):
            self.assertIsNone(store.lookup(datagram, CLIENT, 100.0))
        self.assertEqual(store.counters()["misses"], 4)

    def test_replays(self) -> None:
        """
        An equal request gets the same octets with its own id.
        """
        store = self.makeStore()
        made = self.remember(store, request(id=1), 300)
        self.assertEqual(store.lookup(request(id=0xBEEF), CLIENT, 100.0), b"\xbe\xef" + made[2:])

    def test_letterCase(self) -> None:
        """
        The reply's question is in the letter case of each request, whatever
        case the one had that it was made for.
        """
        store = self.makeStore()
        mixed = b"\3wWw\7exAMPle\3oRg\0"
        self.remember(store, request(mixed), 300)
        for name in (mixed, mixed.lower(), mixed.upper(), mixed.lower(), mixed):
            found = store.lookup(request(name), CLIENT, 101.0)
            assert found is not None
            self.assertEqual(found[12 : 12 + len(name)], name)
            self.assertEqual(self.ttls(found), [299])

    def test_typesAreNotLetters(self) -> None:
        """
        Types whose octets look like the two cases of a letter are two types.
        """
        store = self.makeStore()
        self.remember(store, request(type=65), 300)
        self.assertIsNone(store.lookup(request(type=97), CLIENT, 100.0))
        self.assertIsNotNone(store.lookup(request(type=65), CLIENT, 100.0))

    def test_countsDown(self) -> None:
        """
        TTLs count down by whole seconds since the reply was made, each from
        its own value.
        """
        store = self.makeStore()
        self.remember(store, request(), 300, 60, 3600)
        for now, age in [(100.0, 0), (100.75, 0), (101.0, 1), (159.5, 59), (120.25, 20)]:
            found = store.lookup(request(), CLIENT, now)
            self.assertEqual(self.ttls(found), [300 - age, 60 - age, 3600 - age])

    def test_optIsLeftAlone(self) -> None:
        """
        The OPT record's fields aren't a TTL and don't count down.
        """
        store = self.makeStore()
        asked = request(edns=1232, dnssecOK=True)
        made = self.remember(store, asked, 300)
        found = store.lookup(asked, CLIENT, 150.0)
        assert found is not None
        self.assertEqual(found[-11:], made[-11:])

    def test_endsWithTheLeastTTL(self) -> None:
        """
        No record is replayed beyond its TTL.
        """
        store = self.makeStore()
        self.remember(store, request(), 300, 5)
        self.assertEqual(self.ttls(store.lookup(request(), CLIENT, 104.75)), [296, 1])
        self.assertIsNone(store.lookup(request(), CLIENT, 105.0))

    def test_endsWhenTold(self) -> None:
        """
        Nothing is replayed beyond the seconds it may be.
        """
        store = self.makeStore()
        self.remember(store, request(), 300, seconds=2.5)
        self.assertIsNotNone(store.lookup(request(), CLIENT, 102.25))
        self.assertIsNone(store.lookup(request(), CLIENT, 102.5))

    def test_noRecords(self) -> None:
        """
        A reply without records is replayed for the seconds it may be.
        """
        store = self.makeStore()
        self.remember(store, request(), seconds=10.0)
        self.assertIsNotNone(store.lookup(request(), CLIENT, 109.0))
        self.assertIsNone(store.lookup(request(), CLIENT, 110.0))

    def test_notWorthKeeping(self) -> None:
        """
        What expires at once isn't kept: no seconds, or a TTL of 0, also in the
        form of one with the top bit set (RFC 2181 §8).
        """
        for seconds, ttl in [(0.0, 60), (-1.0, 60), (float("nan"), 60), (60, 0), (60, 1 << 31)]:
            store = self.makeStore()
            self.remember(store, request(), ttl, seconds=seconds)
            self.assertIsNone(store.lookup(request(), CLIENT, 100.0), (seconds, ttl))

    def test_infinite(self) -> None:
        """
        There is a longest time that anything is kept.
        """
        store = self.makeStore()
        self.remember(store, request(), 0x7FFFFFFF, seconds=float("inf"))
        self.assertIsNotNone(store.lookup(request(), CLIENT, 100.0 + 7 * 86400 - 1))
        self.assertIsNone(store.lookup(request(), CLIENT, 100.0 + 7 * 86400))

    def test_clockThatGoesBack(self) -> None:
        """
        An entry isn't replayed before the time it was made.
        """
        store = self.makeStore()
        self.remember(store, request(), 300)
        self.assertIsNone(store.lookup(request(), CLIENT, 99.0))
        self.assertIsNotNone(store.lookup(request(), CLIENT, 100.0))

    def test_eachKeyItsReply(self) -> None:
        """
        What differs in type, RD, AD, CD, EDNS, DO or size class is another
        entry.
        """
        variants = [
            request(),
            request(type=28),
            request(flags=0),
            request(flags=0x0120),
            request(flags=0x0110),
            request(edns=512),
            request(edns=1000),
            request(edns=1232),
            request(edns=1232, dnssecOK=True),
        ]
        store = self.makeStore()
        for number, asked in enumerate(variants, 1):
            self.assertIsNone(store.lookup(asked, CLIENT, 100.0))
            self.remember(store, asked, number)
        for number, asked in enumerate(variants, 1):
            self.assertEqual(self.ttls(store.lookup(asked, CLIENT, 100.0)), [number])

    def test_sizeClassIsShared(self) -> None:
        """
        Clients whose payload sizes exceed what the server sends share entries.
        """
        store = self.makeStore()
        made = self.remember(store, request(edns=4096), 300)
        for size in (1232, 1400, 65535):
            self.assertEqual(store.lookup(request(edns=size), CLIENT, 100.0), made)

    def test_replyFitsTheClient(self) -> None:
        """
        A reply longer than a client's payload size isn't given to it, though
        the key is the same.
        """
        store = self.makeStore()
        asked = request(edns=1200)
        made = reply(asked, *[300] * 60)
        self.assertGreater(len(made), 900)
        store.remember(asked, made, facts(asked), 300.0, 100.0)
        self.assertEqual(store.lookup(asked, CLIENT, 100.0), made)
        self.assertIsNone(store.lookup(request(edns=900), CLIENT, 100.0))
        self.assertIsNotNone(store.lookup(request(edns=len(made)), CLIENT, 100.0))
        self.assertIsNone(store.lookup(request(edns=len(made) - 1), CLIENT, 100.0))

    def test_unfitReplies(self) -> None:
        """
        A truncated reply, one to another question, one longer than the client
        can take, a request and rubbish aren't kept.
        """
        asked = request()
        good = reply(asked, 300)
        store = self.makeStore()
        for made in [
            reply(asked, 300, flags=0x8280),
            reply(request("www.example.net"), 300),
            reply(request(type=28), 300),
            reply(asked, *[300] * 40),
            asked,
            b"",
            good[:20],
        ]:
            store.remember(asked, made, facts(asked), 300.0, 100.0)
            self.assertIsNone(store.lookup(asked, CLIENT, 100.0), made)
        self.assertEqual(store.counters()["refused"], 7)
        self.assertEqual(store.counters()["entries"], 0)

    def test_malformedReplies(self) -> None:
        """
        A reply that is cut short or has octets left over is never replayed.
        """
        asked = request()
        good = reply(asked, 300)
        for made in (good[:-1], good + b"\0"):
            store = self.makeStore()
            store.remember(asked, made, facts(asked), 300.0, 100.0)
            self.assertIsNone(store.lookup(asked, CLIENT, 100.0))

    def test_ineligibleRequest(self) -> None:
        """
        The reply to a request that takes the ordinary road isn't kept.
        """
        store = self.makeStore()
        for asked in (request(type=255), request(cls=3), request(flags=0x2100)):
            self.remember(store, asked, 300)
            self.assertIsNone(store.lookup(asked, CLIENT, 100.0))
        self.assertEqual(store.counters()["refused"], 3)

    def test_replaces(self) -> None:
        """
        The later one of two replies to equal requests is given.
        """
        store = self.makeStore()
        self.remember(store, request(), 10)
        self.remember(store, request(), 20)
        self.assertEqual(self.ttls(store.lookup(request(), CLIENT, 100.0)), [20])
        self.assertEqual(store.counters()["entries"], 1)
        self.assertEqual(store.counters()["replaced"], 1)

    def test_policyKillsEntries(self) -> None:
        """
        No entry outlives its policy, in any way of asking for it.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1))
        for asked in (request(), request(edns=1232)):
            self.remember(store, asked, 300)
            self.assertIsNotNone(store.lookup(asked, CLIENT, 100.0))
        store.adopt(FakePolicy(2))
        self.assertEqual(store.generation, 2)
        for asked in (request(), request(b"\3WWW\7example\3org\0"), request(edns=1232)):
            self.assertIsNone(store.lookup(asked, CLIENT, 100.0))

    def test_lateReply(self) -> None:
        """
        A reply made under an earlier policy isn't kept under the present one,
        and neither is one that doesn't say.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1))
        store.adopt(FakePolicy(2))
        self.remember(store, request(), 300, policy=1)
        store.remember(request(), reply(request(), 60), facts(request(), 0, None), 60.0, 100.0)
        store.remember(request(), reply(request(), 60), facts(request(), None, 2), 60.0, 100.0)
        self.assertIsNone(store.lookup(request(), CLIENT, 100.0))
        self.assertEqual(store.counters()["refused"], 3)

    def test_views(self) -> None:
        """
        A client gets the replies of its own view only, IPv4 as IPv6.
        """
        store = self.makeStore()
        clients = ((CLIENT, 32, 1), (V6, 64, 2))
        store.adopt(FakePolicy(1, clients, View(number=0)))
        for view in range(3):
            self.remember(store, request(), 100 + view, view=view)
        for address, ttl in [
            (b"\xc0\0\2\2", 100),
            (CLIENT, 101),
            (bytes(10) + b"\xff\xff" + CLIENT, 101),
            (V6[:-1] + b"\x77", 102),
            (bytes(16), 100),
        ]:
            self.assertEqual(self.ttls(store.lookup(request(), address, 100.0)), [ttl])

    def test_viewsChangeWithThePolicy(self) -> None:
        """
        The view of a client is that of the policy adopted last.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1, ((CLIENT, 32, 1),), View(number=0)))
        self.assertIsNone(store.lookup(request(), CLIENT, 100.0))
        store.adopt(FakePolicy(2, (), View(number=3)))
        self.remember(store, request(), 77, view=3)
        self.assertEqual(self.ttls(store.lookup(request(), CLIENT, 100.0)), [77])
        self.assertEqual(self.ttls(store.lookup(request(), V6, 100.0)), [77])

    def test_nobody(self) -> None:
        """
        Clients in a network with a negative view number are never answered
        from the store.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1, ((CLIENT, 32, -1),), View(number=0)))
        self.remember(store, request(), 300, view=0)
        self.remember(store, request(), 300, view=-1)
        self.assertIsNone(store.lookup(request(), CLIENT, 100.0))
        self.assertIsNotNone(store.lookup(request(), V6, 100.0))

    def test_noAddress(self) -> None:
        """
        What isn't an address of 4 or 16 octets is nobody's.
        """
        store = self.makeStore()
        self.remember(store, request(), 300)
        for address in (b"", b"\1\2\3", bytes(5), bytes(17)):
            self.assertIsNone(store.lookup(request(), address, 100.0))

    def test_forgetsAName(self) -> None:
        """
        Forgetting a name drops all its entries and nobody else's.
        """
        store = self.makeStore()
        asked = [request(), request(type=28), request(edns=1232), request(flags=0)]
        others = [request("www.example.net"), request("example.org"), request("a.www.example.org")]
        for datagram in asked + others:
            self.remember(store, datagram, 300)
        store.forget(fromText("www.example.org"))
        for datagram in asked:
            self.assertIsNone(store.lookup(datagram, CLIENT, 100.0))
        for datagram in others:
            self.assertIsNotNone(store.lookup(datagram, CLIENT, 100.0))
        store.forget(fromText("nobody.example.org"))

    def test_forgetsEverything(self) -> None:
        """
        Forgetting everything leaves clients in their views.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(5, ((CLIENT, 32, 1),), View(number=0)))
        self.remember(store, request(), 300, view=1)
        store.forget(None)
        self.assertIsNone(store.lookup(request(), CLIENT, 100.0))
        self.assertEqual(store.generation, 5)
        self.remember(store, request(), 300, view=1)
        self.assertIsNotNone(store.lookup(request(), CLIENT, 100.0))

    def name(self, number: int) -> bytes:
        """
        A request for one of many names.
        """
        return request(f"host{number}.example.org")

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
        import gc
        import weakref

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

    def test_drainsInParts(self) -> None:
        """
        A drain gives a bounded number of records, and the next ones the rest:
        each query exactly once.
        """
        store = self.makeStore()
        names = [self.name(number) for number in range(7)]
        for datagram in names:
            self.remember(store, datagram, 300)
        for number in range(140000):
            store.lookup(names[number % 7], CLIENT, 100.0)
            if number == 70000:
                store.forget(fromText("host3.example.org"))
        total = {fromText(f"host{number}.example.org"): 0 for number in range(7)}
        sizes: list[int] = []
        while sizes[-1:] != [0]:
            batch = store.drain()
            sizes.append(len(batch))
            self.assertLessEqual(len(batch), 65536)
            self.assertEqual(sum(batch.hits.values()), len(batch))
            for number, hits in batch.hits.items():
                total[batch.entries[number].qname] += hits
        self.assertEqual(sum(total.values()), store.counters()["hits"])
        self.assertEqual(total[fromText("host3.example.org")], 10000)
        self.assertEqual(total[fromText("host0.example.org")], 20000)

    def test_badBounds(self) -> None:
        """
        Bounds that make no sense are refused with the name of the argument.
        """
        for name, value in [
            ("maxEntries", 0),
            ("maxBytes", 10),
            ("payloadLimit", 512),
            ("payloadLimit", 65535),
            ("ringSize", 0),
        ]:
            with self.assertRaises(ValueError) as caught:
                self.makeStore(**{name: value})
            self.assertIn(name, str(caught.exception))

    def test_sameClientsAreKept(self) -> None:
        """
        Clients stay in their views when a policy with the same ones follows.
        """
        store = self.makeStore()
        for generation in range(1, 4):
            store.adopt(FakePolicy(generation, ((CLIENT, 32, 1), (V6, 128, 2))))
            self.remember(store, request(), 300, view=1)
            self.remember(store, request(), 400, view=2)
            self.assertEqual(self.ttls(store.lookup(request(), CLIENT, 100.0)), [300])
            self.assertEqual(self.ttls(store.lookup(request(), V6, 100.0)), [400])
            self.assertIsNone(store.lookup(request(), bytes(4), 100.0))


class PythonReplayStoreTests(ReplayStoreRules, SynchronousTestCase):
    """
    Tests for L{PythonReplayStore}.
    """

    def makeStore(self, **bounds: int) -> PythonReplayStore:
        """
        Make the one in Python.
        """
        return PythonReplayStore(**bounds)

    def test_placesAreBounded(self) -> None:
        """
        Addresses that are looked up don't pile up.
        """
        store = self.makeStore()
        for number in range(70000):
            store.lookup(b"", number.to_bytes(4, "big"), 100.0)
        self.assertLessEqual(len(store._places), 65536)

    def test_deadAreFreedBitByBit(self) -> None:
        """
        What an earlier policy leaves is freed by later calls, some at a time.
        """
        store = self.makeStore()
        for number in range(3000):
            self.remember(store, self.name(number), 300)
        store.adopt(FakePolicy(1))
        left = []
        while store._dying:
            left.append(sum(map(len, store._dying)))
            store.drain()
        self.assertEqual(left[0], 9000)
        self.assertEqual(len(left), 5)


class CompiledReplayStoreTests(ReplayStoreRules, SynchronousTestCase):
    """
    Tests for L{dnsguard.replay._store.CompiledReplayStore}.
    """

    if _store is None:
        skip = "the compiled twin isn't built"

    def makeStore(self, **bounds: int) -> PythonReplayStore:
        """
        Make the compiled one.
        """
        store: PythonReplayStore = _store.CompiledReplayStore(**bounds)
        return store

    def test_deadAreSwept(self) -> None:
        """
        What an earlier policy leaves is freed by later drains.
        """
        store = self.makeStore(maxEntries=5000)
        for number in range(3000):
            self.remember(store, self.name(number), 300, now=time.monotonic())
        store.adopt(FakePolicy(1))
        for _ in range(4):
            store.drain()
        self.assertEqual(store.counters()["entries"], 0)
        self.assertEqual(store.counters()["bytes"], 0)
        self.assertEqual(store.counters()["expired"], 3000)
