# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.quantities}.
"""

from __future__ import annotations

from dnsguard.config.quantities import Duration, Integer, Number, Size
from tests.config.test_kinds import KindCase


class QuantityTests(KindCase):
    """
    Tests for L{Integer}, L{Number}, L{Duration} and L{Size}.
    """

    def test_integer(self) -> None:
        """
        Whole numbers are decimal, with both bounds included.
        """
        kind = Integer(1, 64)
        self.assertEqual(self.read(kind, "1"), 1)
        self.assertEqual(self.read(kind, '"64"'), 64)
        self.assertEqual(self.read(Integer(), "10_000"), 10_000)
        self.assertEqual(self.read(Integer(), "010"), 10)
        for text in ["0", "65", "-1", "1.0", "0x10", "1e1", "many", "9" * 5000, "٣"]:
            self.assertIn("expected a whole number from 1 to 64", self.refuse(kind, text))
        self.assertEqual(
            self.refuse(Integer(2, unit="days"), "1"),
            "'1': expected a whole number of days, 2 or more",
        )

    def test_number(self) -> None:
        """
        Numbers may have fractions, and no exponents.
        """
        kind = Number(0, 1)
        self.assertEqual(self.read(kind, "0.25"), 0.25)
        self.assertEqual(self.read(kind, "1"), 1.0)
        for text in ["1.1", "-0.1", "1e-1", ".5", "nan", "inf", "9" * 5000, "٣"]:
            self.assertIn("expected a number from 0 to 1", self.refuse(kind, text))
        self.assertEqual(kind.show(0.25), "0.25")

    def test_duration(self) -> None:
        """
        Durations are seconds; bounds are told in the operator's notation.
        """
        kind = Duration(least=1, most=3600)
        self.assertEqual(self.read(kind, "1h"), 3600.0)
        self.assertEqual(self.read(kind, "90"), 90.0)
        message = self.refuse(kind, "2h")
        self.assertIn("'2h': expected a duration", message)
        self.assertIn("at least 1s, at most 1h", message)
        self.assertIn("'soon': not a duration", self.refuse(kind, "soon"))
        self.assertEqual(kind.show(90.0), "1m30s")

    def test_size(self) -> None:
        """
        Sizes are octets.
        """
        kind = Size(least=1024, most=1 << 30)
        self.assertEqual(self.read(kind, "64MB"), 64 << 20)
        self.assertIn("at least 1KB, at most 1GB", self.refuse(kind, "1"))
        self.assertIn("not a size", self.refuse(kind, "big"))
        self.assertEqual(kind.show(64 << 20), "64MB")
