# -*- test-case-name: tests.caching.test_sliding -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Hits of a long window, counted in slices.

L{dnsguard.caching.hits} tells how popular a name is now; a name that was very
popular once fades slowly there. Whether a name was asked for at all in the last
two days is a matter of counting, and of letting whole slices go.
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["SlidingCounts"]

SLICES = 4


class SlidingCounts:
    """
    Hit counts of a bounded number of keys over one window, or up to a quarter
    of it more. Times are seconds of any clock, the same one each time.

    @ivar window: Seconds.
    @ivar uncounted: Keys that there was no room for.
    """

    def __init__(self, capacity: int, window: float) -> None:
        """
        @param capacity: The most keys counted in each of the slices.
        @raise ValueError: No capacity or no window.
        """
        if capacity < 1 or window <= 0:
            raise ValueError("hit counts need a window and room for a key")
        self.window = window
        self.uncounted = 0
        self._capacity = capacity
        self._slice = window / SLICES
        self._since: float | None = None
        self._began = 0.0
        self._slices: list[dict[Hashable, float]] = [{}]

    def add(self, key: Hashable, hits: float, now: float) -> None:
        """
        Count hits.
        """
        self._turn(now)
        newest = self._slices[0]
        if key in newest:
            newest[key] += hits
        elif len(newest) < self._capacity:
            newest[key] = hits
        else:
            self.uncounted += 1

    def count(self, key: Hashable, now: float) -> float:
        """
        Give a key's hits of the window.
        """
        self._turn(now)
        return sum(counts.get(key, 0.0) for counts in self._slices)

    def covers(self, now: float) -> bool:
        """
        Has there been counting for a whole window? Before that a count says
        little.
        """
        self._turn(now)
        assert self._since is not None
        return now - self._since >= self.window

    def clear(self) -> None:
        """
        Forget everything, and begin anew.
        """
        self._since = None
        self._slices = [{}]

    def _turn(self, now: float) -> None:
        """
        Begin a new slice when it is time.
        """
        if self._since is None or now < self._began:
            self._since = self._began = now
        passed = int((now - self._began) / self._slice)
        if passed > 0:
            self._began += passed * self._slice
            fresh: list[dict[Hashable, float]] = [{} for _ in range(min(passed, SLICES + 1))]
            self._slices = (fresh + self._slices)[: SLICES + 1]
