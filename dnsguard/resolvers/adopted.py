# -*- test-case-name: tests.resolvers.test_adopted -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Stock Twisted Names resolvers as answerers.

Importing this module, or the chain, lets C{IAnswerer(resolver)} adopt any
provider of C{IResolver}. A stock resolver says everything but data by failing;
the table of what each failure means stands in L{_fromFailure}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IResolver
from twisted.names import authority, cache, dns, error, hosts
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerCache, IAnswerer
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answerer

__all__ = ["AdoptedCache", "AdoptedResolver", "adopt"]

_OPT = 41

_CODES: tuple[tuple[type[error.DomainError], int], ...] = (
    (error.DNSNameError, dns.ENAME),
    (error.DNSServerError, dns.ESERVER),
    (error.DNSQueryRefusedError, dns.EREFUSED),
    (error.DNSFormatError, dns.EFORMAT),
    (error.DNSNotImplementedError, dns.ENOTIMP),
    (error.DNSUnknownError, dns.ESERVER),
)
"""
The codes behind the failures of a stock client. All are C{DomainError}s, so a
stock server would call every one of them NXDOMAIN.
"""

_FAILURES = {dns.ESERVER: Outcome.SERVFAIL, dns.EREFUSED: Outcome.REFUSED}

_CACHED = (Outcome.UPSTREAM, Outcome.CACHED)
"""What may be kept: upstream's word, not ours."""


class AdoptedResolver(Answerer):
    """
    A stock resolver that answers like one of ours.

    It is handed the L{ClientQuery} itself, so that one of ours behind a stock
    resolver that passes queries on untouched still knows who asks.

    @ivar resolver: The stock resolver.
    """

    def __init__(self, resolver: Any, outcome: Outcome = Outcome.UPSTREAM) -> None:
        """
        @param resolver: A provider of C{IResolver}.
        @param outcome: How its answers came about.
        """
        super().__init__()
        self.resolver = resolver
        self._outcome = outcome

    def answer(self, query: ClientQuery) -> Deferred[Answer | None] | None:
        """
        Ask the stock resolver.
        """
        if query.cls != dns.IN:
            # Stock lookups know no other class and would answer for IN.
            return None
        return maybeDeferred(self.resolver.query, query, query.timeout).addCallbacks(
            self._fromResult, self._fromFailure, callbackArgs=(query,)
        )

    def _fromResult(self, result: Any, query: ClientQuery) -> Answer:
        if isinstance(result, Answer):
            return result
        answers, authorities, additionals = result
        return self._fromRecords(query.type, answers, authorities, additionals, dns.OK)

    def _fromRecords(
        self,
        type: int,
        answers: Sequence[dns.RRHeader],
        authorities: Sequence[dns.RRHeader],
        additionals: Sequence[dns.RRHeader],
        rCode: int,
    ) -> Answer:
        local = self._outcome is Outcome.LOCAL
        return Answer.fromRecords(
            answers,
            authorities,
            [record for record in additionals if record.type != _OPT],
            rCode=rCode,
            outcome=self._outcome,
            authoritative=local and any(record.auth for record in [*answers, *authorities]),
            cacheSeconds=_cacheSeconds(type, answers, authorities, rCode),
        )

    def _fromFailure(self, failure: Failure) -> Answer | None:
        """
        Turn a stock resolver's failure into what it means. What isn't listed
        here is a defect, and stays a failure.
        """
        reason = failure.value
        if isinstance(answer := getattr(reason, "answer", None), Answer):
            # One of ours, further in.
            return answer
        if isinstance(reason, error.AuthoritativeDomainError):
            return self._nameError()
        if isinstance(reason, error.DomainError):
            return self._fromDomainError(reason)
        if isinstance(reason, NotImplementedError):
            return None
        if isinstance(reason, (TimeoutError, ConnectError, ConnectionClosed)):
            return Answer.failure(dns.ESERVER, Outcome.UPSTREAM_ERROR, final=False)
        if isinstance(reason, error.ResolverError):
            return Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
        failure.raiseException()

    def _fromDomainError(self, reason: error.DomainError) -> Answer | None:
        """
        Tell "not mine" from an upstream's response code.
        """
        message = reason.args[0] if reason.args else None
        if isinstance(message, dns.Message):
            code = message.rCode
        else:
            message = None
            code = next((code for kind, code in _CODES if isinstance(reason, kind)), dns.OK)
        if code == dns.OK:
            return None
        if code != dns.ENAME:
            outcome = _FAILURES.get(code, Outcome.UPSTREAM_ERROR)
            return Answer.failure(code, outcome, final=False)
        if message is None:
            return Answer.failure(dns.ENAME, self._outcome)
        return self._fromRecords(
            dns.ALL_RECORDS, message.answers, message.authority, message.additional, code
        )

    def _nameError(self) -> Answer:
        """
        Make the NXDOMAIN of a zone, with the SOA record that stock code leaves
        out (RFC 2308 §3).
        """
        soa = getattr(self.resolver, "soa", None)
        if not (isinstance(self.resolver, authority.FileAuthority) and soa):
            return Answer.failure(dns.ENAME, self._outcome, authoritative=True)
        name, record = soa
        ttl = record.minimum if record.ttl is None else min(record.ttl, record.minimum)
        header = dns.RRHeader(name, dns.SOA, dns.IN, ttl, record, auth=True)
        return Answer.fromRecords(
            [],
            [header],
            rCode=dns.ENAME,
            outcome=self._outcome,
            authoritative=True,
            cacheSeconds=header.ttl,
        )


@implementer(IAnswerCache)
class AdoptedCache(AdoptedResolver):
    """
    A stock C{CacheResolver}, or its like, that is asked and filled.

    It can't tell one answer to a question from another one with DNSSEC records,
    and knows no response code but NOERROR: so it sees plain queries only, and
    keeps nothing but data.
    """

    def answer(self, query: ClientQuery) -> Deferred[Answer | None] | None:
        """
        Look a plain query up.
        """
        return super().answer(query) if self._isPlain(query) else None

    def cacheResult(self, query: ClientQuery, payload: Answer) -> None:
        """
        Hand data that came from upstream to the stock cache.

        It gets a plain query: a L{ClientQuery} would keep its policy alive.
        """
        if (
            payload.outcome in _CACHED
            and payload.rCode == dns.OK
            and payload.cacheSeconds > 0
            and self._isPlain(query)
        ):
            plain = dns.Query(query.name.name, query.type, query.cls)
            self.resolver.cacheResult(plain, tuple(payload))

    def _isPlain(self, query: ClientQuery) -> bool:
        return not (
            query.dnssecOK
            or query.checkingDisabled
            or (query.view is not None and query.view.cacheDisabled)
        )


def adopt(resolver: Any) -> AdoptedResolver:
    """
    Give a stock resolver as one of ours; this is what C{IAnswerer(resolver)}
    calls. Zones and hosts files are local, caches cached; anything else is
    taken to ask somebody.
    """
    outcome = Outcome.UPSTREAM
    if isinstance(resolver, (authority.FileAuthority, hosts.Resolver)):
        outcome = Outcome.LOCAL
    elif isinstance(resolver, cache.CacheResolver):
        outcome = Outcome.CACHED
    kind = AdoptedCache if callable(getattr(resolver, "cacheResult", None)) else AdoptedResolver
    return kind(resolver, outcome)


def _cacheSeconds(
    type: int, answers: Sequence[dns.RRHeader], authorities: Sequence[dns.RRHeader], rCode: int
) -> int:
    """
    Work out for how long records are true, as
    L{dnsguard.caching.ttl.authTTL} does for a message; 0 if they don't say.
    """
    ttls = [record.ttl for record in answers]
    data = any(type in (record.type, dns.ALL_RECORDS) for record in answers)
    if rCode != dns.OK or not data:
        soas: list[Any] = [record for record in authorities if record.type == dns.SOA]
        if not soas:
            return 0
        ttls += [min(soa.ttl, soa.payload.minimum) for soa in soas]
    return min(ttls)


registerAdapter(adopt, IResolver, IAnswerer)
