# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.link}.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.redis import link as module
from dnsguard.redis.client import Credentials
from dnsguard.redis.link import Link
from dnsguard.redis.reconnector import LOG_IN_SECONDS, retryAfter
from dnsguard.redis.replies import ErrorReply
from tests.redis.wires import FakeEndpoint, Wire

PONG = b"+PONG\r\n"


class LinkCase(SynchronousTestCase):
    """
    A link over wires without sockets.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint()
        self.changes: list[tuple[bool, str]] = []

    def link(self, **facts: Any) -> Link:
        """
        A link that was started.
        """
        link = Link(
            self.endpoint,
            self.clock,
            changed=lambda link, available, reason: self.changes.append((available, reason)),
            **facts,
        )
        link.start()
        self.clock.advance(0)
        return link

    def connected(self, **facts: Any) -> Link:
        """
        A link whose server has proved fit.
        """
        link = self.link(**facts)
        self.assertEqual(self.wire.commands(), [[b"PING"]])
        self.wire.reply(PONG)
        self.assertTrue(link.available)
        return link

    @property
    def wire(self) -> Wire:
        return self.endpoint.wire

    def reason(self, deferred: Deferred[Any]) -> str:
        """
        Why something failed.
        """
        return str(self.failureResultOf(deferred, StoreError).value)


class ConnectingTests(LinkCase):
    """
    Coming and going.
    """

    def test_available(self) -> None:
        """
        A server counts as there once it has answered.
        """
        link = self.link()
        self.assertFalse(link.available)
        self.wire.reply(PONG)
        self.assertTrue(link.available)
        self.assertEqual((link.reason, self.changes), ("", [(True, "")]))

    def test_nothingWaits(self) -> None:
        """
        What is asked of a server that isn't there fails at once.
        """
        self.endpoint.refusing = ConnectionRefusedError()
        link = self.link()
        self.assertIn("redis: ", self.reason(link.execute([(b"PING",)])))
        self.assertEqual(link.counted.refused, 1)

    def test_again(self) -> None:
        """
        One that can't be connected to is tried again, less and less often.
        """
        self.endpoint.refusing = ConnectionRefusedError()
        self.link()
        for _ in range(1000):
            self.clock.advance(0.1)
        self.assertGreater(self.endpoint.attempts, 40)
        self.assertLess(self.endpoint.attempts, 80)

    def test_retryAfter(self) -> None:
        """
        The pauses are a tenth of a second at first and two at last, a quarter
        more or less.
        """
        self.assertTrue(0.075 <= retryAfter(1) <= 0.125)
        for attempts in (10, 10**6):
            self.assertTrue(1.5 <= retryAfter(attempts) <= 2.5)

    def test_lost(self) -> None:
        """
        When a connection ends, what waited fails, and there is another one.
        """
        link = self.connected()
        waiting = link.execute([(b"GET", b"a")])
        self.clock.advance(0)
        self.wire.drop()
        self.assertIn("closed cleanly", self.reason(waiting))
        self.assertFalse(link.available)
        self.clock.advance(0.2)
        self.clock.advance(0)
        self.assertEqual(len(self.endpoint.wires), 2)
        self.wire.reply(PONG)
        self.assertTrue(link.available)
        self.assertEqual((link.counted.lost, link.counted.connected), (1, 2))

    def test_stalledLogIn(self) -> None:
        """
        A server that says nothing while one logs in is cut off, and tried again
        for ever: that is where txredisapi would give up.
        """
        link = self.link(credentials=Credentials("", "secret", 2))
        self.clock.advance(LOG_IN_SECONDS)
        self.assertTrue(self.wire.aborted)
        self.clock.pump([0.1] * 200)
        self.assertGreater(len(self.endpoint.wires), 4)
        while self.wire.aborted:
            self.clock.advance(0.1)
        wire = self.wire
        wire.commands()
        wire.reply(b"+OK\r\n")
        wire.reply(b"+OK\r\n")
        self.clock.advance(0)
        wire.reply(PONG)
        self.assertTrue(link.available)

    def test_wrongPassword(self) -> None:
        """
        A password that is refused is tried again: it may be put right.
        """
        link = self.link(credentials=Credentials("", "secret"))
        self.wire.reply(b"-WRONGPASS no\r\n")
        self.wire.drop()
        self.assertIn("WRONGPASS", link.reason)
        self.clock.pump([0.2, 0.2])
        self.assertEqual(len(self.endpoint.wires), 2)

    def test_loading(self) -> None:
        """
        A server that has yet to load its data isn't there.
        """
        link = self.link()
        self.wire.reply(b"-LOADING Redis is loading the dataset in memory\r\n")
        self.assertFalse(link.available)
        self.assertIn("LOADING", link.reason)
        self.assertTrue(self.wire.aborted)

    def test_forbidden(self) -> None:
        """
        A server that lets one do little, not even this, is there all the same.
        """
        link = self.link()
        self.wire.reply(b"-NOPERM this user has no permissions to run the 'ping' command\r\n")
        self.assertTrue(link.available)
        link.execute([(b"GET", b"a")]).addErrback(lambda reason: None)
        self.clock.pump([0, 0.05, 0.1])
        probed = link.probe()
        self.clock.advance(0)
        self.wire.reply(b"$-1\r\n-NOPERM no\r\n")
        self.assertTrue(self.successResultOf(probed))

    def test_stop(self) -> None:
        """
        Stopping ends the connection, fails what waits, and stays so.
        """
        link = self.connected()
        waiting = link.execute([(b"GET", b"a")])
        self.clock.advance(0)
        stopped = link.stop()
        self.assertIn("closed", self.reason(waiting))
        self.successResultOf(stopped)
        self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.endpoint.wires), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopWhileConnecting(self) -> None:
        """
        So it does before there is one.
        """
        link = self.link()
        self.successResultOf(link.stop())
        self.assertTrue(self.wire.aborted)
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class MasterTests(LinkCase):
    """
    A link that wants the master.
    """

    def test_replica(self) -> None:
        """
        A server that turns out to be a replica is left for another one.
        """
        link = self.link(master=True)
        self.assertEqual(self.wire.commands(), [[b"ROLE"]])
        self.wire.reply(b"*2\r\n$5\r\nslave\r\n:1\r\n")
        self.assertTrue(self.wire.aborted)
        self.assertIn("not the master", link.reason)
        self.clock.pump([0.2, 0.2])
        self.wire.reply(b"*2\r\n$6\r\nmaster\r\n:1\r\n")
        self.assertTrue(link.available)

    def test_demoted(self) -> None:
        """
        One that no longer is the master is left at its first refusal.
        """
        link = self.link(master=True)
        self.wire.reply(b"*2\r\n$6\r\nmaster\r\n:1\r\n")
        waiting = link.execute([(b"SET", b"a", b"b")])
        self.clock.advance(0)
        self.wire.reply(b"-READONLY You can't write against a read only replica.\r\n")
        self.assertTrue(self.wire.aborted)
        self.assertIn("not the master any more", self.reason(waiting))


class RequestTests(LinkCase):
    """
    Asking.
    """

    def test_oneWrite(self) -> None:
        """
        What is asked in one turn goes out in one write, and each gets its own
        replies.
        """
        link = self.connected()
        before = link.counted.writes
        one = link.execute([(b"GET", b"a"), (b"GET", b"b")])
        two = link.execute([(b"GET", b"c")])
        self.assertEqual(self.wire.value(), b"")
        self.clock.advance(0)
        self.assertEqual(len(self.wire.commands()), 3)
        self.wire.reply(b"$1\r\n1\r\n-ERR no\r\n$1\r\n3\r\n")
        first, error = self.successResultOf(one)
        self.assertEqual((first, type(error)), (b"1", ErrorReply))
        self.assertEqual(self.successResultOf(two), [b"3"])
        self.assertEqual(link.counted.writes - before, 1)
        self.assertTrue(link.available)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deadline(self) -> None:
        """
        What isn't answered in time has failed; the server is left alone, and
        its reply, when it comes, is nobody else's.
        """
        link = self.connected()
        late = link.execute([(b"GET", b"a")])
        self.clock.advance(0)
        self.clock.advance(0.05)
        self.assertEqual(self.reason(late), "redis: no reply within 0.05 s")
        self.assertFalse(link.available)
        self.failureResultOf(link.execute([(b"GET", b"b")]), StoreError)
        self.clock.advance(0.1)
        probed = link.probe()
        self.clock.advance(0)
        self.wire.reply(b"$4\r\nlate\r\n")
        self.assertNoResult(probed)
        self.wire.reply(PONG)
        self.assertTrue(self.successResultOf(probed))
        self.assertTrue(link.available)
        counted = link.counted
        self.assertEqual((counted.timeouts, counted.late, counted.refused), (1, 1, 1))
        self.clock.advance(10)
        self.assertFalse(self.wire.aborted)

    def test_ownDelay(self) -> None:
        """
        When this process was busy, replies that may be there already are read
        before the server is blamed.
        """
        link = self.connected()
        waiting = link.execute([(b"GET", b"a")])
        self.clock.advance(0)
        self.clock.advance(0.5)
        self.assertNoResult(waiting)
        self.wire.reply(b"$1\r\n1\r\n")
        self.assertEqual(self.successResultOf(waiting), [b"1"])
        self.assertTrue(link.available)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stall(self) -> None:
        """
        A server that says nothing for long is cut off and connected to anew.
        """
        link = self.connected()
        waiting = link.execute([(b"GET", b"a")])
        waiting.addErrback(lambda reason: None)
        self.clock.pump([0, 0.05])
        self.assertFalse(self.wire.aborted)
        self.clock.advance(module.STALL_SECONDS)
        self.assertTrue(self.wire.aborted)
        self.assertEqual((link.reason, link.counted.stalls), ("it stalls", 1))
        self.clock.pump([0.2, 0])
        self.wire.reply(PONG)
        self.assertTrue(link.available)

    def test_unusable(self) -> None:
        """
        A server that says it can do nothing is left alone until it can.
        """
        link = self.connected()
        refused = link.execute([(b"GET", b"a")])
        self.clock.advance(0)
        self.wire.reply(b"-MASTERDOWN Link with MASTER is down\r\n")
        self.assertIsInstance(self.successResultOf(refused)[0], ErrorReply)
        self.assertFalse(link.available)
        self.clock.advance(0.1)
        probed = link.probe()
        self.clock.advance(0)
        self.wire.reply(b"-MASTERDOWN Link with MASTER is down\r\n")
        self.assertFalse(self.successResultOf(probed))
        self.assertFalse(link.available)
        self.clock.advance(0.2)
        probed = link.probe()
        self.clock.advance(0)
        self.wire.reply(PONG)
        self.assertTrue(self.successResultOf(probed))

    def test_probeNotYet(self) -> None:
        """
        A probe before its time asks nothing.
        """
        link = self.connected()
        link.execute([(b"GET", b"a")]).addErrback(lambda reason: None)
        self.clock.pump([0, 0.05])
        self.wire.commands()
        self.assertFalse(self.successResultOf(link.probe()))
        self.clock.advance(0)
        self.assertEqual(self.wire.commands(), [])

    def test_probeWithoutRoom(self) -> None:
        """
        A probe that couldn't be sent isn't the last one.
        """
        link = self.connected()
        link.execute([(b"GET", b"a")]).addErrback(lambda reason: None)
        self.clock.pump([0, 0.05, 0.1])
        with patch.object(module, "MAX_COMMANDS", 1):
            self.assertFalse(self.successResultOf(link.probe()))
        self.clock.advance(0.2)
        probed = link.probe()
        self.clock.advance(0)
        self.wire.reply(b"$-1\r\n", PONG)
        self.assertTrue(self.successResultOf(probed))

    def test_ping(self) -> None:
        """
        A ping finds out that an idle server is gone.
        """
        link = self.connected()
        pinged = link.ping()
        self.clock.pump([0, 0.05])
        self.successResultOf(pinged)
        self.assertFalse(link.available)

    def test_bounded(self) -> None:
        """
        No more waits than there is room for.
        """
        link = self.connected()
        with patch.object(module, "MAX_COMMANDS", 2):
            one = link.execute([(b"GET", b"a"), (b"GET", b"b")])
            self.assertIn("too much", self.reason(link.execute([(b"GET", b"c")])))
        with patch.object(module, "MAX_OCTETS", 59):
            self.assertIn("too much", self.reason(link.execute([(b"GET", b"c")])))
        self.assertEqual(link.counted.overflows, 2)
        self.clock.advance(0)
        self.wire.reply(b"$-1\r\n$-1\r\n")
        self.assertEqual(self.successResultOf(one), [None, None])
        self.assertNoResult(link.execute([(b"GET", b"d")]))

    def test_replyToNothing(self) -> None:
        """
        A server that talks unasked is cut off: nobody knows what it means.
        """
        self.connected()
        self.wire.reply(b"+OK\r\n")
        self.assertTrue(self.wire.aborted)

    def test_cancelled(self) -> None:
        """
        Whoever doesn't want a reply any more doesn't disturb the others.
        """
        link = self.connected()
        one, two = link.execute([(b"GET", b"a")]), link.execute([(b"GET", b"b")])
        self.clock.advance(0)
        one.addErrback(lambda reason: None)
        one.cancel()
        self.wire.reply(b"$1\r\n1\r\n$1\r\n2\r\n")
        self.assertEqual(self.successResultOf(two), [b"2"])
