# -*- test-case-name: tests.resolvers.test_forwarder -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The end of the chain: what nobody else can answer is asked of the upstreams.

Nothing is decoded on the way. The question goes out as octets and the reply
comes back as octets, scanned once; see L{dnsguard.upstream.exchange} for which
reply counts, and L{dnsguard.upstream.reply} for what is kept of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.names import dns
from zope.interface import implementer

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IPromptAnswerer
from dnsguard.query import ClientQuery, wireToName
from dnsguard.resolvers.base import Answerer
from dnsguard.upstream.coalesce import Coalescer
from dnsguard.upstream.exchange import NETWORK_ERROR
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.waiter import Waiter
from dnsguard.wire.edns import ExtendedError

__all__ = ["ForwardingResolver"]

_TAIL = struct.Struct("!HH")

BLOCKED = 15
"""The extended error "blocked by the operator's policy" (RFC 8914 §4.16)."""

UNFORWARDED_SECONDS = 3600


@implementer(IPromptAnswerer)
class ForwardingResolver(Answerer):
    """
    Answers by asking upstream.

    A reply to be kept says for how long in C{cacheSeconds}. Its
    C{replaySeconds} is 0: the cache in front of this, when asked the second
    time, knows better when the name is due again.

    @ivar upstreams: Whom to ask.
    @ivar unforwarded: Questions for names that aren't asked for anywhere.
    @ivar exchanges: What is under way.
    """

    def __init__(
        self,
        upstreams: UpstreamSet,
        *,
        clock: IReactorTime,
        timeout: float = 10.0,
        maxExchanges: int = 16384,
        maxWaiters: int = 1024,
    ) -> None:
        """
        @param timeout: Seconds until there is an answer or a SERVFAIL, however
            many upstreams are tried.
        @param maxExchanges: How many questions may be under way.
        @param maxWaiters: How many may wait for one of them.
        """
        super().__init__()
        self.upstreams = upstreams
        self.timeout = timeout
        self.unforwarded = 0
        self._retired: UpstreamSet | None = None
        self.exchanges = Coalescer(clock, maxExchanges=maxExchanges, maxWaiters=maxWaiters)

    def answer(self, query: ClientQuery) -> Answer | Deferred[Answer | None] | None:
        """
        Ask upstream.

        @return: L{None} if there is no upstream for this name. A Deferred may
            be cancelled.
        """

        def cancel(_: object) -> None:
            # Whoever has the Deferred has it because this is a Waiter.
            assert isinstance(asked, Waiter)
            asked.cancel()

        answer: Deferred[Answer | None] = Deferred(cancel)
        asked = self.answerInto(query, answer.callback)
        return answer if isinstance(asked, Waiter) else asked

    def answerInto(
        self, query: ClientQuery, receive: Callable[[Answer | None], object]
    ) -> Answer | Waiter | None:
        """
        Ask upstream; see L{IPromptAnswerer}.

        @return: L{None} if there is no upstream for this name.
        """
        found = self.upstreams.find(query.qname, query.type)
        if found is None:
            return None
        domain, group = found
        if not group.upstreams:
            self.unforwarded += 1
            return _notForwarded(domain)
        timeout = self.timeout
        if query.timeout is not None:
            # What a caller of IResolver has patience for, all tries together.
            timeout = min(timeout, sum(query.timeout))
        edns = query.edns
        asked = self.exchanges.askInto(
            (
                query.qname,
                _TAIL.pack(query.type, query.cls),
                edns is not None and edns.dnssecOK,
                query.checkingDisabled,
            ),
            group,
            timeout,
            receive,
        )
        return _overloaded() if asked is None else asked

    def replaceUpstreams(self, upstreams: UpstreamSet) -> None:
        """
        Ask other upstreams from now on. What is under way ends where it began,
        the latest at the next replacement.
        """
        if self._retired is not None:
            self._retired.close(kept=self.upstreams)
        self._retired, self.upstreams = self.upstreams, upstreams
        self._retired.retire(kept=upstreams)

    def close(self) -> Deferred[None]:
        """
        Answer whoever waits with SERVFAIL, and close all sockets.

        @return: Fires when they are closed.
        """
        self.exchanges.close()
        closing = [self.upstreams.close()]
        if self._retired is not None:
            closing.append(self._retired.close(kept=self.upstreams))
        return gatherResults(closing).addCallback(lambda _: None)


def _overloaded() -> Answer:
    """
    Say that too much is under way.
    """
    return Answer.failure(
        dns.ESERVER,
        Outcome.UPSTREAM_ERROR,
        extendedError=ExtendedError(NETWORK_ERROR, "too many queries under way"),
        final=False,
    )


def _notForwarded(domain: bytes) -> Answer:
    """
    Say that there is no such name.

    REFUSED would send a stub resolver to the next server on its list, the very
    leak that an operator prevents by not forwarding a domain. The SOA record
    lets the answer be cached (RFC 2308 §3).
    """
    owner = wireToName(domain)
    soa = dns.Record_SOA(
        mname=owner,
        rname=b"nobody.invalid",
        serial=1,
        refresh=UNFORWARDED_SECONDS,
        retry=UNFORWARDED_SECONDS,
        expire=UNFORWARDED_SECONDS,
        minimum=UNFORWARDED_SECONDS,
        ttl=UNFORWARDED_SECONDS,
    )
    record = dns.RRHeader(owner, dns.SOA, dns.IN, UNFORWARDED_SECONDS, soa)
    return Answer.fromRecords(
        [],
        [record],
        rCode=dns.ENAME,
        outcome=Outcome.LOCAL,
        extendedError=ExtendedError(BLOCKED, "not forwarded"),
    )
