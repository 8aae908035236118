# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.store} and its compiled twin: many requests at once,
and those of a stream.
"""

from __future__ import annotations

import struct
from time import time_ns
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.replay.batch import RECORD
from dnsguard.replay.store import PythonReplayStore
from tests.replay.test_key import nearlyRequests
from tests.support.replay import CLIENT, FakePolicy, compiled, facts, reply, request
from tests.support.storerules import V6, InC, InPython, StoreRules

_store = compiled("_store")

OTHER = b"\xc6\x33\x64\1"
"""198.51.100.1."""


def framed(*messages: bytes) -> bytes:
    """
    Messages as a stream has them.
    """
    return b"".join(struct.pack("!H", len(message)) + message for message in messages)


class ManyRules(StoreRules):
    """
    What is said of requests at once is what is said of each.
    """

    def known(self, **bounds: int) -> PythonReplayStore:
        """
        A store that has replies for C{host0} to C{host9}.
        """
        store = self.makeStore(**bounds)
        for number in range(10):
            self.remember(store, self.name(number), 300)
        return store

    def test_all(self) -> None:
        """
        Each request gets its reply, with its own id and letter case; those
        there is none for are named by their places.
        """
        store = self.known()
        asked = [
            request("host1.example.org", id=1),
            request("host99.example.org", id=2),
            request(b"\5HOST2\7exAmple\3org\0", id=3),
            b"",
            request("host1.example.org", id=4),
        ]
        single = [store.lookup(each, CLIENT, 101.0) for each in asked]
        store.drain()
        replies, missed = store.lookupAll(asked, [CLIENT] * 5, 101.0)
        self.assertEqual(replies, [each for each in single if each is not None])
        self.assertEqual(missed, [1, 3])
        self.assertEqual(store.counters()["misses"], 4)
        self.assertEqual(self.ttls(replies[0]), [299])

    def test_none(self) -> None:
        """
        Of nothing nothing is found.
        """
        store = self.known()
        self.assertEqual(store.lookupAll([], [], 100.0), ([], []))
        self.assertEqual(len(store.drain()), 0)

    def test_eachItsClient(self) -> None:
        """
        Each request is answered from the view of its own client.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1, ((OTHER, 32, 1), (V6, 128, -1))))
        asked = request()
        for view, ttl in [(0, 10), (1, 20)]:
            store.remember(asked, reply(asked, ttl), facts(asked, view, 1), 300.0, 100.0)
        replies, missed = store.lookupAll([asked] * 4, [OTHER, CLIENT, V6, OTHER], 100.0)
        self.assertEqual([self.ttls(each) for each in replies], [[20], [10], [20]])
        self.assertEqual(missed, [2])

    def test_allLeaveRecords(self) -> None:
        """
        Each request that was answered leaves one record, with its client and
        the size of its reply.
        """
        store = self.known()
        asked = [self.name(3), self.name(77), self.name(4), self.name(3)]
        replies, _ = store.lookupAll(asked, [CLIENT, CLIENT, V6, OTHER], 100.0)
        batch = store.drain()
        records = list(RECORD.iter_unpack(batch.records))
        self.assertEqual(
            [(family, client.rstrip(b"\0")) for *_, family, client in records],
            [(4, CLIENT), (6, V6), (4, OTHER)],
        )
        self.assertEqual([record[3] for record in records], [len(each) for each in replies])
        self.assertEqual([record[4] for record in records], [0, 0, 0])
        names = [batch.entries[record[1]].qname for record in records]
        self.assertEqual(names, [b"\5host%d\7example\3org\0" % n for n in (3, 4, 3)])
        self.assertEqual(sorted(batch.hits.values()), [1, 2])
        self.assertEqual(store.counters()["hits"], 3)

    def test_ringIsBounded(self) -> None:
        """
        What the ring has no room for is answered and counted, at once or one
        by one.
        """
        store = self.known(ringSize=4)
        replies, _ = store.lookupAll([self.name(1)] * 7, [CLIENT] * 7, 100.0)
        _, octets, count = store.lookupStream(framed(self.name(2)), 0, CLIENT, 100.0, 9999)
        self.assertEqual((len(replies), count, len(octets) > 0), (7, 1, True))
        self.assertEqual(store.counters()["ringDropped"], 4)
        self.assertEqual(len(store.drain()), 4)
        self.assertEqual(store.counters()["hits"], 8)

    def test_stream(self) -> None:
        """
        The messages of a stream are answered up to the first that there is no
        reply for; it stays where it is.
        """
        store = self.known()
        first, second = request("host1.example.org", id=1), request("host2.example.org", id=2)
        unknown = request("host99.example.org")
        expected = [store.lookup(each, CLIENT, 102.0) for each in (first, second)]
        octets = framed(first, second, unknown, first)
        for given_ in (octets, bytearray(octets)):
            end, replies, count = store.lookupStream(given_, 0, CLIENT, 102.0, 65536)
            self.assertEqual(end, len(framed(first, second)))
            self.assertEqual(replies, framed(*[each for each in expected if each]))
            self.assertEqual(count, 2)
        behind = len(framed(first, second, unknown))
        end, replies, count = store.lookupStream(octets, behind, CLIENT, 102.0, 65536)
        self.assertEqual((end, count), (len(octets), 1))

    def test_streamOfPieces(self) -> None:
        """
        A message that isn't whole yet is no miss, wherever it is cut.
        """
        store = self.known()
        octets = framed(self.name(1), self.name(2))
        half = len(octets) // 2
        for size in range(half, len(octets)):
            end, _, count = store.lookupStream(octets[:size], 0, CLIENT, 100.0, 65536)
            self.assertEqual((end, count), (half, 1))
        for size in range(half):
            found = store.lookupStream(octets[:size], 0, CLIENT, 100.0, 65536)
            self.assertEqual(found, (0, b"", 0))
        self.assertEqual(store.counters()["misses"], 0)

    def test_streamMisses(self) -> None:
        """
        One message is a miss: those behind it weren't looked at.
        """
        store = self.known()
        for octets in (framed(self.name(98), self.name(99)), framed(b"", b""), framed(b"x")):
            self.assertEqual(store.lookupStream(octets, 0, CLIENT, 100.0, 65536), (0, b"", 0))
        self.assertEqual(store.counters()["misses"], 3)

    def test_streamAtMost(self) -> None:
        """
        After so many octets of replies no more are looked for; one is always.
        """
        store = self.known()
        octets = framed(*[self.name(1)] * 3000)
        one = len(framed(self.name(1)))
        size = len(store.lookupStream(octets, 0, CLIENT, 100.0, 1)[1])
        for most, expected in [(-1, 1), (0, 1), (size, 1), (size + 1, 2), (10 * size, 10)]:
            end, replies, count = store.lookupStream(octets, 0, CLIENT, 100.0, most)
            self.assertEqual((end, count), (expected * one, expected))
            self.assertEqual(len(replies), expected * size)
        _, replies, count = store.lookupStream(octets, 0, CLIENT, 100.0, 1 << 40)
        self.assertLess(len(replies), 65536 + size)
        self.assertLess(count, 3000)

    def test_streamRecords(self) -> None:
        """
        Each of many messages leaves one record, which says that it came over a
        stream, and from whom.
        """
        store = self.known()
        _, _, count = store.lookupStream(
            framed(*[self.name(number % 10) for number in range(150)]), 0, V6, 100.0, 65536
        )
        self.assertEqual(count, 150)
        batch = store.drain()
        records = list(RECORD.iter_unpack(batch.records))
        self.assertEqual({record[4:] for record in records}, {(1, 6, V6)})
        self.assertEqual(sorted(batch.hits.values()), [15] * 10)
        names = [batch.entries[record[1]].qname[:6] for record in records]
        self.assertEqual(names, [b"\5host%d" % (number % 10) for number in range(150)])

    def test_streamOfNobody(self) -> None:
        """
        A client without an IP address, and one who is nobody, get nothing.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1, ((OTHER, 32, -1),)))
        asked = request()
        store.remember(asked, reply(asked, 300), facts(asked, 0, 1), 300.0, 100.0)
        for client in (b"", b"\1\2\3", OTHER):
            found = store.lookupStream(framed(asked), 0, client, 100.0, 65536)
            self.assertEqual(found, (0, b"", 0))

    def test_largestReply(self) -> None:
        """
        The largest reply that is kept goes over a stream as any other.
        """
        store = self.makeStore(payloadLimit=65535)
        asked = request(edns=65535)
        made = reply(asked, *[300] * 252)
        store.remember(asked, made, facts(asked), 300.0, 100.0)
        _, replies, count = store.lookupStream(framed(*[asked] * 40), 0, CLIENT, 100.0, 65536)
        self.assertEqual(replies, framed(made) * count)
        self.assertEqual(count, -(-65536 // (2 + len(made))))

    def test_together(self) -> None:
        """
        Requests that came together have arrived at the same time, and took as
        long as all of them.
        """
        store = self.known()
        before = time_ns()
        store.lookupAll([self.name(1), self.name(77), self.name(2)], [CLIENT] * 3, 100.0)
        after = time_ns()
        (arrived, _, took, *_), second = RECORD.iter_unpack(store.drain().records)
        self.assertEqual((second[0], second[2]), (arrived, took))
        self.assertTrue(before <= arrived <= arrived + took <= after)

    def test_oddMany(self) -> None:
        """
        What isn't octets, or has no address, is an error; nothing is noted.
        """
        store = self.known()
        for asked, addresses in [([None], [CLIENT]), ([self.name(1)], [])]:
            odd: Any = asked
            with self.assertRaises((TypeError, ValueError)):
                store.lookupAll(odd, addresses, 100.0)
        self.assertEqual(len(store.drain()), 0)

    def test_startsWithin(self) -> None:
        """
        A place that isn't in the octets is refused.
        """
        store = self.makeStore()
        for start in (-1, 4):
            with self.assertRaises(ValueError):
                store.lookupStream(b"abc", start, CLIENT, 100.0, 1)
        self.assertEqual(store.lookupStream(b"abc", 3, CLIENT, 100.0, 1), (3, b"", 0))


class PythonManyTests(InPython, ManyRules):
    """
    They hold in Python.
    """


class CompiledManyTests(InC, ManyRules):
    """
    They hold in C.
    """


class AgreementTests(SynchronousTestCase):
    """
    Both stores find the same in whatever comes.
    """

    if _store is None:
        skip = "the compiled store isn't built"

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.one_of(nearlyRequests(), st.binary(max_size=40)), max_size=8),
        st.lists(st.integers(0, 9), max_size=20),
        st.sampled_from([CLIENT, OTHER, V6, b""]),
        st.integers(0, 3),
        st.integers(0, 400),
    )
    def test_same(
        self, messages: list[bytes], order: list[int], client: bytes, cut: int, most: int
    ) -> None:
        """
        Of any mixture of requests, good and bad, known and unknown, whole and
        cut, both stores answer the same ones alike.
        """
        assert _store is not None
        stores = [PythonReplayStore(), _store.CompiledReplayStore()]
        asked = [*messages, request(), request("host1.example.org", edns=1232)]
        for store in stores:
            for each in asked[-2:]:
                store.remember(each, reply(each, 300), facts(each), 300.0, 100.0)
        chosen = [asked[number % len(asked)] for number in order]
        octets = framed(*chosen)[: -cut or None]
        found = []
        for store in stores:
            many = store.lookupAll(chosen, [client] * len(chosen), 101.5)
            stream = store.lookupStream(octets, 0, client, 101.5, most)
            counted = store.counters()
            batch = store.drain()
            records = [record[3:] for record in RECORD.iter_unpack(batch.records)]
            found.append((many, stream, counted["hits"], counted["misses"], records))
        self.assertEqual(found[0], found[1])
