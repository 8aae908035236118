# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The store of shared answers over a real server: what Redis makes of what it is
asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.candidate import Clearing, Standing
from dnsguard.caching.entry import Entry
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore
from dnsguard.observers.hitcounter import KEYS_A_TURN, PAUSE, HitCounter
from dnsguard.redis.cachestore import RedisAnswerStore
from dnsguard.redis.channel import ClearingChannel
from dnsguard.redis.endpoints import Place, endpointOf
from dnsguard.redis.link import Link
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.names import fromText
from tests.redis.entries import POLICY, entryFor, keyFor
from tests.support.redisserver import MISSING, RedisServer
from tests.support.replaybatch import FakeReplayBatch

KEY = keyFor()
NAME = "dns:www.example.org:1:1"


class Instance:
    """
    A store with its connections.
    """

    def __init__(self, server: RedisServer) -> None:
        endpoint = endpointOf(Place("127.0.0.1", server.port), reactor)
        # Patient: these tests are about what is done, not how fast.
        self.front = Link(endpoint, reactor, deadline=5.0)
        self.back = Link(endpoint, reactor, deadline=5.0)
        self.store = RedisAnswerStore(self.front, self.back, reactor, ttlPolicy=POLICY)
        self.channel = ClearingChannel(endpoint, self.back, reactor, self.store.cleared)
        self.store.announcer = self.channel

    def start(self) -> None:
        """
        Connect.
        """
        for each in (self.front, self.back, self.channel):
            each.start()

    @property
    def ready(self) -> bool:
        """
        Is all connected?
        """
        return self.front.available and self.back.available and self.channel.listening

    def stop(self) -> Any:
        """
        Hang up.
        """
        return gatherResults([each.stop() for each in (self.front, self.back, self.channel)])


class StoreTests(TestCase):
    """
    Tests for L{RedisAnswerStore}.
    """

    if MISSING:
        skip = MISSING

    # For a busy machine; nothing here takes a second.
    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        self.server = RedisServer(Path(self.mktemp()).absolute())
        self.addCleanup(self.server.stop)
        self.server.start()
        self.instance = await self.connect()
        self.store = self.instance.store

    async def connect(self) -> Instance:
        """
        Another instance of the same server.
        """
        instance = Instance(self.server)
        self.addCleanup(instance.stop)
        instance.start()
        await self.until(lambda: instance.ready)
        return instance

    async def until(self, condition: Callable[[], object]) -> None:
        """
        Wait until something holds.
        """
        while not condition():
            await deferLater(reactor, 0.005)

    def now(self) -> float:
        """
        The time that entries are in.
        """
        seconds: float = reactor.seconds()
        return seconds

    async def put(self, *keys: Key, age: float = 0.0) -> list[Entry]:
        """
        Have answers in the store.
        """
        entries = [entryFor(key, self.now() - age) for key in keys]
        before = self.store.counters()["written"]
        for key, entry in zip(keys, entries, strict=True):
            self.store.put(key, entry)
        await self.until(lambda: self.store.counters()["written"] == before + len(keys))
        return entries

    async def test_kept(self) -> None:
        """
        An answer comes back as it was put, has the documented fields, a time to
        live and a place in the index.
        """
        verifyObject(IAnswerStore, self.store)
        (entry,) = await self.put(KEY)
        found = await self.store.get(KEY)
        assert found is not None
        self.assertEqual((found.wire, found.storedTTL, found.authTTL), (entry.wire, 300, 300))
        self.assertLess(abs(found.softExpiry - entry.softExpiry), 1.0)
        fields = self.server.ask("HGETALL", NAME)
        self.assertEqual(
            sorted(fields[::2]),
            [b"auth_ttl", b"created_at", b"msg", b"soft_expiry", b"stored_ttl"],
        )
        seconds = self.server.ask("TTL", NAME)
        self.assertTrue(3895 <= seconds <= 3900, seconds)
        self.assertEqual(self.server.ask("ZCARD", "dnsmeta:expiry:index"), 1)

    async def test_createdOnce(self) -> None:
        """
        Putting an answer anew doesn't make its key young.
        """
        await self.put(KEY)
        self.server.ask("HSET", NAME, "created_at", "1000")
        await self.put(KEY)
        self.assertEqual(self.server.ask("HGET", NAME, "created_at"), b"1000")

    async def test_oldestForm(self) -> None:
        """
        A bare message is found, and becomes a hash.
        """
        await self.put(KEY)
        self.server.ask(
            "EVAL",
            "local m = redis.call('HGET', KEYS[1], 'msg') redis.call('DEL', KEYS[1])"
            " return redis.call('SET', KEYS[1], m, 'EX', 100)",
            "1",
            NAME,
        )
        found = await self.store.get(KEY)
        assert found is not None
        self.assertTrue(98.0 <= found.remaining(self.now()) <= 100.0)
        await self.until(lambda: self.server.ask("TYPE", NAME) == "hash")
        self.assertEqual(self.store.counters()["legacy"], 1)

    async def test_anotherType(self) -> None:
        """
        What isn't ours under an answer's name gives way, looked up or put.
        """
        self.server.ask("LPUSH", NAME, "x")
        self.assertIsNone(await self.store.get(KEY))
        self.assertEqual(self.server.ask("EXISTS", NAME), 0)
        self.server.ask("LPUSH", NAME, "x")
        await self.put(KEY)
        self.assertEqual(self.server.ask("TYPE", NAME), "hash")

    async def test_scriptsForgotten(self) -> None:
        """
        A server that has forgotten the scripts learns them again.
        """
        await self.put(KEY)
        self.server.ask("SCRIPT", "FLUSH")
        await self.put(KEY, keyFor("a.example.org"))
        self.assertEqual(self.store.counters()["writes_failed"], 0)

    async def test_locks(self) -> None:
        """
        One instance at a time has a lock, and gives back its own only.
        """
        other = (await self.connect()).store
        token = await self.store.lock(KEY, 30.0)
        assert token is not None
        self.assertIsNone(await other.lock(KEY, 30.0))
        self.assertFalse(await other.unlock(KEY, b"guessed"))
        self.assertTrue(await self.store.unlock(KEY, token))
        self.assertFalse(await self.store.unlock(KEY, token))
        again = await other.lock(KEY, 0.02)
        assert again is not None
        await self.until(lambda: not self.server.ask("EXISTS", f"dnsmeta:refresh:{NAME}"))
        self.assertIsNotNone(await self.store.lock(KEY, 30.0))
        # Its time was over: by now it is somebody else's.
        self.assertFalse(await other.unlock(KEY, again))

    async def test_claims(self) -> None:
        """
        One instance at a time has common work to do.
        """
        other = (await self.connect()).store
        self.assertTrue(await self.store.claim("sweep", 30.0))
        self.assertFalse(await other.claim("sweep", 30.0))
        self.assertTrue(await other.claim("cleaning", 30.0))

    async def test_hits(self) -> None:
        """
        Counters add up over instances, and live for a window from the last
        time.
        """
        other = (await self.connect()).store
        many = {keyFor(f"n{number}.example.org"): number + 1 for number in range(250)}
        await self.store.addHits(many, 60.0)
        await other.addHits({keyFor("n9.example.org"): 5}, 60.0)
        await self.store.addSweepHits({KEY: 2}, 3600.0)
        standings = await self.store.candidateChecks([keyFor("n9.example.org"), KEY])
        self.assertEqual(standings, [Standing(False, None, 15, 0), Standing(False, None, 0, 2)])
        self.assertTrue(55 <= self.server.ask("TTL", "dnsmeta:hit:dns:n9.example.org:1:1") <= 60)
        info = self.server.ask("INFO", "commandstats").decode()
        calls = next(line for line in info.splitlines() if "_evalsha:" in line)
        self.assertIn("calls=5,", calls)

    async def test_counting(self) -> None:
        """
        However many hits there are, on however many names, Redis sees a few
        hundred commands for each second of them, those in scripts included.
        """
        clock = Clock()
        rates: HitRates[Key] = HitRates(20_000, 60.0)
        counter = HitCounter(rates, clock, store=self.store, sweepWindow=3600.0)
        answer = Answer.failure(0, Outcome.CACHED)
        entries = {
            number: ReplayedAnswer(
                fromText(f"n{number}.example.org"), 1, 1, Outcome.CACHED, 0, "", None, answer
            )
            for number in range(10_000)
        }
        batch: Any = FakeReplayBatch(entries)
        for number in entries:
            batch.add(number, "192.0.2.1")
        batch.records *= 50
        batch.hits.update(dict.fromkeys(entries, 49))

        def commands() -> int:
            text = self.server.ask("INFO", "commandstats").decode()
            return sum(int(each) for each in re.findall(r"calls=(\d+)", text))

        def flush() -> None:
            counter.flush()
            # Many keys are taken over in some turns of the reactor.
            clock.pump([PAUSE] * (10_000 // KEYS_A_TURN + 1))

        # The scripts are known from then on.
        counter.queriesReplayed(batch)
        clock.advance(1)
        flush()
        await self.until(lambda: self.server.ask("KEYS", "dnsmeta:hit:sweep:*"))
        before, seconds = commands(), 5
        for _ in range(seconds):
            counter.queriesReplayed(batch)
            clock.advance(1)
            flush()
            await self.store.count()
        self.assertGreater(rates.count((fromText("n7.example.org"), 1, 1, 0), 6.0), 250.0)
        self.assertLess((commands() - before) / seconds, 500)
        self.assertGreater((commands() - before) / seconds, 100)

    async def test_candidates(self) -> None:
        """
        Keys are listed by the end of their time, each with what is known of it.
        """
        keys = [keyFor(f"n{number}.example.org") for number in range(3)]
        for number, key in enumerate(keys):
            await self.put(key, age=100.0 * number)
        self.server.ask("ZADD", "dnsmeta:expiry:index", "1", "rubbish")
        soon = await self.store.expiryCandidates(self.now() + 250.0, 10)
        self.assertEqual([each.key for each in soon], [keys[2], keys[1]])
        self.assertTrue(95.0 <= soon[0].softExpiry - self.now() <= 101.0)
        self.assertEqual(len(await self.store.expiryCandidates(self.now() + 999.0, 2)), 2)
        self.assertEqual([each.key for each in await self.store.freshest(2)], keys[:2])
        # What is no answer's name was taken out.
        self.assertEqual(await self.store.count(), 3)
        (standing,) = await self.store.candidateChecks([keys[2]])
        assert standing.createdAt is not None
        self.assertTrue(standing.exists)
        self.assertTrue(199.0 <= self.now() - standing.createdAt <= 202.0)

    async def test_reconcile(self) -> None:
        """
        What is gone is taken out of the index, on the quiet or by name.
        """
        keys = [keyFor(f"n{number}.example.org") for number in range(4)]
        await self.put(*keys)
        self.server.ask("DEL", "dns:n1.example.org:1:1")
        self.assertEqual(await self.store.reconcile(10), 1)
        self.assertEqual(await self.store.dropCandidates([keys[0], keys[1]]), 1)
        self.assertEqual(await self.store.count(), 2)
        self.assertIsNotNone(await self.store.get(keys[0]))

    async def test_deleted(self) -> None:
        """
        An answer goes with all that belongs to it.
        """
        await self.put(KEY)
        await self.store.addHits({KEY: 1}, 60.0)
        await self.store.addSweepHits({KEY: 1}, 60.0)
        await self.store.lock(KEY, 30.0)
        self.assertEqual(await self.store.deleteKeys([KEY, keyFor("a.example.org")]), 1)
        self.assertEqual(self.server.ask("DBSIZE"), 0)

    async def test_evicted(self) -> None:
        """
        Beyond a bound those go that are asked for least, of these the oldest.
        """
        keys = [keyFor(f"n{number}.example.org") for number in range(5)]
        for number, key in enumerate(keys):
            await self.put(key, age=10.0 * number)
        await self.store.addHits({keys[4]: 9, keys[0]: 1}, 60.0)
        self.assertEqual(await self.store.evictBeyond(5), 0)
        self.assertEqual(await self.store.evictBeyond(3), 2)
        left = [await self.store.get(key) is not None for key in keys]
        self.assertEqual(left, [True, True, False, False, True])

    async def test_clearedEverywhere(self) -> None:
        """
        Clearing leaves nothing but what isn't ours, and all others are told.
        """
        other = (await self.connect()).store
        told: list[Clearing] = []
        unsubscribe = other.subscribe(told.append)
        own: list[Clearing] = []
        self.store.subscribe(own.append)
        keys = [keyFor(f"n{number}.example.org") for number in range(1200)]
        await self.put(*keys)
        await self.store.addHits({KEY: 1}, 60.0)
        self.server.ask("SET", "sess:1", "x")
        self.assertEqual(await self.store.clear(), 1200)
        await self.until(lambda: told)
        self.assertEqual((told, own), ([Clearing()], []))
        left = set(self.server.ask("KEYS", "*"))
        self.assertEqual(left, {b"sess:1", b"dnsmeta:clearings"})
        unsubscribe()
        await self.store.clear()
        await other.clear()
        await self.until(lambda: own)
        self.assertEqual(len(told), 1)

    async def test_forgotten(self) -> None:
        """
        One name's answers, or those below a name, go from everywhere.
        """
        other = (await self.connect()).store
        told: list[Clearing] = []
        other.subscribe(told.append)
        example = fromText("example.org")
        keys = [
            keyFor("example.org"),
            keyFor("example.org", 28, flags=3),
            keyFor("a.example.org"),
            keyFor("a.b.example.org"),
            keyFor("notexample.org"),
            keyFor("example.org.example"),
        ]
        await self.put(*keys)
        self.assertEqual(await self.store.forget(example), 2)
        self.assertEqual(await self.store.forget(example, below=True), 2)
        left = [await self.store.get(key) is not None for key in keys]
        self.assertEqual(left, [False, False, False, False, True, True])
        await self.until(lambda: len(told) == 2)
        self.assertEqual(told, [Clearing(example), Clearing(example, True)])

    async def test_missedClearing(self) -> None:
        """
        An instance that was cut off when something was cleared drops all it
        has.
        """
        other = await self.connect()
        told: list[Clearing] = []
        other.store.subscribe(told.append)
        await self.store.clear()
        await self.until(lambda: told)
        await other.channel.stop()
        await self.store.forget(fromText("example.org"))
        other.channel.start()
        await self.until(lambda: len(told) == 2)
        self.assertEqual(told[1], Clearing())

    async def test_gone(self) -> None:
        """
        Without a server all fails, and at once.
        """
        self.server.stop()
        await self.until(lambda: not self.instance.front.available)
        self.assertFalse(self.store.available)
        started = time.monotonic()
        store = self.store
        failures: list[Deferred[Any]] = [
            store.get(KEY),
            store.lock(KEY, 1.0),
            store.unlock(KEY, b"x"),
            store.claim("sweep", 1.0),
        ]
        for failing in failures:
            await self.assertFailure(failing, StoreError)
        store.put(KEY, entryFor(KEY, self.now()))
        self.assertLess(time.monotonic() - started, 5.0)
