# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.link}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import HelperError
from dnsguard.processes.link import GRACE, MAX_PENDING, Link
from dnsguard.querystore.frames import frame


class LinkTests(SynchronousTestCase):
    """
    Tests for L{Link}: two of them, and what they write passed on by hand.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, bytes]] = []
        self.later: Deferred[Any] = Deferred()
        self.lost: list[str] = []
        self.left = Link(self.clock, {}, lambda: self.lost.append("left"))
        self.right = Link(
            self.clock,
            {
                "echo": self.echo,
                "wait": lambda fields, payload: self.later,
                "refuse": self.refuse,
                "break": lambda fields, payload: 1 / 0,
                "nothing": lambda fields, payload: None,
            },
            lambda: self.lost.append("right"),
        )
        for link in (self.left, self.right):
            link.makeConnection(StringTransport())

    def echo(self, fields: dict[str, Any], payload: bytes) -> Any:
        """
        Give back what came.
        """
        self.asked.append((fields["word"], payload))
        return {"word": fields["word"]}, payload

    def refuse(self, fields: dict[str, Any], payload: bytes) -> Any:
        """
        Say no.
        """
        raise HelperError("not today")

    def pass_(self, step: int = 1 << 20) -> None:
        """
        Pass on what was written, both ways, in pieces.
        """
        for source, sink in ((self.left, self.right), (self.right, self.left)):
            transport: Any = source.transport
            octets = transport.value()
            transport.clear()
            for at in range(0, len(octets), step):
                sink.dataReceived(octets[at : at + step])

    def test_askedAndAnswered(self) -> None:
        """
        A request comes to its handler with its octets, and the reply to who
        asked; also when they arrive octet by octet.
        """
        for step in (1 << 20, 1):
            reply = self.left.call("echo", {"word": "x"}, b"\0octets", seconds=1)
            self.pass_(step)
            fields, payload = self.successResultOf(reply)
            self.assertEqual((fields["word"], payload), ("x", b"\0octets"))
        self.assertEqual(self.asked, [("x", b"\0octets")] * 2)

    def test_outOfOrder(self) -> None:
        """
        A reply that takes its time doesn't hold others up, and each finds who
        asked.
        """
        slow = self.left.call("wait", seconds=9)
        quick = self.left.call("nothing", seconds=9)
        self.pass_()
        self.successResultOf(quick)
        self.assertNoResult(slow)
        self.later.callback({"word": "done"})
        self.pass_()
        self.assertEqual(self.successResultOf(slow)[0]["word"], "done")

    def test_refused(self) -> None:
        """
        What is refused, unknown or broken is told to who asked; a defect is
        logged as well, where it is.
        """
        for name, words in [
            ("refuse", "not today"),
            ("dance", "nobody knows how to dance"),
            ("break", "ZeroDivisionError"),
        ]:
            reply = self.left.call(name, seconds=1)
            self.pass_()
            self.assertIn(words, self.failureResultOf(reply, HelperError).value.reason)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.left.alive)

    def test_deadline(self) -> None:
        """
        A reply that doesn't come in time is one that never comes; when it does
        after all, nobody is confused.
        """
        reply = self.left.call("wait", seconds=2)
        self.pass_()
        self.clock.advance(2)
        self.clock.advance(GRACE)
        self.failureResultOf(reply, HelperError)
        self.later.callback(None)
        self.pass_()
        again = self.left.call("nothing", seconds=1)
        self.pass_()
        self.successResultOf(again)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lateOurselves(self) -> None:
        """
        A reply that was there in time is one, though it is read after the
        deadline: whoever asked may have slept.
        """
        reply = self.left.call("nothing", seconds=2)
        self.clock.advance(60)
        self.pass_()
        self.successResultOf(reply)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """
        Whoever doesn't want to know any more isn't told.
        """
        reply = self.left.call("nothing", seconds=2)
        reply.cancel()
        self.failureResultOf(reply, CancelledError)
        self.pass_()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """
        Of a process that doesn't reply only so much is asked.
        """
        waiting = [self.left.call("wait", seconds=5) for _ in range(MAX_PENDING)]
        self.failureResultOf(self.left.call("wait", seconds=5), HelperError)
        self.clock.pump([5, GRACE])
        for reply in waiting:
            self.failureResultOf(reply, HelperError)

    def test_gone(self) -> None:
        """
        When the other end goes, all who wait are told, and it can't be asked
        any more.
        """
        reply = self.left.call("wait", seconds=5)
        self.left.connectionLost()
        self.failureResultOf(reply, HelperError)
        self.failureResultOf(self.left.call("nothing", seconds=5), HelperError)
        self.assertEqual(self.lost, ["left"])

    def test_lateReplyToNobody(self) -> None:
        """
        What is done for somebody who has gone isn't told to anybody.
        """
        self.left.call("wait", seconds=5).addErrback(lambda _: None)
        self.pass_()
        self.right.connectionLost()
        self.later.callback(None)
        transport: Any = self.right.transport
        self.assertEqual(transport.value(), b"")

    def test_nonsense(self) -> None:
        """
        Whoever sends what is no message is hung up on.
        """
        for octets in (b"\xff" * 8, frame({"what": 1}), frame({"ask": "echo"})):
            link = Link(self.clock, {})
            transport = StringTransport()
            link.makeConnection(transport)
            link.dataReceived(octets)
            self.assertTrue(transport.disconnecting, octets)

    @given(st.binary(max_size=64))
    @settings(max_examples=200, deadline=None)
    def test_anyOctets(self, octets: bytes) -> None:
        """
        No octets make a link raise.
        """
        link = Link(self.clock, {})
        link.makeConnection(StringTransport())
        link.dataReceived(octets)
