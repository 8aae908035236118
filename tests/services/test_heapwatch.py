# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.heapwatch}.
"""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.services.heapwatch import HeapWatch
from dnsguard.services.sampler import ProfileBusy
from tests.support.threads import PromptPool, PromptReactor


class Reactor(PromptReactor):
    """
    A reactor with a pool.
    """

    def getThreadPool(self) -> Any:
        """
        Give the pool.
        """
        return PromptPool()


class HeapWatchTests(SynchronousTestCase):
    """
    Memory taken while somebody watches is told.
    """

    def test_growthIsSeen(self) -> None:
        """
        What was taken and is still held is named with its line; afterwards
        nothing is traced any more.
        """
        reactor = Reactor()
        watching = HeapWatch(reactor).watch(5.0)
        self.assertTrue(tracemalloc.is_tracing())
        held = [bytes(1000) for _ in range(1000)]
        reactor.advance(5.0)
        found = self.successResultOf(watching)
        self.assertFalse(tracemalloc.is_tracing())
        json.dumps(found)
        largest = found["top"][0]
        self.assertEqual(largest["file"], __file__)
        self.assertGreater(largest["bytes"], 1000 * len(held))
        self.assertGreaterEqual(found["held_bytes"], largest["bytes"])
        self.assertFalse(found["since_start"])

    def test_oneAtATime(self) -> None:
        """
        A second watch is refused while the first goes on.
        """
        reactor = Reactor()
        heap = HeapWatch(reactor)
        first = heap.watch(5.0)
        self.failureResultOf(heap.watch(5.0), ProfileBusy)
        reactor.advance(5.0)
        self.successResultOf(first)
        heap.watch(1.0)
        reactor.advance(1.0)
        self.assertFalse(tracemalloc.is_tracing())

    def test_tracedAnyway(self) -> None:
        """
        Tracing that somebody else has switched on stays on.
        """
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        reactor = Reactor()
        watching = HeapWatch(reactor).watch(1.0)
        reactor.advance(1.0)
        self.assertTrue(self.successResultOf(watching)["since_start"])
        self.assertTrue(tracemalloc.is_tracing())

    def test_givenUp(self) -> None:
        """
        A watch that is given up leaves nothing behind.
        """
        watching = HeapWatch(Reactor()).watch(1.0)
        watching.addErrback(lambda reason: None)
        watching.cancel()
        self.assertFalse(tracemalloc.is_tracing())
