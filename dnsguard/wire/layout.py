# -*- test-case-name: tests.wire.test_layout -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One pass over a DNS message that notes where everything stands.

A forwarded or cached answer is never decoded into records: what a forwarder
must know of it (flags, where the TTLs are, the least of them, where the OPT
record is, the negative TTL) is found by this scan, and what it must change is
changed in place. Twisted Names' decoder won't do for that: it silently stops
at the first thing it doesn't understand.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dnsguard.wire.edns import EDNS, InvalidOPT

try:
    from dnsguard.wire._layout import scanPlain, scanRequest  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: the long way, always.
    scanPlain = scanRequest = None

__all__ = [
    "HEADER",
    "HEADER_SIZE",
    "Layout",
    "MalformedMessage",
    "readName",
    "scan",
    "scanAny",
    "scanPlain",
    "scanRequest",
]

HEADER = struct.Struct("!HHHHHH")
HEADER_SIZE = 12

_RECORD = struct.Struct("!HHIH")
_QUESTION = struct.Struct("!HH")

_OPT = 41
_SOA = 6
_TTL_LIMIT = 0x7FFFFFFF

_MAX_HOPS = 127
"""
Compression pointers followed in one name: as many as it can have labels. More
is no compression but an attempt to have each of a message's many names walk a
long chain, which takes time quadratic in the message's size.
"""

QR = 0x8000
AA = 0x0400
TC = 0x0200
RD = 0x0100
RA = 0x0080
AD = 0x0020
CD = 0x0010


class MalformedMessage(ValueError):
    """
    These octets are no DNS message: something in them runs over the end,
    points in a circle, or is left over.
    """


class Layout(NamedTuple):
    """
    Where things stand in one message of C{size} octets.

    A tuple, because one or two are made for each query: that takes a quarter of
    the time that an object with fifteen frozen attributes does.

    @ivar id: The message id.
    @ivar flags: The header's second 16 bits, see the constants of this module.
    @ivar counts: Question, answer, authority and additional records announced.
    @ivar name: The first question's name in lower-cased wire form; empty when
        there is no question.
    @ivar type: The first question's type, 0 when there is none.
    @ivar cls: The first question's class, 0 when there is none.
    @ivar questionEnd: The offset behind the last question.
    @ivar ttls: The offsets of all TTL fields but the OPT record's.
    @ivar leastTTL: The least TTL among answer records, or L{None} when there
        are none. TTLs with the top bit set count as 0 (RFC 2181 §8).
    @ivar negativeTTL: The lesser of the SOA record's TTL and its MINIMUM, from
        the authority section (RFC 2308 §5), or L{None} without SOA.
    @ivar opt: The start and end of the OPT record, or L{None}.
    @ivar optLast: Is the OPT record, if any, the last record?
    @ivar edns: What the OPT record says, or L{None}.
    @ivar sections: The offsets where the answer, authority and additional
        sections start.
    @ivar size: Octets in the message.
    """

    id: int
    flags: int
    counts: tuple[int, int, int, int]
    name: bytes
    type: int
    cls: int
    questionEnd: int
    ttls: tuple[int, ...]
    leastTTL: int | None
    negativeTTL: int | None
    opt: tuple[int, int] | None
    optLast: bool
    edns: EDNS | None
    sections: tuple[int, int, int]
    size: int

    @property
    def opcode(self) -> int:
        """
        The four bits that say what kind of query this is (RFC 1035 §4.1.1).
        """
        return (self.flags >> 11) & 15

    @property
    def rCode(self) -> int:
        """
        The response code, all twelve bits where there is an OPT record.
        """
        low = self.flags & 15
        return low if self.edns is None else (self.edns.extendedRCode << 4) | low


def scan(message: bytes, question: bytes = b"") -> Layout:
    """
    Note where everything stands in a message.

    @param message: One whole message, without a stream's length prefix.
    @param question: The message's one question section, lower-cased, if the
        caller has compared it already; it isn't read again then.
    @raise MalformedMessage: The message is cut short, a compression pointer
        doesn't point backwards, or octets are left over.
    @raise dnsguard.wire.edns.InvalidOPT: The OPT record is broken, or there
        are two of them (RFC 6891 §6.1.1).
    """
    if scanPlain is not None and not question:
        layout: Layout | None = scanPlain(message, Layout, EDNS.decode)
        if layout is not None:
            return layout
    return scanAny(message, question)


def scanAny(message: bytes, question: bytes = b"") -> Layout:
    """
    Scan any message, in Python; as L{scan}.
    """
    if len(message) < HEADER_SIZE:
        raise MalformedMessage("shorter than a header")
    id, flags, questions, answers, authorities, additionals = HEADER.unpack_from(message)
    name, type, cls = b"", 0, 0
    at = HEADER_SIZE
    if question:
        name = question[:-4]
        type, cls = _QUESTION.unpack_from(question, len(name))
        at += len(question)
    else:
        for number in range(questions):
            end = _skipName(message, at)
            if end + 4 > len(message):
                raise MalformedMessage("question cut short")
            if number == 0:
                # Nothing stands before it that a pointer in it could point at.
                name = message[at:end].lower()
                type, cls = _QUESTION.unpack_from(message, end)
            at = end + 4
    questionEnd = at
    ttls: list[int] = []
    least = negative = opt = None
    if answers:
        at, least, _, opt = _scanSection(message, at, answers, ttls, False)
        if opt is not None:
            raise MalformedMessage("OPT record in the answer section")
    authorityStart = at
    if authorities:
        at, _, negative, opt = _scanSection(message, at, authorities, ttls, True)
        if opt is not None:
            raise MalformedMessage("OPT record in the authority section")
    additionalStart = at
    if additionals:
        at, _, _, opt = _scanSection(message, at, additionals, ttls, False)
    if at != len(message):
        raise MalformedMessage("octets left over behind the last record")
    return Layout(
        id,
        flags,
        (questions, answers, authorities, additionals),
        name,
        type,
        cls,
        questionEnd,
        tuple(ttls),
        least,
        negative,
        opt,
        opt is not None and opt[1] == at,
        None if opt is None else EDNS.decode(message, *opt),
        (questionEnd, authorityStart, additionalStart),
        at,
    )


def _scanSection(
    message: bytes, at: int, count: int, ttls: list[int], wantsSOA: bool
) -> tuple[int, int | None, int | None, tuple[int, int] | None]:
    """
    Scan C{count} records from offset C{at}.

    @return: The offset behind them, their least TTL, the negative TTL and the
        OPT record's place.
    """
    least: int | None = None
    negative: int | None = None
    opt: tuple[int, int] | None = None
    size = len(message)
    for _ in range(count):
        start = at
        if at + 12 <= size and message[at] == 0xC0 and HEADER_SIZE <= message[at + 1] < at:
            # A pointer to a name near the start, as most owners are.
            at += 2
        else:
            at = _skipName(message, at)
            if at + 10 > size:
                raise MalformedMessage("record cut short")
        type, _cls, ttl, length = _RECORD.unpack_from(message, at)
        end = at + 10 + length
        if end > size:
            raise MalformedMessage("record data cut short")
        if type == _OPT:
            if opt is not None:
                raise InvalidOPT("two OPT records")
            opt = (start, end)
        else:
            ttls.append(at + 4)
            if ttl > _TTL_LIMIT:
                ttl = 0
            if least is None or ttl < least:
                least = ttl
            if wantsSOA and type == _SOA and length >= 22:
                minimum = int.from_bytes(message[end - 4 : end], "big")
                negative = min(ttl, minimum)
        at = end
    return at, least, negative, opt


def _skipName(message: bytes, at: int) -> int:
    """
    Find the offset behind the name at C{at}, checking every pointer on the way.
    """
    size = len(message)
    start = at
    while True:
        if at >= size:
            raise MalformedMessage("name cut short")
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            if at + 2 > size:
                raise MalformedMessage("pointer cut short")
            target = ((length & 0x3F) << 8) | message[at + 1]
            if target >= start or target < HEADER_SIZE:
                raise MalformedMessage("pointer that doesn't point backwards")
            return at + 2
        if length > 63:
            raise MalformedMessage("unknown label type")
        at += length + 1
        if at - start > 254:
            raise MalformedMessage("name over 255 octets")


def readName(message: bytes, at: int) -> bytes:
    """
    Read the name at C{at} into lower-cased, uncompressed wire form.

    @raise MalformedMessage: It is cut short, over 255 octets, or a pointer in
        it doesn't point backwards, or there are more pointers in it than a
        name can have labels.
    """
    parts: list[bytes] = []
    total = 1
    hops = 0
    limit = at
    while True:
        if at >= len(message):
            raise MalformedMessage("name cut short")
        length = message[at]
        if length == 0:
            parts.append(b"\0")
            return b"".join(parts).lower()
        if length >= 0xC0:
            if at + 2 > len(message):
                raise MalformedMessage("pointer cut short")
            target = ((length & 0x3F) << 8) | message[at + 1]
            if target >= limit or target < HEADER_SIZE:
                raise MalformedMessage("pointer that doesn't point backwards")
            hops += 1
            if hops > _MAX_HOPS:
                raise MalformedMessage("too many pointers in one name")
            at = limit = target
            continue
        if length > 63:
            raise MalformedMessage("unknown label type")
        total += length + 1
        if total > 255:
            raise MalformedMessage("name over 255 octets")
        if at + 1 + length > len(message):
            raise MalformedMessage("name cut short")
        parts.append(message[at : at + 1 + length])
        at += length + 1
