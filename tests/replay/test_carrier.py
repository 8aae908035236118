# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.carrier}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.decision import Decision
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.likeness import Likeness
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.policy.view import NoRules
from dnsguard.replay import carrier as module
from dnsguard.replay.carrier import MOST_SECONDS, PAUSE_SECONDS, TURN_SECONDS, ReplyCarrier
from dnsguard.replay.lives import Kept
from dnsguard.replay.store import PythonReplayStore
from tests.support.replay import CLIENT, facts, reply, request

WWW, ADS = request("www.example.org"), request("ads.example")


class SlowClock(Clock):
    """
    A clock on which looking at the time takes some.
    """

    takes = 0.0
    turns = 0

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:
        """
        Note that something waits for a turn.
        """
        self.turns += 1
        return super().callLater(delay, callable, *args, **kw)

    def seconds(self) -> float:
        """
        Tell the time.
        """
        self.rightNow += self.takes
        return super().seconds()


class CountingStore(PythonReplayStore):
    """
    A store that notes how it turned to policies.
    """

    def __init__(self, **bounds: int) -> None:
        super().__init__(**bounds)
        self.adopted: list[Kept] = []
        self.judged: list[int] = []

    def adopt(self, policy: Any, kept: Kept = Kept.NOTHING) -> None:
        """
        Note it.
        """
        self.adopted.append(kept)
        super().adopt(policy, kept)

    def carryOn(self, most: int, now: float) -> bool:
        """
        Note it.
        """
        self.judged.append(most)
        return super().carryOn(most, now)


class Tripping(NoRules):
    """
    Rules that break.
    """

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Break.
        """
        raise ValueError("no rule")


class ReplyCarrierTests(SynchronousTestCase):
    """
    Tests for L{ReplyCarrier}.
    """

    def setUp(self) -> None:
        self.clock = SlowClock()
        self.clock.advance(100.0)
        self.store = CountingStore()
        self.policies = Policies(Policy.of(DomainSet.parse("other.example")))
        self.carrier = self.make()

    def make(self, **arguments: Any) -> ReplyCarrier:
        """
        Make a carrier that follows the policies.
        """
        carrier = ReplyCarrier(self.store, self.policies, self.clock, **arguments)
        carrier.adopt(self.policies.current)
        self.policies.subscribe(carrier.adopt)
        self.store.adopted.clear()
        return carrier

    def remember(self, *requests: bytes) -> None:
        """
        Have replies kept.
        """
        for datagram in requests:
            kept = facts(datagram, 0, self.store.generation)
            self.store.remember(datagram, reply(datagram, 300), kept, 300.0, self.clock.seconds())

    def found(self, *requests: bytes) -> list[bool]:
        """
        Which requests are answered?
        """
        now = self.clock.seconds()
        return [self.store.lookup(datagram, CLIENT, now) is not None for datagram in requests]

    def prepare(self, policy: Policy, **arguments: float) -> Deferred[None]:
        """
        Have replies gone through.
        """
        return Deferred.fromCoroutine(self.carrier.prepare(policy, **arguments))

    def listing(self, *names: str) -> Policy:
        """
        A policy that blocks some names.
        """
        return Policy.of(DomainSet.parse(" ".join(names)))

    def test_others(self) -> None:
        """
        A policy that was prepared for leaves replies of which it says nothing
        else; those for names that it blocks are dead from then on.
        """
        self.remember(WWW, ADS)
        policy = self.listing("ads.example")
        self.successResultOf(self.prepare(policy))
        self.assertEqual(self.found(WWW, ADS), [True, True])
        self.policies.publish(policy)
        self.assertEqual(self.found(WWW, ADS), [True, False])
        self.assertEqual(self.store.adopted, [Kept.CARRIED])
        self.assertEqual((self.carrier.prepared, self.carrier.whole), (1, 0))

    def test_same(self) -> None:
        """
        A policy that changes nothing is adopted without going through anything.
        """
        self.remember(WWW)
        lists = DomainSet.parse("ads.example")
        self.policies.publish(Policy.of(lists))
        self.remember(WWW)
        same = Policy.of(lists)
        self.successResultOf(self.prepare(same))
        self.policies.publish(same)
        self.assertEqual(self.found(WWW), [True])
        self.assertEqual(self.store.adopted, [Kept.NOTHING, Kept.ALL])
        self.assertEqual((self.store.judged, self.carrier.whole), ([], 1))

    def test_nothingAlike(self) -> None:
        """
        Where no view is as it was, there is nothing to go through.
        """
        self.remember(WWW)
        policy = Policy.of(records=[("nas.example.org", "A", "192.0.2.7")])
        self.successResultOf(self.prepare(policy))
        self.policies.publish(policy)
        self.assertEqual((self.found(WWW), self.store.judged), ([False], []))

    def test_unprepared(self) -> None:
        """
        A policy published without being prepared for leaves nothing, and neither
        does one that isn't the one prepared for.
        """
        self.remember(WWW)
        self.policies.publish(self.listing("ads.example"))
        self.assertEqual(self.found(WWW), [False])
        self.remember(WWW)
        policy = self.listing("more.example")
        self.successResultOf(self.prepare(policy))
        self.policies.publish(self.listing("www.example.org"))
        self.assertEqual(self.found(WWW), [False])
        self.remember(WWW)
        self.policies.publish(policy)
        self.assertEqual(self.found(WWW), [False])
        self.assertEqual(self.store.adopted, [Kept.NOTHING] * 3)

    def test_inTurns(self) -> None:
        """
        Replies are gone through for a millisecond at a time; the policy waits.
        """
        names = [request(f"host{number}.example.org") for number in range(500)]
        self.remember(*names)
        self.clock.takes = TURN_SECONDS / 3.5
        preparing = self.prepare(self.listing("ads.example"))
        self.assertNoResult(preparing)
        self.assertTrue(1 <= len(self.store.judged) <= 4, self.store.judged)
        (call,) = self.clock.getDelayedCalls()
        self.assertTrue(call.getTime() >= self.clock.rightNow + PAUSE_SECONDS / 2)
        while not preparing.called:
            self.clock.advance(PAUSE_SECONDS)
            self.assertTrue(len(self.store.judged) <= 4 * (self.clock.turns + 1))
        self.successResultOf(preparing)
        self.assertTrue(self.clock.turns >= 500 / 32 / 4 - 1, self.clock.turns)
        self.assertTrue(sum(self.store.judged) >= 500)

    def test_noTime(self) -> None:
        """
        What can't be gone through in time is dead, and no policy is kept waiting
        longer.
        """
        self.patch(module, "_AT_ONCE", 1)
        names = [request(f"host{number}.example.org") for number in range(3000)]
        self.remember(*names)
        self.found(*names)
        self.clock.takes = TURN_SECONDS / 2.5
        began = self.clock.rightNow
        policy = self.listing("ads.example")
        preparing = self.prepare(policy)
        while not preparing.called:
            self.clock.advance(PAUSE_SECONDS)
        self.successResultOf(preparing)
        took = self.clock.rightNow - began
        self.assertTrue(MOST_SECONDS <= took < MOST_SECONDS + 0.01, took)
        self.policies.publish(policy)
        found = sum(self.found(*names))
        self.assertTrue(0 < found < 2000, found)
        self.assertEqual(self.carrier.late, 1)

    def test_pausedMeanwhile(self) -> None:
        """
        Who pauses blocking doesn't wait; nothing lives on then, and what was being
        prepared is published as if it hadn't been.
        """
        names = [request(f"host{number}.example.org") for number in range(500)]
        self.remember(*names)
        self.clock.takes = TURN_SECONDS / 2.5
        policy = self.listing("ads.example")
        preparing = self.prepare(policy)
        self.assertNoResult(preparing)
        self.policies.publish(self.policies.current.paused(1e9, 0.0))
        self.assertEqual(sum(self.found(*names)), 0)
        self.remember(*names)
        self.clock.advance(PAUSE_SECONDS)
        self.successResultOf(preparing)
        self.policies.publish(policy)
        self.assertEqual(sum(self.found(*names)), 0)
        self.assertEqual(self.store.adopted, [Kept.NOTHING, Kept.NOTHING])

    def test_publishedWhileCompared(self) -> None:
        """
        What was compared with a policy that is no more isn't gone by.
        """
        waiting: list[Callable[[], None]] = []

        def inThread(compare: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            comparing: Deferred[Any] = Deferred()
            waiting.append(lambda: comparing.callback(compare(*arguments)))
            return comparing

        self.carrier = self.make(inThread=inThread)
        policy = self.listing("other.example")
        preparing = self.prepare(policy)
        self.policies.publish(self.listing("ads.example"))
        self.remember(WWW)
        waiting.pop()()
        self.successResultOf(preparing)
        self.policies.publish(policy)
        self.assertEqual(self.found(WWW), [False])

    def test_storedMeanwhile(self) -> None:
        """
        What is answered while replies are gone through lives on if it may.
        """
        names = [request(f"host{number}.example.org") for number in range(500)]
        self.remember(*names)
        self.clock.takes = TURN_SECONDS / 2.5
        policy = self.listing("ads.example")
        preparing = self.prepare(policy)
        self.remember(WWW, ADS)
        while not preparing.called:
            self.clock.advance(PAUSE_SECONDS)
        self.policies.publish(policy)
        self.assertEqual(self.found(WWW, ADS), [True, False])

    def test_moved(self) -> None:
        """
        Replies to names that a list has in another line live on, and are recorded
        with that one.
        """
        before, after = self.listing("ads.example"), self.listing("more.example ads.example")
        self.policies.publish(before)
        why, later = (policy.views[0].rules.decide(ADS[12:-4], 1) for policy in (before, after))
        assert why is not None
        assert later is not None
        kept = facts(ADS, 0, self.store.generation).attributedTo(why.attribution)
        self.store.remember(ADS, reply(ADS, 300), kept, 300.0, self.clock.seconds())
        self.successResultOf(self.prepare(after))
        self.policies.publish(after)
        self.assertEqual(self.found(ADS), [True])
        batch = self.store.drain()
        (number,) = batch.hits
        found = batch.entries[number]
        self.assertEqual(found.attribution, later.attribution)
        self.assertEqual(later.attribution.line, why.attribution.line + 1)

    def test_rulesBreak(self) -> None:
        """
        Rules that break on a name let its replies die, and nothing else happens.
        """
        policies = Policies(Policy.of(NoRules()))
        self.policies = policies
        self.carrier = self.make()
        self.remember(WWW)
        policy = Policy.of(Tripping())
        self.successResultOf(self.prepare(policy))
        policies.publish(policy)
        self.assertEqual((self.found(WWW), self.carrier.failures), ([False], 1))

    def test_comparingBreaks(self) -> None:
        """
        When policies can't be compared, that is logged, and all replies die.
        """
        self.carrier = self.make(inThread=lambda *_: fail(ValueError("no thread")))
        self.remember(WWW)
        policy = self.listing("ads.example")
        self.successResultOf(self.prepare(policy))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.policies.publish(policy)
        self.assertEqual((self.found(WWW), self.carrier.failures), ([False], 1))

    def test_judge(self) -> None:
        """
        A reply keeps its facts, or is none of the coming policy's.
        """
        likeness = Likeness.of(self.policies.current, self.listing("ads.example"))
        judge = self.carrier._judge(likeness)
        kept = facts(WWW, 0)
        self.assertIs(judge(kept), kept)
        for other in (facts(ADS, 0), facts(WWW, 1), facts(WWW, None)):
            self.assertIsNone(judge(other))
