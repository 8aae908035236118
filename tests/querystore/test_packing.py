# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.packing} and its compiled twin.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.querystore import packing
from dnsguard.querystore.rows import ROW

try:
    from dnsguard.querystore import _packing
except ImportError:
    compiled: Any = None
else:
    compiled = _packing


class PackingTests:
    """
    What both twins do.
    """

    module: Any

    def test_packed(self: Any) -> None:
        """
        Packed rows hold what is the same in all of them once, and of the rest the
        first octets of all rows, then the second ones.
        """
        rows = ROW.pack(-5, 1, 0, 0x1234, 7, 0, 2) + ROW.pack(-5, 2, 0, 0x1334, 7, 0, 2)
        little = struct.pack("=H", 1) == b"\1\0"
        first, second = (8, 17) if little else (11, 18)
        self.assertEqual(
            self.module.packed(rows),
            struct.pack("=I", 1 << first | 1 << second) + rows[:32] + b"\1\2\x12\x13",
        )

    def test_packedAlike(self: Any) -> None:
        """
        Rows that are all the same, or one alone, pack to that row; none to nothing.
        """
        row = ROW.pack(-5, 1, 0, 0x1234, 7, 0, 2)
        for count in (1, 2, 1000):
            self.assertEqual(self.module.packed(row * count), bytes(4) + row)
            self.assertEqual(self.module.unpacked(bytes(4) + row, count), row * count)
        self.assertEqual(self.module.packed(b""), b"")
        self.assertEqual(self.module.unpacked(b"", 0), b"")

    def test_packedOfAnotherNumber(self: Any) -> None:
        """
        Packed rows of which there are more or fewer octets than their number says
        are an error.
        """
        octets = self.module.packed(bytes(range(96)))
        self.assertEqual(self.module.unpacked(octets, 3), bytes(range(96)))
        for wrong, count in (
            (octets, 2),
            (octets, 4),
            (octets, 0),
            (octets, 2**40),
            (octets[:-1], 3),
            (octets + b"x", 3),
            (octets[:35], 3),
            (bytes(37), 3),
            (b"", 3),
        ):
            self.assertRaises(ValueError, self.module.unpacked, wrong, count)


class PythonTests(PackingTests, SynchronousTestCase):
    """
    The Python twin.
    """

    module = packing


class CompiledTests(PackingTests, SynchronousTestCase):
    """
    The compiled twin.
    """

    if compiled is None:
        skip = "not compiled here"
    module = compiled

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.lists(st.sampled_from([0, 1, 255]), min_size=32, max_size=32).map(bytes),
            max_size=20,
        ).map(b"".join),
        st.booleans(),
    )
    def test_twinsAgree(self, rows: bytes, writable: bool) -> None:
        """
        Both twins pack any rows alike, and each gives back what the other packed.
        """
        octets = self.module.packed(bytearray(rows) if writable else rows)
        self.assertEqual(octets, packing.packed(rows))
        count = len(rows) // 32
        self.assertEqual(self.module.unpacked(octets, count), rows)
        self.assertEqual(packing.unpacked(octets, count), rows)

    def test_packedHalfARow(self) -> None:
        """
        Half a row is an error, not read past.
        """
        self.assertRaises(ValueError, self.module.packed, bytes(47))
