# -*- test-case-name: tests.resolvers.test_safesearch -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The answerer that leads search engines' names to their strict ones.

An alias alone is of no use to a stub resolver, which can't follow it: the
addresses of the strict name are looked up and answered with it. Whatever goes
wrong on the way, the usual address is never given instead.
"""

from __future__ import annotations

from functools import partial

from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.decision import RuleKind
from dnsguard.policy.safesearch import Rewrite
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered
from dnsguard.resolvers.policy import AliasFollower, failed
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.records import Record, join

__all__ = ["SafeSearchResolver"]

SAFE_TTL = 300
"""
Seconds that a safe answer may be kept, addresses included: short, as it may be
switched off any moment.
"""

_CNAME, _SVCB, _HTTPS = 5, 64, 65

_REWRITTEN = frozenset({dns.A, dns.AAAA, dns.ALL_RECORDS, _SVCB, _HTTPS})
"""
The types that lead to a server. SVCB and HTTPS records carry address hints
(RFC 9460 §7.3) and would lead round the alias: there are none.
"""

_OPERATORS_WORD = frozenset({RuleKind.FAMILY_TIME, RuleKind.DENYLIST})

FORGED = ExtendedError(4, "safe search")
"""An answer changed for reasons of policy (RFC 8914 §4.5)."""


class SafeSearchResolver(AliasFollower):
    """
    Answers for search engines' names, where the view has safe search.

    It comes before the block lists, but not before the operator: a name that a
    family time or a denylist blocks is left to them.
    """

    def answer(self, query: ClientQuery) -> Answered:
        """
        Answer an engine's usual name with its strict one.
        """
        view = query.view or self.viewOfStrangers()
        rewrite = view.safeSearch.find(query.qname)
        if rewrite is None or query.type not in _REWRITTEN or query.cls != dns.IN:
            return None
        if _isBlocked(view, query):
            return None
        if query.type in (_SVCB, _HTTPS):
            return _safe(query, ())
        if not rewrite.target:
            return _safe(query, _addresses(query, rewrite))
        alias = Record.make(query.qname, _CNAME, SAFE_TTL, rewrite.target)
        if query.type == dns.ALL_RECORDS:
            return _safe(query, (alias,))
        return self.follow(
            query, rewrite.target, partial(self._joined, query, alias, rewrite.target)
        )

    def _joined(
        self, query: ClientQuery, alias: Record, target: bytes, answer: Answer | None
    ) -> Answer:
        """
        Join the alias with what the tail gave for the strict name.
        """
        if answer is None or answer.rCode not in (dns.OK, dns.ENAME):
            return failed(answer)
        sections = self.sections(query, target, answer)
        if sections is None:
            return failed(None)
        records = [record.capped(SAFE_TTL) for record in sections[0]]
        wire, layout = join(query.question, (alias, *records), sections[1])
        seconds = layout.leastTTL or 0
        return Answer.fromWire(
            wire,
            layout,
            outcome=Outcome.SAFE_SEARCH,
            authoritative=True,
            upstream=answer.upstream,
            extendedError=FORGED,
            # Not to be replayed: whoever clears or renews the strict name forgets
            # replies for that, and knows nothing of the usual one.
            cacheSeconds=min(seconds, answer.cacheSeconds),
        )


def _isBlocked(view: View, query: ClientQuery) -> bool:
    """
    Does an operator's own word block the name?
    """
    decision = view.rules.decide(query.qname, query.type)
    return (
        decision is not None and decision.blocked and decision.attribution.kind in _OPERATORS_WORD
    )


def _addresses(query: ClientQuery, rewrite: Rewrite) -> tuple[Record, ...]:
    """
    Give the strict addresses of an engine that has no strict name; there are
    IPv4 ones only.
    """
    if query.type == dns.AAAA:
        return ()
    return tuple(
        Record.make(query.qname, dns.A, SAFE_TTL, address) for address in rewrite.addresses
    )


def _safe(query: ClientQuery, records: tuple[Record, ...]) -> Answer:
    """
    Make an answer that needs nobody else: records, or "no data".
    """
    authority = () if records else (Record.soa(query.qname, SAFE_TTL),)
    wire, layout = join(query.question, records, authority)
    return Answer.fromWire(
        wire,
        layout,
        outcome=Outcome.SAFE_SEARCH,
        authoritative=True,
        extendedError=FORGED,
        cacheSeconds=SAFE_TTL,
        replaySeconds=float(SAFE_TTL),
    )
