# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.redishealth}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from dnsguard.services.redishealth import (
    FLUSH_SECONDS,
    LOOK_SECONDS,
    PING_SECONDS,
    START_SECONDS,
    RedisHealthService,
)


class Connection:
    """
    A connection that notes what is done with it.
    """

    name = "Redis at 192.0.2.1:6379"

    def __init__(self) -> None:
        self.available = False
        self.reason = "connection refused"
        self.done: list[str] = []

    def start(self) -> None:
        self.done.append("start")

    def stop(self) -> Deferred[None]:
        self.done.append("stop")
        return succeed(None)

    def probe(self) -> Deferred[bool]:
        self.done.append("probe")
        return succeed(self.available)

    def ping(self) -> Deferred[None]:
        self.done.append("ping")
        return succeed(None)


class RedisHealthServiceTests(SynchronousTestCase):
    """
    Tests for L{RedisHealthService}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.store, self.other, self.channel = Connection(), Connection(), Connection()
        self.failures: list[str] = []
        self.flushed: Deferred[None] | None = None
        self.lines: list[str] = []

        @implementer(ILogObserver)
        def note(event: LogEvent) -> None:
            if event.get("log_namespace", "").endswith("RedisHealthService"):
                self.lines.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self.service = self.make()

    def make(self, required: bool = False) -> RedisHealthService:
        """
        A service.
        """
        return RedisHealthService(
            self.store,
            [self.other],
            [self.channel],
            self.clock,
            flush=lambda: self.flushed,
            failed=self.failures.append if required else None,
        )

    def test_started(self) -> None:
        """
        All connections are started and stopped with it, what is only listened
        on isn't tried out.
        """
        self.assertEqual(self.store.done, [])
        self.service.startService()
        self.assertEqual((self.store.done[0], self.channel.done), ("start", ["start"]))
        self.successResultOf(self.service.stopService())
        for each in (self.store, self.other, self.channel):
            self.assertEqual(each.done[-1], "stop")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_probed(self) -> None:
        """
        Connections are tried out often, and pinged now and then.
        """
        self.service.startService()
        for _ in range(int(2 * PING_SECONDS / LOOK_SECONDS)):
            self.clock.advance(LOOK_SECONDS)
        for each in (self.store, self.other):
            self.assertGreater(each.done.count("probe"), 90)
            self.assertIn(each.done.count("ping"), (1, 2, 3))

    def test_said(self) -> None:
        """
        Each coming and going is one line.
        """
        self.service.startService()
        self.clock.advance(START_SECONDS)
        self.assertEqual(
            self.lines,
            [f"{self.store.name} isn't there: connection refused; going on without it"],
        )
        self.store.available = True
        self.clock.pump([LOOK_SECONDS] * 5)
        self.store.available = False
        self.clock.pump([LOOK_SECONDS] * 5)
        self.assertEqual(
            self.lines[1:],
            [
                f"{self.store.name} is in use",
                f"{self.store.name} is left alone: connection refused",
            ],
        )
        self.assertEqual(self.service.transitions, 2)

    def test_thereInTime(self) -> None:
        """
        One that is there in time is one line, and no transition.
        """
        service = self.make(required=True)
        service.startService()
        self.store.available = True
        self.clock.pump([LOOK_SECONDS] * 30)
        self.assertEqual(self.lines, [f"{self.store.name} is in use"])
        self.assertEqual((service.transitions, self.failures), (0, []))

    def test_required(self) -> None:
        """
        If it must be there at the start, and isn't, that is told once.
        """
        self.make(required=True).startService()
        self.clock.pump([LOOK_SECONDS] * 50)
        self.assertEqual(self.failures, [f"{self.store.name}: connection refused"])

    def test_flushed(self) -> None:
        """
        What is to be written is, before the connections end.
        """
        self.service.startService()
        self.flushed = Deferred()
        stopped = self.service.stopService()
        self.assertNotIn("stop", self.store.done)
        self.flushed.callback(None)
        self.successResultOf(stopped)
        self.assertIn("stop", self.store.done)

    def test_flushFails(self) -> None:
        """
        They end even if it can't be written.
        """
        self.service.startService()
        self.flushed = fail(ZeroDivisionError())
        self.successResultOf(self.service.stopService())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("stop", self.store.done)

    def test_flushTakesLong(self) -> None:
        """
        So they do if that takes too long.
        """
        self.service.startService()
        self.flushed = Deferred()
        stopped = self.service.stopService()
        self.clock.advance(FLUSH_SECONDS)
        self.successResultOf(stopped)
        self.assertIn("not all answers were written", self.lines[-1])
