# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.selection}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.upstream.selection import PROBE_SECONDS, FailureKind, Selector, Standing, Strategy


def standings(count: int = 3) -> list[Standing]:
    """
    Some upstreams nothing is known of.
    """
    return [Standing() for _ in range(count)]


class StandingTests(SynchronousTestCase):
    """
    Tests for L{Standing}.
    """

    def test_latencyIsSmoothed(self) -> None:
        """
        Latency starts at 50 ms and moves a fifth of the way to each sample,
        which counts as at least 1 ms.
        """
        standing = Standing()
        self.assertEqual(standing.latency, 0.05)
        standing.replied(0.1, 1.0)
        self.assertAlmostEqual(standing.latency, 0.06)
        standing.replied(0.0, 1.0)
        self.assertAlmostEqual(standing.latency, 0.06 * 0.8 + 0.001 * 0.2)
        self.assertEqual(standing.replies, 2)

    def test_failureBacksOffAndReplyEndsIt(self) -> None:
        """
        A failure leaves an upstream alone for the backoff; a reply ends that.
        """
        standing = Standing(backoff=30.0)
        standing.failed(FailureKind.UNREACHABLE, 100.0, 101.0)
        self.assertFalse(standing.usable(130.9))
        self.assertTrue(standing.usable(131.0))
        standing.replied(0.01, 110.0)
        self.assertTrue(standing.usable(110.0))
        self.assertEqual(standing.failures[FailureKind.UNREACHABLE], 1)

    def test_slowNameIsNotADeadUpstream(self) -> None:
        """
        A timeout doesn't count against an upstream that has answered
        something else since the question was asked.
        """
        standing = Standing()
        standing.replied(0.01, 101.0)
        standing.failed(FailureKind.TIMEOUT, 100.0, 103.0)
        self.assertTrue(standing.usable(103.0))
        standing.failed(FailureKind.TIMEOUT, 102.0, 105.0)
        self.assertFalse(standing.usable(105.0))
        self.assertEqual(standing.failures[FailureKind.TIMEOUT], 2)

    def test_overloadIsOurs(self) -> None:
        """
        Too many queries of ours aren't the upstream's failure.
        """
        standing = Standing()
        standing.failed(FailureKind.OVERLOAD, 1.0, 1.0)
        self.assertTrue(standing.usable(1.0))

    def test_noBackoff(self) -> None:
        """
        With a backoff of 0 an upstream is never left alone.
        """
        standing = Standing(backoff=0.0)
        standing.failed(FailureKind.CLOSED, 1.0, 1.0)
        self.assertTrue(standing.usable(1.0))


class SelectorTests(SynchronousTestCase):
    """
    Tests for L{Selector}.
    """

    def rounds(self, selector: Selector, now: float = 100.0) -> list[int]:
        """
        All places one query would try, in order.
        """
        tried, last, places = 0, -1, []
        while (place := selector.pick(now, tried, last)) is not None:
            places.append(place)
            tried |= 1 << place
            last = place
        return places

    def test_failoverKeepsTheOrder(self) -> None:
        """
        Failover asks in configured order, each once.
        """
        selector = Selector(Strategy.FAILOVER, standings())
        self.assertEqual([self.rounds(selector) for _ in range(2)], [[0, 1, 2]] * 2)

    def test_loadBalanceRotates(self) -> None:
        """
        Each query starts one further on, and goes round the ring.
        """
        selector = Selector(Strategy.LOAD_BALANCE, standings())
        self.assertEqual(
            [self.rounds(selector) for _ in range(4)],
            [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]],
        )

    def test_weightedAsksTheFastest(self) -> None:
        """
        Weighted goes by latency.
        """
        members = standings()
        members[1].latency = 0.01
        members[0].latency = 0.07
        selector = Selector(Strategy.WEIGHTED, members, random=lambda: 0.99)
        self.assertEqual(self.rounds(selector), [1, 2, 0])

    def test_weightedExplores(self) -> None:
        """
        Now and then weighted asks another one, or it would never learn that
        it has become faster.
        """
        members = standings()
        members[1].latency = 0.01
        chances = iter([0.01, 0.9])
        selector = Selector(Strategy.WEIGHTED, members, random=lambda: next(chances))
        self.assertEqual(selector.pick(100.0), 2)

    def test_failedIsPassedOver(self) -> None:
        """
        One that is left alone comes last.
        """
        for strategy in Strategy:
            members = standings()
            members[0].failed(FailureKind.TIMEOUT, 100.0, 100.0)
            places = self.rounds(Selector(strategy, members, random=lambda: 0.5))
            self.assertEqual(places[-1], 0, strategy)
            self.assertEqual(sorted(places), [0, 1, 2])

    def test_allFailedProbesTheEarliest(self) -> None:
        """
        When all are left alone, the one that may come back first is asked.
        """
        members = standings()
        for at, standing in enumerate(members):
            standing.backoffUntil = 200.0 - at
        for strategy in Strategy:
            selector = Selector(strategy, members)
            self.assertEqual(self.rounds(selector), [2, 1, 0])
            self.assertEqual(selector.everyUsable(100.0), [2])

    def test_oneQueryTriesTheRecovered(self) -> None:
        """
        After the backoff one query finds out; the others go elsewhere until
        it has, or for two seconds.
        """
        members = standings(2)
        members[0].backoffUntil = 100.0
        selector = Selector(Strategy.FAILOVER, members)
        self.assertEqual([selector.pick(100.0) for _ in range(3)], [0, 1, 1])
        self.assertEqual(selector.pick(100.0 + PROBE_SECONDS), 0)
        members[0].replied(0.01, 103.0)
        self.assertEqual([selector.pick(103.0) for _ in range(2)], [0, 0])

    def test_everyUsable(self) -> None:
        """
        Parallel asks all that aren't left alone.
        """
        members = standings()
        members[1].backoffUntil = 200.0
        selector = Selector(Strategy.PARALLEL, members)
        self.assertEqual(selector.everyUsable(100.0), [0, 2])
        self.assertEqual(Selector(Strategy.PARALLEL, []).everyUsable(1.0), [])

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(Strategy),
        st.lists(st.tuples(st.floats(0.001, 2), st.floats(0, 200)), max_size=6),
        st.floats(0, 0.999),
        st.integers(0, 20),
    )
    def test_eachIsTriedOnce(
        self,
        strategy: Strategy,
        facts: list[tuple[float, float]],
        chance: float,
        queries: int,
    ) -> None:
        """
        Whatever is known of the upstreams, a query gets each of them once, and
        the ones left alone behind all others.
        """
        members = [Standing(latency=latency, backoffUntil=until) for latency, until in facts]
        selector = Selector(strategy, members, random=lambda: chance)
        for _ in range(queries):
            selector.pick(100.0)
        usable = {at for at, standing in enumerate(members) if standing.usable(100.0)}
        places = self.rounds(selector)
        self.assertEqual(sorted(places), list(range(len(members))))
        self.assertEqual(set(places[: len(usable)]), usable)
