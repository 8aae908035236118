# -*- test-case-name: tests.server.test_corridor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From request to question: one scan, one judgement, one query.

This is what lies behind every door of the server, and it is itself the door
for octets. A request becomes a L{ClientQuery<dnsguard.query.ClientQuery>} with the
policy view that holds for it to the end, and is then the L{Respondent}'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime
from twisted.names import dns
from twisted.python.failure import Failure

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IPolicies, IQueryObserver, IReplayStore
from dnsguard.query import Asker, Transport, newQuery
from dnsguard.server.address import unpack
from dnsguard.server.admission import Verdict, judge, judgeHeader
from dnsguard.server.door import Respond
from dnsguard.server.exchange import Exchange
from dnsguard.server.limits import ServerLimits
from dnsguard.server.reply import badVersion, minimalAnswer, refuse
from dnsguard.server.respondent import Respondent
from dnsguard.wire.edns import EDNS, InvalidOPT
from dnsguard.wire.layout import Layout, MalformedMessage, scan, scanRequest

if TYPE_CHECKING:
    from dnsguard.policy.view import View

__all__ = ["Corridor", "ServerLimits"]

_REFUSED = Answer.failure(dns.EREFUSED, Outcome.REFUSED)
_REFUSALS = {Verdict.FORMERR: dns.EFORMAT, Verdict.NOTIMP: dns.ENOTIMP}

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_ADMIT, _DROP, _MINIMAL = Verdict.ADMIT, Verdict.DROP, Verdict.MINIMAL

_ASKED = (_ADMIT, _MINIMAL, Verdict.REFUSED)
"""What is a query to the observers, if not always to the chain."""

_KNOWN = 4096
"""Addresses that are remembered with who they are."""

_IN = 1


class Corridor(Respondent):
    """
    The way of every request.
    """

    def __init__(
        self,
        resolver: Any,
        *,
        policies: IPolicies | None = None,
        clock: IReactorTime | None = None,
        observers: Sequence[IQueryObserver] = (),
        replay: IReplayStore | None = None,
        limits: ServerLimits | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        See L{Respondent}.
        """
        Respondent.__init__(
            self,
            resolver,
            policies=policies,
            clock=clock,
            observers=observers,
            replay=replay,
            limits=limits,
            wallClock=wallClock,
        )
        # Who clients are, as long as the policy is the same.
        self._policy: Any = None
        self._known: dict[bytes, tuple[Asker, View]] = {}

    def requestReceived(
        self, request: bytes, address: bytes, transport: Transport, respond: Respond
    ) -> bool:
        """
        Answer one request. See L{dnsguard.server.door.RequestDoor}.
        """
        self.counters.received += 1
        try:
            return self._receive(request, address, transport, respond)
        except Exception:
            # Whatever this is, a listener must not die of one datagram.
            self.counters.dropped += 1
            self._broken(Failure())
            return False

    def _receive(
        self, request: bytes, address: bytes, transport: Transport, respond: Respond
    ) -> bool:
        """
        Scan and judge one request, and see that it is answered.
        """
        plain = None if scanRequest is None else scanRequest(request, EDNS.decode)
        if plain is None:
            return self._receiveAny(request, address, transport, respond)
        # It is one to ask the chain, and there is no more to know about it.
        flags, name, type, questionEnd, edns = plain
        exchange = self._made(
            request, flags, name, type, _IN, questionEnd, edns, address, transport, respond, None
        )
        self._ask(exchange)
        return True

    def _receiveAny(
        self, request: bytes, address: bytes, transport: Transport, respond: Respond
    ) -> bool:
        """
        Deal with any request; as L{_receive}.
        """
        verdict = judgeHeader(request)
        if verdict is _DROP:
            self.counters.dropped += 1
            return False
        replies = self.limits.replies
        layout: Layout | None = None
        try:
            layout = scan(request)
        except (MalformedMessage, InvalidOPT) as reason:
            if verdict is _ADMIT:
                self.counters.malformed += 1
                hasOPT = isinstance(reason, InvalidOPT)
                respond(refuse(request, dns.EFORMAT, replies, hasOPT=hasOPT))
                return True
        if verdict is _ADMIT and layout is not None:
            verdict = judge(layout)
            if verdict in _ASKED:
                exchange = self._exchange(request, layout, address, transport, respond)
                if verdict is _ADMIT:
                    self._ask(exchange)
                elif verdict is _MINIMAL:
                    self._finish(exchange, minimalAnswer(exchange.query))
                else:
                    self._finish(exchange, _REFUSED)
                return True
        self.counters.refused += 1
        if verdict is Verdict.BADVERS and layout is not None:
            respond(badVersion(request, layout, replies))
        else:
            respond(refuse(request, _REFUSALS[verdict], replies, layout))
        return True

    def _exchange(
        self,
        request: bytes,
        layout: Layout,
        address: bytes,
        transport: Transport,
        respond: Respond,
    ) -> Exchange:
        """
        Make the query of a well-formed request with one question.
        """
        return self._made(
            request,
            layout.flags,
            layout.name,
            layout.type,
            layout.cls,
            layout.questionEnd,
            layout.edns,
            address,
            transport,
            respond,
            layout,
        )

    def _made(
        self,
        request: bytes,
        flags: int,
        name: bytes,
        type: int,
        cls: int,
        questionEnd: int,
        edns: EDNS | None,
        address: bytes,
        transport: Transport,
        respond: Respond,
        layout: Layout | None,
    ) -> Exchange:
        """
        Find out who asks, and make the query.
        """
        policy: Any = None
        view: View | None = None
        if self._policies is not None:
            policy = self._policies.current
            if policy is not self._policy or len(self._known) > _KNOWN:
                self._policy = policy
                self._known = {}
            known = self._known.get(address)
            if known is None:
                known = self._known[address] = self._identify(policy, address)
            asker, view = known
        else:
            asker = Asker(unpack(address))
        query = newQuery(name, type, cls, asker, transport, edns, flags, self._seconds(), view)
        return Exchange(self, request, query, flags, questionEnd, policy, respond, layout)

    def _identify(self, policy: Any, address: bytes) -> tuple[Asker, View]:
        """
        Say who asks, and what they see.
        """
        if not address:
            return Asker.ANONYMOUS, policy.defaultView
        found: tuple[Asker, View] = policy.identify(address)
        return found
