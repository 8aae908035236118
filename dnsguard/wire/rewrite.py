# -*- test-case-name: tests.wire.test_rewrite -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Changing a message in place of decoding and encoding it again.

What is forwarded or cached stays as its sender wrote it, record types nobody
has heard of included; the few things that must change on the way (id, flags,
TTLs, the letter case of the question, the hop-by-hop OPT record) are changed
here, at the offsets that L{dnsguard.wire.layout.scan} found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from dnsguard.wire.layout import HEADER_SIZE, Layout, MalformedMessage

__all__ = ["MAX_TTL", "withHeader", "withQuestion", "withTTLs", "withoutOPT"]

MAX_TTL = 0x7FFFFFFF
"""The greatest TTL there is (RFC 2181 §8)."""

_TTL = struct.Struct("!I")
_ID_FLAGS = struct.Struct("!HH")
_COUNT = struct.Struct("!H")
_RECORD = struct.Struct("!HHIH")

_POINTER_LIMIT = 0x3FFF
_ADDITIONAL_COUNT = 10

_NAPTR = 35
_NAMES_IN_DATA = {
    2: (0, 1),  # NS
    3: (0, 1),  # MD
    4: (0, 1),  # MF
    5: (0, 1),  # CNAME
    6: (0, 2),  # SOA
    7: (0, 1),  # MB
    8: (0, 1),  # MG
    9: (0, 1),  # MR
    12: (0, 1),  # PTR
    14: (0, 2),  # MINFO
    15: (2, 1),  # MX
    17: (0, 2),  # RP
    18: (2, 1),  # AFSDB
    21: (2, 1),  # RT
    24: (18, 1),  # SIG
    26: (2, 2),  # PX
    30: (0, 1),  # NXT
    33: (6, 1),  # SRV
    36: (2, 1),  # KX
    39: (0, 1),  # DNAME
}
"""
The types whose data may hold compressed names (RFC 3597 §4), with the octets
before the first name and the number of names. NAPTR's place varies.
"""


def withHeader(message: bytes, id: int, flags: int) -> bytes:
    """
    Give a message another id and other flags.

    @param flags: The header's second 16 bits.
    """
    return _ID_FLAGS.pack(id, flags) + message[4:]


def withQuestion(message: bytes, question: bytes) -> bytes:
    """
    Put a question's octets, such as a client's letter case, in the place of
    the message's own first question.

    @param question: A question section with the same name but for letter
        case, so of the same length.
    """
    return message[:HEADER_SIZE] + question + message[HEADER_SIZE + len(question) :]


def withTTLs(
    message: bytes, offsets: Iterable[int], age: int = 0, floor: int = 0, cap: int = MAX_TTL
) -> bytes:
    """
    Count TTLs down and keep them within bounds.

    A TTL with its top bit set counts as 0 (RFC 2181 §8).

    @param offsets: Where the TTLs are, as L{Layout.ttls} says: the OPT record,
        whose TTL field is none, isn't among them.
    @param age: Seconds since the message was received.
    @param floor: The least TTL to leave.
    @param cap: The greatest TTL to leave; it wins over C{floor}.
    """
    buffer = bytearray(message)
    unpack, pack = _TTL.unpack_from, _TTL.pack_into
    for at in offsets:
        (ttl,) = unpack(buffer, at)
        left = (ttl if ttl <= MAX_TTL else 0) - age
        if left < floor:
            left = floor
        if left > cap:
            left = cap
        pack(buffer, at, left)
    return bytes(buffer)


def withoutOPT(message: bytes, layout: Layout) -> bytes:
    """
    Take the OPT record out of a message.

    Names in records behind it may point to places that move up when it goes;
    those pointers are moved along.

    @param layout: The scan of C{message}; afterwards it no longer holds.
    @raise MalformedMessage: A name behind the OPT record is broken or points
        into it.
    """
    if layout.opt is None:
        return message
    start, end = layout.opt
    buffer = bytearray(message)
    if not layout.optLast:
        _movePointers(buffer, start, end)
    del buffer[start:end]
    _COUNT.pack_into(buffer, _ADDITIONAL_COUNT, layout.counts[3] - 1)
    return bytes(buffer)


def _movePointers(buffer: bytearray, start: int, end: int) -> None:
    """
    In the records from C{end} on, make the pointers good for a message
    without C{start} to C{end}.
    """
    at = end
    while at < len(buffer):
        at = _moveName(buffer, at, start, end)
        type, _, _, length = _RECORD.unpack_from(buffer, at)
        at += _RECORD.size
        stop = at + length
        skip, names = _NAMES_IN_DATA.get(type, (0, 0))
        if type == _NAPTR:
            skip, names = _naptrFixed(buffer, at, stop), 1
        where = at + skip
        for _ in range(names):
            where = _moveName(buffer, where, start, end)
            if where > stop:
                raise MalformedMessage("name runs over its record's end")
        at = stop


def _naptrFixed(buffer: bytearray, at: int, stop: int) -> int:
    """
    The octets before the name in NAPTR data: two numbers and three strings
    (RFC 3403 §4.1).
    """
    where = at + 4
    for _ in range(3):
        if where >= stop:
            raise MalformedMessage("NAPTR data cut short")
        where += buffer[where] + 1
    return where - at


def _moveName(buffer: bytearray, at: int, start: int, end: int) -> int:
    """
    Move the pointer, if any, that ends the name at C{at}.

    @return: The offset behind the name.
    """
    size = len(buffer)
    while at < size:
        length = buffer[at]
        if length == 0:
            return at + 1
        if length < 0x40:
            at += length + 1
            continue
        if length < 0xC0 or at + 2 > size:
            break
        target = _COUNT.unpack_from(buffer, at)[0] & _POINTER_LIMIT
        if target >= end:
            _COUNT.pack_into(buffer, at, 0xC000 | (target - (end - start)))
        elif target >= start:
            raise MalformedMessage("pointer into the OPT record")
        return at + 2
    raise MalformedMessage("name cut short")
