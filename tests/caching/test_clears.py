# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.clears}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.clears import RecentClears
from dnsguard.wire.names import fromText

WWW = fromText("www.example.org")
ORG = fromText("example.org")
OTHER = fromText("www.example.com")


class RecentClearsTests(SynchronousTestCase):
    """
    Tests for L{RecentClears}.
    """

    def setUp(self) -> None:
        self.clears = RecentClears(capacity=3)

    def test_nothing(self) -> None:
        """
        Nothing was overtaken before anything was cleared.
        """
        self.assertFalse(self.clears.overtook(WWW, 0.0, 1.0))

    def test_oneName(self) -> None:
        """
        Clearing a name overtakes what was asked for it before, and nothing
        else.
        """
        self.clears.add(WWW, False, 10.0)
        self.assertTrue(self.clears.overtook(WWW, 9.9, 10.1))
        self.assertFalse(self.clears.overtook(WWW, 10.05, 10.1))
        self.assertFalse(self.clears.overtook(ORG, 9.9, 10.1))

    def test_suffix(self) -> None:
        """
        With a suffix it is all names below, too.
        """
        self.clears.add(ORG, True, 10.0)
        self.assertTrue(self.clears.overtook(WWW, 9.0, 10.1))
        self.assertTrue(self.clears.overtook(ORG, 9.0, 10.1))
        self.assertFalse(self.clears.overtook(OTHER, 9.0, 10.1))

    def test_everything(self) -> None:
        """
        Clearing everything overtakes all that was asked before.
        """
        self.clears.add(None, False, 10.0)
        self.assertTrue(self.clears.overtook(OTHER, 9.0, 10.1))
        self.assertFalse(self.clears.overtook(OTHER, 10.0, 10.1))

    def test_itIsOver(self) -> None:
        """
        After half a minute no query is under way any more.
        """
        self.clears.add(None, False, 10.0)
        self.clears.add(WWW, False, 10.0)
        self.assertFalse(self.clears.overtook(WWW, 9.0, 41.0))

    def test_bounded(self) -> None:
        """
        With more names than there is room for it is as if all were cleared.
        """
        for number in range(4):
            self.clears.add(fromText(f"host{number}.example.org"), False, 10.0)
        self.assertTrue(self.clears.overtook(OTHER, 9.0, 10.1))
