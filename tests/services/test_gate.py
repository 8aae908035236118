# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.gate}.
"""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.services.gate import GateService


class Inner(Service):
    """
    Counts what is done with it.
    """

    privileged = 0
    broken: Exception | None = None

    def privilegedStartService(self) -> None:
        self.privileged += 1

    def startService(self) -> None:
        if self.broken is not None:
            raise self.broken
        super().startService()


class GateServiceTests(SynchronousTestCase):
    """
    Tests for L{GateService}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.inner = Inner()
        self.ready: Deferred[None] = Deferred()
        self.failures: list[Failure] = []
        self.gate = GateService(
            self.inner, lambda: self.ready, 2.0, self.clock, self.failures.append
        )

    def test_startsWhenReady(self) -> None:
        """
        Privileges are used at once; the service starts when all is ready.
        """
        self.gate.privilegedStartService()
        self.gate.startService()
        self.assertEqual((self.inner.privileged, self.inner.running), (1, False))
        self.ready.callback(None)
        self.assertTrue(self.inner.running)
        self.assertEqual(self.gate.impatient, 0)

    def test_startsAtOnce(self) -> None:
        """
        What is ready already isn't waited for.
        """
        self.ready.callback(None)
        self.gate.startService()
        self.assertTrue(self.inner.running)

    def test_patienceEnds(self) -> None:
        """
        The service starts anyway when it takes too long, and that is counted.
        """
        self.gate.startService()
        self.clock.advance(2.0)
        self.assertTrue(self.inner.running)
        self.assertEqual(self.gate.impatient, 1)

    def test_failureIsReadyEnough(self) -> None:
        """
        If getting ready fails the service starts, and the failure is logged.
        """
        self.gate.startService()
        self.ready.errback(ZeroDivisionError())
        self.assertTrue(self.inner.running)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stoppedWhileWaiting(self) -> None:
        """
        A gate that is stopped doesn't open any more.
        """
        self.gate.startService()
        self.successResultOf(self.gate.stopService())
        self.clock.advance(5.0)
        self.assertFalse(self.inner.running)
        self.assertEqual(self.failures, [])

    def test_cannotStart(self) -> None:
        """
        A service that can't be started is told of.
        """
        self.inner.broken = OSError("no port")
        self.gate.startService()
        self.ready.callback(None)
        (failure,) = self.failures
        self.assertIs(failure.value, self.inner.broken)

    def test_stop(self) -> None:
        """
        Stopping stops the service.
        """
        self.ready.callback(None)
        self.gate.startService()
        self.successResultOf(self.gate.stopService())
        self.assertFalse(self.inner.running)
