# -*- test-case-name: tests.caching.test_refresh -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Is a cached answer due for refresh before it expires?

The more a name is asked for, the earlier: hot names are fetched anew while
much of their time is left, so that no client waits for them. Only the decision
is here; who fetches, and how many at a time, isn't this module's business.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

__all__ = ["PRESETS", "RefreshPolicy", "Tier", "adaptiveHotRate", "jitterOf"]

DEFAULT_HOT_RATE = 20.0
"""Queries a minute that make a key hot, where nothing else is known."""

NORMAL_SHARE = 0.1
"""
The last part of its time in which a key that isn't popular is due. Without
this bound a C{minTTL} above the stored TTL would fetch a name anew with every
hit.
"""

FIXED_SHARE = 0.5
"""The most that a threshold given in seconds may take of a key's time."""

_JITTERS = 1024

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "aggressive": MappingProxyType(
            {
                "refreshPastAuthTTL": True,
                "hotTTLFraction": 0.5,
                "warmThreshold": 1,
                "warmTTL": 180.0,
                "warmTTLFraction": 0.35,
                "minTTL": 1800.0,
            }
        ),
        "balanced": MappingProxyType(
            {
                "refreshPastAuthTTL": True,
                "hotTTLFraction": 0.3,
                "warmThreshold": 2,
                "warmTTL": 300.0,
                "warmTTLFraction": 0.25,
                "minTTL": 3600.0,
            }
        ),
        "conservative": MappingProxyType(
            {
                "refreshPastAuthTTL": False,
                "hotTTLFraction": 0.2,
                "warmThreshold": 3,
                "warmTTL": 600.0,
                "warmTTLFraction": 0.15,
                "minTTL": 7200.0,
            }
        ),
    }
)
"""What C{refresh_mode} sets, whatever the single values say."""


class Tier(enum.Enum):
    """
    How popular a key is. The values are the words of logs and statistics.
    """

    HOT = "hot"
    WARM = "warm"
    NORMAL = "normal"


def adaptiveHotRate(clientTTLCap: float) -> float:
    """
    Work out the rate that makes a key hot.

    Clients that are told short TTLs come back often, each of them: then more
    queries a minute are needed to mean popularity.

    @param clientTTLCap: The most TTL that clients are told, in seconds; 0 when
        there is no such cap.
    @return: Queries a minute.
    """
    if clientTTLCap <= 0:
        return DEFAULT_HOT_RATE
    return max(2.0, 3.0 * min(60.0, 60.0 / max(1.0, clientTTLCap)))


def jitterOf(key: Hashable) -> float:
    """
    Give a key's own number for L{RefreshPolicy.dueAge}: below 1, and the same as
    long as the process lives.
    """
    return (hash(key) % _JITTERS) / _JITTERS


@attrs.frozen
class RefreshPolicy:
    """
    When keys are due. Times are seconds.

    @ivar hitWindow: The time that hits are counted over.
    @ivar hotThresholdRate: Queries a minute that make a key hot.
    @ivar hotThreshold: Hits in the window that do; used if the rate is 0.
    @ivar hotTTL: A hot key is due with so much of its time left.
    @ivar hotTTLFraction: The same as a share of its time; used unless 0.
    @ivar warmThreshold: Hits in the window that make a key warm; 0: none is.
    @ivar warmTTL: As C{hotTTL}, for a warm key.
    @ivar warmTTLFraction: As C{hotTTLFraction}, for a warm key.
    @ivar minTTL: Another key is due with so much of its time left, but no
        earlier than in the last tenth of it.
    @ivar refreshPastAuthTTL: A hot or warm key that is kept longer than it is
        true is due when it is no longer true.
    @ivar jitter: Be due earlier by up to this share of the time left, each key
        by another one, so that keys stored together aren't fetched together.
    """

    hitWindow: float = 60.0
    hotThresholdRate: float = DEFAULT_HOT_RATE
    hotThreshold: int = 20
    hotTTL: float = 120.0
    hotTTLFraction: float = 0.0
    warmThreshold: int = 0
    warmTTL: float = 300.0
    warmTTLFraction: float = 0.0
    minTTL: float = 3600.0
    refreshPastAuthTTL: bool = True
    jitter: float = 0.1

    @classmethod
    def preset(cls, mode: str, **values: Any) -> RefreshPolicy:
        """
        Make a policy from a preset.

        @param mode: A name in L{PRESETS}; C{"custom"} or nothing for none.
        @param values: Keyword arguments of the constructor; the preset's
            overrule them.
        @raise KeyError: No such preset.
        """
        if mode not in ("", "custom"):
            values.update(PRESETS[mode])
        return cls(**values)

    def tier(self, hits: float) -> Tier:
        """
        Sort a key by its hits in the window.

        @param hits: The count, as L{dnsguard.caching.hits.HitRates} gives it.
        """
        # A fading count lies somewhat below the hits it stands for.
        hits += 0.5
        if self.hotThresholdRate > 0:
            if hits >= self.hotThresholdRate * self.hitWindow / 60.0:
                return Tier.HOT
        elif hits >= self.hotThreshold:
            return Tier.HOT
        if self.warmThreshold > 0 and hits >= self.warmThreshold:
            return Tier.WARM
        return Tier.NORMAL

    def dueAge(self, tier: Tier, storedTTL: int, authTTL: int, jitter: float = 0.0) -> float:
        """
        Tell how old an answer is when it becomes due.

        @param storedTTL: For how long it was stored as fresh.
        @param authTTL: For how long it was true.
        @param jitter: The key's own number, from 0 to 1.
        @return: Seconds since it was stored, from 0 to C{storedTTL}.
        """
        if tier is Tier.NORMAL:
            left = min(self.minTTL, storedTTL * NORMAL_SHARE)
        elif tier is Tier.HOT:
            left = _left(self.hotTTL, self.hotTTLFraction, storedTTL)
        else:
            left = _left(self.warmTTL, self.warmTTLFraction, storedTTL)
        age = max(storedTTL - left * (1.0 + self.jitter * jitter), 0.0)
        if self.refreshPastAuthTTL and tier is not Tier.NORMAL and storedTTL > authTTL > 0:
            return min(age, float(authTTL))
        return age

    def firstDueAge(self, storedTTL: int, authTTL: int, jitter: float = 0.0) -> float:
        """
        Tell how old an answer is when it becomes due in the tier that is due
        first. Before that nobody need ask how popular it is.
        """
        return min(self.dueAge(tier, storedTTL, authTTL, jitter) for tier in self._tiers)

    @property
    def _tiers(self) -> tuple[Tier, ...]:
        return tuple(Tier) if self.warmThreshold > 0 else (Tier.HOT, Tier.NORMAL)


def _left(seconds: float, fraction: float, storedTTL: int) -> float:
    if fraction > 0:
        return fraction * storedTTL
    return min(seconds, FIXED_SHARE * storedTTL)
