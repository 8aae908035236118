# -*- test-case-name: tests.redis.test_breaker -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Leave a server alone that has just failed, and find out when it is back.

A lookup that waits for a dead server costs its client the whole deadline, so
the first failure is enough: from then on nobody asks, but for one probe at a
time, further and further apart. Knows no network and no clock of its own.
"""

from __future__ import annotations

import enum

__all__ = ["Breaker", "State"]


class State(enum.Enum):
    """
    Whether a server is asked.
    """

    CLOSED = "closed"
    """It is."""

    OPEN = "open"
    """It isn't."""

    HALF_OPEN = "half-open"
    """One probe is under way."""


class Breaker:
    """
    The standing of one server. Times are seconds of one clock.

    @ivar closed: Is it asked?
    @ivar reason: Why it isn't, in a few words.
    @ivar trips: How often it went from asked to not asked.
    @ivar failures: All failures, of probes too.
    @ivar probes: How often it was tried out.
    """

    def __init__(
        self,
        *,
        threshold: int = 1,
        firstPause: float = 0.1,
        longestPause: float = 5.0,
        relapse: float = 10.0,
    ) -> None:
        """
        @param threshold: So many failures in a row open it.
        @param firstPause: How long it is left alone at first; each probe that
            fails doubles that.
        @param longestPause: The longest it is left alone.
        @param relapse: A server that fails again within this time goes on with
            the pauses where it was: it answers probes, but nothing else.
        """
        self.closed = True
        self.reason = ""
        self.trips = self.failures = self.probes = 0
        self._threshold = threshold
        self._first = firstPause
        self._longest = longestPause
        self._relapse = relapse
        self._row = 0
        self._pause = 0.0
        self._probing = False
        self._until = 0.0
        self._closedAt = float("-inf")

    @property
    def state(self) -> State:
        """
        Whether the server is asked.
        """
        if self.closed:
            return State.CLOSED
        return State.HALF_OPEN if self._probing else State.OPEN

    def failed(self, now: float, reason: str) -> bool:
        """
        Note that the server failed.

        @return: Is it left alone from now on, and wasn't so far?
        """
        self.failures += 1
        self._row += 1
        if not self.closed:
            if self._probing:
                self._probing = False
                self._wait(now)
            self.reason = reason
            return False
        if self._row < self._threshold:
            return False
        if now - self._closedAt >= self._relapse:
            self._pause = 0.0
        self.closed = False
        self.reason = reason
        self.trips += 1
        self._wait(now)
        return True

    def _wait(self, now: float) -> None:
        self._pause = min(max(self._pause * 2, self._first), self._longest)
        self._until = now + self._pause

    def succeeded(self, now: float) -> bool:
        """
        Note that the server did what it was asked.

        @return: Is it asked again from now on, and wasn't so far?
        """
        self._row = 0
        if self.closed:
            return False
        self._probing = False
        self.closed = True
        self.reason = ""
        self._closedAt = now
        return True

    def mayProbe(self, now: float) -> bool:
        """
        Ask for leave to try the server out. Who gets it must tell of the
        outcome: nobody else gets it before.
        """
        if self.closed or self._probing or now < self._until:
            return False
        self._probing = True
        self.probes += 1
        return True

    def hurry(self, now: float) -> None:
        """
        Let the next probe be at once: something happened that may have put
        the server right.
        """
        self._until = now
