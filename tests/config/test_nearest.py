# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.nearest}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.nearest import distance, nearest

WORD = st.text("abc_", max_size=8)


class NearestTests(SynchronousTestCase):
    """
    Tests for L{nearest} and L{distance}.
    """

    def test_distance(self) -> None:
        """
        Inserting, dropping, changing and swapping letters count one each.
        """
        for left, right, steps in [
            ("", "", 0),
            ("min_ttl", "min_ttl", 0),
            ("min_tl", "min_ttl", 1),
            ("min_ttll", "min_ttl", 1),
            ("nin_ttl", "min_ttl", 1),
            ("imn_ttl", "min_ttl", 1),
            ("abc", "", 3),
        ]:
            self.assertEqual(distance(left, right), steps, (left, right))

    @settings(max_examples=200, deadline=None)
    @given(WORD, WORD)
    def test_bounds(self, left: str, right: str) -> None:
        """
        The distance is the same both ways, and no more than the longer word.
        """
        steps = distance(left, right)
        self.assertEqual(steps, distance(right, left))
        self.assertTrue(abs(len(left) - len(right)) <= steps <= max(len(left), len(right)))
        self.assertEqual(steps == 0, left == right)

    def test_nearest(self) -> None:
        """
        The nearest word is found, whatever the letter case and the dashes.
        """
        known = ["min_ttl", "max_ttl", "negative_ttl"]
        self.assertEqual(nearest("min_tll", known), "min_ttl")
        self.assertEqual(nearest("Max-TTL", known), "max_ttl")

    def test_nothingNear(self) -> None:
        """
        A word that has little in common with any isn't guessed at.
        """
        self.assertIsNone(nearest("password", ["min_ttl", "max_ttl"]))
        self.assertIsNone(nearest("x", []))
        self.assertIsNone(nearest("m" * 10_000, ["min_ttl"]))
