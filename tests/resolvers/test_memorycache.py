# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.memorycache}.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key, keyOf
from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.interfaces import IAnswerCache, IAnswerer
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.cached import freshAnswer
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.testing import FixedAnswerer, askChain
from dnsguard.wire.edns import EDNS
from dnsguard.wire.names import fromText
from tests.caching.messages import A, message, record, soa, ttls

NAME = "www.example.org"
WWW = fromText(NAME)
QUERY = ClientQuery(WWW)
POLICY = TTLPolicy(minTTL=0, maxTTL=3600, grace=600, staleTTL=600)


def upstreamAnswer(ttl: int = 100, name: bytes = WWW, type: int = A, count: int = 1) -> Answer:
    """
    An upstream's answer with records of that TTL.
    """
    wire, layout = message([record(type, ttl, owner=name)] * count, qname=name, type=type)
    return Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=ttl)


def shownTTLs(answer: Answer | None) -> list[int]:
    """
    The TTLs of an answer there must be.
    """
    assert answer is not None
    assert answer.wire is not None
    return ttls(answer.wire)


class MemoryCacheTests(SynchronousTestCase):
    """
    Tests for L{MemoryCacheResolver}: keeping and giving.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = MemoryCacheResolver(100, clock=self.clock, ttlPolicy=POLICY)

    def test_interface(self) -> None:
        """
        It is an answerer and a cache.
        """
        verifyObject(IAnswerer, self.cache)
        verifyObject(IAnswerCache, self.cache)

    def test_givesWhatItKept(self) -> None:
        """
        What upstream said is given again, with TTLs counted down by its age.
        """
        self.assertIsNone(self.cache.answer(QUERY))
        self.cache.cacheResult(QUERY, upstreamAnswer(100))
        self.clock.advance(30.5)
        answer = self.cache.answer(QUERY)
        assert answer is not None
        self.assertEqual(shownTTLs(answer), [69])
        self.assertEqual((answer.outcome, answer.final), (Outcome.CACHED, True))
        self.assertEqual(answer.replaySeconds, 69.5)

    def test_negativeAnswers(self) -> None:
        """
        NXDOMAIN and NODATA are kept, with their SOA record.
        """
        for code in (dns.ENAME, dns.OK):
            wire, layout = message([], [soa(900, 60)], rCode=code)
            answer = Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=60)
            self.cache.cacheResult(QUERY, answer)
            self.clock.advance(20)
            found = self.cache.answer(QUERY)
            assert found is not None
            self.assertEqual((found.rCode, shownTTLs(found)), (code, [40]))

    def test_variantsAreApart(self) -> None:
        """
        Queries with DO or CD have answers of their own.
        """
        self.cache.cacheResult(QUERY, upstreamAnswer())
        for query in [
            ClientQuery(WWW, edns=EDNS(dnssecOK=True)),
            ClientQuery(WWW, checkingDisabled=True),
            ClientQuery(WWW, edns=EDNS(dnssecOK=True), checkingDisabled=True),
            ClientQuery(WWW, dns.AAAA),
            ClientQuery(WWW, cls=dns.CH),
        ]:
            self.assertIsNone(self.cache.answer(query))
            type = query.type
            self.cache.cacheResult(query, upstreamAnswer(type=type, count=2))
            answer = self.cache.answer(query)
            self.assertEqual(len(shownTTLs(answer)), 2)
            self.assertIsNotNone(self.cache.entry(keyOf(query)))
        self.assertEqual(shownTTLs(self.cache.answer(ClientQuery(WWW, edns=EDNS()))), [100])

    def test_groupsWithoutCache(self) -> None:
        """
        Queries of a group without cache are neither answered nor kept.
        """
        query = ClientQuery(WWW, view=View(1, cacheDisabled=True))
        self.cache.cacheResult(query, upstreamAnswer())
        self.assertIsNone(self.cache.answer(QUERY))
        self.cache.cacheResult(QUERY, upstreamAnswer())
        self.assertIsNone(self.cache.answer(query))
        self.assertIsNotNone(self.cache.answer(ClientQuery(WWW, view=View(2))))

    def test_failuresLeaveWhatIsThere(self) -> None:
        """
        A failure is not kept, nor does it take the place of an answer.
        """
        self.cache.cacheResult(QUERY, upstreamAnswer())
        self.cache.cacheResult(QUERY, Answer.failure(dns.ESERVER, Outcome.SERVFAIL))
        self.assertEqual(shownTTLs(self.cache.answer(QUERY)), [100])

    def test_newAnswerTakesItsPlace(self) -> None:
        """
        A new answer takes the place of the old one, NXDOMAIN that of data;
        the key's age stays.
        """
        self.cache.cacheResult(QUERY, upstreamAnswer())
        self.clock.advance(50)
        wire, layout = message([], [soa(900, 60)], rCode=3)
        gone = Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=60)
        self.cache.cacheResult(QUERY, gone)
        answer = self.cache.answer(QUERY)
        assert answer is not None
        self.assertEqual((answer.rCode, shownTTLs(answer)), (dns.ENAME, [60]))
        entry = self.cache.entry(keyOf(QUERY))
        assert entry is not None
        self.assertEqual(entry.createdAt, 0.0)

    def test_sameAnswerAgain(self) -> None:
        """
        Queries that waited for one answer together offer it one after the
        other: it is kept once. Offered again later, it is a new answer.
        """
        answer = upstreamAnswer(100)
        entries = []
        for seconds in (0.0, 0.1, 50.0, 0.0):
            self.clock.advance(seconds)
            self.cache.cacheResult(QUERY, answer)
            entries.append(self.cache.entry(keyOf(QUERY)))
        self.assertIs(entries[0], entries[1])
        self.assertIsNot(entries[1], entries[2])
        self.assertIs(entries[2], entries[3])
        self.assertEqual(shownTTLs(self.cache.answer(QUERY)), [100])
        self.cache.forget(WWW)
        self.clock.advance(0)
        self.cache.cacheResult(ClientQuery(WWW, received=self.clock.seconds()), answer)
        self.assertIsNotNone(self.cache.answer(QUERY))

    def test_entryFromAnotherCache(self) -> None:
        """
        An answer from a shared store lives no longer here than there.
        """
        other = MemoryCacheResolver(100, clock=self.clock, ttlPolicy=POLICY)
        other.cacheResult(QUERY, upstreamAnswer(100))
        self.clock.advance(40)
        askChain(AnswererChain([self.cache, other]), NAME)
        self.clock.advance(40)
        self.assertEqual(shownTTLs(self.cache.answer(QUERY)), [20])

    def test_hotRefresh(self) -> None:
        """
        The refresh of a hot key is kept for as long as it is true.
        """
        cache = MemoryCacheResolver(10, clock=self.clock, ttlPolicy=TTLPolicy(minTTL=300))
        self.assertTrue(cache.keep(QUERY, upstreamAnswer(20)))
        self.assertEqual(shownTTLs(cache.answer(QUERY)), [300])
        self.assertTrue(cache.keep(QUERY, upstreamAnswer(20), hot=True))
        self.assertEqual(shownTTLs(cache.answer(QUERY)), [20])

    def test_fillsFromUpstreamInAChain(self) -> None:
        """
        In a chain it is filled by what is found behind it.
        """
        upstream = FixedAnswerer(upstreamAnswer())
        chain = AnswererChain([self.cache, upstream])
        outcomes = [askChain(chain, NAME) for _ in range(3)]
        self.assertEqual(
            [answer and answer.outcome for answer in outcomes],
            [Outcome.UPSTREAM, Outcome.CACHED, Outcome.CACHED],
        )
        self.assertEqual(len(upstream.queries), 1)

    def test_withoutClock(self) -> None:
        """
        Without a clock the machine's is used.
        """
        cache = MemoryCacheResolver(10)
        cache.cacheResult(QUERY, upstreamAnswer(1000))
        self.assertIsNotNone(cache.answer(QUERY))
        self.assertEqual(self.successResultOf(cache.clear()), 1)

    def test_noRoom(self) -> None:
        """
        A cache for nothing is a mistake: leave it out.
        """
        self.assertRaises(ValueError, MemoryCacheResolver, 0)


class StaleTests(SynchronousTestCase):
    """
    What is no longer fresh.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = MemoryCacheResolver(
            100, clock=self.clock, ttlPolicy=POLICY, expiredEntryTTL=30
        )
        self.cache.cacheResult(QUERY, upstreamAnswer(100))

    def test_offeredNotFinal(self) -> None:
        """
        A stale answer isn't final, has its own short TTL and says for how long
        it has been stale.
        """
        self.clock.advance(160)
        answer = self.cache.answer(QUERY)
        assert answer is not None
        self.assertEqual((answer.outcome, answer.final), (Outcome.STALE, False))
        self.assertEqual((answer.cacheSeconds, answer.replaySeconds), (-60, 0))
        self.assertEqual(shownTTLs(answer), [30])

    def test_staleFromTheFirstMoment(self) -> None:
        """
        When its time is over, it is stale, not fresh with a TTL of 0.
        """
        self.clock.advance(100)
        answer = self.cache.answer(QUERY)
        assert answer is not None
        self.assertEqual(answer.outcome, Outcome.STALE)

    def test_realAge(self) -> None:
        """
        It is served for C{staleTTL} and not longer.
        """
        self.clock.advance(700)
        self.assertIsNone(self.cache.answer(QUERY))
        self.assertEqual(self.cache.statistics.entries, 0)

    def test_withinGraceButNotToBeServed(self) -> None:
        """
        What is kept longer than it may be served stale isn't served.
        """
        policy = TTLPolicy(minTTL=0, grace=600, staleTTL=10)
        cache = MemoryCacheResolver(100, clock=self.clock, ttlPolicy=policy)
        cache.cacheResult(QUERY, upstreamAnswer(100))
        self.clock.advance(110)
        self.assertIsNotNone(cache.answer(QUERY))
        self.clock.advance(1)
        self.assertIsNone(cache.answer(QUERY))
        self.assertEqual(cache.statistics.entries, 1)

    def test_neverStale(self) -> None:
        """
        With a C{staleTTL} of 0 nothing stale is served.
        """
        policy = TTLPolicy(minTTL=0, staleTTL=0)
        cache = MemoryCacheResolver(100, clock=self.clock, ttlPolicy=policy)
        cache.cacheResult(QUERY, upstreamAnswer(100))
        self.clock.advance(100)
        self.assertIsNone(cache.answer(QUERY))

    def test_outage(self) -> None:
        """
        While upstream fails, a chain gives the stale answer; when upstream is
        back, the very next query is fresh; an upstream's NXDOMAIN is believed.
        """
        says: list[Answer] = [Answer.failure(dns.ESERVER, Outcome.UPSTREAM_ERROR, final=False)]
        chain = AnswererChain([self.cache, FixedAnswerer(lambda query: says[0])])
        self.clock.advance(101)
        for _ in range(3):
            answer = askChain(chain, NAME)
            assert answer is not None
            self.assertEqual(answer.outcome, Outcome.STALE)
            self.clock.advance(60)
        wire, layout = message([], [soa(900, 60)], rCode=3)
        says[0] = Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=60)
        for outcome in (Outcome.UPSTREAM, Outcome.CACHED):
            answer = askChain(chain, NAME)
            assert answer is not None
            self.assertEqual((answer.outcome, answer.rCode), (outcome, dns.ENAME))


class DueTests(SynchronousTestCase):
    """
    Asking for refreshes.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.due: list[tuple[ClientQuery, Tier]] = []
        self.rates: HitRates[Key] = HitRates(100, 60.0)
        self.cache = MemoryCacheResolver(
            100,
            clock=self.clock,
            ttlPolicy=TTLPolicy(minTTL=0),
            refreshPolicy=RefreshPolicy(
                hotThresholdRate=10.0,
                hotTTLFraction=0.5,
                warmThreshold=2,
                warmTTLFraction=0.25,
                jitter=0.0,
            ),
            hits=self.rates,
            onDue=lambda query, tier: self.due.append((query, tier)),
        )
        self.cache.cacheResult(QUERY, upstreamAnswer(1000))

    def replay(self) -> float:
        """
        Ask, and give for how long the reply may be replayed.
        """
        answer = self.cache.answer(QUERY)
        assert answer is not None
        return answer.replaySeconds

    def test_notBeforeItsTime(self) -> None:
        """
        A young entry isn't due however hot; its reply may be replayed until
        the first tier is.
        """
        self.clock.advance(100)
        self.assertEqual([self.replay() for _ in range(50)], [400.0] * 50)
        self.assertEqual(self.due, [])

    def test_hot(self) -> None:
        """
        A hot key is due in the hot tier's time; its reply is replayed for a
        second at most, so that the next look comes soon.
        """
        self.rates.add(keyOf(QUERY), 30.0, 500.0)
        self.clock.advance(500)
        self.assertEqual(self.replay(), 1.0)
        self.assertEqual(self.due, [(QUERY, Tier.HOT)])

    def test_warm(self) -> None:
        """
        A warm key isn't due in the hot tier's time, but in its own. Until then
        it is looked at once a window: it may get hot.
        """
        self.rates.add(keyOf(QUERY), 3.0, 510.0)
        self.clock.advance(510)
        self.assertEqual(self.replay(), 60.0)
        self.assertEqual(self.due, [])
        self.clock.advance(240)
        self.rates.add(keyOf(QUERY), 3.0, 750.0)
        self.replay()
        self.assertEqual(self.due, [(QUERY, Tier.WARM)])

    def test_normal(self) -> None:
        """
        A key hit once is due in the last tenth of its time.
        """
        self.clock.advance(880)
        self.assertEqual(self.replay(), 20.0)
        self.assertEqual(self.due, [])
        self.clock.advance(100)
        self.replay()
        self.assertEqual(self.due, [(QUERY, Tier.NORMAL)])

    def test_manyTTLs(self) -> None:
        """
        However many TTLs there are, what is worked out for each is bounded,
        and right.
        """
        for ttl in range(1000, 3000):
            self.cache.cacheResult(QUERY, upstreamAnswer(ttl))
            self.assertEqual(self.replay(), ttl / 2)
        self.assertLessEqual(len(self.cache._firstDue), 1024)

    def test_lastMoments(self) -> None:
        """
        No reply is replayed for longer than its entry is fresh.
        """
        self.clock.advance(999.5)
        self.assertEqual(self.replay(), 0.5)

    def test_staleIsNobodysHit(self) -> None:
        """
        A stale answer asks for no refresh: its query is on the way upstream
        itself.
        """
        self.clock.advance(1000)
        self.assertEqual(self.replay(), 0.0)
        self.assertEqual(self.due, [])

    def test_withoutAnybodyToRefresh(self) -> None:
        """
        Without somebody to call nothing is due, and no hit is counted.
        """
        rates: HitRates[Key] = HitRates(100, 60.0)
        cache = MemoryCacheResolver(
            100, clock=self.clock, ttlPolicy=TTLPolicy(minTTL=0), hits=rates
        )
        cache.cacheResult(QUERY, upstreamAnswer(1000))
        self.clock.advance(990)
        answer = cache.answer(QUERY)
        assert answer is not None
        self.assertEqual((answer.replaySeconds, len(rates)), (10.0, 0))


class HousekeepingTests(SynchronousTestCase):
    """
    Bounds, counters, clearing and sweeping.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = MemoryCacheResolver(5000, clock=self.clock, ttlPolicy=POLICY)

    def fill(self, count: int, ttl: int = 100, under: str = "example.org") -> None:
        """
        Keep answers for so many names.
        """
        for number in range(count):
            name = fromText(f"n{number}.{under}")
            self.cache.cacheResult(ClientQuery(name), upstreamAnswer(ttl, name))

    def test_counters(self) -> None:
        """
        The statistics say what happened and what is held.
        """
        cache = self.cache = MemoryCacheResolver(3, clock=self.clock, ttlPolicy=POLICY)
        self.fill(5)
        held = ClientQuery(fromText("n4.example.org"))
        cache.answer(held)
        cache.answer(held)
        cache.answer(QUERY)
        self.clock.advance(150)
        cache.answer(held)
        found = attrs.asdict(cache.statistics)
        self.assertGreater(found.pop("bytes"), 3 * 500)
        self.assertEqual(
            found,
            {
                "entries": 3,
                "maxEntries": 3,
                "maxBytes": 64 * 1024 * 1024,
                "hits": 2,
                "staleHits": 1,
                "misses": 1,
                "evictions": 2,
                "refused": 0,
                "fresh": 0,
                "stale": 0,
                "expired": 0,
            },
        )

    def test_keys(self) -> None:
        """
        The keys of what is held can be had, each with its entry.
        """
        self.fill(3)
        keys = self.cache.keys()
        self.assertEqual([key[0][:3] for key in keys], [b"\2n0", b"\2n1", b"\2n2"])
        self.assertTrue(all(map(self.cache.entry, keys)))

    def test_boundInOctets(self) -> None:
        """
        It never holds more octets than it may; what doesn't fit at all is
        refused.
        """
        cache = self.cache = MemoryCacheResolver(
            100, maxBytes=5000, clock=self.clock, ttlPolicy=POLICY
        )
        self.fill(20)
        self.assertLessEqual(cache.statistics.bytes, 5000)
        self.assertGreater(cache.statistics.evictions, 0)
        cache.cacheResult(QUERY, upstreamAnswer(100, count=300))
        self.assertIsNone(cache.answer(QUERY))
        self.assertEqual(cache.statistics.refused, 1)

    def test_otherRules(self) -> None:
        """
        Rules and bounds can change while it runs; what is held stays.
        """
        self.fill(2, ttl=100)
        self.cache.reconfigure(TTLPolicy(minTTL=300), 7, RefreshPolicy())
        self.cache.resize(2, 1 << 20)
        self.assertEqual(self.cache.statistics.maxEntries, 2)
        first = ClientQuery(fromText("n0.example.org"))
        self.assertEqual(shownTTLs(self.cache.answer(first)), [100])
        self.cache.cacheResult(QUERY, upstreamAnswer(100))
        self.assertEqual(shownTTLs(self.cache.answer(QUERY)), [300])
        self.assertEqual(self.cache.statistics.entries, 2)
        self.clock.advance(301)
        self.assertEqual(shownTTLs(self.cache.answer(QUERY)), [7])

    def test_clear(self) -> None:
        """
        After clearing there is nothing, at once; counters go on.
        """
        self.fill(2500)
        done = self.cache.clear()
        self.assertIsNone(self.cache.answer(ClientQuery(fromText("n1.example.org"))))
        self.assertEqual(self.cache.statistics.entries, 0)
        self.assertNoResult(done)
        self.clock.pump([0] * 10)
        self.assertEqual(self.successResultOf(done), 2500)
        self.fill(1)
        self.assertEqual(self.cache.statistics.entries, 1)

    def test_forgetOneName(self) -> None:
        """
        One name is forgotten, in all types and variants, and no other.
        """
        self.fill(3)
        name = fromText("n1.example.org")
        self.cache.cacheResult(ClientQuery(name, 28), upstreamAnswer(100, name, 28))
        cd = ClientQuery(name, checkingDisabled=True)
        self.cache.cacheResult(cd, upstreamAnswer(100, name))
        below = fromText("x.n1.example.org")
        self.cache.cacheResult(ClientQuery(below), upstreamAnswer(100, below))
        done = self.cache.forget(name)
        self.clock.pump([0] * 10)
        self.assertEqual(self.successResultOf(done), 3)
        self.assertEqual(self.cache.statistics.entries, 3)
        self.assertIsNotNone(self.cache.answer(ClientQuery(below)))

    def test_forgetASuffix(self) -> None:
        """
        A name and all below it are forgotten; one that only ends with the same
        letters isn't.
        """
        self.fill(3, under="example.org")
        self.fill(2, under="an-example.org")
        apex = fromText("example.org")
        self.cache.cacheResult(ClientQuery(apex), upstreamAnswer(100, apex))
        done = self.cache.forget(apex, below=True)
        self.clock.pump([0] * 10)
        self.assertEqual(self.successResultOf(done), 4)
        self.assertEqual(self.cache.statistics.entries, 2)

    def test_sweep(self) -> None:
        """
        A sweep removes what is past all use and counts the rest.
        """
        self.fill(4, ttl=10, under="a.example.org")
        self.fill(3, ttl=600, under="b.example.org")
        self.clock.advance(605)
        self.fill(2, ttl=100, under="c.example.org")
        self.clock.advance(6)
        done = self.cache.sweep()
        self.clock.pump([0] * 10)
        self.assertEqual(self.successResultOf(done), 4)
        found = self.cache.statistics
        self.assertEqual((found.fresh, found.stale, found.expired), (2, 3, 4))
        self.assertEqual(found.entries, 5)

    def test_walksYield(self) -> None:
        """
        A long walk lets others have their turn after each thousand entries.
        """
        self.fill(3500)
        turns: list[float] = []

        def note(seconds: float, *args: Any, **kwargs: Any) -> Any:
            turns.append(seconds)
            return Clock.callLater(self.clock, seconds, *args, **kwargs)

        self.patch(self.clock, "callLater", note)
        done = self.cache.sweep()
        self.clock.advance(0)
        self.successResultOf(done)
        self.assertEqual(set(turns), {0.0})
        self.assertGreaterEqual(len(turns), 4)

    def test_changesDuringAWalk(self) -> None:
        """
        Entries that come and go while a walk is under way don't disturb it.
        """
        self.fill(3500)
        done = self.cache.forget(fromText("example.org"), below=True)
        self.clock.advance(0)
        self.fill(100, under="example.net")
        self.fill(100, under="example.org")
        self.clock.pump([0] * 10)
        self.assertLessEqual(self.successResultOf(done), 3500)
        self.assertIsNotNone(self.cache.answer(ClientQuery(fromText("n1.example.net"))))


class NaiveCache:
    """
    What the cache promises, from scratch and without bounds: a dict of answers
    and times.
    """

    def __init__(self, policy: TTLPolicy) -> None:
        self.policy = policy
        self.kept: dict[tuple[str, bool], tuple[int, int, float]] = {}

    def put(self, key: tuple[str, bool], code: int, ttl: int, now: float) -> None:
        if code not in (0, 3) or ttl == 0:
            return
        stored = ttl if self.policy.respectSourceTTL else max(ttl, self.policy.minTTL)
        self.kept[key] = (code, min(stored, self.policy.maxTTL), now)

    def get(self, key: tuple[str, bool], now: float) -> tuple[Any, ...] | None:
        if key not in self.kept:
            return None
        code, stored, then = self.kept[key]
        left = then + stored - now
        if left > 0:
            return code, Outcome.CACHED, [max(int(left), 1)]
        if -left >= max(min(stored, self.policy.grace), self.policy.staleTTL):
            return None
        if self.policy.staleTTL > 0 and -left <= self.policy.staleTTL:
            return code, Outcome.STALE, [30]
        return None


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.sampled_from("abc"),
            st.booleans(),
            st.sampled_from([0, 3, 2, 5]),
            st.integers(0, 200),
        ),
        st.tuples(st.just("get"), st.sampled_from("abc"), st.booleans()),
        st.tuples(st.just("wait"), st.floats(0, 150)),
        st.tuples(st.just("sweep")),
        st.tuples(st.just("forget"), st.sampled_from("abc")),
    ),
    max_size=60,
)

policies = st.builds(
    TTLPolicy,
    minTTL=st.sampled_from([0, 50]),
    maxTTL=st.sampled_from([100, 3600]),
    respectSourceTTL=st.booleans(),
    grace=st.sampled_from([0, 60, 600]),
    staleTTL=st.sampled_from([0, 30, 300]),
)


class DifferentialTests(SynchronousTestCase):
    """
    The cache against a naive one.
    """

    @settings(max_examples=300, deadline=None)
    @given(steps, policies)
    def test_givesWhatANaiveCacheGives(
        self, steps: list[tuple[Any, ...]], policy: TTLPolicy
    ) -> None:
        """
        Over any sequence of answers, questions, waits, sweeps and forgetting,
        it gives what a plain dict of answers and times gives.
        """
        clock = Clock()
        fast = MemoryCacheResolver(100, clock=clock, ttlPolicy=policy)
        slow = NaiveCache(policy)
        for name, *rest in steps:
            now = clock.seconds()
            if name == "wait":
                clock.advance(rest[0])
            elif name == "sweep":
                fast.sweep()
                clock.advance(0)
                clock.advance(0)
            elif name == "forget":
                fast.forget(fromText(rest[0]))
                clock.advance(0)
                clock.advance(0)
                slow.kept = {key: kept for key, kept in slow.kept.items() if key[0] != rest[0]}
            else:
                qname, do = fromText(rest[0]), rest[1]
                query = ClientQuery(qname, edns=EDNS(dnssecOK=do), received=now)
                if name == "put":
                    code, ttl = rest[2:]
                    authority = [soa(ttl, ttl)] if code == 3 else []
                    answers = [record(A, ttl, owner=qname)] if code == 0 else []
                    wire, layout = message(answers, authority, rCode=code, qname=qname)
                    fast.cacheResult(
                        query,
                        Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=ttl),
                    )
                    slow.put((rest[0], do), code, ttl, now)
                else:
                    answer = fast.answer(query)
                    found = answer and (answer.rCode, answer.outcome, shownTTLs(answer))
                    self.assertEqual(found, slow.get((rest[0], do), now))

    def test_replacedAnswerIsStillOurs(self) -> None:
        """
        A cached answer that was changed on its way is kept by its own TTLs.
        """
        cache = MemoryCacheResolver(10, clock=Clock(), ttlPolicy=POLICY)
        cache.cacheResult(QUERY, upstreamAnswer(100))
        entry = cache.entry(keyOf(QUERY))
        assert entry is not None
        changed = freshAnswer(entry, 40.0, 0.0).replace(upstream="other")
        cache.cacheResult(QUERY, changed)
        self.assertEqual(shownTTLs(cache.answer(QUERY)), [40])
