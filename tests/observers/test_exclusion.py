# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.exclusion}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.observers.exclusion import Exclusion
from dnsguard.wire.names import fromText


class ExclusionTests(SynchronousTestCase):
    """
    What isn't recorded.
    """

    def excludes(self, exclusion: Exclusion, name: str) -> bool:
        """
        Ask about a name given as text.
        """
        return exclusion.excludesName(fromText(name))

    def test_suffix(self) -> None:
        """
        A name excludes itself and what is below it, but not its neighbours.
        """
        exclusion = Exclusion(["Example.org", "*.example.net"])
        self.assertTrue(self.excludes(exclusion, "example.org"))
        self.assertTrue(self.excludes(exclusion, "a.b.example.org"))
        self.assertTrue(self.excludes(exclusion, "example.net"))
        self.assertFalse(self.excludes(exclusion, "badexample.org"))
        self.assertFalse(self.excludes(exclusion, "org"))

    def test_pattern(self) -> None:
        """
        A pattern is found anywhere in the name, letter case aside.
        """
        exclusion = Exclusion(["/^ads[0-9]+[.]/"])
        self.assertTrue(self.excludes(exclusion, "ADS7.example.org"))
        self.assertFalse(self.excludes(exclusion, "x.ads7.example.org"))

    def test_hostilePatternEnds(self) -> None:
        """
        A pattern that makes backtracking matchers run for ever is matched in
        one pass.
        """
        exclusion = Exclusion(["/(a+)+$/"])
        self.assertFalse(self.excludes(exclusion, ("a" * 60 + ".") * 3 + "b"))

    def test_clients(self) -> None:
        """
        Clients are excluded by address or name, letter case aside.
        """
        exclusion = Exclusion(clients=["192.0.2.7", "TV", "2001:DB8::1"])
        self.assertTrue(exclusion.excludesClient("192.0.2.7", ""))
        self.assertTrue(exclusion.excludesClient("192.0.2.8", "tv"))
        self.assertTrue(exclusion.excludesClient("2001:db8::1", ""))
        self.assertFalse(exclusion.excludesClient("192.0.2.8", ""))

    def test_nothing(self) -> None:
        """
        An empty exclusion is false and excludes nothing.
        """
        exclusion = Exclusion()
        self.assertFalse(exclusion)
        self.assertFalse(self.excludes(exclusion, "example.org"))
        self.assertFalse(exclusion.excludesClient("", ""))

    def test_errorsNameTheirPlace(self) -> None:
        """
        A bad entry is told by its key path.
        """
        for bad in ("a..b", "/(/", "/" + "x" * 2000 + "/", "*.", "bücher.example"):
            with self.assertRaises(PolicyError) as caught:
                Exclusion(["example.org", bad])
            self.assertEqual(caught.exception.place, "query_store.exclude_domains[1]")
