# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.threads}.
"""

from __future__ import annotations

import sys
import threading
from queue import Queue
from typing import Any

from twisted.application.service import Service
from twisted.internet import reactor as globalReactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from dnsguard.priority import PatientThread
from dnsguard.services.threads import TURN, ThreadedService, giveWay, takeTurns

reactor: Any = globalReactor


class Last(Service):
    """
    Does something in the pool when it is stopped.
    """

    def __init__(self, pool: ThreadPool) -> None:
        self.pool = pool
        self.done = ""

    def stopService(self) -> Deferred[None]:
        super().stopService()
        working: Deferred[str] = deferToThreadPool(reactor, self.pool, lambda: "done")
        return working.addCallback(self._done)

    def _done(self, done: str) -> None:
        self.done = done


class ThreadedServiceTests(TestCase):
    """
    Tests for L{ThreadedService}.
    """

    async def test_lastWorkIsDone(self) -> None:
        """
        The threads outlive the service's last work, and then end.
        """
        pool = ThreadPool(0, 1, "test")
        inner = Last(pool)
        service = ThreadedService(inner, pool, reactor)
        service.startService()
        self.assertTrue(pool.started)
        self.assertTrue(inner.running)
        await service.stopService()
        self.assertEqual(inner.done, "done")
        self.assertTrue(pool.joined)


class GiveWayTests(SynchronousTestCase):
    """
    Tests for L{giveWay}.
    """

    def test_patient(self) -> None:
        """
        Work in the pool is done by threads that have stepped back.
        """
        pool = ThreadPool(0, 1, "test")
        giveWay(pool)
        found: Queue[threading.Thread] = Queue()
        pool.start()
        self.addCleanup(pool.stop)
        pool.callInThread(lambda: found.put(threading.current_thread()))
        self.assertIsInstance(found.get(timeout=20), PatientThread)


class TakeTurnsTests(SynchronousTestCase):
    """
    Tests for L{takeTurns}.
    """

    def setUp(self) -> None:
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())

    def test_sooner(self) -> None:
        """
        Threads give way sooner than by themselves.
        """
        sys.setswitchinterval(0.005)
        takeTurns()
        self.assertAlmostEqual(sys.getswitchinterval(), TURN)

    def test_soonerStill(self) -> None:
        """
        Whoever wants them to give way sooner still has their way.
        """
        sys.setswitchinterval(0.0001)
        takeTurns()
        self.assertLess(sys.getswitchinterval(), TURN / 5)
