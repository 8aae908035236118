# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.problems}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.policy.problems import InvalidPolicy, Problems, nearest


class ProblemsTests(SynchronousTestCase):
    """
    Tests for L{Problems}.
    """

    def test_inReadingOrder(self) -> None:
        """
        All problems come out in the order they were noted, one a line.
        """
        problems = Problems()
        problems.check()
        problems.note("a[0]", "one")
        problems.add(PolicyError("b", "two"))
        problems.add(PolicyError("b", "two"))
        problems.add(InvalidPolicy([PolicyError("c", "three"), PolicyError("d", "four")]))
        self.assertEqual(len(problems), 4)
        invalid = self.assertRaises(InvalidPolicy, problems.check)
        self.assertEqual(str(invalid), "a[0]: one\nb: two\nc: three\nd: four")
        self.assertEqual(invalid.problems, tuple(problems))

    def test_nearest(self) -> None:
        """
        The nearest known word is suggested, if one is near.
        """
        self.assertEqual(nearest("gogle", ["bing", "google"]), "; did you mean 'google'?")
        self.assertEqual(nearest("zzz", ["bing", "google"]), "")
