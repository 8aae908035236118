# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.durations}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.durations import MOST_SECONDS, formatDuration, parseDuration


class DurationTests(SynchronousTestCase):
    """
    Tests for L{parseDuration} and L{formatDuration}.
    """

    def test_read(self) -> None:
        """
        Go's notation is read, and a bare whole number counts seconds.
        """
        for text, seconds in [
            ("300ms", 0.3),
            ("5s", 5.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            (".5s", 0.5),
            ("2h45m30.5s", 9930.5),
            ("100us", 0.0001),
            ("100µs", 0.0001),
            ("7d", 604800.0),
            ("90", 90.0),
            ("0", 0.0),
            ("0s", 0.0),
        ]:
            self.assertEqual(parseDuration(text), seconds, text)

    def test_refused(self) -> None:
        """
        Anything else is refused, with a reason.
        """
        for text in [
            "", " ", "s", "5 s", "5x", "-5s", "+5s", "1h30", "1.5", "h1", "1e3s", "nan", "inf",
            "5S", "1__0s", "٣s", "1m 30s", "0x10s", "1..5s", "²s", "²",
        ]:  # fmt: skip
            error = self.assertRaises(ValueError, parseDuration, text)
            self.assertTrue(str(error), text)

    def test_tooLong(self) -> None:
        """
        Spans over a hundred years are refused, however they're written.
        """
        for text in ["1000000h", "9" * 18, "9" * 18 + "d"]:
            error = self.assertRaises(ValueError, parseDuration, text)
            self.assertIn("100 years", str(error))

    def test_written(self) -> None:
        """
        Spans are written the shortest way, in Go's units.
        """
        for seconds, text in [
            (0, "0s"),
            (0.3, "300ms"),
            (5, "5s"),
            (5400, "1h30m"),
            (86400, "24h"),
            (1.5, "1s500ms"),
            (0.0001, "100us"),
        ]:
            self.assertEqual(formatDuration(seconds), text)

    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, MOST_SECONDS * 1000))
    def test_roundTrip(self, milliseconds: int) -> None:
        """
        What is written is read again as the same span.
        """
        seconds = milliseconds / 1000
        self.assertAlmostEqual(parseDuration(formatDuration(seconds)), seconds, places=6)

    @settings(max_examples=300, deadline=None)
    @given(st.text(max_size=30))
    def test_anyText(self, text: str) -> None:
        """
        No text does anything else than being read or refused.
        """
        try:
            seconds = parseDuration(text)
        except ValueError:
            return
        self.assertTrue(0 <= seconds <= MOST_SECONDS)
