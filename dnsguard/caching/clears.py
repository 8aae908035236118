# -*- test-case-name: tests.caching.test_clears -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What was cleared lately, so that answers under way don't bring it back.

Clearing a cache drops what is in it. What somebody had asked for before, and
gets afterwards, may be the very thing that was to go: it is given to whoever
asked, and not kept.
"""

from __future__ import annotations

from collections import OrderedDict

from dnsguard.wire.names import isAtOrBelow

__all__ = ["RecentClears"]

SECONDS = 30.0
"""Longer than any query is under way."""

CAPACITY = 1000


class RecentClears:
    """
    The clearings of the last half minute. Times are seconds of any clock, the
    same one each time.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """
        @param capacity: The most names remembered; one more, and it is as if
            everything had been cleared.
        """
        self._capacity = capacity
        self._everything = float("-inf")
        self._names: OrderedDict[tuple[bytes, bool], float] = OrderedDict()

    def add(self, qname: bytes | None, below: bool, now: float) -> None:
        """
        Note a clearing.

        @param qname: The name, lower-cased, in wire form; L{None}: everything.
        @param below: The names below it, too?
        """
        self._prune(now)
        if qname is None or len(self._names) >= self._capacity:
            self._everything = now
            self._names.clear()
        else:
            self._names[qname, below] = now
            self._names.move_to_end((qname, below))

    def overtook(self, qname: bytes, asked: float, now: float) -> bool:
        """
        Has a name been cleared since a question for it was asked?
        """
        if asked < self._everything and now - self._everything <= SECONDS:
            return True
        if not self._names:
            return False
        self._prune(now)
        # A loop: what is compiled has no room for a generator here.
        for (name, below), cleared in self._names.items():
            if asked < cleared and (qname == name or (below and isAtOrBelow(qname, name))):
                return True
        return False

    def _prune(self, now: float) -> None:
        while self._names:
            oldest = next(iter(self._names))
            if now - self._names[oldest] <= SECONDS:
                return
            del self._names[oldest]
