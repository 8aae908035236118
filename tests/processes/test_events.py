# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.events}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.errors import HelperError
from dnsguard.observers.applog import jsonLine, textLine
from dnsguard.processes.events import (
    MOST_AT_ONCE,
    MOST_OCTETS,
    MOST_WAITING,
    EventCourier,
    eventsIn,
)
from tests.support.guard import StillReactor


class EventTests(SynchronousTestCase):
    """
    Tests for L{EventCourier} and L{eventsIn}.
    """

    def setUp(self) -> None:
        self.reactor: Any = StillReactor()
        self.handed: list[bytes] = []
        self.answer: Deferred[Any] | None = None
        self.courier = EventCourier(self.hand, self.reactor, "info")
        self.logger = Logger(namespace="dnsguard.test", observer=self.courier)

    def hand(self, octets: bytes) -> Deferred[Any]:
        """
        Take events.
        """
        self.handed.append(octets)
        return succeed(None) if self.answer is None else self.answer

    def events(self) -> list[LogEvent]:
        """
        What has arrived.
        """
        self.reactor.advance(0)
        return [event for octets in self.handed for event in eventsIn(octets, 3)]

    def test_arrives(self) -> None:
        """
        An event arrives with its level, words and fields, and is written like
        one of the main process, with the number of its helper.
        """
        verifyObject(ILogObserver, self.courier)
        self.logger.warn("list {name} failed: {reason}", name="ads", reason=ValueError("odd"))
        (event,) = self.events()
        self.assertIs(event["log_level"], LogLevel.warn)
        self.assertEqual(event["log_format"], "list {name} failed: {reason}")
        self.assertEqual(formatEvent(event), "list ads failed: odd")
        self.assertIn("[dnsguard.test, helper 3] list ads failed: odd", textLine(event))
        self.assertIn('"helper": 3', jsonLine(event))

    def test_failure(self) -> None:
        """
        Of a failure its type, words and traceback arrive.
        """
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            self.logger.failure("it broke")
        (event,) = self.events()
        line = textLine(event)
        self.assertIn("it broke: RuntimeError: broken", line)
        self.assertIn("test_failure", line)

    def test_level(self) -> None:
        """
        What isn't serious enough isn't handed over, unless it is traced.
        """
        self.logger.debug("small")
        self.logger.debug("wanted", traced="query")
        self.courier.setLevel("error")
        self.logger.info("small")
        self.assertEqual([formatEvent(event) for event in self.events()], ["wanted"])

    def test_bounded(self) -> None:
        """
        A main process that takes its time is handed no more meanwhile; of what
        waits there is a bound, and what is beyond it is counted.
        """
        self.answer = Deferred()
        for number in range(MOST_WAITING + 50):
            self.logger.info("number {number}", number=number)
        self.reactor.advance(0)
        self.assertEqual((len(self.handed), self.courier.dropped), (1, 50))
        answer, self.answer = self.answer, None
        answer.callback(None)
        events = self.events()
        self.assertEqual(len(events), MOST_WAITING)
        self.assertEqual(formatEvent(events[-1]), f"number {MOST_WAITING - 1}")
        self.assertEqual(len(self.handed), MOST_WAITING // MOST_AT_ONCE)

    def test_odd(self) -> None:
        """
        An event that is too large, or can't be written down, is dropped and
        counted; a main process that has gone is no reason to fail.
        """

        class Odd:
            def __repr__(self) -> str:
                raise RuntimeError("no words")

        self.logger.info("{octets}", octets="x" * MOST_OCTETS)
        self.assertEqual(self.courier.dropped, 1)
        self.logger.info("{odd!r}", odd=Odd())
        self.answer = fail(HelperError("gone"))
        self.logger.info("last\nline\u2028here")
        self.reactor.advance(0)
        for event in self.events():
            self.assertNotIn("\n", textLine(event))
        self.assertEqual(self.courier.dropped, 3)
