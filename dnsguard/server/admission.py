# -*- test-case-name: tests.server.test_admission -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which requests are answered by the chain, and what the others are told.

Everything that needs no resolver to be refused is refused here, before a
query is made of it: the wrong direction, opcode, class or type, and messages
that aren't one question. Pure functions; the replies are made in
L{dnsguard.server.reply}.
"""

from __future__ import annotations

import enum

from dnsguard.wire.layout import HEADER_SIZE, Layout

__all__ = ["Verdict", "judge", "judgeHeader"]

_QR = 0x80
_OPCODE = 0x78

_IN = 1

_OPT = 41
_FIRST_META = 128
_TKEY = 249
_IXFR = 251
_AXFR = 252
_MAILB = 253
_MAILA = 254
_ANY = 255

_TRANSFERS = frozenset({_IXFR, _AXFR, _MAILB, _MAILA})


class Verdict(enum.Enum):
    """
    What becomes of a request.
    """

    ADMIT = "admit"
    """Ask the chain."""

    MINIMAL = "minimal"
    """Answer with the one record of RFC 8482 §4.2."""

    DROP = "drop"
    """Say nothing."""

    FORMERR = "formerr"
    NOTIMP = "notimp"
    REFUSED = "refused"
    BADVERS = "badvers"


# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_ADMIT = Verdict.ADMIT


def judgeHeader(request: bytes) -> Verdict:
    """
    Judge a request by its header alone, before it is scanned.

    @param request: Any octets.
    @return: C{DROP}, C{NOTIMP}, or C{ADMIT}: go on and L{judge} it.
    """
    if len(request) < HEADER_SIZE or request[2] & _QR:
        # There is no id to answer to, or it is itself an answer: answering
        # those lets two servers talk to each other for ever (RFC 8906 §3).
        return Verdict.DROP
    if request[2] & _OPCODE:
        # IQUERY is obsolete (RFC 3425 §3); STATUS, NOTIFY (RFC 1996), UPDATE
        # (RFC 2136 §2.2) and stateful operations (RFC 8490 §5.1.1) are for
        # servers of zones. What follows the header may have any form.
        return Verdict.NOTIMP
    return _ADMIT


def judge(layout: Layout) -> Verdict:
    """
    Judge a standard query that is well-formed as octets.

    @param layout: The scan of a request that L{judgeHeader} admits.
    """
    if layout.edns is not None and layout.edns.version > 0:
        # RFC 6891 §6.1.3: before anything else is looked at.
        return Verdict.BADVERS
    questions, answers, authorities, _ = layout.counts
    if questions != 1:
        # RFC 9619 §4. No question at all is for cookies only (RFC 7873 §5.4),
        # which we don't speak.
        return Verdict.FORMERR
    type = layout.type
    if type in _TRANSFERS:
        # Before the other sections are looked at: IXFR has an SOA in one.
        return Verdict.REFUSED
    if answers or authorities:
        return Verdict.FORMERR
    if layout.cls != _IN:
        # Nothing is known of other classes, and version.bind and its like
        # (RFC 4892) are nobody's business.
        return Verdict.REFUSED
    if type < _FIRST_META and type not in (0, _OPT):
        return _ADMIT
    if type > _ANY:
        return _ADMIT
    if type == _ANY:
        return Verdict.MINIMAL
    # What is left isn't data that can be asked for (RFC 6895 §3.1, RFC 9824
    # §3.4); TKEY could be, from a server that has keys (RFC 2930 §4).
    return Verdict.NOTIMP if type == _TKEY else Verdict.FORMERR
