# -*- test-case-name: tests.test_throttle -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Say a thing that keeps happening once in a while.

What goes wrong for one query goes wrong for the next ten thousand as well; a
log that says so each time hides everything else and costs more than the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

__all__ = ["Throttle"]


class Throttle:
    """
    One kind of event, let through once in an interval.

    @ivar seconds: The interval.
    """

    def __init__(self, seconds: float = 60.0, now: Callable[[], float] = monotonic) -> None:
        """
        @param now: Gives the time in seconds: a clock's C{seconds}.
        """
        self.seconds = seconds
        self._now = now
        self._next: float | None = None
        self._count = 0

    def allows(self) -> int:
        """
        Note that the event happened.

        @return: How often it happened since it was let through last, this time
            included, if it is to be let through now; else 0.
        """
        self._count += 1
        now = self._now()
        if self._next is not None and now < self._next:
            return 0
        self._next = now + self.seconds
        count, self._count = self._count, 0
        return count
