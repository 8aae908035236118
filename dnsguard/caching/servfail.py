# -*- test-case-name: tests.caching.test_servfail -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which keys upstream has just failed to answer.

A name whose servers are broken is asked for again at once by every client; for
a while it is answered with the failure it had (RFC 9520 §3.2). Keys whose
refreshes fail time after time aren't refreshed any more until one succeeds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["BackoffTable"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", int, float)

CAPACITY = 10000
"""Keys held in each of the table's parts."""


class BackoffTable(Generic[K]):
    """
    Backoffs, counts of failed refreshes and times of logging, by key. Each of
    the three is bounded; the keys that failed longest ago go first.

    Times are seconds of any clock, the same one each time.

    @ivar evictions: Keys pushed out before their time.
    """

    def __init__(
        self,
        seconds: float = 60.0,
        *,
        refreshThreshold: int = 10,
        logInterval: float | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        """
        @param seconds: How long a key is left alone after a failure; RFC 9520
            §3.2 allows 1 to 300. 0: not at all.
        @param refreshThreshold: Failed refreshes in a row after which a key
            isn't refreshed any more; 0: it always is.
        @param logInterval: Log a key's failures once in this time; by default
            once a backoff.
        """
        self.evictions = 0
        self.reconfigure(seconds, refreshThreshold, logInterval)
        self._capacity = capacity
        # Each in the order of its times, the oldest first.
        self._until: OrderedDict[K, float] = OrderedDict()
        self._counts: OrderedDict[K, int] = OrderedDict()
        self._logged: OrderedDict[K, float] = OrderedDict()

    def reconfigure(
        self, seconds: float, refreshThreshold: int, logInterval: float | None = None
    ) -> None:
        """
        Go on with other rules, as for the constructor. Backoffs that hold
        already end when they were to.
        """
        self._seconds = seconds
        self._threshold = refreshThreshold
        self._logInterval = seconds if logInterval is None else logInterval

    def __len__(self) -> int:
        """
        How many keys are in backoff, or were until lately.
        """
        return len(self._until)

    @property
    def counted(self) -> int:
        """
        How many keys had failed refreshes since they last succeeded.
        """
        return len(self._counts)

    @property
    def idle(self) -> bool:
        """
        Has nothing failed lately, so that nobody needs to ask?
        """
        return not self._until and not self._counts

    def failed(self, key: K, now: float, refresh: bool = False) -> bool:
        """
        Note that upstream answered a key with SERVFAIL.

        @param refresh: Was it a refresh? Only those are counted.
        @return: Is it to be logged, or was one for this key lately?
        """
        self.prune(now, 2)
        if self._seconds > 0:
            self._file(self._until, key, now + self._seconds)
        if refresh:
            self._file(self._counts, key, self._counts.get(key, 0) + 1)
        logged = self._logged.get(key)
        if logged is not None and now - logged < self._logInterval:
            return False
        self._file(self._logged, key, now)
        return True

    def succeeded(self, key: K) -> None:
        """
        Note that upstream answered a key: all is forgotten.
        """
        self._until.pop(key, None)
        self._counts.pop(key, None)
        self._logged.pop(key, None)

    def inBackoff(self, key: K, now: float) -> bool:
        """
        Is a key to be left alone?
        """
        return self.remaining(key, now) > 0

    def remaining(self, key: K, now: float) -> float:
        """
        For how many more seconds a key is to be left alone, or 0.
        """
        until = self._until.get(key)
        return 0.0 if until is None else max(until - now, 0.0)

    def mayRefresh(self, key: K, now: float) -> bool:
        """
        May a key be refreshed? Not during a backoff, nor after too many
        failures in a row.
        """
        if self.inBackoff(key, now):
            return False
        return self._threshold <= 0 or self._counts.get(key, 0) < self._threshold

    def prune(self, now: float, most: int | None = None) -> int:
        """
        Let go of what is over: backoffs and times of logging. Counts stay.

        @param most: Look at no more than so many keys of each kind.
        @return: How many backoffs went.
        """
        pruned = _prune(self._until, now, most)
        _prune(self._logged, now - self._logInterval, most)
        return pruned

    def clear(self) -> None:
        """
        Forget everything.
        """
        self._until.clear()
        self._counts.clear()
        self._logged.clear()

    def _file(self, table: OrderedDict[K, V], key: K, value: V) -> None:
        """
        Put a key at a table's young end.
        """
        if key not in table and len(table) >= self._capacity:
            table.popitem(last=False)
            self.evictions += 1
        table[key] = value
        table.move_to_end(key)


def _prune(table: OrderedDict[K, float], before: float, most: int | None) -> int:
    """
    Drop keys from a table's old end whose time is C{before} or earlier.
    """
    pruned = 0
    while table and pruned != most:
        oldest = next(iter(table))
        if table[oldest] > before:
            break
        table.popitem(last=False)
        pruned += 1
    return pruned
