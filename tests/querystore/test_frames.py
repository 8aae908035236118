# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.frames}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.querystore.frames import HEADER, BrokenFrame, FrameReader, frame


class FrameTests(SynchronousTestCase):
    """
    Frames.
    """

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.dictionaries(st.text(), st.integers()), st.binary()), max_size=5),
        st.integers(1, 20),
    )
    def test_roundTrip(self, frames: list[tuple[dict[str, int], bytes]], size: int) -> None:
        """
        Frames come out as they went in, however they are cut up on the way.
        """
        octets = b"".join(frame(fields, payload) for fields, payload in frames)
        reader = FrameReader()
        found: list[Any] = []
        for start in range(0, len(octets), size):
            found += reader.feed(octets[start : start + size])
        self.assertEqual(found, frames)

    def test_noise(self) -> None:
        """
        What is no frame is said so at once, not waited for.
        """
        for octets in (
            b"\xff" * 8,
            HEADER.pack(3, 0) + b"{x}",
            HEADER.pack(2, 0) + b"[]",
            HEADER.pack(2, 0) + b"\xff\xff",
        ):
            self.assertRaises(BrokenFrame, list, FrameReader().feed(octets))
