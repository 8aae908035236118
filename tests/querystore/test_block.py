# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.block}.
"""

from __future__ import annotations

import struct
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.querystore.block import Block, BrokenBlock
from tests.support.storecontract import sampleBlock


class BlockTests(SynchronousTestCase):
    """
    Rows that travel together.
    """

    def test_roundTrip(self) -> None:
        """
        A block comes back from its octets as it was.
        """
        block = sampleBlock()
        again = Block.decode(block.encode())
        self.assertEqual(
            (again.id, again.instance, list(again.tuples())),
            (block.id, block.instance, list(block.tuples())),
        )
        self.assertEqual(len(again), 11)

    def test_earlierVersion(self) -> None:
        """
        A block as earlier programs left it in the spool can be read: its rows aren't
        packed.
        """
        block = sampleBlock()
        fragments = [*block.clients, *block.facts]
        body = b"".join(
            (
                b"one",
                struct.pack(f"={len(fragments)}H", *map(len, fragments)),
                *fragments,
                block.rows,
            )
        )
        numbers = len(block), len(block.clients), len(block.facts), 3, len(body)
        octets = struct.pack("=4sH16sIIIHI", b"DGQB", 1, block.id, *numbers) + body
        again = Block.decode(octets + struct.pack("=I", zlib.crc32(octets)))
        self.assertEqual((again.id, list(again.tuples())), (block.id, list(block.tuples())))

    def test_wrongNumber(self) -> None:
        """
        A block with a checksum that is right, and another number of rows than it
        says, is recognized.
        """
        octets = bytearray(sampleBlock().encode()[:-4])
        for count in (0, 10, 12, 2**32 - 1):
            struct.pack_into("=I", octets, 22, count)
            whole = bytes(octets) + struct.pack("=I", zlib.crc32(octets))
            self.assertRaises(BrokenBlock, Block.decode, whole)

    def test_newest(self) -> None:
        """
        The last rows can be had alone.
        """
        block = sampleBlock()
        self.assertEqual(list(block.newest(2).tuples()), list(block.tuples())[-2:])
        self.assertEqual(len(block.newest(100)), 11)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_damage(self, data: st.DataObject) -> None:
        """
        A block that was cut, changed or lengthened is recognized.
        """
        octets = bytearray(sampleBlock().encode())
        how = data.draw(st.sampled_from(["cut", "change", "add"]))
        if how == "cut":
            del octets[data.draw(st.integers(0, len(octets) - 1)) :]
        elif how == "add":
            octets += b"x"
        else:
            place = data.draw(st.integers(0, len(octets) - 1))
            octets[place] ^= data.draw(st.integers(1, 255))
        try:
            block = Block.decode(bytes(octets))
        except BrokenBlock:
            return
        self.fail(f"read {len(block)} rows of a damaged block")
