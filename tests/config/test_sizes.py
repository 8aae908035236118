# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sizes}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.sizes import formatSize, parseSize


class SizeTests(SynchronousTestCase):
    """
    Tests for L{parseSize} and L{formatSize}.
    """

    def test_read(self) -> None:
        """
        Units are powers of 1024, in either spelling and letter case.
        """
        for text, octets in [
            ("64MB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("64m", 64 << 20),
            ("512KB", 512 << 10),
            ("1.5G", 3 << 29),
            ("1048576", 1 << 20),
            ("10B", 10),
            ("0", 0),
        ]:
            self.assertEqual(parseSize(text), octets, text)

    def test_refused(self) -> None:
        """
        Anything else is refused, with a reason.
        """
        for text in ["", "MB", "-1MB", "1XB", "1 2", "1e6", "64  MB", "2000TB", "٣MB", "1.MB"]:
            error = self.assertRaises(ValueError, parseSize, text)
            self.assertTrue(str(error), text)

    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, 1 << 50))
    def test_roundTrip(self, octets: int) -> None:
        """
        What is written is read again as the same amount.
        """
        self.assertEqual(parseSize(formatSize(octets)), octets)

    def test_written(self) -> None:
        """
        The largest unit that makes a whole number is used.
        """
        self.assertEqual(formatSize(64 << 20), "64MB")
        self.assertEqual(formatSize(1536 << 10), "1536KB")
        self.assertEqual(formatSize(1000), "1000")
        self.assertEqual(formatSize(0), "0")
