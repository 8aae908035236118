# -*- test-case-name: tests.wire.test_records -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Resource records as octets, and messages put together of them.

An answer that joins our own records with somebody else's (a local alias and
its target's addresses) can't be spliced together of two messages, as the names
in each point into that message. Here a message is taken apart into records
that stand for themselves, and records become a message with its scan, without
a record class for each type: types nobody knows yet pass through unharmed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import attrs

from dnsguard.wire.layout import HEADER, HEADER_SIZE, QR, Layout, MalformedMessage, readName

__all__ = ["Record", "join", "split"]

_FIXED = struct.Struct("!HHIH")
_QUESTION = struct.Struct("!HH")
_POINTER = struct.Struct("!H")

_CNAME, _SOA, _OPT = 5, 6, 41
_IN = 1
_TTL_LIMIT = 0x7FFFFFFF
_POINTER_LIMIT = 0x4000

_NAMES_IN_DATA = {
    2: (0, 1),  # NS
    3: (0, 1),  # MD
    4: (0, 1),  # MF
    _CNAME: (0, 1),
    _SOA: (0, 2),
    7: (0, 1),  # MB
    8: (0, 1),  # MG
    9: (0, 1),  # MR
    12: (0, 1),  # PTR
    14: (0, 2),  # MINFO
    15: (2, 1),  # MX
    17: (0, 2),  # RP
    18: (2, 1),  # AFSDB
    21: (2, 1),  # RT
    26: (2, 2),  # PX
    33: (6, 1),  # SRV
    39: (0, 1),  # DNAME
}
"""
By type: the octets before the names in the data, and how many names. Only
these may be compressed (RFC 3597 §4); data of other types is plain octets.
"""


@attrs.frozen(slots=True)
class Record:
    """
    One record that stands for itself: no pointer leads out of it.

    @ivar owner: Whose it is: a lower-cased name in wire form.
    @ivar body: All behind the owner: type, class, TTL, length and data.
    """

    owner: bytes
    body: bytes

    @classmethod
    def make(cls, owner: bytes, type: int, ttl: int, data: bytes, klass: int = _IN) -> Record:
        """
        Make a record.

        @param ttl: Seconds, up to 2^31 - 1 (RFC 2181 §8).
        @param data: The data, names in it uncompressed; at most 65535 octets.
        """
        return cls(owner, _FIXED.pack(type, klass, ttl, len(data)) + data)

    @classmethod
    def soa(cls, zone: bytes, seconds: int) -> Record:
        """
        Make the SOA record of an empty zone, as RFC 6303 §3 has it.

        @param seconds: How long "there is nothing" may be kept (RFC 2308 §4).
        """
        contact = b"\6nobody\7invalid\0"
        times = struct.pack("!IIIII", 1, 3600, 1200, 604800, seconds)
        return cls.make(zone, _SOA, seconds, zone + contact + times)

    @property
    def type(self) -> int:
        """
        The type, as a number.
        """
        return int.from_bytes(self.body[:2], "big")

    @property
    def ttl(self) -> int:
        """
        The TTL in seconds; one with the top bit set counts as 0.
        """
        ttl = int.from_bytes(self.body[4:8], "big")
        return ttl if ttl <= _TTL_LIMIT else 0

    @property
    def data(self) -> bytes:
        """
        The record's data.
        """
        return self.body[10:]

    def ownedBy(self, owner: bytes) -> Record:
        """
        Make the same record for another name.
        """
        return Record(owner, self.body)

    def capped(self, seconds: int) -> Record:
        """
        Give the same record with a TTL of at most C{seconds}.
        """
        if self.ttl <= seconds:
            return self
        return Record(self.owner, self.body[:4] + seconds.to_bytes(4, "big") + self.body[8:])


def split(message: bytes, layout: Layout) -> tuple[list[Record], list[Record], list[Record]]:
    """
    Take a message apart: its answer, authority and additional records, without
    the OPT record.

    @param layout: The scan of C{message}.
    @raise MalformedMessage: A name in a record's data is cut short or points
        out of the message.
    """
    at = layout.questionEnd
    sections: tuple[list[Record], list[Record], list[Record]] = ([], [], [])
    for section, count in zip(sections, layout.counts[1:], strict=True):
        for _ in range(count):
            owner = readName(message, at)
            at = _behindName(message, at)
            type, klass, ttl, length = _FIXED.unpack_from(message, at)
            at += _FIXED.size
            if type != _OPT:
                data = _plainData(message, at, length, type)
                section.append(Record.make(owner, type, ttl, data, klass))
            at += length
    return sections


def _plainData(message: bytes, at: int, length: int, type: int) -> bytes:
    """
    Copy a record's data with the names in it written out.
    """
    end = at + length
    before, names = _NAMES_IN_DATA.get(type, (0, 0))
    if not names or not length:
        return message[at:end]
    parts = [message[at : at + before]]
    at += before
    for _ in range(names):
        parts.append(readName(message, at))
        at = _behindName(message, at)
    if at > end:
        raise MalformedMessage("name runs over the end of its record")
    parts.append(message[at:end])
    return b"".join(parts)


def _behindName(message: bytes, at: int) -> int:
    """
    Find the offset behind a name that L{readName} could read.
    """
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1


def join(
    question: bytes,
    answer: Sequence[Record],
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    flags: int = QR,
) -> tuple[bytes, Layout]:
    """
    Put a message together, and its scan without scanning it.

    Owner names are compressed against the question and each other; names in
    data aren't.

    @param question: The question section: one lower-cased name, type, class.
    @param flags: The header's second 16 bits, the low response code included.
    """
    counts = (1, len(answer), len(authority), len(additional))
    name = question[:-4]
    type, cls = _QUESTION.unpack_from(question, len(name))
    parts = [HEADER.pack(0, flags, *counts), question]
    starts, ttls = _write(parts, (answer, authority, additional))
    layout = Layout(
        0,
        flags,
        counts,
        name,
        type,
        cls,
        starts[0],
        tuple(ttls),
        min([record.ttl for record in answer], default=None),
        _negativeTTL(authority),
        None,
        False,
        None,
        (starts[0], starts[1], starts[2]),
        starts[3],
    )
    return b"".join(parts), layout


def _write(
    parts: list[bytes], sections: Iterable[Iterable[Record]]
) -> tuple[list[int], list[int]]:
    """
    Append the records of all sections.

    @param parts: The header and the question, to which they are appended.
    @return: Where each section starts, and the end; and where the TTLs are.
    """
    at = HEADER_SIZE + len(parts[1])
    places = {parts[1][:-4]: HEADER_SIZE}
    starts, ttls = [at], []
    for section in sections:
        for record in section:
            owner = record.owner
            place = places.get(owner)
            if place is None:
                if at < _POINTER_LIMIT:
                    places[owner] = at
            elif len(owner) > 2:
                owner = _POINTER.pack(0xC000 | place)
            parts.append(owner)
            parts.append(record.body)
            at += len(owner)
            ttls.append(at + 4)
            at += len(record.body)
        starts.append(at)
    return starts, ttls


def _negativeTTL(authority: Iterable[Record]) -> int | None:
    """
    The lesser of a SOA record's TTL and its MINIMUM (RFC 2308 §5).
    """
    negative = None
    for record in authority:
        if record.type == _SOA and len(record.body) >= 32:
            negative = min(record.ttl, int.from_bytes(record.body[-4:], "big"))
    return negative
