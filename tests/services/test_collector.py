# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.collector}.
"""

from __future__ import annotations

import gc
import linecache

from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.services.collector import NEVER, SECONDS, CollectorService, undisturbed


class FakeCollector:
    """
    What C{gc} does, written down.

    @ivar done: What was called.
    @ivar thresholds: The present ones.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.done: list[str] = []
        self.thresholds = (700, 10, 10)

    def get_threshold(self) -> tuple[int, int, int]:
        """
        Give the present thresholds.
        """
        return self.thresholds

    def set_threshold(self, *thresholds: int) -> None:
        """
        Take other thresholds.
        """
        first, second, third = thresholds
        self.thresholds = (first, second, third)

    def collect(self) -> int:
        """
        Take a quarter of a second, and find seven objects.
        """
        self.done.append("collect")
        self.clock.rightNow += 0.25
        return 7

    def freeze(self) -> None:
        """
        Look at nothing that is there now.
        """
        self.done.append("freeze")

    def disable(self) -> None:
        """
        Look at nothing by itself.
        """
        self.done.append("disable")

    def enable(self) -> None:
        """
        Look as before.
        """
        self.done.append("enable")

    def unfreeze(self) -> None:
        """
        Look at it again.
        """
        self.done.append("unfreeze")


class CollectorTests(SynchronousTestCase):
    """
    Tests for L{CollectorService}.
    """

    def setUp(self) -> None:
        """
        Make a service on a clock.
        """
        self.clock = Clock()
        self.collector = FakeCollector(self.clock)
        self.service = CollectorService(self.clock, self.collector)

    def test_interface(self) -> None:
        """
        It is a service, called C{collector}.
        """
        verifyObject(IService, self.service)
        self.assertEqual(self.service.name, "collector")

    def test_start(self) -> None:
        """
        Garbage of the start is freed, what is left is frozen, and no look at
        everything happens on its own.
        """
        self.service.startService()
        self.assertEqual(self.collector.done, ["collect", "freeze"])
        self.assertEqual(self.collector.thresholds[2], NEVER)

    def test_generatedLines(self) -> None:
        """
        The text of generated code, which the process's start has left, is let go.
        """
        self.patch(linecache, "cache", {"<generated>": (1, None, ["x\n"], "<generated>")})
        self.service.startService()
        self.assertEqual(linecache.getlines("<generated>"), [])

    def test_collects(self) -> None:
        """
        Everything is looked at once in a while, and it is known how long that
        took and what it found.
        """
        self.service.startService()
        self.clock.advance(SECONDS - 1)
        self.assertEqual(self.service.collections, 0)
        self.clock.advance(1)
        self.clock.advance(SECONDS)
        self.assertEqual(self.service.collections, 2)
        self.assertEqual(self.service.collected, 14)
        self.assertEqual(self.service.longest, 0.25)

    def test_stop(self) -> None:
        """
        A stopped service leaves the collector as it was, and no delayed call.
        """
        self.service.startService()
        self.service.stopService()
        self.assertEqual(self.collector.thresholds, (700, 10, 10))
        self.assertEqual(self.collector.done[-1], "unfreeze")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_realCollector(self) -> None:
        """
        It knows Python's collector, and puts that back.
        """
        before = gc.get_threshold()
        service = CollectorService(self.clock)
        service.startService()
        try:
            self.assertEqual(gc.get_threshold()[2], NEVER)
            self.assertGreater(gc.get_freeze_count(), 0)
        finally:
            service.stopService()
        self.assertEqual(gc.get_threshold(), before)
        self.assertEqual(gc.get_freeze_count(), 0)


class UndisturbedTests(SynchronousTestCase):
    """
    Tests for L{undisturbed}.
    """

    def setUp(self) -> None:
        self.collector = FakeCollector(Clock())

    def test_nothingIsLookedAt(self) -> None:
        """
        While the function works nothing is looked at; afterwards all is as
        before, and what it gave is given.
        """

        def work(number: int) -> int:
            self.collector.done.append("work")
            return number + 1

        self.assertEqual(undisturbed(work, 1, collector=self.collector), 2)
        self.assertEqual(self.collector.done, ["disable", "work", "enable"])

    def test_oneInAnother(self) -> None:
        """
        The last one to end switches it on again, as for two threads.
        """

        def work() -> None:
            undisturbed(self.collector.done.append, "inner", collector=self.collector)
            self.collector.done.append("outer")

        undisturbed(work, collector=self.collector)
        self.assertEqual(self.collector.done, ["disable", "disable", "inner", "outer", "enable"])

    def test_failure(self) -> None:
        """
        A function that fails leaves it on, too.
        """
        self.assertRaises(ZeroDivisionError, undisturbed, lambda: 1 // 0, collector=self.collector)
        self.assertEqual(self.collector.done, ["disable", "enable"])
        self.assertTrue(gc.isenabled())
