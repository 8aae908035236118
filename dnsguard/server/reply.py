# -*- test-case-name: tests.server.test_reply -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The one place where replies are made.

Whatever door a request came through and whoever answered it, the duties of
the edge (header bits, the question's letter case, the OPT record, truncation)
are done here, once, on octets: the records of an answer that has a wire form
are spliced in as they are. Pure functions; nothing is sent from here.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import attrs
from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.query import ClientQuery, Transport
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import AA, AD, CD, HEADER_SIZE, QR, RA, RD, TC, Layout, scan
from dnsguard.wire.rewrite import withoutOPT, withTTLs

try:
    from dnsguard.server._splice import splice  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: the long way, always.
    splice = None

__all__ = [
    "MAX_MESSAGE",
    "ReplyLimits",
    "badVersion",
    "compose",
    "composePlain",
    "isTruncated",
    "minimalAnswer",
    "refuse",
    "splice",
]

MAX_MESSAGE = 65535
"""Octets in a message over a stream (RFC 1035 §4.2.2)."""

LEAST_PAYLOAD = 512
"""What every client can take over UDP; a smaller size means this (RFC 6891 §6.2.3)."""

KEEPALIVE_OPTION = 11
"""The option code of a stream's idle limit (RFC 7828 §3.1)."""

_HEADER = struct.Struct("!HHHHHH")
_OPT = struct.Struct("!BHHBBHH")
_OPTION = struct.Struct("!HH")
_DNSSEC_OK = 0x8000
_MINIMAL_TTL = 3600
_OPT_TYPE = 41
_BADVERS = 16
_OPCODE = 0x7800

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_UDP = Transport.UDP

_FOREIGN = (Outcome.CACHED, Outcome.STALE, Outcome.UPSTREAM)
"""Outcomes whose TTLs come from somebody else, so that the client's cap holds for them."""

_Records = tuple[bytes, tuple[int, int, int], int]
"""
Records as octets, how many of them are in each section, and the octets that
are left without the additional section.
"""

_NO_RECORDS: _Records = b"", (0, 0, 0), 0

_UNSPEAKABLE = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
"""What is said in place of an answer that can't be encoded."""

_UNFIT = (ValueError, EOFError, struct.error)
"""What Twisted Names' decoder, and our own, raise on octets that make no sense."""


@attrs.frozen
class ReplyLimits:
    """
    What holds for all replies of one server.

    @ivar payloadSize: The UDP octets we announce, and the most we send. 1232
        passes without fragments everywhere.
    @ivar ttlCap: The greatest TTL, in seconds, that clients are given in
        answers from upstream, cached or not; L{None} for no cap.
    @ivar recursionAvailable: Say so in the RA bit? Not from a server that
        has nobody to ask.
    @ivar keepaliveSeconds: The idle limit to tell clients of streams who ask
        (RFC 7828), or L{None}: say nothing.
    """

    payloadSize: int = 1232
    ttlCap: int | None = None
    recursionAvailable: bool = True
    keepaliveSeconds: float | None = None


def compose(
    request: bytes, layout: Layout, query: ClientQuery, answer: Answer, limits: ReplyLimits
) -> bytes:
    """
    Make the reply to a request.

    @param request: The request's octets: exactly one question.
    @param layout: The scan of C{request}.
    @param query: The query that was made of it.
    @param answer: What to say. One for another question is re-encoded, and
        when that can't be done without loss the reply is SERVFAIL.
    @param limits: The server's limits.
    @return: The reply's octets, no more than the client can take.
    """
    reply = composePlain(request, layout.flags, layout.questionEnd, query, answer, limits)
    return _composeAny(request, layout, query, answer, limits) if reply is None else reply


def composePlain(
    request: bytes,
    flags: int,
    questionEnd: int,
    query: ClientQuery,
    answer: Answer,
    limits: ReplyLimits,
) -> bytes | None:
    """
    Make the reply to a request in one copy, if that can be done: the records
    stand behind the question as they are, and there is room for them. As
    L{compose}.

    @param flags: The request's flags.
    @param questionEnd: Where its question ends.
    """
    found = answer.layout
    if splice is None or found is None or answer.extendedError is not None:
        return None
    if not _fits(query, found):
        return None
    flags, opt, room = _edges(flags, questionEnd, query, answer, limits)
    if found.size - found.questionEnd > room:
        return None
    cap = -1
    if limits.ttlCap is not None and answer.outcome in _FOREIGN:
        cap = limits.ttlCap
    reply: bytes = splice(
        request, questionEnd, flags, answer.wire, found.questionEnd, found.ttls, cap, opt
    )
    return reply


def _composeAny(
    request: bytes, layout: Layout, query: ClientQuery, answer: Answer, limits: ReplyLimits
) -> bytes:
    """
    Make any reply; as L{compose}.
    """
    records = _records(query, answer, limits)
    if records is None:
        records, answer = _NO_RECORDS, _UNSPEAKABLE
    flags, opt, room = _edges(layout.flags, layout.questionEnd, query, answer, limits)
    if len(records[0]) > room:
        records, flags = _fitted(records, flags, room)
    body, (answers, authority, additional), _ = records
    if opt:
        additional += 1
        if answer.extendedError is not None:
            opt = _explained(opt, answer.extendedError, room - len(body))
    header = _HEADER.pack(layout.id, flags, 1, answers, authority, additional)
    return b"".join((header, request[HEADER_SIZE : layout.questionEnd], body, opt))


def _edges(
    flags: int, questionEnd: int, query: ClientQuery, answer: Answer, limits: ReplyLimits
) -> tuple[int, bytes, int]:
    """
    Say what stands around the records.

    @param flags: The request's flags.
    @param questionEnd: Where its question ends.

    @return: The flags, the OPT record or nothing, and the octets that records
        may have.
    """
    edns = query.edns
    rCode = answer.rCode
    if edns is None and rCode > 15:
        # The upper bits need an OPT record (RFC 6891 §6.1.3).
        rCode = dns.ESERVER
    flags = QR | (flags & (RD | CD)) | (rCode & 15)
    if limits.recursionAvailable:
        flags |= RA
    if answer.authoritative:
        flags |= AA
    if answer.authenticData and (query.wantsAD or (edns is not None and edns.dnssecOK)):
        # RFC 6840 §5.7, §5.8: only to those who understand it.
        flags |= AD
    opt = b"" if edns is None else _opt(edns, rCode, query.transport, limits)
    return flags, opt, _room(query.transport, edns, limits) - questionEnd - len(opt)


def _fits(query: ClientQuery, found: Layout) -> bool:
    """
    Can the records of an answer stand behind the query's question as they are?
    """
    return found.name == query.qname and found.counts[0] == 1 and found.opt is None


def isTruncated(reply: bytes) -> bool:
    """
    Does a reply tell the client to ask again over a stream?
    """
    return bool(reply[2] & (TC >> 8))


def refuse(
    request: bytes,
    rCode: int,
    limits: ReplyLimits,
    layout: Layout | None = None,
    hasOPT: bool = False,
) -> bytes:
    """
    Make a reply without records straight from a request's octets, such as
    FORMERR, NOTIMP and REFUSED.

    @param request: At least a header.
    @param rCode: The response code, 4 bits.
    @param layout: The scan of C{request}, if it can be scanned: the one
        question and an OPT record are then answered in kind.
    @param hasOPT: There is an OPT record, if not one that can be read: such a
        request gets one back, too (RFC 6891 §7).
    """
    id, flags = struct.unpack_from("!HH", request)
    flags = QR | (flags & (_OPCODE | RD | CD)) | rCode
    if limits.recursionAvailable:
        flags |= RA
    question, opt = b"", b""
    if layout is not None and layout.counts[0] == 1:
        question = request[HEADER_SIZE : layout.questionEnd]
    if layout is not None and layout.edns is not None:
        opt = _opt(layout.edns, rCode, Transport.UDP, limits)
    elif hasOPT:
        opt = EDNS(payloadSize=limits.payloadSize).encode()
    header = _HEADER.pack(id, flags, 1 if question else 0, 0, 0, 1 if opt else 0)
    return header + question + opt


def badVersion(request: bytes, layout: Layout, limits: ReplyLimits) -> bytes:
    """
    Make the reply to a request of an EDNS version we don't speak: BADVERS,
    with the version we do (RFC 6891 §6.1.3).
    """
    reply = bytearray(refuse(request, _BADVERS & 15, limits, layout))
    reply[-_OPT.size + 5] = _BADVERS >> 4
    return bytes(reply)


def minimalAnswer(query: ClientQuery) -> Answer:
    """
    The answer to ANY: one HINFO record that says why (RFC 8482 §4.2).
    """
    payload = dns.Record_HINFO(b"RFC8482", b"", _MINIMAL_TTL)
    record = dns.RRHeader(query.name.name, dns.HINFO, dns.IN, _MINIMAL_TTL, payload)
    return Answer.fromRecords([record], outcome=Outcome.LOCAL)


def _room(transport: Transport, edns: EDNS | None, limits: ReplyLimits) -> int:
    """
    The octets a reply may have.
    """
    if transport is not _UDP:
        return MAX_MESSAGE
    if edns is None:
        return LEAST_PAYLOAD
    return min(max(edns.payloadSize, LEAST_PAYLOAD), max(limits.payloadSize, LEAST_PAYLOAD))


def _opt(edns: EDNS, rCode: int, transport: Transport, limits: ReplyLimits) -> bytes:
    """
    The OPT record of a reply: our payload size, our version, the upper bits
    of the response code, DO as in the request (RFC 3225 §3), everything else
    clear.
    """
    if not edns.options:
        return _bareOPT(limits.payloadSize, rCode >> 4, edns.dnssecOK)
    options = b""
    if (
        limits.keepaliveSeconds is not None
        and transport is not _UDP
        and any(code == KEEPALIVE_OPTION for code, _ in edns.options)
    ):
        # RFC 7828 §3.2.2: in units of 100 milliseconds, and never over UDP.
        tenths = min(int(limits.keepaliveSeconds * 10), 65535)
        options = _OPTION.pack(KEEPALIVE_OPTION, 2) + tenths.to_bytes(2, "big")
    flags = _DNSSEC_OK if edns.dnssecOK else 0
    size = len(options)
    return _OPT.pack(0, _OPT_TYPE, limits.payloadSize, rCode >> 4, 0, flags, size) + options


@lru_cache(maxsize=256)
def _bareOPT(payloadSize: int, extendedRCode: int, dnssecOK: bool) -> bytes:
    """
    Write an OPT record without options: nearly all replies have the same one.
    """
    flags = _DNSSEC_OK if dnssecOK else 0
    return _OPT.pack(0, _OPT_TYPE, payloadSize, extendedRCode, 0, flags, 0)


def _explained(opt: bytes, reason: ExtendedError, room: int) -> bytes:
    """
    Add an extended error to an OPT record, as much of it as there is room
    for: it must not cost the client a record (RFC 8914 §3), so first its text
    goes and then all of it.

    @param room: How many octets the record may grow by.
    """
    code, value = reason.option()
    if _OPTION.size + len(value) > room:
        value = value[:2]
        if _OPTION.size + len(value) > room:
            return opt
    fixed = _OPT.size
    length = len(opt) - fixed + _OPTION.size + len(value)
    return b"".join(
        (
            opt[: fixed - 2],
            length.to_bytes(2, "big"),
            opt[fixed:],
            _OPTION.pack(code, len(value)),
            value,
        )
    )


def _fitted(records: _Records, flags: int, room: int) -> tuple[_Records, int]:
    """
    What can be said of too many records, and the flags that say so.
    """
    body, counts, essential = records
    if essential <= room:
        # RFC 2181 §9: what is merely additional may be missing without TC ...
        return (body[:essential], (counts[0], counts[1], 0), essential), flags
    # ... and of the rest a part is worse than none.
    return _NO_RECORDS, (flags | TC) & ~AD


def _records(query: ClientQuery, answer: Answer, limits: ReplyLimits) -> _Records | None:
    """
    The records of an answer, with their TTLs capped, as they can stand behind
    the query's question; L{None} when that can't be done without loss.
    """
    if answer.wire is None and not any(answer.sections):
        return _NO_RECORDS
    wire, found = answer.encoded(query.question)
    if not _fits(query, found):
        try:
            wire, found = _refitted(query, answer, wire, found)
        except _UNFIT:
            return None
    if limits.ttlCap is not None and answer.outcome in _FOREIGN:
        wire = withTTLs(wire, found.ttls, cap=limits.ttlCap)
    start = found.questionEnd
    return wire[start:], found.counts[1:], found.sections[2] - start


def _refitted(
    query: ClientQuery, answer: Answer, wire: bytes, found: Layout
) -> tuple[bytes, Layout]:
    """
    Make an answer fit the query's question: names in its records point into
    the question it came with, so behind another one they would be garbage.

    @raise ValueError: Something would be lost on the way.
    """
    if found.opt is not None:
        wire = withoutOPT(wire, found)
        found = scan(wire)
    if found.name == query.qname and found.counts[0] == 1:
        return wire, found
    message = dns.Message()
    message.fromStr(wire)
    sections = (message.answers, message.authority, message.additional)
    # Twisted Names stops at what it can't decode, without a word.
    if tuple(map(len, sections)) != found.counts[1:]:
        raise ValueError("records that can't be decoded")
    return Answer.fromRecords(*sections, outcome=answer.outcome).encoded(query.question)
