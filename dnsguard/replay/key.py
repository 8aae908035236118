# -*- test-case-name: tests.replay.test_key -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which requests may be answered from the replay store, and under which key.

Two requests with equal keys from clients of one view get equal replies, but
for id, letter case and the age of TTLs: everything in a request that the reply
may depend on is in the key, and a request with anything else in it isn't
eligible and takes the ordinary road. C{core.h} holds the same rules in C.
"""

from __future__ import annotations

import enum

import attrs

from dnsguard.wire.names import MAX_LABEL, MAX_NAME

__all__ = ["LEAST_LIMIT", "LIMIT_MAX", "KeyFlag", "RequestKey", "requestKey"]

LEAST_LIMIT = 512
"""Octets of UDP reply that everybody can take (RFC 1035 §4.2.1)."""

LIMIT_MAX = 4096
"""The greatest reply, in octets, that is ever kept."""

_HEADER_SIZE = 12
_OPT_SIZE = 11
_ONE_QUESTION = b"\0\1\0\0\0\0\0\0"
_ONE_QUESTION_ONE_ADDITIONAL = b"\0\1\0\0\0\0\0\1"


class KeyFlag(enum.IntFlag):
    """
    The octet of a key that stands for header and OPT record. AD and CD are
    where they are in the header. With neither size flag the client can take
    L{LEAST_LIMIT}.
    """

    RD = 0x01
    EDNS = 0x02
    DO = 0x04
    CD = 0x10
    AD = 0x20
    SIZE_BETWEEN = 0x40
    SIZE_FULL = 0x80


@attrs.frozen(slots=True)
class RequestKey:
    """
    What one eligible request is looked up by, the client's view left out.

    @ivar question: Lower-cased name, type and class.
    @ivar flags: L{KeyFlag}s.
    @ivar limit: Octets of reply that the client can take, and the server gives.
    """

    question: bytes
    flags: int
    limit: int

    @property
    def octets(self) -> bytes:
        """
        The key's octets.
        """
        return self.question + bytes((self.flags,))


def requestKey(datagram: bytes, payloadLimit: int) -> RequestKey | None:
    """
    Read a request.

    @param datagram: Its octets, whatever they are.
    @param payloadLimit: The most octets of UDP reply this server sends, from
        512 to L{LIMIT_MAX}.
    @return: Its key, or L{None} if it takes the ordinary road.
    """
    if len(datagram) < _HEADER_SIZE + 5:
        return None
    # Of the header's flags only RD, AD and CD may be set; the opcode is QUERY.
    if datagram[2] & 0xFE or datagram[3] & 0xCF:
        return None
    counts = datagram[4:12]
    if counts not in (_ONE_QUESTION, _ONE_QUESTION_ONE_ADDITIONAL):
        return None
    end = _questionEnd(datagram)
    if end is None:
        return None
    flags = datagram[2] | datagram[3]
    limit = LEAST_LIMIT
    if counts == _ONE_QUESTION_ONE_ADDITIONAL:
        opt = datagram[end:]
        if not _isPlainOPT(opt):
            return None
        flags |= KeyFlag.EDNS
        if opt[7]:
            flags |= KeyFlag.DO
        size = opt[3] << 8 | opt[4]
        if size > LEAST_LIMIT:
            # RFC 6891 §6.2.3: a lesser size means 512.
            limit = min(size, payloadLimit)
            flags |= KeyFlag.SIZE_FULL if size >= payloadLimit else KeyFlag.SIZE_BETWEEN
    elif end != len(datagram):
        return None
    return RequestKey(datagram[12 : end - 4].lower() + datagram[end - 4 : end], int(flags), limit)


def _questionEnd(datagram: bytes) -> int | None:
    """
    Find the offset behind the question, if it is one of class IN for records
    of one type, its name uncompressed.
    """
    at = _HEADER_SIZE
    size = len(datagram)
    while True:
        if at >= size:
            return None
        length = datagram[at]
        if not length:
            break
        if length > MAX_LABEL:
            return None
        at += length + 1
    at += 1
    if at - _HEADER_SIZE > MAX_NAME or at + 4 > size:
        return None
    type = datagram[at] << 8 | datagram[at + 1]
    # RFC 6895 §3.1: QTYPEs and meta-types ask for something else than records
    # of one type; OPT and 0 are no types.
    if type in (0, 41) or 128 <= type <= 255 or datagram[at + 2 : at + 4] != b"\0\1":
        return None
    return at + 4


def _isPlainOPT(record: bytes) -> bool:
    """
    Is this an OPT record of version 0 without options, and with no flag but DO?
    """
    return (
        len(record) == _OPT_SIZE
        and record[:3] == b"\0\0\x29"
        and record[5:7] == b"\0\0"
        and not record[7] & 0x7F
        and record[8:] == b"\0\0\0"
    )
