# -*- test-case-name: tests.services.test_sampler -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Where the time goes: a statistical profiler for the process it is in.

A thread looks, a hundred times a second, at what every other thread is doing,
and counts equal stacks. It costs what the looking costs, which it measures, and
nothing when nobody looks. It sees Python's frames; for those of compiled code
see L{dnsguard.services.pyspy}.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic, sleep, thread_time
from types import CodeType, FrameType
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool

from dnsguard.errors import DNSGuardError

__all__ = ["Frame", "Profile", "ProfileBusy", "Sampler"]

INTERVAL = 0.01
"""Seconds between two looks."""

MOST_STACKS = 20_000
"""Different stacks that are counted; further ones are counted together."""

MOST_FRAMES = 200
"""Frames of a stack that are told apart, from the innermost."""


class ProfileBusy(DNSGuardError):
    """
    Somebody else is at it.
    """

    def __init__(self) -> None:
        super().__init__("a profile is being taken already; try again when it is done")


@attrs.frozen
class Frame:
    """
    One function in a stack.

    @ivar name: Its qualified name.
    @ivar file: Where it is; empty if nobody knows.
    @ivar line: The line it begins at, or 0.
    """

    name: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{self.name} ({place})" if place else self.name


@attrs.frozen
class Profile:
    """
    What was seen.

    @ivar stacks: How often each stack was seen, the outermost frame, which is
        the thread, first.
    @ivar seconds: How long was looked.
    @ivar interval: Seconds between two looks.
    @ivar cost: Processor time that looking took, in seconds; L{None} if it was
        done from without.
    """

    stacks: Mapping[tuple[Frame, ...], int]
    seconds: float
    interval: float
    cost: float | None = None

    @property
    def samples(self) -> int:
        """
        How many stacks were seen.
        """
        return sum(self.stacks.values())


OTHERS = (Frame("(further stacks)"),)


class Sampler:
    """
    Takes profiles, one at a time.
    """

    def __init__(
        self,
        reactor: Any,
        frames: Callable[[], Mapping[int, FrameType]] = sys._current_frames,
        now: Callable[[], float] = monotonic,
        rest: Callable[[float], None] = sleep,
    ) -> None:
        """
        @param reactor: In one of whose threads the looking is done.
        @param frames: Gives what each thread does.
        @param now: Seconds of any clock.
        @param rest: Waits for so many seconds.
        """
        self._reactor = reactor
        self._frames = frames
        self._now = now
        self._rest = rest
        self._busy = False

    def profile(self, seconds: float) -> Deferred[Profile]:
        """
        Take a profile.

        @param seconds: How long to look.
        @return: Fails with L{ProfileBusy} if one is being taken.
        """
        if self._busy:
            return fail(ProfileBusy())
        self._busy = True

        def done(result: Any) -> Any:
            self._busy = False
            return result

        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, self.look, seconds).addBoth(done)

    def look(self, seconds: float) -> Profile:
        """
        Take a profile now. In a thread: it waits.
        """
        counts: Counter[tuple[Any, ...]] = Counter()
        mine = threading.get_ident()
        cost = thread_time()
        began = self._now()
        names = _threadNames()
        looks = 0
        while (passed := self._now() - began) < seconds:
            if looks % 100 == 0:
                names = _threadNames()
            looks += 1
            for thread, frame in self._frames().items():
                if thread != mine:
                    stack: tuple[Any, ...] = _stackOf(
                        frame, names.get(thread, "a thread of the system")
                    )
                    if stack not in counts and len(counts) >= MOST_STACKS:
                        stack = OTHERS
                    counts[stack] += 1
            del frame
            # By the clock, so that a late look isn't followed by a later one.
            self._rest(max(0.0, min(looks * INTERVAL - passed, INTERVAL)))
        return Profile(
            {tuple(map(_frameOf, stack)): count for stack, count in counts.items()},
            passed,
            INTERVAL,
            thread_time() - cost,
        )


def _threadNames() -> dict[int | None, str]:
    return {thread.ident: thread.name for thread in threading.enumerate()}


def _stackOf(frame: FrameType | None, name: str) -> tuple[CodeType | str, ...]:
    """
    Give the functions of a stack, the thread's name first.
    """
    stack: list[CodeType | str] = []
    while frame is not None and len(stack) < MOST_FRAMES:
        stack.append(frame.f_code)
        frame = frame.f_back
    stack.append(name)
    stack.reverse()
    return tuple(stack)


def _frameOf(code: CodeType | str | Frame) -> Frame:
    if isinstance(code, Frame):
        return code
    if isinstance(code, str):
        return Frame(code)
    return Frame(code.co_qualname, code.co_filename, code.co_firstlineno)
