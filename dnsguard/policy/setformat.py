# -*- test-case-name: tests.policy.test_setformat -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The file that a compiled set of names lives in.

Millions of names must cost little memory, load in no time and be shared by
processes, so the set is a file that is mapped and never read as a whole::

    header | sources, code lengths (JSON) | lines | names | places

A question costs one look into memory that is in no cache for each of its
parents, all of them called for at once, and a second one only for a name that
is listed. So the I{lines} are a hash table of one cache line each, which says
of up to 30 names no more than a tag, eight bits of the hash, and a size. They
are filled in order and spill into the next. The I{names} stand in the same
order, so a line says where its first one starts and the sizes say the rest; a
name is compared letter by letter, so that no collision, by chance or by
malice, blocks a name that isn't listed. The hash is keyed at random for each
file, and the number of lines looked at is bounded.

A line::

    4 octets         where its first name starts among the names
    30 octets        tags
    30 octets        octets that the names' letters take; 0 is a free place

A name::

    octets           its letters, from the last to the first, in bits
    4 octets         its place: the line counted through all sources, and the
                     scope in bits 29 and 30; or with bit 31 set the number of
                     its first place among the I{places}, for several

Of places in a row, bit 31 is set if another one follows. All numbers are
little-endian. The bits of a letter depend on the letter before: for each there
is a canonical prefix code of at most eight bits, made for the file from its
names. The last octet is filled up with ones, which are no letter's code.
"""

from __future__ import annotations

import enum
import json
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from dnsguard.errors import PolicyError
from dnsguard.policy.setletters import codesOf

__all__ = [
    "ENTRIES_A_LINE",
    "HEADER_SIZE",
    "LINE_SIZE",
    "MAX_PLACES",
    "MAX_SPILL",
    "Header",
    "Scope",
    "SetSource",
    "linePlace",
    "readHeader",
    "suffixHashes",
]

MAGIC = b"DNSGSET\n"
VERSION = 2
HEADER_SIZE = 128

LINE_SIZE = 64
ENTRIES_A_LINE = 30

LOAD = 22
"""Entries a line that the builder aims at."""

MAX_SPILL = 16
"""How many lines beyond its own an entry may stand in."""

MAX_PLACES = 1 << 29
"""Lines of all sources together: what fits beside scope and flag."""

MAX_NAMES_SIZE = 1 << 32
MAX_SOURCES = 4096

_MASK = (1 << 64) - 1

_HEADER = struct.Struct("<8sIIQQIIBBHQQQQQQII")


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
    @ivar lines: Lines that hashes are spread over.
    @ivar storedLines: Lines in the file, those for the last ones' spill
        included.
    @ivar leastLabels: Labels in the shortest name; likewise C{mostLabels}.
    @ivar key: The secret that a hash begins with.
    @ivar mix: The odd secret that it is multiplied by.
    @ivar linesOffset: Where the lines start.
    @ivar namesOffset: Where the names start.
    @ivar placesOffset: Where the places start.
    @ivar size: Octets in the whole file.
    @ivar checksum: CRC-32 of everything behind the header.
    @ivar sources: The lists.
    @ivar codes: What L{codesOf} gives.
    @ivar facts: What the builder was told to keep in the file.
    """

    names: int
    places: int
    lines: int
    storedLines: int
    leastLabels: int
    mostLabels: int
    key: int
    mix: int
    linesOffset: int
    namesOffset: int
    placesOffset: int
    size: int
    checksum: int
    sources: tuple[SetSource, ...]
    codes: array[int]
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
            self.lines,
            self.storedLines,
            self.leastLabels,
            self.mostLabels,
            0,
            self.key,
            self.mix,
            self.linesOffset,
            self.namesOffset,
            self.placesOffset,
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
    (_, _, metaSize, names, places, lines, stored, least, most, _) = _HEADER.unpack_from(fixed)[
        :10
    ]
    (key, mix, linesOffset, namesOffset, placesOffset, size, metaChecksum, checksum) = (
        _HEADER.unpack_from(fixed)[10:]
    )
    if len(buffer) != size:
        raise PolicyError(place, f"compiled set of {len(buffer)} octets, should be {size}")
    sound = (
        mix & 1
        and 0 < lines <= stored
        and HEADER_SIZE + metaSize <= linesOffset
        and linesOffset + stored * LINE_SIZE <= namesOffset
        and namesOffset <= placesOffset <= size
        and (size - placesOffset) % 4 == 0
    )
    if not sound:
        raise PolicyError(place, "compiled set with an impossible header")
    meta = bytes(buffer[HEADER_SIZE : HEADER_SIZE + metaSize])
    if zlib.crc32(meta) != metaChecksum:
        raise PolicyError(place, "compiled set with a damaged list of sources")
    sources, codes, facts = _readMeta(meta, place)
    return Header(
        names, places, lines, stored, least, most, key, mix, linesOffset, namesOffset,
        placesOffset, size, checksum, sources, codes, facts,
    )  # fmt: skip


def _readMeta(text: bytes, place: str) -> tuple[tuple[SetSource, ...], array[int], dict[str, Any]]:
    """
    Read the part of the file that names the sources.
    """
    try:
        meta = json.loads(text)
        sources = tuple(SetSource(**source) for source in meta["sources"])
        return sources, codesOf(bytes(map(int, meta["codes"]))), dict(meta["facts"])
    except (ValueError, TypeError, KeyError):
        raise PolicyError(place, "compiled set with a damaged list of sources") from None


def packMeta(sources: Sequence[SetSource], lengths: bytes, facts: dict[str, Any]) -> bytes:
    """
    Write the part of the file that names the sources.
    """
    return json.dumps(
        {
            "sources": [attrs.asdict(source) for source in sources],
            "codes": "".join(map(str, lengths)),
            "facts": facts,
        },
        separators=(",", ":"),
    ).encode("ascii")


def suffixHashes(qname: bytes, starts: Sequence[int], key: int, mix: int) -> Iterator[int]:
    """
    Hash a wire name and its parents, the shortest first: labels with their
    sizes, from the last to the first, each in pieces of eight octets.

    @param starts: Where the labels start.
    """
    value = key
    for start in reversed(starts):
        label = qname[start : start + 1 + qname[start]]
        for at in range(0, len(label), 8):
            product = (value ^ int.from_bytes(label[at : at + 8], "little")) * mix
            value = product & _MASK ^ product >> 64
        yield value


def linePlace(hashed: int, lines: int) -> tuple[int, int]:
    """
    Say where a hash's entry stands.

    @return: The number of its line, and its tag.
    """
    product = hashed * lines
    return product >> 64, (product & _MASK) >> 56
