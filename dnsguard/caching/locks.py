# -*- test-case-name: tests.caching.test_locks -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Locks within one process, that end by themselves.

What a shared store's locks are among instances, these are among the parts of
one: only one of them fetches a key at a time, and a key whose fetching failed
is left alone until its lock has run out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["LocalLocks"]

K = TypeVar("K", bound=Hashable)


class LocalLocks(Generic[K]):
    """
    A bounded number of locks, each with a token to give it back with. Times are
    seconds of any clock, the same one each time.

    @ivar refused: How often a lock was refused because too many were held.
    """

    def __init__(self, seconds: float, capacity: int = 10_000) -> None:
        """
        @param seconds: When a lock ends by itself.
        @param capacity: The most that are held.
        """
        self.seconds = seconds
        self.refused = 0
        self._capacity = capacity
        self._number = 0
        # In the order in which they were taken.
        self._held: OrderedDict[K, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def acquire(self, key: K, now: float) -> int | None:
        """
        Take a lock.

        @return: The token to release it with, or L{None}: it is taken.
        """
        held = self._held.get(key)
        if held is not None and now < held[1]:
            return None
        self.prune(now, 2)
        if len(self._held) >= self._capacity and held is None:
            self.refused += 1
            return None
        self._number += 1
        self._held[key] = (self._number, now + self.seconds)
        self._held.move_to_end(key)
        return self._number

    def release(self, key: K, token: int) -> bool:
        """
        Give a lock back, if it is still this one.

        @return: Was it?
        """
        held = self._held.get(key)
        if held is None or held[0] != token:
            return False
        del self._held[key]
        return True

    def prune(self, now: float, most: int | None = None) -> None:
        """
        Let go of locks that have ended, the oldest first.

        @param most: No more than so many.
        """
        while self._held and most != 0:
            oldest = next(iter(self._held))
            if now < self._held[oldest][1]:
                return
            del self._held[oldest]
            if most is not None:
                most -= 1

    def clear(self) -> None:
        """
        End all locks.
        """
        self._held.clear()
