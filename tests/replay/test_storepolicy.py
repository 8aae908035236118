# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.store} and, the same ones, for its compiled twin:
to whom a reply is replayed, and under which policy.
"""

from __future__ import annotations

import time

from dnsguard.policy.view import View
from dnsguard.wire.names import fromText
from tests.support.replay import CLIENT, FakePolicy, facts, reply, request
from tests.support.storerules import V6, InC, InPython, StoreRules


class StorePolicyRules(StoreRules):
    """
    Whose reply it is.
    """

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


class PythonStorePolicyTests(InPython, StorePolicyRules):
    """
    They hold in Python.
    """

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


class CompiledStorePolicyTests(InC, StorePolicyRules):
    """
    They hold in C.
    """

    def test_deadAreSwept(self) -> None:
        """
        What an earlier policy leaves is freed by later drains.
        """
        store = self.makeStore(maxEntries=5000)
        for number in range(3000):
            self.remember(store, self.name(number), 300, now=time.monotonic())
        store.adopt(FakePolicy(1))
        for _ in range(64):
            store.drain()
        self.assertEqual(store.counters()["entries"], 0)
        self.assertEqual(store.counters()["bytes"], 0)
        self.assertEqual(store.counters()["expired"], 3000)
