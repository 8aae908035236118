# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.refresh}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.refresh import PRESETS, RefreshPolicy, Tier, adaptiveHotRate, jitterOf

BALANCED = RefreshPolicy.preset("balanced", hotThresholdRate=10.0, jitter=0.0)


class TierTests(SynchronousTestCase):
    """
    Tests for L{RefreshPolicy.tier}.
    """

    def test_rateMakesHot(self) -> None:
        """
        A key is hot at so many queries a minute, whatever the window.
        """
        for window, hits in [(60.0, 10), (120.0, 20), (30.0, 5)]:
            policy = RefreshPolicy(hitWindow=window, hotThresholdRate=10.0)
            self.assertIs(policy.tier(hits), Tier.HOT)
            self.assertIs(policy.tier(hits - 1), Tier.NORMAL)

    def test_absoluteCountWithoutRate(self) -> None:
        """
        With the rate 0 it is the count in the window that makes a key hot.
        """
        policy = RefreshPolicy(hotThresholdRate=0.0, hotThreshold=7)
        self.assertIs(policy.tier(7.0), Tier.HOT)
        self.assertIs(policy.tier(6.0), Tier.NORMAL)

    def test_warmLiesBetween(self) -> None:
        """
        From the warm threshold up to the hot one a key is warm: there is no
        gap in which a more popular key would count for less.
        """
        tiers = [BALANCED.tier(hits).value for hits in (0, 1, 2, 5, 9, 10, 50)]
        self.assertEqual(tiers, ["normal", "normal", "warm", "warm", "warm", "hot", "hot"])

    def test_warmCanBeOff(self) -> None:
        """
        With a warm threshold of 0 nothing is warm.
        """
        self.assertIs(RefreshPolicy(warmThreshold=0).tier(5), Tier.NORMAL)

    def test_fadedCountIsForgiven(self) -> None:
        """
        Two hits some seconds apart count as two.
        """
        self.assertIs(BALANCED.tier(1.8), Tier.WARM)

    def test_adaptiveRate(self) -> None:
        """
        The shorter the TTL clients are told, the more queries it takes.
        """
        self.assertEqual([adaptiveHotRate(cap) for cap in (0, 300, 60, 10)], [20, 2, 3, 18])
        self.assertEqual(adaptiveHotRate(0.001), 180)


class DueTests(SynchronousTestCase):
    """
    Tests for L{RefreshPolicy.dueAge}.
    """

    def test_fractionsOfTheTime(self) -> None:
        """
        Hot and warm keys are due with their share of the time left.
        """
        self.assertEqual(BALANCED.dueAge(Tier.HOT, 1000, 1000), 700.0)
        self.assertEqual(BALANCED.dueAge(Tier.WARM, 1000, 1000), 750.0)

    def test_secondsWithoutFraction(self) -> None:
        """
        Without a fraction it is a number of seconds, but never more than half
        of the time: else a short-lived key would be fetched with each hit.
        """
        policy = RefreshPolicy(hotTTL=120.0, jitter=0.0)
        self.assertEqual(policy.dueAge(Tier.HOT, 1000, 1000), 880.0)
        self.assertEqual(policy.dueAge(Tier.HOT, 100, 100), 50.0)

    def test_normalKeyIsDueLate(self) -> None:
        """
        Another key is due in the last tenth of its time at the earliest, also
        when the threshold is as long as that whole time.
        """
        self.assertEqual(BALANCED.dueAge(Tier.NORMAL, 3600, 3600), 3240.0)
        policy = RefreshPolicy(minTTL=60.0, jitter=0.0)
        self.assertEqual(policy.dueAge(Tier.NORMAL, 3600, 3600), 3540.0)

    def test_pastItsOwnTTL(self) -> None:
        """
        A popular key kept longer than it is true is due when it stops being
        true; an unpopular one isn't, nor does it hold with the option off.
        """
        self.assertEqual(BALANCED.dueAge(Tier.HOT, 300, 20), 20.0)
        self.assertEqual(BALANCED.dueAge(Tier.WARM, 300, 20), 20.0)
        self.assertEqual(BALANCED.dueAge(Tier.NORMAL, 300, 20), 270.0)
        off = RefreshPolicy.preset("conservative", jitter=0.0)
        self.assertEqual(off.dueAge(Tier.HOT, 300, 20), 240.0)
        self.assertEqual(BALANCED.dueAge(Tier.HOT, 300, 0), 210.0)

    def test_jitterMakesItEarlier(self) -> None:
        """
        Each key's own number spreads what was stored together over a while.
        """
        policy = RefreshPolicy.preset("balanced", jitter=0.1)
        self.assertEqual(policy.dueAge(Tier.HOT, 1000, 1000, 0.0), 700.0)
        self.assertEqual(policy.dueAge(Tier.HOT, 1000, 1000, 1.0), 670.0)

    def test_jitterOf(self) -> None:
        """
        A key's number is always the same, from 0 to 1, and another key's is
        another one.
        """
        numbers = [jitterOf(key) for key in range(-500, 500)]
        self.assertEqual(numbers, [jitterOf(key) for key in range(-500, 500)])
        self.assertTrue(all(0.0 <= number <= 1.0 for number in numbers))
        self.assertGreater(len(set(numbers)), 900)

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(["", *PRESETS]),
        st.integers(1, 100000),
        st.integers(0, 100000),
        st.floats(0, 1),
        st.floats(0, 1),
    )
    def test_isWithinTheTime(
        self, mode: str, stored: int, true: int, jitter: float, fraction: float
    ) -> None:
        """
        A key is due between storing and expiry in every tier; the first due
        age is the least of them; a hot key is due no later than a normal one.
        """
        policy = RefreshPolicy.preset(
            mode, warmThreshold=1, warmTTLFraction=fraction, hotTTLFraction=fraction
        )
        ages = {tier: policy.dueAge(tier, stored, true, jitter) for tier in Tier}
        self.assertEqual(policy.firstDueAge(stored, true, jitter), min(ages.values()))
        self.assertTrue(all(0 <= age <= stored for age in ages.values()), ages)
        if mode:
            self.assertLessEqual(ages[Tier.HOT], ages[Tier.NORMAL])

    def test_presetsOverruleValues(self) -> None:
        """
        A preset's values win over single ones; without a preset they hold.
        """
        values = {"hotTTLFraction": 0.9, "hotTTL": 11.0}
        self.assertEqual(RefreshPolicy.preset("aggressive", **values).hotTTLFraction, 0.5)
        self.assertEqual(RefreshPolicy.preset("aggressive", **values).hotTTL, 11.0)
        self.assertEqual(RefreshPolicy.preset("custom", **values).hotTTLFraction, 0.9)
        self.assertRaises(KeyError, RefreshPolicy.preset, "eager")
