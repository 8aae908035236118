# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.wire.mnemonics}.
"""

from __future__ import annotations

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire import mnemonics


class MnemonicsTests(SynchronousTestCase):
    """
    Words for numbers.
    """

    def test_agreesWithTwistedNames(self) -> None:
        """
        The types Twisted Names knows bear the same names here.
        """
        for number, name in dns.QUERY_TYPES.items():
            self.assertEqual(mnemonics.typeName(number), name)

    def test_namesAreUnique(self) -> None:
        """
        No word stands for two numbers.
        """
        for table in (mnemonics.TYPES, mnemonics.CLASSES, mnemonics.RCODES):
            self.assertEqual(len(set(table.values())), len(table))

    def test_unknownNumbersStandForThemselves(self) -> None:
        """
        What has no word is shown as its number.
        """
        self.assertEqual(mnemonics.typeName(65280), "65280")
        self.assertEqual(mnemonics.className(7), "7")
        self.assertEqual(mnemonics.rCodeName(4000), "4000")

    def test_knownNumbers(self) -> None:
        """
        What has a word is shown by it.
        """
        self.assertEqual(mnemonics.typeName(65), "HTTPS")
        self.assertEqual(mnemonics.className(1), "IN")
        self.assertEqual(mnemonics.rCodeName(3), "NXDOMAIN")
