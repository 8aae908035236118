# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.block}.
"""

from __future__ import annotations

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
