# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.reconnector}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.redis.client import RedisFactory
from dnsguard.redis.reconnector import LONGEST_RETRY, Reconnector
from tests.redis.wires import FakeEndpoint


class Nobody:
    """
    An owner that doesn't listen.
    """

    def replyReceived(self, reply: Any) -> None:
        pass

    def connectionGone(self, connection: Any, reason: str) -> None:
        pass


class ReconnectorTests(SynchronousTestCase):
    """
    Tests for L{Reconnector}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint()
        self.examined: list[tuple[Any, Deferred[None]]] = []
        self.failures: list[str] = []
        self.reconnector = Reconnector(
            self.endpoint,
            RedisFactory("redis", Nobody()),
            self.clock,
            self.examine,
            self.failures.append,
        )

    def examine(self, connection: Any) -> Deferred[None]:
        """
        Leave the verdict to the test.
        """
        verdict: Deferred[None] = Deferred()
        self.examined.append((connection, verdict))
        return verdict

    def test_good(self) -> None:
        """
        A connection that is found good stays.
        """
        self.reconnector.start()
        self.examined[0][1].callback(None)
        self.clock.advance(100)
        self.assertEqual((len(self.endpoint.wires), self.failures), (1, []))

    def test_bad(self) -> None:
        """
        One that isn't is ended, and followed by one other.
        """
        self.reconnector.start()
        self.examined[0][1].errback(StoreError("redis", "no good"))
        self.assertTrue(self.endpoint.wire.aborted)
        self.assertEqual(self.failures, ["no good"])
        self.clock.advance(0.2)
        self.assertEqual(len(self.endpoint.wires), 2)

    def test_goneWhileExamined(self) -> None:
        """
        One that ends while it is examined leads to one other as well, whatever
        becomes of the examination.
        """
        self.reconnector.start()
        self.endpoint.wire.drop()
        self.examined[0][1].errback(StoreError("redis", "gone"))
        self.clock.advance(0.2)
        self.assertEqual(len(self.endpoint.wires), 2)

    def test_restart(self) -> None:
        """
        It can be started again.
        """
        self.reconnector.start()
        self.successResultOf(self.reconnector.stop())
        self.reconnector.start()
        self.assertEqual(len(self.endpoint.wires), 2)

    def test_cancelled(self) -> None:
        """
        Stopping gives up an attempt under way, without a word.
        """
        pending: Deferred[Any] = Deferred()
        self.patch(self.endpoint, "connect", lambda factory: pending)
        self.reconnector.start()
        self.successResultOf(self.reconnector.stop())
        self.assertEqual((self.failures, self.clock.getDelayedCalls()), ([], []))

    @given(
        st.lists(st.sampled_from(["drop", "good", "bad", "refuse", "wait", "stop"]), max_size=40)
    )
    @settings(max_examples=150, deadline=None)
    def test_always(self, steps: list[str]) -> None:
        """
        Whatever happens, there is never more than one connection, and after a
        while there is one, unless it is stopped.
        """
        self.setUp()
        self.reconnector.start()
        running = True
        for step in steps:
            open_ = [wire for wire in self.endpoint.wires if not wire.aborted]
            verdicts = [verdict for _, verdict in self.examined if not verdict.called]
            if step == "drop" and open_:
                open_[-1].drop()
            elif step == "good" and verdicts:
                verdicts[-1].callback(None)
            elif step == "bad" and verdicts:
                verdicts[-1].errback(StoreError("redis", "bad"))
            elif step == "refuse":
                self.endpoint.refusing = ConnectionRefusedError()
                self.clock.advance(0.3)
                self.endpoint.refusing = None
            elif step == "wait":
                self.clock.advance(0.3)
            elif step == "stop":
                if running:
                    self.reconnector.stop()
                else:
                    self.reconnector.start()
                running = not running
            self.assertLessEqual(sum(not wire.aborted for wire in self.endpoint.wires), 1)
        self.clock.advance(LONGEST_RETRY * 1.25)
        there = sum(not wire.aborted for wire in self.endpoint.wires)
        self.assertEqual(there, 1 if running else 0)
        if not running:
            self.assertEqual(self.clock.getDelayedCalls(), [])
        for _, verdict in self.examined:
            verdict.addErrback(lambda reason: None)
