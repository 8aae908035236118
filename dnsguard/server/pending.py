# -*- test-case-name: tests.server.test_pending -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Queries that wait for their answers: how many, and how long at most.

An answerer that never answers would otherwise keep its client, and a place
among those that are allowed to wait, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["PendingQueries"]


class PendingQueries:
    """
    A table of those who wait, oldest first. One timer serves them all.
    """

    def __init__(
        self, seconds: float, expire: Callable[[Any], None], clock: IReactorTime | None
    ) -> None:
        """
        @param seconds: How long each may wait.
        @param expire: Called with one whose time is up, after it was removed.
        @param clock: Tells the time; with L{None} they wait as long as it
            takes.
        """
        self._seconds = seconds
        self._expire = expire
        self._clock = clock
        self._deadlines: dict[Hashable, float] = {}
        self._timer: IDelayedCall | None = None
        self._waiters: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._deadlines)

    def add(self, waiting: Hashable, now: float) -> None:
        """
        Let one wait.

        @param now: Seconds of the clock, or of a moment ago.
        """
        self._deadlines[waiting] = now + self._seconds
        if self._timer is None and self._clock is not None:
            self._timer = self._clock.callLater(self._seconds, self._sweep)

    def remove(self, waiting: Hashable) -> None:
        """
        One needn't wait any more. One who isn't there is no matter.
        """
        self._deadlines.pop(waiting, None)
        if not self._deadlines and self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def whenEmpty(self) -> Deferred[None]:
        """
        A L{Deferred} that fires when nobody waits; cancel it to ask no more.
        """
        if not self._deadlines:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        return waiter

    def close(self) -> None:
        """
        Stop the timer and let the time of all who wait be up.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiting in list(self._deadlines):
            self.remove(waiting)
            self._expire(waiting)

    def _sweep(self) -> None:
        assert self._clock is not None
        self._timer = None
        now = self._clock.seconds()
        late = []
        for waiting, deadline in self._deadlines.items():
            if deadline > now:
                self._timer = self._clock.callLater(deadline - now, self._sweep)
                break
            late.append(waiting)
        for waiting in late:
            self.remove(waiting)
            self._expire(waiting)
