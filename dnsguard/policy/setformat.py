# -*- test-case-name: tests.policy.test_setformat -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The file that a compiled set of names lives in.

Millions of names must cost little memory, load in no time and be shared by
processes, so the set is a file that is mapped and never read as a whole::

    header | sources (JSON) | index | pages

I{Pages} hold the names, sorted and front-coded, each with the places (source
and line) that it came from. A name is written from its last letter to its
first, three letters to two octets (names in lists have only letters, digits,
C{-} and C{_}), so that names below one domain stand side by side and share
their beginnings. The I{index} is a hash table that says which page a name
would stand in: lines of 16 entries, one cache line each, filled in order and
spilling into the next. An entry is a few bits of the hash and the page's
number; the name itself is compared on the page, so that no collision, by
chance or by malice, blocks a name that isn't listed. The hash is keyed at
random for each file, and the number of index lines looked at is bounded.

An entry of a page::

    octet            shared << 4 | rest; 15 means "15 or more, see next octet"
    [octet]          shared, if it is 15 or more
    [octet]          rest, if it is 15 or more
    rest octets      what follows the octets shared with the name before
    n * 4 octets     the places, little-endian: bit 31 set if another one
                     follows, scope in bits 29 and 30, the rest is the line
                     counted through all sources

A page's first entry shares nothing. A page ends with a zero octet or its size.
"""

from __future__ import annotations

import enum
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import attrs

from dnsguard.errors import PolicyError

__all__ = [
    "ENTRIES_A_LINE",
    "HEADER_SIZE",
    "MAX_PLACES",
    "MAX_SPILL",
    "Header",
    "Scope",
    "SetSource",
    "encode",
    "hashName",
    "indexPlace",
    "readHeader",
    "reversedText",
]

MAGIC = b"DNSGSET\n"
VERSION = 1
HEADER_SIZE = 128

ENTRIES_A_LINE = 16
"""Index entries of four octets in a line of 64."""

LOAD = 14
"""Entries a line that the builder aims at."""

MAX_SPILL = 16
"""How many lines beyond its own an entry may stand in."""

SMALLEST_PAGE = 256
LARGEST_PAGE = 65536

MAX_PLACES = 1 << 29
"""Lines of all sources together: what fits beside scope and flag."""

MAX_PAGE_BITS = 22
MAX_SOURCES = 4096

PRIME = (1 << 61) - 1
_MASK = (1 << 64) - 1

_HEADER = struct.Struct("<8sIIQQIIIIBBHQQQQQII")

_ALPHABET = b".-_0123456789abcdefghijklmnopqrstuvwxyz"
CODES = {letter: code for code, letter in enumerate(_ALPHABET, 1)}
"""The number below 40 of each letter; 0 stands behind the last one."""


class Scope(enum.IntEnum):
    """
    Which names an entry speaks of.
    """

    SUBTREE = 0
    EXACT = 1
    BELOW = 2


@attrs.frozen
class SetSource:
    """
    One list in a set.

    @ivar name: Its name.
    @ivar base: What is added to its line numbers in the file.
    @ivar lines: Its highest line number.
    @ivar names: Distinct names it has.
    """

    name: str
    base: int
    lines: int
    names: int


@attrs.frozen
class Header:
    """
    What is known of a set without looking at its names.

    @ivar names: Distinct names.
    @ivar places: Names counted once for each source that has them.
    @ivar indexLines: Index lines that hashes are spread over.
    @ivar storedLines: Index lines in the file, those for the last ones' spill
        included.
    @ivar pages: Pages in the file.
    @ivar pageSize: Octets in each.
    @ivar pageBits: Bits of an index entry that hold the page's number.
    @ivar leastLabels: Labels in the shortest name; likewise C{mostLabels}.
    @ivar key: The secret that names are hashed with.
    @ivar mix: The odd secret that hashes are mixed with.
    @ivar indexOffset: Where the index starts.
    @ivar pagesOffset: Where the pages start.
    @ivar size: Octets in the whole file.
    @ivar checksum: CRC-32 of everything behind the header.
    @ivar sources: The lists.
    @ivar facts: What the builder was told to keep in the file.
    """

    names: int
    places: int
    indexLines: int
    storedLines: int
    pages: int
    pageSize: int
    pageBits: int
    leastLabels: int
    mostLabels: int
    key: int
    mix: int
    indexOffset: int
    pagesOffset: int
    size: int
    checksum: int
    sources: tuple[SetSource, ...]
    facts: dict[str, Any]

    def pack(self, meta: bytes) -> bytes:
        """
        Write the header's fixed part.

        @param meta: The JSON text that follows it.
        """
        body = _HEADER.pack(
            MAGIC,
            VERSION,
            len(meta),
            self.names,
            self.places,
            self.indexLines,
            self.storedLines,
            self.pages,
            self.pageSize,
            self.pageBits,
            self.leastLabels,
            self.mostLabels,
            self.key,
            self.mix,
            self.indexOffset,
            self.pagesOffset,
            self.size,
            zlib.crc32(meta),
            self.checksum,
        )
        body = body.ljust(HEADER_SIZE - 4, b"\0")
        return body + zlib.crc32(body).to_bytes(4, "little")


def readHeader(buffer: Any, place: str) -> Header:
    """
    Read the header of a compiled set, and check that the rest can be there.

    @param buffer: The whole file: C{bytes} or C{mmap}.
    @param place: What to call it in an error.
    @raise PolicyError: It is something else, cut short or of another version.
    """
    fixed = bytes(buffer[:HEADER_SIZE])
    if len(fixed) < HEADER_SIZE or fixed[: len(MAGIC)] != MAGIC:
        raise PolicyError(place, "no compiled set of names")
    version = int.from_bytes(fixed[8:12], "little")
    if version != VERSION:
        raise PolicyError(place, f"compiled set of version {version}, not {VERSION}")
    if zlib.crc32(fixed[:-4]) != int.from_bytes(fixed[-4:], "little"):
        raise PolicyError(place, "compiled set with a damaged header")
    (_, _, metaSize, names, places, lines, stored, pages, pageSize, bits, least, most) = (
        _HEADER.unpack_from(fixed)[:12]
    )
    key, mix, indexOffset, pagesOffset, size, metaChecksum, checksum = _HEADER.unpack_from(fixed)[
        12:
    ]
    if len(buffer) != size:
        raise PolicyError(place, f"compiled set of {len(buffer)} octets, should be {size}")
    sound = (
        0 < key < PRIME
        and mix & 1
        and 0 < lines <= stored
        and 1 <= bits <= MAX_PAGE_BITS
        and SMALLEST_PAGE <= pageSize <= LARGEST_PAGE
        and HEADER_SIZE + metaSize <= indexOffset
        and indexOffset + stored * 64 <= pagesOffset
        and pagesOffset + pages * pageSize == size
    )
    if not sound:
        raise PolicyError(place, "compiled set with an impossible header")
    meta = bytes(buffer[HEADER_SIZE : HEADER_SIZE + metaSize])
    if zlib.crc32(meta) != metaChecksum:
        raise PolicyError(place, "compiled set with a damaged list of sources")
    sources, facts = _readMeta(meta, place)
    return Header(
        names, places, lines, stored, pages, pageSize, bits, least, most, key, mix,
        indexOffset, pagesOffset, size, checksum, sources, facts,
    )  # fmt: skip


def _readMeta(text: bytes, place: str) -> tuple[tuple[SetSource, ...], dict[str, Any]]:
    """
    Read the part of the file that names the sources.
    """
    try:
        meta = json.loads(text)
        return tuple(SetSource(**source) for source in meta["sources"]), dict(meta["facts"])
    except (ValueError, TypeError, KeyError):
        raise PolicyError(place, "compiled set with a damaged list of sources") from None


def packMeta(sources: Sequence[SetSource], facts: dict[str, Any]) -> bytes:
    """
    Write the part of the file that names the sources.
    """
    return json.dumps(
        {"sources": [attrs.asdict(source) for source in sources], "facts": facts},
        separators=(",", ":"),
    ).encode("ascii")


class _Words(dict[bytes, bytes]):
    """
    Two octets for each one to three letters, worked out when first asked for.
    There are at most 60,879.
    """

    def __missing__(self, letters: bytes) -> bytes:
        """
        Encode letters; C{KeyError} for one outside the alphabet.
        """
        value = 0
        for letter in letters:
            value = value * 40 + CODES[letter]
        value *= (1, 1600, 40, 1)[len(letters)]
        self[letters] = word = value.to_bytes(2, "big")
        return word


_WORDS = _Words()


def encode(text: bytes) -> bytes:
    """
    Give the form in which a name stands on a page.

    No octet pair is zero, so that a name's form is never another one's plus
    zeros, and sorting is by letters from the name's end.

    @param text: A name as L{reversedText} gives it.
    @raise KeyError: It has a letter outside the alphabet.
    """
    words = _WORDS
    return b"".join([words[text[at : at + 3]] for at in range(0, len(text), 3)])


def reversedText(qname: bytes) -> bytes:
    """
    Give a wire name's labels joined by dots, from last letter to first.
    """
    parts = []
    at = 0
    while length := qname[at]:
        at += length + 1
        parts.append(qname[at - length : at])
    return b".".join(parts)[::-1]


_STRUCTS = [struct.Struct(f">{count}H") for count in range(171)]


def hashName(encoded: bytes, key: int, mix: int) -> int:
    """
    Hash a name: a polynomial in a secret point modulo a prime, then mixed.

    For any two names, few keys make them collide, whoever chose the names.

    @param encoded: The name as L{encode} gives it.
    @return: 64 bits.
    """
    value = 0
    for word in _STRUCTS[len(encoded) >> 1].unpack(encoded):
        value = (value + word) * key % PRIME
    return ((value ^ (value >> 29)) * mix) & _MASK


def indexPlace(hashed: int, lines: int, pageBits: int) -> tuple[int, int]:
    """
    Say where a hash's entry stands in the index.

    @return: The number of its line, and the entry's upper bits: never all
        zero, for an entry of zero is a free one.
    """
    product = hashed * lines
    mark = (product & _MASK) >> (32 + pageBits)
    return product >> 64, (mark or 1) << pageBits
