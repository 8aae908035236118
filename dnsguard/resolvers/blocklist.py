# -*- test-case-name: tests.resolvers.test_blocklist -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The element of the chain that blocks names.

It asks the rules of the query's own view, and answers what they block without
asking anybody further. Answers are written as octets at once: a third of all
queries of a household may end here.
"""

from __future__ import annotations

import struct

from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.blockedresponse import BlockedResponse, BlockMode
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.query import ClientQuery
from dnsguard.resolvers.policy import PolicyAnswerer
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import AA, QR, Layout

__all__ = ["BlocklistResolver", "blockedAnswer"]

_HEADER = struct.Struct("!HHHHHH")
_TYPE_CLASS = struct.Struct("!HH")
_RECORD = struct.Struct("!HHHIH")
_SOA_NUMBERS = struct.Struct("!IIIII")

_QUESTION_NAME = 0xC00C
"""A compression pointer to the name in the question (RFC 1035 §4.1.4)."""

_EDE_BLOCKED = 15
_EDE_FILTERED = 17

_MAX_TEXT = 120
_IN, _ANY = 1, 255

_SERVER_LABEL = b"\x02ns"
_MAILBOX_LABEL = b"\x0ahostmaster"


class BlocklistResolver(PolicyAnswerer):
    """
    Answers queries for blocked names.
    """

    def answer(self, query: ClientQuery) -> Answer | None:
        """
        Answer a query for a blocked name.

        @return: L{None} for a name that no rule blocks, and for classes other
            than IN, which no rule speaks of.
        """
        view = query.view or self.viewOfStrangers()
        cls = query.cls
        if cls != _IN and cls != _ANY:
            return None
        decision = view.rules.decide(query.qname, query.type)
        if decision is None or not decision.blocked:
            return None
        return blockedAnswer(query, view.blockedResponse, decision.attribution)


def blockedAnswer(query: ClientQuery, how: BlockedResponse, why: Attribution) -> Answer:
    """
    Make the answer to a query for a blocked name.

    @param how: What to tell.
    @param why: The rule that blocks it.
    """
    extendedError = _extendedError(why)
    wire: bytes | None = None
    layout: Layout | None = None
    if how.mode is BlockMode.REFUSED:
        rCode = dns.EREFUSED
    elif addresses := _addresses(query.type, how):
        rCode = dns.OK
        wire, layout = _positive(query, addresses, how.ttl)
    else:
        rCode = dns.ENAME if how.mode is BlockMode.NXDOMAIN else dns.OK
        wire, layout = _negative(query, rCode, how.ttl)
    return Answer(
        rCode=rCode,
        outcome=Outcome.BLOCKED,
        sections=([], [], []) if wire is None else None,
        wire=wire,
        layout=layout,
        # REFUSED says nothing of the name, with or without authority.
        authoritative=wire is not None,
        extendedError=extendedError,
        cacheSeconds=how.ttl,
        replaySeconds=float(how.ttl),
        attribution=why,
    )


def _addresses(type: int, how: BlockedResponse) -> list[tuple[int, bytes]]:
    """
    The records to give for a type: types and data.
    """
    found: list[tuple[int, bytes]] = []
    if type in (dns.A, _ANY):
        found += [(dns.A, address) for address in how.ipv4]
    if type in (dns.AAAA, _ANY):
        found += [(dns.AAAA, address) for address in how.ipv6]
    return found


def _extendedError(why: Attribution) -> ExtendedError:
    """
    Say why (RFC 8914 §4.16, §4.18): the lists are what the operator of the
    server chose to block; a group's own rules are what its owner asked for.
    """
    if why.kind is RuleKind.LIST:
        return ExtendedError(_EDE_BLOCKED, f"list {why.source}: {why.rule}"[:_MAX_TEXT])
    kind = why.kind.value.replace("_", " ")
    return ExtendedError(_EDE_FILTERED, f"{kind}: {why.rule}"[:_MAX_TEXT])


def _positive(
    query: ClientQuery, addresses: list[tuple[int, bytes]], ttl: int
) -> tuple[bytes, Layout]:
    """
    Write an answer with addresses.
    """
    start = _HEADER.size + len(query.qname) + _TYPE_CLASS.size
    parts = [
        _HEADER.pack(0, QR | AA, 1, len(addresses), 0, 0),
        query.qname,
        _TYPE_CLASS.pack(query.type, query.cls),
    ]
    ttls = []
    end = start
    for type, data in addresses:
        ttls.append(end + 6)
        parts += (_RECORD.pack(_QUESTION_NAME, type, dns.IN, ttl, len(data)), data)
        end += _RECORD.size + len(data)
    counts = (1, len(addresses), 0, 0)
    sections = (start, end, end)
    layout = _layout(query, dns.OK, counts, tuple(ttls), ttl, None, sections)
    return b"".join(parts), layout


def _negative(query: ClientQuery, rCode: int, ttl: int) -> tuple[bytes, Layout]:
    """
    Write an answer without records: no such name or no such data, with the SOA
    record that says for how long (RFC 2308 §2).
    """
    start = _HEADER.size + len(query.qname) + _TYPE_CLASS.size
    pointer = b"\xc0\x0c"
    if len(query.qname) + len(_MAILBOX_LABEL) <= 255:
        names = _SERVER_LABEL + pointer + _MAILBOX_LABEL + pointer
    else:
        names = pointer + pointer
    length = len(names) + _SOA_NUMBERS.size
    wire = b"".join(
        (
            _HEADER.pack(0, QR | AA | rCode, 1, 0, 1, 0),
            query.qname,
            _TYPE_CLASS.pack(query.type, query.cls),
            _RECORD.pack(_QUESTION_NAME, dns.SOA, dns.IN, ttl, length),
            names,
            _SOA_NUMBERS.pack(1, 3600, 600, 86400, ttl),
        )
    )
    layout = _layout(
        query, rCode, (1, 0, 1, 0), (start + 6,), None, ttl, (start, start, len(wire))
    )
    return wire, layout


def _layout(
    query: ClientQuery,
    rCode: int,
    counts: tuple[int, int, int, int],
    ttls: tuple[int, ...],
    leastTTL: int | None,
    negativeTTL: int | None,
    sections: tuple[int, int, int],
) -> Layout:
    """
    Note where everything stands, as L{dnsguard.wire.layout.scan} would find it.
    """
    # Positional: half the time, and this is made for each blocked query.
    return Layout(
        0,
        QR | AA | rCode,
        counts,
        query.qname,
        query.type,
        query.cls,
        sections[0],
        ttls,
        leastTTL,
        negativeTTL,
        None,
        False,
        None,
        sections,
        sections[2],
    )
