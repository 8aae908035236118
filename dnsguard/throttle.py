# -*- test-case-name: tests.test_throttle -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Repeated failures, told once in a while.

An upstream that is down fails a thousand times a second. Whoever logs that
asks here first; what wasn't told is counted and told with the next one.
"""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime

__all__ = ["Throttle"]


class Throttle:
    """
    Lets one event of a kind through in each span of time.

    Bounded: of too many kinds, those told longest ago are forgotten, which
    lets them through early.

    @ivar suppressed: How many events weren't let through, in total.
    """

    def __init__(self, interval: float, clock: IReactorTime, limit: int = 1000) -> None:
        """
        @param interval: Seconds between two events of a kind; 0 lets all
            through.
        @param clock: Tells the time.
        @param limit: How many kinds are remembered.
        """
        self.interval = interval
        self.suppressed = 0
        self._clock = clock
        self._limit = limit
        # From kind to the time it was last let through and how many weren't
        # since; in the order of those times.
        self._kinds: dict[Hashable, tuple[float, int]] = {}

    def admit(self, kind: Hashable) -> int | None:
        """
        Ask whether to tell of an event.

        @param kind: What makes events the same, such as an upstream's name.
        @return: How many of its kind weren't told since the last one that
            was; L{None} if this one shouldn't be either.
        """
        now = self._clock.seconds()
        last, missed = self._kinds.get(kind, (None, 0))
        if last is not None and now - last < self.interval:
            self._kinds[kind] = (last, missed + 1)
            self.suppressed += 1
            return None
        self._kinds.pop(kind, None)
        self._kinds[kind] = (now, 0)
        if len(self._kinds) > self._limit:
            del self._kinds[next(iter(self._kinds))]
        return missed
