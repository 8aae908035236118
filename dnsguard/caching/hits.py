# -*- test-case-name: tests.caching.test_hits -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How often names are asked for, lately.

Each key has one number that every hit adds to and that fades with time, so that
it stands for the hits of the last window without a list of them. A plain
counter would only grow: sooner or later every name would look popular.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from math import exp
from typing import Generic, TypeVar

__all__ = ["HitRates"]

K = TypeVar("K", bound=Hashable)


class HitRates(Generic[K]):
    """
    Fading hit counts of a bounded number of keys.

    Keys stand in two generations. When the younger one is full it becomes the
    older one, whose keys are forgotten unless they were hit again meanwhile: so
    at most C{capacity} keys are held, the ones in use among them, and each hit
    takes constant time.

    @ivar window: Seconds; a steady C{n} hits in such a time make a count of
        C{n}.
    @ivar forgotten: Keys let go of for lack of room.
    """

    def __init__(
        self,
        capacity: int,
        window: float,
        *,
        sampleRate: float = 1.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        """
        @param capacity: The most keys held.
        @param sampleRate: Count only this share of the hits, each for as many
            more; from 0.01 to 1, and brought there if it isn't.
        @param random: Gives numbers from 0 to 1, 1 excluded.
        @raise ValueError: No capacity or no window.
        """
        if capacity < 2 or window <= 0:
            raise ValueError("hit counts need a window and room for two keys")
        self.window = window
        self.forgotten = 0
        self._half = capacity // 2
        self._sampleRate = min(max(sampleRate, 0.01), 1.0)
        self._random = random
        self._young: dict[K, tuple[float, float]] = {}
        self._old: dict[K, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._young) + sum(key not in self._young for key in self._old)

    def hit(self, key: K, now: float) -> float:
        """
        Count one hit, or one in so many.

        @param now: Seconds of any clock, the same one each time.
        @return: The key's count, this hit included.
        """
        if self._sampleRate == 1.0:
            return self.add(key, 1.0, now)
        if self._random() < self._sampleRate:
            return self.add(key, 1.0 / self._sampleRate, now)
        return self.count(key, now)

    def add(self, key: K, hits: float, now: float) -> float:
        """
        Count hits that were counted elsewhere already.

        @return: The key's count, these included.
        """
        count = self.count(key, now) + hits
        if key not in self._young and len(self._young) >= self._half:
            self.forgotten += sum(old not in self._young for old in self._old)
            self._old, self._young = self._young, {}
        self._young[key] = (count, now)
        return count

    def count(self, key: K, now: float) -> float:
        """
        Give a key's count without counting.
        """
        found = self._young.get(key) or self._old.get(key)
        if found is None:
            return 0.0
        count, then = found
        # A clock that was set back must not make counts grow.
        return count * exp(-max(now - then, 0.0) / self.window)

    def clear(self) -> None:
        """
        Forget everything.
        """
        self._young.clear()
        self._old.clear()
