# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.spool}.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.querystore.block import Block
from dnsguard.querystore.spool import LARGE, Spool
from tests.support.storecontract import sampleBlock


class SpoolTests(SynchronousTestCase):
    """
    Blocks on disk.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()) / "spool"
        self.spool = Spool(self.directory, 1 << 20)

    def first(self, spool: Spool) -> tuple[int, Block]:
        """
        Give the block that waits longest.
        """
        found = spool.first()
        assert found is not None
        return found

    def drained(self, spool: Spool) -> list[bytes]:
        """
        Take all blocks out and give their ids.
        """
        ids = []
        while (found := spool.first()) is not None:
            ids.append(found[1].id)
            spool.remove(found[0])
        return ids

    def test_order(self) -> None:
        """
        Blocks come out as they went in, also after a restart in between.
        """
        blocks = [sampleBlock() for _ in range(12)]
        for block in blocks[:6]:
            self.spool.add(block)
        spool = Spool(self.directory, 1 << 20)
        for block in blocks[6:]:
            spool.add(block)
        self.assertEqual((spool.recoveredRows, spool.rows, spool.blocks), (66, 132, 12))
        self.assertEqual(self.drained(spool), [block.id for block in blocks])
        self.assertEqual((spool.rows, spool.octets, spool.blocks), (0, 0, 0))
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_whole(self) -> None:
        """
        A block comes out as it went in.
        """
        block = sampleBlock()
        self.spool.add(block)
        self.assertEqual(self.first(self.spool)[1].encode(), block.encode())

    def test_large(self) -> None:
        """
        A large block, compressed another way, comes out as it went in; one that
        was damaged is counted and put aside, and the next one comes.
        """
        plain = sampleBlock()
        times = LARGE // len(plain.rows) + 1
        large = attrs.evolve(plain, rows=plain.rows * times)
        spool = Spool(self.directory, 1 << 24)
        spool.add(large)
        self.assertEqual(self.first(spool)[1].encode(), large.encode())
        path = next(self.directory.glob("*.block"))
        octets = path.read_bytes()
        for damaged in (octets[:-9], octets[:4], octets[:40] + b"\0" * 40 + octets[80:]):
            path.write_bytes(damaged)
            other = Spool(self.directory, 1 << 24)
            self.assertIsNone(other.first())
            self.assertEqual(other.brokenRows, len(large))
            next(self.directory.glob("*.broken")).unlink()

    def test_bound(self) -> None:
        """
        Over its bound it takes no more, and again when there is room.
        """
        self.spool.add(sampleBlock())
        spool = Spool(self.directory, int(self.spool.octets * 2.5))
        spool.add(sampleBlock())
        self.assertRaises(StoreError, spool.add, sampleBlock())
        self.assertEqual(len(list(self.directory.iterdir())), 2)
        spool.remove(self.first(spool)[0])
        spool.add(sampleBlock())

    def test_halfFull(self) -> None:
        """
        It says when it holds half of what it may.
        """
        self.spool.add(sampleBlock())
        for share, expected in ((1.9, True), (2.1, False)):
            spool = Spool(self.directory, int(self.spool.octets * share))
            self.assertFalse(spool.isHalfFull)
            spool.open()
            self.assertIs(spool.isHalfFull, expected)

    def test_halfWritten(self) -> None:
        """
        What a crash left half written is swept up, and strangers' files stay.
        """
        self.directory.mkdir(parents=True)
        (self.directory / "0000000000000001-5.part").write_bytes(b"half")
        (self.directory / "notes.txt").write_bytes(b"mine")
        self.assertIsNone(self.spool.first())
        self.assertEqual([path.name for path in self.directory.iterdir()], ["notes.txt"])

    def test_damaged(self) -> None:
        """
        A damaged file is put aside and counted, and the next block's turn
        comes.
        """
        for _ in range(3):
            self.spool.add(sampleBlock())
        paths = sorted(self.directory.iterdir())
        paths[0].write_bytes(b"noise")
        paths[1].write_bytes(paths[1].read_bytes()[:-4])
        self.assertEqual(self.first(self.spool)[0], 3)
        self.assertEqual((self.spool.brokenRows, self.spool.rows), (22, 11))
        self.assertEqual(
            sorted(path.suffix for path in self.directory.iterdir()),
            [".block", ".broken", ".broken"],
        )

    def test_fullDisk(self) -> None:
        """
        On a full disk a block is refused, and nothing is left of it.
        """
        self.spool.open()

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "fsync", full)
        problem = self.assertRaises(StoreError, self.spool.add, sampleBlock())
        self.assertIn("No space left on device", str(problem))
        self.assertEqual(list(self.directory.iterdir()), [])
        self.assertEqual((self.spool.rows, self.spool.octets), (0, 0))

    def test_noFolder(self) -> None:
        """
        A folder that can't be is an error with its place.
        """
        self.directory.parent.mkdir(parents=True)
        self.directory.touch()
        problem = self.assertRaises(StoreError, self.spool.add, sampleBlock())
        self.assertIn(str(self.directory), str(problem))
