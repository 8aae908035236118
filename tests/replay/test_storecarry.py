# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.store} and, the same ones, for its compiled twin:
which replies live on under the next policy.
"""

from __future__ import annotations

import time

from zope.interface.verify import verifyObject

from dnsguard.interfaces import IReplayStore
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.policy.view import View
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.replay.lives import Judge, Kept
from dnsguard.replay.store import PythonReplayStore
from dnsguard.wire.names import fromText
from tests.support.replay import CLIENT, FakePolicy, facts, reply, request
from tests.support.storerules import InC, InPython, StoreRules

WWW, MAIL = request("www.example.org"), request("mail.example.org")


def only(*names: str) -> Judge:
    """
    Make a judge that lets replies about some names live on.
    """
    wire = {fromText(name) for name in names}

    def judge(facts: ReplayedAnswer) -> ReplayedAnswer | None:
        return facts if facts.qname in wire else None

    return judge


class StoreCarryRules(StoreRules):
    """
    What lives on.
    """

    def found(self, store: PythonReplayStore, *asked: bytes, now: float = 100.0) -> list[bool]:
        """
        Which requests are answered, each asked for in three ways.
        """
        found = []
        for datagram in asked:
            name = datagram[12:16]
            upper = datagram.replace(name, name.upper())
            ways = [
                store.lookup(datagram, CLIENT, now) is not None,
                store.lookup(upper, CLIENT, now) is not None,
                bool(store.lookupAll([datagram], [CLIENT], now)[0]),
            ]
            self.assertEqual(len(set(ways)), 1, ways)
            found.append(ways[0])
        return found

    def carryOver(self, store: PythonReplayStore, now: float = 100.0) -> None:
        """
        Look at all replies.
        """
        for _ in range(100_000):
            if store.carryOn(10, now):
                return
        self.fail("there is no end to it")

    def test_interface(self) -> None:
        """
        It is a replay store.
        """
        self.assertTrue(verifyObject(IReplayStore, self.makeStore()))

    def test_carried(self) -> None:
        """
        What is judged to hold for the next policy does, in any way of asking for
        it, as long as it would have; the rest is dead.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1))
        made = self.remember(store, WWW, 300)
        self.remember(store, MAIL, 300)
        store.beginCarrying(only("www.example.org"))
        self.carryOver(store)
        self.assertEqual(self.found(store, WWW, MAIL), [True, True])
        store.adopt(FakePolicy(2), Kept.CARRIED)
        self.assertEqual(store.generation, 2)
        self.assertEqual(self.found(store, WWW, MAIL), [True, False])
        self.assertEqual(store.lookup(WWW, CLIENT, 100.0), made)
        self.assertEqual(self.ttls(store.lookup(WWW, CLIENT, 150.0)), [250])
        self.assertIsNone(store.lookup(WWW, CLIENT, 400.0))

    def test_carriedAgain(self) -> None:
        """
        What was carried over once is judged again for the next policy.
        """
        store = self.makeStore()
        self.remember(store, WWW, 300)
        self.remember(store, MAIL, 300)
        for generation, names, expected in [
            (1, ("www.example.org", "mail.example.org"), [True, True]),
            (2, ("www.example.org", "mail.example.org"), [True, True]),
            (3, ("mail.example.org",), [False, True]),
            (4, ("www.example.org", "mail.example.org"), [False, True]),
        ]:
            store.beginCarrying(only(*names))
            self.carryOver(store)
            store.adopt(FakePolicy(generation), Kept.CARRIED)
            self.assertEqual(self.found(store, WWW, MAIL), expected)

    def test_all(self) -> None:
        """
        A policy that changes nothing leaves all as it is, and may give clients
        other views.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1, ((CLIENT, 32, 1),), View(number=0)))
        self.remember(store, WWW, 77, view=1)
        self.remember(store, WWW, 66, view=0)
        store.adopt(FakePolicy(2, ((CLIENT, 32, 1),), View(number=0)), Kept.ALL)
        self.assertEqual(self.ttls(store.lookup(WWW, CLIENT, 100.0)), [77])
        store.adopt(FakePolicy(3, (), View(number=0)), Kept.ALL)
        self.assertEqual(self.ttls(store.lookup(WWW, CLIENT, 100.0)), [66])
        self.assertEqual(store.generation, 3)
        store.remember(WWW, reply(WWW, 60), facts(WWW, 0, 2), 60.0, 100.0)
        self.assertEqual(store.counters()["refused"], 1)
        store.adopt(FakePolicy(4))
        self.assertEqual(self.found(store, WWW), [False])

    def test_clientsOfCarried(self) -> None:
        """
        Clients see what was carried over for the view that they have now.
        """
        store = self.makeStore()
        store.adopt(FakePolicy(1, ((CLIENT, 32, 1),), View(number=0)))
        self.remember(store, WWW, 77, view=1)
        self.remember(store, WWW, 66, view=0)
        store.beginCarrying(only("www.example.org"))
        self.carryOver(store)
        store.adopt(FakePolicy(2, (), View(number=0)), Kept.CARRIED)
        self.assertEqual(self.ttls(store.lookup(WWW, CLIENT, 100.0)), [66])

    def test_anotherPolicyBetween(self) -> None:
        """
        What was carried over to a policy that never came is dead under those that
        come instead.
        """
        store = self.makeStore()
        self.remember(store, WWW, 300)
        store.beginCarrying(only("www.example.org"))
        self.carryOver(store)
        store.adopt(FakePolicy(1))
        self.assertEqual(self.found(store, WWW), [False])
        self.assertTrue(store.carryOn(10, 100.0))
        for generation, kept in enumerate((Kept.CARRIED, Kept.NOTHING, Kept.CARRIED), 2):
            store.adopt(FakePolicy(generation), kept)
            self.assertEqual(self.found(store, WWW), [False])
        store.beginCarrying(only("www.example.org"))
        store.adopt(FakePolicy(5), Kept.CARRIED)
        self.assertEqual(self.found(store, WWW), [False])

    def test_begunAnew(self) -> None:
        """
        Who begins to carry over to another policy has nothing of the one before.
        """
        store = self.makeStore()
        self.remember(store, WWW, 300)
        self.remember(store, MAIL, 300)
        store.beginCarrying(only("www.example.org", "mail.example.org"))
        self.carryOver(store)
        store.beginCarrying(only("mail.example.org"))
        self.carryOver(store)
        store.adopt(FakePolicy(1), Kept.CARRIED)
        self.assertEqual(self.found(store, WWW, MAIL), [False, True])

    def test_forgottenBetween(self) -> None:
        """
        What is forgotten meanwhile isn't carried over: a name, or all there is.
        """
        store = self.makeStore()
        self.remember(store, WWW, 300)
        self.remember(store, MAIL, 300)
        store.beginCarrying(only("www.example.org", "mail.example.org"))
        self.carryOver(store)
        store.forget(fromText("www.example.org"))
        store.adopt(FakePolicy(1), Kept.CARRIED)
        self.assertEqual(self.found(store, WWW, MAIL), [False, True])
        store.beginCarrying(only("mail.example.org"))
        self.carryOver(store)
        store.forget(None)
        self.remember(store, WWW, 300)
        self.assertEqual(self.found(store, WWW, MAIL), [True, False])
        store.adopt(FakePolicy(2), Kept.CARRIED)
        self.assertEqual(self.found(store, WWW, MAIL), [False, False])

    def test_storedMeanwhile(self) -> None:
        """
        What is stored while replies are gone through is judged at once; it holds
        for both policies, or for the present one alone.
        """
        store = self.makeStore()
        store.beginCarrying(only("www.example.org"))
        self.remember(store, WWW, 300)
        self.remember(store, MAIL, 300)
        self.assertEqual(self.found(store, WWW, MAIL), [True, True])
        store.adopt(FakePolicy(1), Kept.CARRIED)
        self.assertEqual(self.found(store, WWW, MAIL), [True, False])
        self.remember(store, MAIL, 300)
        store.adopt(FakePolicy(2))
        self.assertEqual(self.found(store, WWW, MAIL), [False, False])

    def test_replacedMeanwhile(self) -> None:
        """
        A reply that takes a judged one's place is judged anew.
        """
        store = self.makeStore()
        verdicts = [True, False]
        self.remember(store, WWW, 300)
        store.beginCarrying(lambda facts: facts if verdicts.pop(0) else None)
        self.carryOver(store)
        self.remember(store, WWW, 200)
        store.adopt(FakePolicy(1), Kept.CARRIED)
        self.assertEqual((self.found(store, WWW), verdicts), ([False], []))

    def test_bitByBit(self) -> None:
        """
        No more are judged at once than is wanted, each once, and those that were
        asked for before the others. The others are dead if there is no time.
        """
        store = self.makeStore(maxEntries=1000)
        names = [f"host{number}.example.org" for number in range(200)]
        for name in names:
            self.remember(store, request(name), 300)
        asked = names[::4]
        self.found(store, *map(request, asked))
        seen: list[bytes] = []

        def judge(facts: ReplayedAnswer) -> ReplayedAnswer:
            seen.append(facts.qname)
            return facts

        store.beginCarrying(judge)
        while len(seen) < 80:
            before = len(seen)
            self.assertFalse(store.carryOn(8, 100.0))
            self.assertTrue(len(seen) <= before + 8)
        self.assertEqual(set(seen[:50]), set(map(fromText, asked)))
        self.assertEqual(len(set(seen)), len(seen))
        store.adopt(FakePolicy(1), Kept.CARRIED)
        for name in names:
            self.assertEqual(self.found(store, request(name)), [fromText(name) in seen])
        counters = store.counters()
        self.assertEqual((counters["carried"], counters["ended"]), (len(seen), 200 - len(seen)))

    def test_allJudgedOnce(self) -> None:
        """
        Going on until there are no more finds every reply, once.
        """
        store = self.makeStore(maxEntries=500)
        for number in range(300):
            self.remember(store, self.name(number), 300)
        seen: list[bytes] = []

        def judge(facts: ReplayedAnswer) -> None:
            seen.append(facts.qname)

        store.beginCarrying(judge)
        for _ in range(10_000):
            if store.carryOn(7, 100.0):
                break
        self.assertEqual((len(seen), len(set(seen))), (300, 300))

    def test_expired(self) -> None:
        """
        What is over isn't judged, nor does it come to life again.
        """
        store = self.makeStore()
        self.remember(store, WWW, 10)
        self.found(store, WWW)
        store.beginCarrying(lambda facts: facts)
        self.carryOver(store, 111.0)
        store.adopt(FakePolicy(1), Kept.CARRIED)
        self.assertEqual(store.counters()["carried"], 0)
        self.assertEqual(self.found(store, WWW, now=111.0), [False])

    def test_records(self) -> None:
        """
        What was carried over is recorded with the facts it had.
        """
        store = self.makeStore()
        self.remember(store, WWW, 300)
        self.assertIsNotNone(store.lookup(WWW, CLIENT, 100.0))
        store.beginCarrying(only("www.example.org"))
        self.carryOver(store)
        store.adopt(FakePolicy(1), Kept.CARRIED)
        self.assertIsNotNone(store.lookup(WWW, CLIENT, 100.0))
        batch = store.drain()
        ((number, times),) = batch.hits.items()
        self.assertEqual((batch.entries[number].qname, times), (fromText("www.example.org"), 2))

    def test_otherFacts(self) -> None:
        """
        What is carried over with other facts is recorded with those, whether it
        was there before or is stored meanwhile.
        """
        store = self.makeStore()
        self.remember(store, WWW, 300)
        self.assertIsNotNone(store.lookup(WWW, CLIENT, 100.0))
        why = Attribution(RuleKind.LIST, "ads", "example.org", 7, fromText("example.org"))
        store.beginCarrying(lambda facts: facts.attributedTo(why))
        self.carryOver(store)
        self.remember(store, MAIL, 300)
        store.adopt(FakePolicy(1), Kept.CARRIED)
        for asked in (WWW, MAIL):
            self.assertIsNotNone(store.lookup(asked, CLIENT, 100.0))
        batch = store.drain()
        told = {
            (facts.qname, facts.attribution): hits
            for number, hits in batch.hits.items()
            for facts in [batch.entries[number]]
        }
        www, mail = WWW[12:-4], MAIL[12:-4]
        # What was asked before is recorded as it was then.
        self.assertEqual(told, {(www, None): 1, (www, why): 1, (mail, why): 1})
        for _ in range(4):
            store.drain()
        self.assertIsNotNone(store.lookup(WWW, CLIENT, 100.0))
        batch = store.drain()
        (number,) = batch.hits
        self.assertEqual(batch.entries[number].attribution, why)

    def test_deadAreSwept(self) -> None:
        """
        What isn't carried over is freed by later drains.
        """
        store = self.makeStore(maxEntries=5000)
        now = time.monotonic()
        for number in range(3000):
            self.remember(store, self.name(number), 300, now=now)
        kept = {f"host{number}.example.org" for number in range(0, 3000, 3)}
        store.beginCarrying(only(*kept))
        self.carryOver(store, now)
        store.adopt(FakePolicy(1), Kept.CARRIED)
        for _ in range(64):
            store.drain()
        counters = store.counters()
        self.assertEqual(counters["entries"], 1000)
        self.assertEqual(counters["expired"], 2000)
        self.assertEqual((counters["carried"], counters["ended"]), (1000, 2000))

    def test_evictedFirst(self) -> None:
        """
        Where there is no room, the dead go before those that were carried over.
        """
        store = self.makeStore(maxEntries=40)
        names = [self.name(number) for number in range(40)]
        for name in names:
            self.remember(store, name, 300)
        kept = store.counters()["entries"]
        self.assertTrue(kept > 30)
        self.found(store, *names[:10])
        alive = [name for name in names[:10] if store.lookup(name, CLIENT, 100.0)]
        store.beginCarrying(only(*(f"host{number}.example.org" for number in range(10))))
        self.carryOver(store)
        store.adopt(FakePolicy(1), Kept.CARRIED)
        for number in range(100, 110):
            self.remember(store, self.name(number), 300)
        self.assertEqual(self.found(store, *alive), [True] * len(alive))


class PythonStoreCarryTests(InPython, StoreCarryRules):
    """
    They hold in Python.
    """


class CompiledStoreCarryTests(InC, StoreCarryRules):
    """
    They hold in C.
    """
