# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.problem}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.problem import (
    Place,
    Problem,
    Severity,
    pathFromText,
    pathText,
    shown,
)


class ProblemTests(SynchronousTestCase):
    """
    Tests for L{Problem} and the key paths it names.
    """

    def test_line(self) -> None:
        """
        A problem reads as compilers write them.
        """
        place = Place("a.yaml", 3, 5)
        self.assertEqual(
            str(Problem.at(place, ("client_groups", 2, "id"), "wrong")),
            "a.yaml:3:5: client_groups[2].id: wrong",
        )
        self.assertEqual(
            str(Problem.at(Place("a.yaml"), (), "odd", Severity.WARNING)), "a.yaml: odd (warning)"
        )

    def test_paths(self) -> None:
        """
        A key path is written and read again.
        """
        for path, text in [
            ((), ""),
            (("cache", "min_ttl"), "cache.min_ttl"),
            (("upstreams", 0), "upstreams[0]"),
            (("a", 10, "b", 2, "c"), "a[10].b[2].c"),
        ]:
            self.assertEqual(pathText(path), text)
            self.assertEqual(pathFromText(text), path)

    def test_oddNames(self) -> None:
        """
        Names that would break or flood a line are quoted and cut.
        """
        self.assertEqual(pathText(("a", "b\nc")), "a.'b\\nc'")
        self.assertTrue(len(pathText(("x" * 10_000,))) < 100)
        self.assertEqual(shown("a\x1b[31m"), "'a\\x1b[31m'")
        self.assertTrue(len(shown("x" * 10_000)) < 100)
