# -*- test-case-name: tests.querystore.test_spool -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Blocks that couldn't be delivered yet, on disk and in order.

A file a block, whole or not there at all; what a crash left half done is swept
up when the spool is opened. Everything here blocks and is called in threads, by
one caller at a time.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]

from dnsguard.errors import StoreError
from dnsguard.querystore.block import Block, BrokenBlock

__all__ = ["Spool"]

_NAME = re.compile(r"(\d{16})-(\d{1,10})\.block")

LEVEL = 1
"""How hard to compress: rows shrink to a fifth at the least effort."""

LARGE = 256 * 1024
"""Octets of a block that a busy server makes, who has better things to do than zlib."""

_LZ4 = b"\x04\x22\x4d\x18"
"""What an LZ4 frame begins with, and nothing of zlib's does."""


class Spool:
    """
    A bounded queue of blocks in a folder.

    @ivar rows: Rows in it.
    @ivar octets: Octets it takes on disk.
    @ivar blocks: Blocks in it.
    @ivar brokenRows: Rows of files that had been damaged.
    @ivar recoveredRows: Rows that an earlier run left.
    """

    def __init__(self, directory: Path, maxOctets: int) -> None:
        """
        @param directory: Made when it is opened if it isn't there.
        @param maxOctets: What it may take on disk.
        """
        self._directory = directory
        self._maxOctets = maxOctets
        self._queue: list[tuple[int, int, int]] = []
        self._opened = False
        self._next = 1
        self.rows = self.octets = self.brokenRows = self.recoveredRows = 0

    @property
    def blocks(self) -> int:
        """
        Blocks in it.
        """
        return len(self._queue)

    @property
    def isHalfFull(self) -> bool:
        """
        Does it hold half of what it may, or more?
        """
        return self.octets * 2 >= self._maxOctets

    def open(self) -> None:
        """
        Find what an earlier run left. Does nothing the second time.

        @raise StoreError: The folder can't be made or read.
        """
        if self._opened:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._directory.iterdir()):
                match = _NAME.fullmatch(path.name)
                if match:
                    self._note(int(match[1]), int(match[2]), path.stat().st_size)
                elif path.suffix == ".part":
                    path.unlink()
        except OSError as reason:
            raise StoreError("spool", f"{self._directory}: {reason.strerror}") from None
        self._opened = True
        self.recoveredRows = self.rows

    def _note(self, number: int, rows: int, octets: int) -> None:
        """
        Count a file in.
        """
        self._queue.append((number, rows, octets))
        self._next = number + 1
        self.rows += rows
        self.octets += octets

    def _path(self, number: int, rows: int) -> Path:
        return self._directory / f"{number:016d}-{rows}.block"

    def add(self, block: Block) -> int:
        """
        Write a block behind all others. When this returns it would outlive a
        crash.

        @return: The number it can be removed by.
        @raise StoreError: There is no room, by the bound or on the disk.
        """
        self.open()
        octets = _compressed(block.encode())
        if self.octets + len(octets) > self._maxOctets:
            raise StoreError("spool", f"{self.octets} octets waiting, no room for more")
        number = self._next
        path = self._path(number, len(block))
        partial = path.with_suffix(".part")
        try:
            with partial.open("wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
            self._syncDirectory()
        except OSError as reason:
            for leftover in (partial, path):
                with contextlib.suppress(OSError):
                    leftover.unlink()
            raise StoreError("spool", f"{self._directory}: {reason.strerror}") from None
        self._note(number, len(block), len(octets))
        return number

    def first(self) -> tuple[int, Block] | None:
        """
        Give the block that has waited longest, and its number. One that is
        damaged is put aside and counted.
        """
        self.open()
        while self._queue:
            number, rows, _ = self._queue[0]
            path = self._path(number, rows)
            try:
                return number, Block.decode(_decompressed(path.read_bytes()))
            except (BrokenBlock, FileNotFoundError):
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".broken"))
                self._forget(number)
                self.brokenRows += rows
            except OSError as reason:
                raise StoreError("spool", f"{path}: {reason.strerror}") from None
        return None

    def remove(self, number: int) -> None:
        """
        Let a block go that was delivered.
        """
        for found, rows, _ in self._queue:
            if found == number:
                try:
                    self._path(number, rows).unlink(missing_ok=True)
                except OSError as reason:
                    raise StoreError("spool", f"{self._directory}: {reason.strerror}") from None
                self._forget(number)
                return

    def _forget(self, number: int) -> None:
        """
        Count a file out.
        """
        for place, (found, rows, octets) in enumerate(self._queue):
            if found == number:
                del self._queue[place]
                self.rows -= rows
                self.octets -= octets
                return

    def _syncDirectory(self) -> None:
        """
        Make a new name outlive a crash.
        """
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _compressed(octets: bytes) -> bytes:
    """
    Make octets less: as small as can be where there are few, fast where there
    are many.
    """
    if len(octets) < LARGE:
        return zlib.compress(octets, LEVEL)
    packed: bytes = lz4.frame.compress(octets)
    return packed


def _decompressed(octets: bytes) -> bytes:
    """
    Give what L{_compressed} was given.

    @raise BrokenBlock: It is damaged.
    """
    try:
        if not octets.startswith(_LZ4):
            return zlib.decompress(octets)
        whole: bytes = lz4.frame.decompress(octets)
    except (zlib.error, RuntimeError, ValueError, EOFError) as reason:
        raise BrokenBlock(str(reason)) from None
    return whole
