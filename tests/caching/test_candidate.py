# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The values that pass between a shared store and its keepers.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.candidate import Candidate, Clearing, Standing

KEY = (b"\x07example\x03org\x00", 1, 1, 0)


class CandidateTests(SynchronousTestCase):
    """
    They are values: equal when their parts are.
    """

    def test_equality(self) -> None:
        """
        Two of equal parts are equal.
        """
        self.assertEqual(Candidate(KEY, 1.0), Candidate(KEY, 1.0))
        self.assertNotEqual(Candidate(KEY, 1.0), Candidate(KEY, 2.0))

    def test_nothingKnown(self) -> None:
        """
        A key that nothing is known of has no hits and no age.
        """
        self.assertEqual(Standing(False), Standing(False, None, 0, 0))

    def test_everything(self) -> None:
        """
        A clearing without a name is one of everything.
        """
        self.assertEqual((Clearing().qname, Clearing().below), (None, False))
