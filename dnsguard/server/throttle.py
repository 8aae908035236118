# -*- test-case-name: tests.server.test_throttle -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Not saying the same thing a thousand times a second.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Throttle"]


class Throttle:
    """
    Lets one event through in a while and counts those in between.
    """

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        """
        @param seconds: The least time between two that are let through.
        @param now: The clock, in seconds.
        """
        self._seconds = seconds
        self._now = now
        self._next = float("-inf")
        self._suppressed = 0

    def admit(self) -> int | None:
        """
        May this one be told?

        @return: How many weren't since the last one that was; L{None} when
            this one may not.
        """
        now = self._now()
        if now < self._next:
            self._suppressed += 1
            return None
        self._next = now + self._seconds
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
