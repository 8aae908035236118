# -*- test-case-name: tests.upstream.test_reply -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is made of the octets that come back from an upstream.

A reply is scanned once, checked to speak of what was asked alone, and freed of
what belongs to one hop only: its id, its OPT record and the letter case that
was made up for it.
"""

from __future__ import annotations

import struct

from dnsguard.wire.edns import EDE_OPTION, EDNS, ExtendedError, InvalidOPT
from dnsguard.wire.layout import AD, Layout, MalformedMessage, readName, scan
from dnsguard.wire.names import isAtOrBelow

try:
    from dnsguard.upstream._reply import measure  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: the long way, always.
    measure = None

__all__ = ["MalformedReply", "Reply", "readReply"]

_POINTER_TO_QUESTION = b"\xc0\x0c"

_TYPE_CLASS = struct.Struct("!HH")
_BARE_OPT = b"\0\0\x29"

_POINTER_REACH = 0x4000
"""Offsets that a compression pointer can hold (RFC 1035 §4.1.4)."""

_MAX_OWNERS = 15

_MAX_NAMED = 512
"""Answer records whose owners are read one by one: that takes its time."""

_MAX_BARE = 64
_bare: dict[bytes, EDNS] = {}

_CNAME = 5
_DNAME = 39

_BADVERS = 16
_EXTRA_TEXT_LIMIT = 200


class MalformedReply(ValueError):
    """
    A reply that can't be used: it is no sound message, or it speaks of
    something else than what was asked.
    """


class Reply:
    """
    What an upstream said.

    @ivar wire: The message: id 0, the question as it was asked by the client
        side (lower-cased), no OPT record.
    @ivar layout: The scan of L{wire}.
    @ivar rCode: The response code, twelve bits.
    @ivar edns: What its OPT record said, or L{None} if it had none.
    """

    __slots__ = ("edns", "layout", "rCode", "wire")

    def __init__(self, wire: bytes, layout: Layout, rCode: int, edns: EDNS | None) -> None:
        self.wire = wire
        self.layout = layout
        self.rCode = rCode
        self.edns = edns

    @property
    def authenticData(self) -> bool:
        """
        Does the upstream vouch for it (AD)?
        """
        return bool(self.layout.flags & AD)

    @property
    def lacksEDNS(self) -> bool:
        """
        Does it say that EDNS isn't understood there (RFC 6891 §7, §6.1.3)?

        When it says so in an OPT record, EDNS is understood all the same: that
        is about this one query.
        """
        if self.rCode == _BADVERS:
            return True
        return self.edns is None and self.rCode in (1, 4)

    @property
    def extendedError(self) -> ExtendedError | None:
        """
        The first extended error in its OPT record, shortened and made
        printable: it is a stranger's text.
        """
        if self.edns is None:
            return None
        for code, value in self.edns.options:
            if code == EDE_OPTION and len(value) >= 2:
                text = value[2:].decode("utf-8", "replace").rstrip("\0")
                printable = "".join(c if c.isprintable() else " " for c in text)
                return ExtendedError(value[0] << 8 | value[1], printable[:_EXTRA_TEXT_LIMIT])
        return None


def readReply(wire: bytes, question: bytes) -> Reply:
    """
    Read the reply to a question.

    @param wire: The message. That its question section is the one sent has
        been checked.
    @param question: The question section, lower-cased.
    @raise MalformedReply: It is no sound response, or has answer records
        about names that weren't asked for.
    """
    plain = None if measure is None else measure(wire, question, Layout)
    if plain is None:
        return _readAny(wire, question)
    layout: Layout
    stripped, layout, opt, chained = plain
    flags = layout.flags
    if not chained:
        stripped = _checkOwners(stripped, layout, layout.counts[1])
    if opt < 0:
        return Reply(stripped, layout, flags & 15, None)
    edns = _bareEDNS(wire[opt:])
    return Reply(stripped, layout, edns.extendedRCode << 4 | flags & 15, edns)


def _readAny(wire: bytes, question: bytes) -> Reply:
    """
    Read any reply; as L{readReply}.
    """
    start = 12 + len(question)
    edns: EDNS | None = None
    if wire[-11:-8] == _BARE_OPT and wire[-2:] == b"\0\0" and wire[10:12] != b"\0\0":
        # Most likely an OPT record without options stands last. Then what is
        # before it is a whole message of one record less; else it isn't.
        end = -11
        additionals = (int.from_bytes(wire[10:12], "big") - 1).to_bytes(2, "big")
        edns = _bareEDNS(wire[-11:])
    else:
        end = len(wire)
        additionals = wire[10:12]
    stripped = b"".join((b"\0\0", wire[2:10], additionals, question, wire[start:end]))
    try:
        layout = scan(stripped, question)
        if layout.opt is not None:
            stripped, layout, edns = _withoutOPT(wire, question)
    except (MalformedMessage, InvalidOPT) as error:
        if edns is None:
            raise MalformedReply(str(error)) from None
        stripped, layout, edns = _withoutOPT(wire, question)
    answers = layout.counts[1]
    if answers and not _isChain(stripped, layout, answers):
        stripped = _checkOwners(stripped, layout, answers)
    rCode = layout.flags & 15
    if edns is not None:
        rCode |= edns.extendedRCode << 4
    return Reply(stripped, layout, rCode, edns)


def _bareEDNS(octets: bytes) -> EDNS:
    """
    Read an OPT record without options: a server's are all the same.
    """
    edns = _bare.get(octets)
    if edns is None:
        if len(_bare) >= _MAX_BARE:
            _bare.clear()
        edns = _bare[octets] = EDNS.decode(octets, 0, 11)
    return edns


def _withoutOPT(wire: bytes, question: bytes) -> tuple[bytes, Layout, EDNS | None]:
    """
    Take the OPT record out of a reply, wherever it stands.

    An OPT record is about this hop (RFC 6891 §6.1.1). Whatever stands behind
    it, additional records and signatures of the transaction, is left out as
    well: moving it would break compression pointers.

    @raise MalformedReply: The reply is no sound message.
    """
    try:
        layout = scan(wire, question)
        edns = layout.edns
        end = layout.size if layout.opt is None else layout.opt[0]
        _, answers, authorities, _ = layout.counts
        kept = sum(at < end for at in layout.ttls) - answers - authorities
        stripped = b"".join(
            (
                b"\0\0",
                wire[2:10],
                kept.to_bytes(2, "big"),
                question,
                wire[layout.questionEnd : end],
            )
        )
        return stripped, scan(stripped, question), edns
    except (MalformedMessage, InvalidOPT) as error:
        raise MalformedReply(str(error)) from None


def _isChain(wire: bytes, layout: Layout, answers: int) -> bool:
    """
    Is the owner of each answer record a pointer to the question's name, or to
    where an alias record before it keeps its target? So nearly all are, and
    then no name needs to be read to know that they belong together.
    """
    owners = [_POINTER_TO_QUESTION]
    start = layout.questionEnd
    for ttl in layout.ttls[:answers]:
        if ttl - start != 6 or wire[start : start + 2] not in owners:
            return False
        data = ttl + 6
        start = data + (wire[ttl + 4] << 8 | wire[ttl + 5])
        if (
            wire[ttl - 4 : ttl - 2] == b"\0\5"
            and start - data >= 2
            and data < _POINTER_REACH
            and len(owners) < _MAX_OWNERS
        ):
            owners.append((0xC000 | data).to_bytes(2, "big"))
            if wire[data] >= 0xC0:
                owners.append(wire[data : data + 2])
    return True


def _checkOwners(wire: bytes, layout: Layout, answers: int) -> bytes:
    """
    Check that each answer record belongs to the name asked for or to one that
    an alias leads to from there (RFC 5452 §6, RFC 2181 §5.4.1).

    A reply with other records is refused as a whole: leaving them out would
    have to undo compression in records we know nothing of.

    @return: The message, with the owner names that repeat the question's in
        its made-up letter case in lower case.
    @raise MalformedReply: One doesn't.
    """
    if answers > _MAX_NAMED:
        raise MalformedReply("too many answer records about other names")
    records: list[tuple[bytes, int, int, int]] = []
    names: dict[bytes, bytes] = {}
    start = layout.questionEnd
    for ttl in layout.ttls[:answers]:
        octets = wire[start : ttl - 4]
        owner = names.get(octets)
        if owner is None:
            names[octets] = owner = _name(wire, start)
        records.append((owner, wire[ttl - 4] << 8 | wire[ttl - 3], start, ttl))
        start = ttl + 6 + (wire[ttl + 4] << 8 | wire[ttl + 5])
    allowed = _aliases(wire, layout.name, records)
    allowed |= {
        owner
        for owner, type, _, _ in records
        if type == _DNAME and any(isAtOrBelow(name, owner) for name in allowed)
    }
    if any(owner not in allowed for owner, _, _, _ in records):
        raise MalformedReply("answer record about a name that wasn't asked for")
    lowered = bytearray(wire)
    for owner, _, start, _ in records:
        if owner == layout.name:
            _lowerLabels(lowered, start)
    return bytes(lowered)


def _behindName(wire: bytes, at: int) -> int:
    """
    The offset behind the name at C{at}, or the message's end.
    """
    size = len(wire)
    while at < size and 0 < wire[at] < 0xC0:
        at += 1 + wire[at]
    return min(size, at + 2 if at < size and wire[at] else at + 1)


def _lowerLabels(message: bytearray, at: int) -> None:
    """
    Lower-case the labels of the name at C{at}, up to its end or a pointer.
    """
    while 0 < message[at] < 0xC0:
        end = at + 1 + message[at]
        message[at:end] = message[at:end].lower()
        at = end


def _aliases(wire: bytes, qname: bytes, records: list[tuple[bytes, int, int, int]]) -> set[bytes]:
    """
    The name asked for and all names that alias records lead to from it.
    """
    targets: dict[bytes, bytes] = {}
    for owner, type, _, ttl in records:
        if type == _CNAME:
            data = ttl + 6
            if _behindName(wire, data) != data + (wire[ttl + 4] << 8 | wire[ttl + 5]):
                raise MalformedReply("alias record without a whole target")
            targets.setdefault(owner, _name(wire, data))
    allowed = {qname}
    name = targets.get(qname)
    while name is not None and name not in allowed:
        allowed.add(name)
        name = targets.get(name)
    return allowed


def _name(wire: bytes, at: int) -> bytes:
    try:
        return readName(wire, at)
    except MalformedMessage as error:
        raise MalformedReply(str(error)) from None
