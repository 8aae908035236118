# -*- test-case-name: tests.querystore.test_block -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How many rows travel together.

A L{Block} holds each fragment once, and the rows that refer to them. That is what
is buffered, spooled to disk, sent to the embedded engine's process and turned
into ClickHouse's RowBinary.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import attrs

from dnsguard.querystore.rows import FRAGMENT_OVERHEAD, PROTOCOLS, ROW, texts

try:
    from dnsguard.querystore._packing import packed, unpacked
except ImportError:
    from dnsguard.querystore.packing import packed, unpacked

__all__ = ["Block", "BrokenBlock"]

_HEADER = struct.Struct("=4sH16sIIIHI")
_CHECKSUM = struct.Struct("=I")
_MAGIC = b"DGQB"
_VERSION = 2
_PLAIN = 1
"""The version whose rows aren't packed: an earlier program's, in a spool."""


class BrokenBlock(ValueError):
    """
    These octets are no block, or not all of one.
    """


@attrs.frozen(eq=False)
class Block:
    """
    Rows that are delivered together, or not at all.

    @ivar id: 16 random octets; an engine stores a block of one id once.
    @ivar instance: The name of the server that made it.
    @ivar rows: Records of L{ROW}; not to be written to, whatever they are in.
    @ivar clients: Client fragments.
    @ivar facts: Fact fragments.
    @ivar octets: What it takes in memory, about.
    """

    id: bytes
    instance: str
    rows: bytes | bytearray
    clients: tuple[bytes, ...]
    facts: tuple[bytes, ...]
    octets: int = attrs.field(init=False)

    @octets.default
    def _sum(self) -> int:
        fragments = FRAGMENT_OVERHEAD * (len(self.clients) + len(self.facts))
        return len(self.rows) + sum(map(len, self.clients)) + sum(map(len, self.facts)) + fragments

    def __len__(self) -> int:
        return len(self.rows) // ROW.size

    @property
    def token(self) -> str:
        """
        The id as text.
        """
        return self.id.hex()

    def encode(self) -> bytes:
        """
        Give the block as octets, with a checksum.
        """
        instance = self.instance.encode("utf-8")
        fragments = [*self.clients, *self.facts]
        body = b"".join(
            (
                instance,
                struct.pack(f"={len(fragments)}H", *map(len, fragments)),
                *fragments,
                packed(self.rows),
            )
        )
        header = _HEADER.pack(
            _MAGIC,
            _VERSION,
            self.id,
            len(self),
            len(self.clients),
            len(self.facts),
            len(instance),
            len(body),
        )
        checksum = _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(header)))
        return b"".join((header, body, checksum))

    @classmethod
    def decode(cls, octets: bytes) -> Block:
        """
        Read a block.

        @raise BrokenBlock: Something is missing, left over or changed.
        """
        if len(octets) < _HEADER.size + _CHECKSUM.size:
            raise BrokenBlock("shorter than a header")
        magic, version, id, count, clients, facts, name, size = _HEADER.unpack_from(octets)
        if magic != _MAGIC or version not in (_VERSION, _PLAIN):
            raise BrokenBlock("not a block of this version")
        body = octets[_HEADER.size : -_CHECKSUM.size]
        (checksum,) = _CHECKSUM.unpack_from(octets, len(octets) - _CHECKSUM.size)
        if len(body) != size or zlib.crc32(memoryview(octets)[: -_CHECKSUM.size]) != checksum:
            raise BrokenBlock("cut short or damaged")
        lengths = struct.unpack_from(f"={clients + facts}H", body, name)
        at = name + 2 * len(lengths)
        fragments = []
        for length in lengths:
            fragments.append(body[at : at + length])
            at += length
        try:
            rows = body[at:] if version == _PLAIN else unpacked(body[at:], count)
        except ValueError as reason:
            raise BrokenBlock(str(reason)) from None
        if len(rows) != count * ROW.size:
            raise BrokenBlock("another number of rows than announced")
        return cls(
            id,
            body[:name].decode("utf-8"),
            rows,
            tuple(fragments[:clients]),
            tuple(fragments[clients:]),
        )

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """
        Walk over the rows as tuples of all L{COLUMNS}: C{ts} and the times in
        milliseconds, the rest text.
        """
        known: dict[bytes, tuple[str, ...]] = {}

        def decoded(made: bytes) -> tuple[str, ...]:
            found = known.get(made)
            if found is None:
                found = known[made] = texts(made)
            return found

        for when, client, fact, took, cache, write, protocol in self.records():
            qname, qtype, qclass, outcome, rcode, upstream, *rest = decoded(self.facts[fact])
            yield (
                when,
                *decoded(self.clients[client]),
                PROTOCOLS[protocol],
                qname,
                qtype,
                qclass,
                outcome,
                rcode,
                took / 1000,
                cache / 1000,
                write / 1000,
                upstream,
                *rest,
                self.instance,
            )

    def newest(self, count: int) -> Block:
        """
        Give a block of the last rows alone.
        """
        return attrs.evolve(self, rows=self.rows[-count * ROW.size :])

    def records(self) -> Iterator[tuple[int, int, int, int, int, int, int]]:
        """
        Walk over the rows as L{ROW} has them.
        """
        return ROW.iter_unpack(self.rows)
