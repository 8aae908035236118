# -*- test-case-name: tests.caching.test_refreshstats -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What refreshing and sweeping did in the last 24 hours.

Each sweep is one entry of a history, each refresh that a client's query asked
for counts in an hour's slot, and everything older than a day is forgotten:
memory is bounded whatever the intervals are.
"""

from __future__ import annotations

from collections import deque
from math import sqrt

import attrs

from dnsguard.caching.refresh import Tier

__all__ = ["DAY", "Census", "RefreshCounters", "RefreshStatistics", "Removed", "Sweep"]

DAY = 86400.0
HOUR = 3600.0

MOST_SWEEPS = 20_000
"""Sweeps remembered: a day's at one every five seconds."""


@attrs.frozen
class Removed:
    """
    What a sweep took away, by cause.

    @ivar coldKeys: Keys that nobody had asked for lately.
    @ivar capEvicted: Keys over the store's bound.
    @ivar indexOrphans: Candidates whose answers were gone.
    @ivar reconciled: Other places in the index whose answers were gone.
    """

    coldKeys: int = 0
    capEvicted: int = 0
    indexOrphans: int = 0
    reconciled: int = 0

    @property
    def total(self) -> int:
        """
        All of them.
        """
        return self.coldKeys + self.capEvicted + self.indexOrphans + self.reconciled

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            self.coldKeys + other.coldKeys,
            self.capEvicted + other.capEvicted,
            self.indexOrphans + other.indexOrphans,
            self.reconciled + other.reconciled,
        )


@attrs.frozen
class Sweep:
    """
    One sweep.

    @ivar at: When it ended, in seconds since the epoch.
    @ivar refreshed: Refreshes it began.
    @ivar removed: What it took away.
    """

    at: float
    refreshed: int
    removed: Removed = Removed()


@attrs.frozen
class Census:
    """
    How popular the keys of a sample were.
    """

    hot: int
    warm: int
    cold: int

    @property
    def sampled(self) -> int:
        """
        The keys looked at.
        """
        return self.hot + self.warm + self.cold


@attrs.define
class RefreshCounters:
    """
    What became of what was found due.

    @ivar asked: Calls, most of which ask for what is under way already.
    @ivar started: Refreshes begun.
    @ivar refreshed: Those that brought a new answer.
    @ivar adopted: Those that another instance had done already.
    @ivar servfail: Those that upstream answered with SERVFAIL.
    @ivar refused: Those that upstream answered with REFUSED or the like.
    @ivar failed: Those that no upstream answered.
    @ivar notKept: Those whose new answer isn't one to keep.
    @ivar overtaken: Those whose name was cleared meanwhile.
    @ivar locked: Not begun: another instance, or this one, is at it.
    @ivar full: Not begun: too many were under way.
    @ivar held: Not begun: upstream fails to answer it.
    @ivar broken: Those that ended with an exception.
    """

    asked: int = 0
    started: int = 0
    refreshed: int = 0
    adopted: int = 0
    servfail: int = 0
    refused: int = 0
    failed: int = 0
    notKept: int = 0
    overtaken: int = 0
    locked: int = 0
    full: int = 0
    held: int = 0
    broken: int = 0


class RefreshStatistics:
    """
    The history of a day. Times are seconds since the epoch.

    @ivar census: The last one taken, or L{None}.
    @ivar deletionCandidates: How many keys of the last census would be deleted
        as cold if they came up now.
    """

    def __init__(self, began: float) -> None:
        """
        @param began: When counting began.
        """
        self.census: Census | None = None
        self.deletionCandidates = 0
        self._began = began
        self._sweeps: deque[Sweep] = deque(maxlen=MOST_SWEEPS)
        self._slots: deque[tuple[int, dict[Tier, int]]] = deque(maxlen=25)

    def swept(self, sweep: Sweep) -> None:
        """
        Note a sweep.
        """
        self._sweeps.append(sweep)
        self._prune(sweep.at)

    def requested(self, tier: Tier, now: float) -> None:
        """
        Note a refresh that a client's query asked for.
        """
        hour = int(now // HOUR)
        if not self._slots or self._slots[-1][0] != hour:
            self._slots.append((hour, dict.fromkeys(Tier, 0)))
        self._slots[-1][1][tier] += 1

    def requestedLately(self, tier: Tier, now: float) -> int:
        """
        How many refreshes clients' queries asked for in the last 24 hours.
        """
        oldest = int(now // HOUR) - 23
        return sum(counts[tier] for hour, counts in self._slots if hour >= oldest)

    @property
    def last(self) -> Sweep | None:
        """
        The last sweep.
        """
        return self._sweeps[-1] if self._sweeps else None

    def sweeps(self, now: float) -> list[Sweep]:
        """
        The sweeps of the last 24 hours, the oldest first.
        """
        self._prune(now)
        return list(self._sweeps)

    def window(self, now: float) -> float:
        """
        How many seconds of the last 24 hours are known.
        """
        return min(max(now - self._began, 1.0), DAY)

    def projected(self, count: int, now: float) -> int:
        """
        What a count over the known time comes to in a day.
        """
        return round(count * DAY / self.window(now))

    def _prune(self, now: float) -> None:
        while self._sweeps and now - self._sweeps[0].at > DAY:
            self._sweeps.popleft()


def meanAndDeviation(counts: list[int]) -> tuple[float, float]:
    """
    The mean and the population standard deviation; zeros of nothing.
    """
    if not counts:
        return 0.0, 0.0
    mean = sum(counts) / len(counts)
    return mean, sqrt(sum((count - mean) ** 2 for count in counts) / len(counts))
