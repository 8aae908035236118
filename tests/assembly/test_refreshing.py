# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.refreshing}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.assembly.cacherules import refreshPolicy
from dnsguard.assembly.chain import makeChain
from dnsguard.assembly.refreshing import Caches
from dnsguard.assembly.rules import makePolicy
from dnsguard.caching.refresh import PRESETS
from dnsguard.config.model import Config
from dnsguard.policy.snapshot import Policies
from dnsguard.query import Transport, wireToName
from dnsguard.replay import newStore
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.server.corridor import Corridor
from dnsguard.services.replaydrain import ReplayDrainService
from dnsguard.testing import Asked, FakeUpstream
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import FailureKind, Strategy
from dnsguard.wire.edns import EDE_OPTION, EDNS
from dnsguard.wire.layout import scan
from dnsguard.wire.names import ROOT, fromText
from tests.assembly.test_rules import LISTS, Writing
from tests.services.test_snapshot import Reactor
from tests.support.answerstore import FakeAnswerStore, SharedAnswers
from tests.support.requests import requestFor

ADDRESS = b"\xc0\0\2\7"
EPOCH = 1_700_000_000.0


class CachesTests(Writing):
    """
    A whole server but for its sockets, in virtual time.
    """

    def setUp(self) -> None:
        self.folder = self.mktemp()

    def read(self, text: str) -> Config:
        """
        Read a configuration that keeps its state in a folder of the test's.
        """
        return super().read(f"data_directory: {self.folder}\n{text}")

    def start(self, text: str, shares: bool = False) -> None:
        """
        Start a server whose upstream gives every name an address with a TTL of
        a minute.

        @param shares: Does it share answers with other instances?
        """
        self.answering = True
        self.held: list[Asked] | None = None
        self.octet = 1
        self.reactor = Reactor()
        self.config = self.read(text)
        self.upstream = FakeUpstream(answer=self.settle, clock=self.reactor)
        group = Group.of(Strategy.FAILOVER, [self.upstream])
        self.forwarder = ForwardingResolver(
            UpstreamSet({ROOT: group}), clock=self.reactor, timeout=2.0
        )
        self.policies = Policies(makePolicy(self.config, LISTS, 0.0)[0])
        self.replay: Any = newStore()
        self.replay.adopt(self.policies.current)
        self.shared = SharedAnswers(self.reactor)
        store = FakeAnswerStore(self.shared) if shares else None
        self.caches = Caches(
            self.config,
            self.forwarder,
            self.reactor,
            lambda: EPOCH + self.reactor.seconds(),
            replay=self.replay,
            store=store,
        )
        chain = makeChain(
            self.config, self.policies, self.forwarder, self.reactor, self.caches, store
        )
        self.corridor = Corridor(
            chain.resolver,
            policies=self.policies,
            clock=self.reactor,
            observers=(self.caches.counter,),
            replay=self.replay,
        )
        self.drain = ReplayDrainService(
            self.replay, lambda: self.corridor.observers, self.reactor, 0.5
        )
        self.drain.startService()
        self.caches.startService()
        self.replayed = 0

    def settle(self, asked: Asked) -> None:
        """
        Be upstream.
        """
        if self.held is not None:
            self.held.append(asked)
            return
        if not self.answering:
            asked.fail(FailureKind.UNREACHABLE, "not there")
            return
        name = wireToName(asked.attempt.exchange.qname)
        record = dns.RRHeader(name, dns.A, dns.IN, 60, dns.Record_A(f"192.0.2.{self.octet}", 60))
        asked.reply(Answer.fromRecords([record], outcome=Outcome.UPSTREAM))

    def ask(self, name: str) -> bytes:
        """
        Ask as a client does: of the replay store first.
        """
        request = requestFor(name, edns=EDNS())
        found: bytes | None = self.replay.lookup(request, ADDRESS, self.reactor.seconds())
        if found is not None:
            self.replayed += 1
            return found
        replies: list[bytes] = []

        def respond(reply: bytes) -> bool:
            replies.append(reply)
            return True

        self.corridor.requestReceived(request, ADDRESS, Transport.UDP, respond)
        while not replies:
            self.reactor.advance(0.05)
        return replies[0]

    def ttl(self, reply: bytes) -> int:
        """
        The TTL of a reply's first record.
        """
        at = scan(reply).ttls[0]
        return int.from_bytes(reply[at : at + 4], "big")

    def seen(self, name: str) -> tuple[int, int, int, bytes]:
        """
        What a client sees: code, TTL, last octet of the address, and EDE.
        """
        reply = self.ask(name)
        layout = scan(reply)
        assert layout.edns is not None
        errors = [data[:2] for code, data in layout.edns.options if code == EDE_OPTION]
        at = layout.ttls[0]
        return layout.rCode, self.ttl(reply), reply[at + 9], b"".join(errors)

    def result(self, waiting: Deferred[Any]) -> Any:
        """
        What something came to, after its turns.
        """
        results: list[Any] = []
        waiting.addBoth(results.append)
        for _ in range(50):
            self.reactor.advance(0)
        return results[0]

    def test_hotNames(self) -> None:
        """
        A name asked for all the time comes back to the chain when it is due,
        and is renewed: no client waits for upstream after the first, and none
        sees a TTL of 0; what changes upstream is seen within the time that an
        answer is true.
        """
        self.start(
            "cache: {respect_source_ttl: true, client_ttl_cap: 0, refresh:"
            " {refresh_mode: balanced, hot_threshold_rate: 20, sweep_interval: 1h}}"
        )
        self.ask("www.example.org")
        chained = self.corridor.counters.answered
        for second in range(3600):
            self.reactor.advance(1)
            self.octet = 1 + second // 600
            code, ttl, octet, error = self.seen("www.example.org")
            self.assertEqual((code, error), (0, b""))
            self.assertGreater(ttl, 0)
            self.assertLessEqual(ttl, 60)
            if second % 600 > 61:
                self.assertEqual(octet, self.octet)
        chained = self.corridor.counters.answered - chained
        memory = self.caches.memory
        assert memory is not None
        statistics = memory.statistics
        # Only the first of all queries found nothing.
        self.assertEqual((statistics.misses, statistics.staleHits), (1, 0))
        self.assertEqual(self.replayed + chained, 3600)
        self.assertGreater(self.replayed, 3000)
        # Due with 30 percent of a minute left: some 42 seconds apart.
        refreshed = self.caches.refresh.counters.refreshed
        self.assertIn(refreshed, range(3600 // 45, 3600 // 38))
        self.assertEqual(len(self.upstream.asked), refreshed + 1)
        stats = self.caches.cacheStats()
        self.caches.counter.flush()
        self.assertEqual(stats["misses"], 1)
        self.assertGreater(stats["hits"], 3590)
        self.assertEqual(self.caches.refreshStats()["request_refreshed_hot_24h"], refreshed)

    def test_hotNamesWithoutMemory(self) -> None:
        """
        Where answers are in the shared store alone, a hot name is renewed
        before its time is over just the same.
        """
        self.start(
            "cache: {lru_size: 0, respect_source_ttl: true, client_ttl_cap: 0, refresh:"
            " {refresh_mode: balanced, hot_threshold_rate: 20, sweep_interval: 1h}}",
            shares=True,
        )
        self.assertIsNone(self.caches.memory)
        self.ask("www.example.org")
        for _ in range(600):
            self.reactor.advance(1)
            code, ttl, _, error = self.seen("www.example.org")
            self.assertEqual((code, error), (0, b""))
            self.assertGreater(ttl, 0)
        refreshed = self.caches.refresh.counters.refreshed
        self.assertIn(refreshed, range(600 // 45, 600 // 38 + 1))
        self.assertEqual(len(self.upstream.asked), refreshed + 1)

    def test_clearingOvertakes(self) -> None:
        """
        An answer that was asked for before a clearing, and comes after it, is
        kept nowhere: neither here nor where others would find it.
        """
        for text in ("cache: {client_ttl_cap: 0}", "cache: {client_ttl_cap: 0, lru_size: 0}"):
            self.start(text, shares=True)
            self.held = []
            request = requestFor("www.example.org", edns=EDNS())
            replies: list[bytes] = []

            def respond(reply: bytes, replies: list[bytes] = replies) -> bool:
                replies.append(reply)
                return True

            self.corridor.requestReceived(request, ADDRESS, Transport.UDP, respond)
            self.reactor.advance(0.1)
            self.result(self.caches.clearing.clear())
            (asked,), self.held = self.held, None
            self.assertEqual(replies, [])
            self.settle(asked)
            self.assertEqual(len(replies), 1)
            self.assertEqual(self.shared.entries, {})
            self.ask("www.example.org")
            self.assertEqual(len(self.shared.entries), 1)

    def test_outageOfAnHour(self) -> None:
        """
        For as long as C{stale_ttl} after its time every name that was seen is
        answered, marked as stale, with the TTL for that; when upstream is
        back, the next query has the new address. After that time there is
        nothing to give.
        """
        self.start(
            "cache: {client_ttl_cap: 0, min_ttl: 0, refresh: {stale_ttl: 1h, enabled: false}}"
        )
        names = [f"host{number}.example.org" for number in range(40)]
        for name in names:
            self.assertEqual(self.seen(name), (0, 60, 1, b""))
        self.answering = False
        self.octet = 2
        self.reactor.advance(61)
        for _ in range(59):
            for name in names[:3]:
                self.assertEqual(self.seen(name), (0, 30, 1, b"\0\x03"))
            self.reactor.advance(60)
        for name in names:
            self.assertEqual(self.seen(name), (0, 30, 1, b"\0\x03"))
        self.answering = True
        self.reactor.advance(1.1)
        for name in names[:20]:
            self.assertEqual(self.seen(name), (0, 60, 2, b""))
        self.answering = False
        self.reactor.advance(120)
        self.assertEqual(scan(self.ask(names[30])).rCode, dns.ESERVER)

    def test_clearing(self) -> None:
        """
        What is cleared is asked of upstream by the next query, though it was
        being replayed.
        """
        self.start("cache: {client_ttl_cap: 0}")
        for _ in range(3):
            self.ask("www.example.org")
        self.assertEqual((self.replayed, len(self.upstream.asked)), (1, 1))
        self.octet = 7
        clearing = self.caches.clearing
        org = fromText("example.org")
        for order in (
            clearing.clear,
            lambda: clearing.forget(fromText("www.example.org")),
            lambda: clearing.forgetBelow(org),
        ):
            asked = len(self.upstream.asked)
            self.assertEqual(self.result(order()), 1)
            self.reactor.advance(0.1)
            self.assertEqual(self.seen("www.example.org")[2], 7)
            self.assertEqual(len(self.upstream.asked), asked + 1)
            self.ask("www.example.org")
            self.ask("www.example.org")

    def test_clearedMeanwhile(self) -> None:
        """
        What comes back after a restart is said to have seen no clearing that
        there was while this instance was down.
        """
        text = "cache: {client_ttl_cap: 0}"
        self.start(text, shares=True)
        self.assertEqual(self.result(self.caches.whenLoaded()), None)
        self.shared.clearings = 4
        self.ask("www.example.org")
        self.result(self.caches.stopService())
        self.start(text, shares=True)
        self.result(self.caches.whenLoaded())
        memory = self.caches.memory
        assert memory is not None
        self.assertEqual(memory.statistics.entries, 1)
        (store,) = self.shared.instances
        self.assertEqual(store.resumed, [4])

    def test_reload(self) -> None:
        """
        A change of the settings empties no cache, and holds.
        """
        self.start("cache: {client_ttl_cap: 0}")
        self.ask("www.example.org")
        before = self.caches.memory
        changed = self.read(
            "cache: {client_ttl_cap: 0, lru_size: 77, refresh:"
            " {refresh_mode: aggressive, max_inflight: 7, sweep_hit_window: 48h}}"
        )
        self.assertIsNone(self.result(Deferred.fromCoroutine(self.caches.reconfigure(changed))))
        memory = self.caches.memory
        assert memory is not None
        self.assertIs(memory, before)
        self.assertEqual((memory.statistics.entries, memory.statistics.maxEntries), (1, 77))
        stats = self.caches.refreshStats()
        self.assertEqual(stats["sweep_hit_window"], "48h0m0s")
        self.assertEqual(stats["refresh_config"]["hot_ttl_fraction"], 0.5)
        self.assertTrue(self.caches.sweeper.running)
        services = len(list(self.caches))
        for text in ("cache: {lru_size: 0}", "cache: {}"):
            again = self.read(text)
            self.result(Deferred.fromCoroutine(self.caches.reconfigure(again)))
        self.assertIsNot(self.caches.memory, before)
        self.assertEqual(len(list(self.caches)), services)
        self.result(self.caches.stopService())
        self.drain.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reloadKeepsCounts(self) -> None:
        """
        What is known of the names' popularity outlives a change that has
        nothing to do with counting, and the shared store isn't read again.
        """
        store = FakeAnswerStore(SharedAnswers(Reactor()))
        self.start("cache: {refresh: {sweep_hit_window: 48h}}")
        names = []
        for text in (
            "cache: {refresh: {sweep_hit_window: 48h, sweep_interval: 20s}}",
            "cache: {refresh: {sweep_hit_window: 48h, sweep_interval: 30s}}",
            "cache: {refresh: {sweep_hit_window: 24h, sweep_interval: 30s}}",
        ):
            before = self.caches.counter
            config = self.read(text)
            self.result(Deferred.fromCoroutine(self.caches.reconfigure(config, store)))
            self.assertIsNot(self.caches.counter, before)
            same = self.caches.counter._counts is before._counts
            names.append((same, "warmstart" in self.caches.namedServices))
        self.assertEqual(names, [(True, True), (True, False), (False, False)])

    def test_presets(self) -> None:
        """
        A preset overrules the keys it names; the hot rate follows from the
        clients' TTLs, unless it is set.
        """
        for mode, values in PRESETS.items():
            cache = self.read(
                "cache: {client_ttl_cap: 1m, refresh:"
                f" {{refresh_mode: {mode}, warm_threshold: 9, hit_window: 2m}}}}"
            ).cache
            policy = refreshPolicy(cache)
            for attribute, value in values.items():
                self.assertEqual(getattr(policy, attribute), value)
            self.assertEqual((policy.hitWindow, policy.hotThresholdRate), (120.0, 3.0))
        cache = self.read("cache: {refresh: {hot_threshold_rate: 7, warm_threshold: 9}}").cache
        policy = refreshPolicy(cache)
        self.assertEqual((policy.hotThresholdRate, policy.warmThreshold), (7.0, 9))

    def test_counters(self) -> None:
        """
        The numbers to publish have one name each.
        """
        self.start("cache: {client_ttl_cap: 0}")
        counters = self.caches.counters()
        self.assertEqual(counters["refresh_refreshed"], 0)
        self.assertIn("snapshots_saved", counters)
        self.assertTrue(all(isinstance(value, int) for value in counters.values()))
