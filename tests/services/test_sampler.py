# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.sampler}.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.services import sampler as module
from dnsguard.services.sampler import INTERVAL, ProfileBusy, Sampler
from tests.support.threads import PromptPool, PromptReactor


class Reactor(PromptReactor):
    """
    A reactor with a pool.
    """

    def __init__(self, pool: Any = None) -> None:
        super().__init__()
        self._pool = pool or PromptPool()

    def getThreadPool(self) -> Any:
        """
        Give the pool.
        """
        return self._pool


def innermost(depth: int = 0) -> FrameType:
    """
    A frame, some calls deep.
    """
    return innermost(depth - 1) if depth else sys._getframe()


class SamplerTests(SynchronousTestCase):
    """
    What threads do is looked at, and counted.
    """

    def setUp(self) -> None:
        """
        Threads that always do the same, and a clock that only rests advance.
        """
        self.now = 0.0
        self.threads: dict[int, FrameType] = {1: innermost()}

    def frames(self) -> Mapping[int, FrameType]:
        """
        What each thread does, the one that looks included.
        """
        return {threading.get_ident(): sys._getframe(), **self.threads}

    def rest(self, seconds: float) -> None:
        """
        Wait.
        """
        self.now += max(seconds, 0.0001)

    def sampler(self, reactor: Any = None) -> Sampler:
        """
        Make one.
        """
        return Sampler(reactor or Reactor(), self.frames, lambda: self.now, self.rest)

    def test_stacksAreCounted(self) -> None:
        """
        Each look counts the stack of every thread but its own, the thread
        first and the innermost function last.
        """
        profile = self.sampler().look(1.0)
        ((stack, count),) = profile.stacks.items()
        self.assertAlmostEqual(count, 1.0 / INTERVAL, delta=2)
        self.assertEqual(stack[0].name, "a thread of the system")
        self.assertEqual(stack[-1].name, "innermost")
        self.assertEqual(stack[-1].file, innermost.__code__.co_filename)
        self.assertEqual(profile.samples, count)
        self.assertGreaterEqual(profile.seconds, 1.0)
        assert profile.cost is not None
        self.assertGreaterEqual(profile.cost, 0.0)

    def test_threadsHaveNames(self) -> None:
        """
        A stack begins with its thread's name.
        """
        other = threading.Event()
        thread = threading.Thread(target=other.wait, name="a worker")
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(other.set)
        assert thread.ident is not None
        self.threads = {thread.ident: innermost()}
        (stack,) = self.sampler().look(0.05).stacks
        self.assertEqual(stack[0].name, "a worker")

    def test_numberOfStacksIsBounded(self) -> None:
        """
        However many stacks there are, few are kept apart.
        """
        self.patch(module, "MOST_STACKS", 3)
        self.threads = {number: innermost(number) for number in range(1, 11)}
        profile = self.sampler().look(0.1)
        self.assertEqual(len(profile.stacks), 4)
        self.assertEqual(profile.samples % 10, 0)
        self.assertGreater(profile.stacks[module.OTHERS], 50)

    def test_depthIsBounded(self) -> None:
        """
        Of a deep stack the innermost functions are kept.
        """
        self.threads = {1: innermost(500)}
        (stack,) = self.sampler().look(0.05).stacks
        self.assertEqual(len(stack), module.MOST_FRAMES + 1)

    def test_oneAtATime(self) -> None:
        """
        While one profile is taken another one is refused; afterwards not.
        """
        work: list[Any] = []

        class TardyPool(PromptPool):
            def callInThreadWithCallback(self, *arguments: Any, **named: Any) -> None:
                prompt = super().callInThreadWithCallback
                work.append(lambda: prompt(*arguments, **named))

        sampler = self.sampler(Reactor(TardyPool()))
        first = sampler.profile(0.1)
        self.failureResultOf(sampler.profile(0.1), ProfileBusy)
        work.pop()()
        self.assertGreater(self.successResultOf(first).samples, 0)
        sampler.profile(0.1)
        self.assertEqual(len(work), 1)
