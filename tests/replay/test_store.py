# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.store} and, the same ones, for its compiled twin:
what is replayed.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from dnsguard.interfaces import IReplayBatch, IReplayStore
from tests.support.replay import CLIENT, facts, reply, request
from tests.support.storerules import InC, InPython, StoreRules


class ReplayRules(StoreRules):
    """
    What is replayed, and as what.
    """

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

    def test_leastAndGreatestLimit(self) -> None:
        """
        A server that sends 512 octets at most keeps replies of that size; one
        that sends more than 4096 keeps those up to 4096.
        """
        for limit, count, kept in [(512, 28, True), (512, 31, False), (65535, 252, True)]:
            store = self.makeStore(payloadLimit=limit)
            asked = request(edns=65535)
            made = reply(asked, *[300] * count)
            store.remember(asked, made, facts(asked), 300.0, 100.0)
            found = store.lookup(asked, CLIENT, 100.0)
            self.assertEqual(found, made if kept else None, (limit, len(made)))
        store = self.makeStore(payloadLimit=65535)
        asked = request(edns=65535)
        store.remember(asked, reply(asked, *[300] * 260), facts(asked), 300.0, 100.0)
        self.assertIsNone(store.lookup(asked, CLIENT, 100.0))

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


class PythonReplayTests(InPython, ReplayRules):
    """
    They hold in Python.
    """


class CompiledReplayTests(InC, ReplayRules):
    """
    They hold in C.
    """
