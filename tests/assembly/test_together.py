# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.together} and L{dnsguard.assembly.helper}, without
processes: a main server, and a helper's server, in one.
"""

from __future__ import annotations

import os
import pickle
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogEvent, LogPublisher, eventAsJSON
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly.cachestate import GuardCaches
from dnsguard.assembly.changes import Changes
from dnsguard.assembly.guard import Guard
from dnsguard.assembly.helper import HelperServer
from dnsguard.assembly.listeners import listenerCount, processCount
from dnsguard.assembly.querystore import anonymizer
from dnsguard.assembly.together import Desk, ListeningTogether, helperConfig, ordersFor
from dnsguard.assembly.wishes import Wishes
from dnsguard.config.load import loadText
from dnsguard.config.model import Config
from dnsguard.errors import HelperError
from dnsguard.observers.trace import TraceEvent
from dnsguard.processes.counts import Counts
from dnsguard.processes.link import Link
from dnsguard.querystore.buffer import RowBuffer
from dnsguard.server.address import ListenAddress, pack
from dnsguard.server.listeners import ListenerService
from dnsguard.wire.names import fromText
from tests.support.control import PromptMemoryReactor
from tests.support.events import eventOf
from tests.support.guard import makeGuard

TEXT = """\
server: {{processes: 3, reuse_port_listeners: 2}}
data_directory: {folder}
control: {{enabled: true, token: a-token-for-tests}}
query_store: {{engine: memory, anonymize_client_ip: hash}}
request_log: {{enabled: true}}
cache: {{snapshot: {{enabled: true}}, redis: {{degraded_on_unavailable: false}}}}
blocklists: {{denylist: [bad.example]}}
"""


class TogetherCase(SynchronousTestCase):
    """
    A main server that has helpers.
    """

    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.config = loadText(TEXT.format(folder=self.folder)).config
        settings = {
            field.name: getattr(self.config, field.name)
            for field in attrs.fields(Config)
            if field.name != "dataDirectory"
        }
        self.guard = makeGuard(self.folder, **settings)


class OrdersTests(TogetherCase):
    """
    Tests for what helpers are told.
    """

    def test_config(self) -> None:
        """
        A helper has no control API and no file of its own to write, doesn't
        depend on Redis being there, and hashes clients as the main process does;
        all else is the same.
        """
        config = helperConfig(self.config)
        self.assertFalse(config.control.enabled)
        self.assertFalse(config.cache.snapshot.enabled)
        self.assertTrue(config.cache.redis.degradedOnUnavailable)
        ours, theirs = anonymizer(self.config), anonymizer(config)
        self.assertEqual(ours.identity("192.0.2.1", ""), theirs.identity("192.0.2.1", ""))
        same = attrs.evolve(
            self.config, control=config.control, cache=config.cache, queryStore=config.queryStore
        )
        self.assertEqual(config, same)

    def test_orders(self) -> None:
        """
        Orders are what holds, what somebody set by hand included.
        """
        guard = self.guard
        orders = ordersFor(guard, 5, pickle.dumps(helperConfig(guard.config)))
        self.assertEqual((orders.revision, orders.lists, orders.level), (5, "", "info"))
        self.assertEqual(pickle.loads(orders.config), helperConfig(guard.config))
        guard.policies.publish(guard.policies.current.paused(guard.now() + 60, guard.now()))
        guard.wishes = attrs.evolve(guard.wishes, level="debug", maxKeys=7)
        guard.observers.tracer.trace([TraceEvent.QUERY_RESOLUTION], [(pack("192.0.2.1"), 32)])
        orders = ordersFor(guard, 6, b"")
        self.assertEqual(list(orders.pauses), [""])
        self.assertEqual((orders.level, orders.maxKeys), ("debug", 7))
        self.assertEqual(orders.traced.clients, ((pack("192.0.2.1"), 32),))

    def test_pickled(self) -> None:
        """
        The same configuration is the same octets, so that nobody goes over to
        it anew; how it is listened is what is listened by.
        """
        listening: Any = self.guard.listeners.inner
        config = self.guard.config
        octets = listening._pickled(config)
        self.assertIs(listening._pickled(config), octets)
        self.assertEqual(pickle.loads(octets), helperConfig(config))
        server = attrs.evolve(config.server, maxInFlight=5)
        other = attrs.evolve(config, server=server, hostsFiles=("/etc/hosts",))
        found = pickle.loads(listening._pickled(other))
        self.assertEqual((found.server, found.hostsFiles), (config.server, ("/etc/hosts",)))

    def test_readyBeforehand(self) -> None:
        """
        A reload has its configuration pickled in a thread, before helpers are
        told of it, and only there.
        """
        guard: Any = self.guard
        guard.reactor = reactor = PromptMemoryReactor()
        listening = guard.listeners.inner
        called: list[Any] = []
        inThread = reactor.pool.callInThreadWithCallback

        def call(onResult: Any, function: Any, *arguments: Any) -> None:
            called.append(function)
            inThread(onResult, function, *arguments)

        self.patch(reactor.pool, "callInThreadWithCallback", call)
        other = attrs.evolve(guard.config, hostsFiles=())
        self.successResultOf(guard.reloadConfiguration(other))
        self.assertEqual(called.count(listening._pickle), 1)
        self.patch(listening, "_pickle", None)
        self.assertEqual(pickle.loads(listening._pickled(guard.config)), helperConfig(other))

    def test_keysUntilReload(self) -> None:
        """
        How many answers a shared cache may have by hand is forgotten with a
        reload, whatever that changes.
        """
        guard: Any = self.guard
        guard.reactor = PromptMemoryReactor()
        guard.caches._shelf = SimpleNamespace(maxKeys=0)
        GuardCaches(guard).setMaxKeys(7)
        self.successResultOf(guard.reloadConfiguration(attrs.evolve(guard.config)))
        self.assertEqual(guard.caches.maxKeys, guard.config.cache.redis.maxKeys)
        self.assertIsNone(ordersFor(guard, 5, b"").maxKeys)

    def test_toldOfChanges(self) -> None:
        """
        Whatever changes the policy, by hand or by itself, is told.
        """
        told: list[int] = []
        guard: Any = self.guard
        guard.listeners.inner.helpers = pool = type("Pool", (), {})()
        pool.changed = lambda: told.append(guard.policies.current.generation)
        pool.settled = lambda: succeed(None)
        guard.policies.publish(guard.policies.current.paused(guard.now() + 60, guard.now()))
        self.assertEqual(told, [2])
        self.successResultOf(guard.whenFollowed())

    def test_counts(self) -> None:
        """
        The CPUs are divided among the processes, unless it is said how many
        sockets each has.
        """
        server = self.config.server
        self.assertEqual((processCount(server), listenerCount(server)), (3, 2))
        self.patch(os, "sched_getaffinity", _eightCPUs)
        server = attrs.evolve(server, reusePortListeners=None)
        self.assertEqual(listenerCount(server), 2)
        auto = attrs.evolve(server, processes=0)
        self.assertEqual((processCount(auto), listenerCount(auto)), (8, 1))
        alone = attrs.evolve(server, processes=1)
        self.assertEqual((processCount(alone), listenerCount(alone)), (1, 8))

    def test_alone(self) -> None:
        """
        One process is listened in without any of this.
        """
        self.assertIsInstance(self.guard.listeners.inner, ListeningTogether)
        alone = makeGuard(self.folder)
        self.assertIsInstance(alone.listeners.inner, ListenerService)
        self.assertIsNone(alone.helpers)


def _eightCPUs(pid: int) -> set[int]:
    return set(range(8))


class DeskTests(TogetherCase):
    """
    Tests for L{Desk}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        self.guard.reactor = PromptMemoryReactor()
        keep: Any = self.events.append
        self.desk = Desk(self.guard, LogPublisher(keep))
        assert self.guard.queryStore is not None
        self.flush = self.guard.queryStore.flush
        self.flush.running = 1

    def rows(self, octets: bytes) -> Any:
        """
        Hand rows over.
        """
        return self.desk.handlers()["rows"](1, {}, octets)

    def block(self, count: int = 3) -> bytes:
        """
        Some rows.
        """
        buffer = RowBuffer(100)
        for _ in range(count):
            buffer.add(eventOf())
        block = buffer.take()
        assert block is not None
        return block.encode()

    def test_rows(self) -> None:
        """
        Rows are taken once, however often they are handed over.
        """
        octets = self.block()
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.rows(octets)), {"taken": True})
        self.assertEqual(self.flush.received, 3)
        self.assertEqual(self.flush.counters()["total_recorded"], 3)

    def test_rowsWithoutRoom(self) -> None:
        """
        While too many rows wait none are taken; the same ones are, later.
        """
        octets = self.block()
        self.flush.running = 0
        self.assertEqual(self.successResultOf(self.rows(octets)), {"taken": False})
        self.flush.running = 1
        self.assertEqual(self.successResultOf(self.rows(octets)), {"taken": True})
        self.assertEqual(self.flush.received, 3)

    def test_damagedRows(self) -> None:
        """
        What are no rows is refused.
        """
        self.failureResultOf(self.rows(self.block()[:-1]), HelperError)

    def test_nobodyKeepsThem(self) -> None:
        """
        Where nothing is kept any more, what is handed over isn't handed over
        again and again.
        """
        self.guard.notes.queryStore = self.guard.notes.requestLog = None
        self.assertEqual(self.successResultOf(self.rows(self.block())), {"taken": True})
        self.assertEqual(self.desk.lines(1, {}, b"line\n"), {"taken": True})

    def test_lines(self) -> None:
        """
        Lines go to the request log.
        """
        self.assertEqual(self.desk.lines(1, {}, b"one\ntwo\n"), {"taken": True})
        assert self.guard.requestLog is not None
        self.assertEqual(self.guard.requestLog.counters()["buffer_used"], 2)

    def test_events(self) -> None:
        """
        Log events go to the log, with the number of their helper.
        """
        lines = [eventAsJSON({"log_format": "hello {who}", "who": who}) for who in "ab"]
        self.desk.events(2, {}, "\n".join(lines).encode())
        self.assertEqual([event["who"] for event in self.events], ["a", "b"])
        self.assertEqual({event["helper"] for event in self.events}, {2})


class HelperServerTests(TogetherCase):
    """
    Tests for L{HelperServer}, with orders of a main server.
    """

    def setUp(self) -> None:
        super().setUp()
        self.levels: list[str] = []
        self.listening: Any = self.guard.listeners.inner
        self.reactor: Any = PromptMemoryReactor()
        self.revision = 1
        self.bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.bound.close)
        self.server: HelperServer = self.successResultOf(
            Deferred.fromCoroutine(
                HelperServer.make(
                    self.reactor,
                    Link(self.reactor, {}),
                    self.orders(),
                    [(ListenAddress("127.0.0.1", 53), self.bound)],
                    self.levels.append,
                    lambda: 4,
                )
            )
        )

    def orders(self) -> Any:
        """
        What the main server says.
        """
        self.revision += 1
        config = self.listening._pickled(self.guard.config)
        return ordersFor(self.guard, self.revision, config)

    def follow(self) -> None:
        """
        Go over to what the main server says.
        """
        following = Deferred.fromCoroutine(self.server.follow(self.orders()))
        self.successResultOf(following)

    def blocks(self, guard: Guard, name: str) -> bool:
        """
        Is a name blocked?
        """
        _, view = guard.policies.current.identify(pack("192.0.2.1"))
        decision = view.rules.decide(fromText(name), 1)
        return decision is not None and decision.blocked

    def change(self, **sections: Any) -> None:
        """
        Change the main server's configuration, as a reload does.
        """
        self.guard.config = attrs.evolve(self.guard.config, **sections)

    def test_made(self) -> None:
        """
        It goes by the main server's configuration, and writes nothing.
        """
        guard = self.server.guard
        self.assertTrue(self.blocks(guard, "bad.example"))
        self.assertIsNone(guard.control)
        self.assertIsNone(guard.caches.snapshot)
        self.assertIsNone(guard.helpers)
        self.assertEqual(self.levels, ["info"])
        self.assertEqual([each.name for each in Path(self.folder).iterdir()], [])

    def test_follows(self) -> None:
        """
        It goes over to another configuration, to pauses and their end, levels
        and traces; and to nothing anew that it goes by already.
        """
        guard, main = self.server.guard, self.guard
        lists = attrs.evolve(main.config.blocklists, denylist=("worse.example",))
        self.change(blocklists=lists)
        self.follow()
        self.assertTrue(self.blocks(guard, "worse.example"))
        self.assertFalse(self.blocks(guard, "bad.example"))
        main.policies.publish(main.policies.current.paused(main.now() + 60, main.now()))
        main.wishes = attrs.evolve(main.wishes, level="debug")
        main.observers.tracer.trace([TraceEvent.QUERY_RESOLUTION])
        rebuilds = guard.rebuilds
        self.follow()
        self.assertFalse(self.blocks(guard, "worse.example"))
        self.assertEqual(self.levels[-1], "debug")
        self.assertTrue(guard.observers.tracer.wants(TraceEvent.QUERY_RESOLUTION))
        main.policies.publish(main.policies.current.resumed(main.now()))
        self.follow()
        self.assertTrue(self.blocks(guard, "worse.example"))
        generation = guard.policies.current.generation
        self.follow()
        self.assertEqual(guard.policies.current.generation, generation)
        self.assertEqual(guard.rebuilds, rebuilds)

    def test_keysByHand(self) -> None:
        """
        It has a shared cache of as many answers as somebody said, and as is
        configured when that is over.
        """
        caches: Any = self.server.guard.caches
        caches._shelf = SimpleNamespace(maxKeys=0)
        self.guard.wishes = attrs.evolve(self.guard.wishes, maxKeys=7)
        self.follow()
        self.assertEqual(caches.maxKeys, 7)
        self.guard.wishes = Wishes()
        self.follow()
        self.assertEqual(caches.maxKeys, self.config.cache.redis.maxKeys)

    def test_cannotFollow(self) -> None:
        """
        What can't be put into force is an error, and everything as it was.
        """
        self.change(hostsFiles=("/nowhere/hosts",))
        following = Deferred.fromCoroutine(self.server.follow(self.orders()))
        self.assertIn("/nowhere/hosts", str(self.failureResultOf(following).value))
        self.assertTrue(self.blocks(self.server.guard, "bad.example"))

    def test_listensNowhereElse(self) -> None:
        """
        Where it listens is for the main process to say.
        """
        guard = self.server.guard
        guard.running = 1
        before = guard.listeners
        other = attrs.evolve(guard.config, server=attrs.evolve(guard.config.server, maxInFlight=5))
        self.successResultOf(Deferred.fromCoroutine(Changes(guard).listeners(other)))
        self.assertIs(guard.listeners, before)

    def test_counts(self) -> None:
        """
        It says what it has counted, events included that it couldn't hand over.
        """
        self.server.guard.observers.metrics.queryAnswered(eventOf())
        octets = self.successResultOf(Deferred.fromCoroutine(self.server.count()))
        counts = Counts.decode(octets)
        self.assertEqual(counts.total("dnsguard_queries_total"), 1)
        self.assertEqual(counts.total("dnsguard_application_log_dropped_total"), 4)
        self.assertIn("hits", counts.caches)

    def test_clears(self) -> None:
        """
        It clears what it has, and tells nobody.
        """
        cleared = Deferred.fromCoroutine(self.server.clear(None, False))
        self.reactor.pump([0.0] * 5)
        self.assertEqual(self.successResultOf(cleared), 0)
        self.assertEqual(self.server.guard.caches.clearing.clearings, 0)
