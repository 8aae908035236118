# -*- test-case-name: tests.server.test_corridor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From request to reply: one scan, one judgement, one question to the chain, one
reply, one word to the observers.

This is what lies behind every door of the server, and it is itself the door
for octets. A request becomes a L{ClientQuery} with the policy view that holds
for it to the end; whatever the chain makes of it, a broken answerer included,
leaves through L{compose}, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.names import dns
from twisted.python.failure import Failure

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IPolicies, IPromptAnswerer, IQueryObserver, IReplayStore
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Asker, Transport, newQuery
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.server.address import unpack
from dnsguard.server.admission import Verdict, judge, judgeHeader
from dnsguard.server.counters import ServerCounters
from dnsguard.server.door import Respond
from dnsguard.server.exchange import Exchange
from dnsguard.server.failure import NOT_MINE, answerOf
from dnsguard.server.limits import ServerLimits
from dnsguard.server.pending import PendingQueries
from dnsguard.server.reply import (
    badVersion,
    compose,
    composePlain,
    isTruncated,
    minimalAnswer,
    refuse,
)
from dnsguard.throttle import Throttle
from dnsguard.wire.edns import EDNS, ExtendedError, InvalidOPT
from dnsguard.wire.layout import Layout, MalformedMessage, scan, scanRequest

if TYPE_CHECKING:
    from dnsguard.policy.view import View

__all__ = ["Corridor", "ServerLimits"]

_SERVFAIL = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
_REFUSED = Answer.failure(dns.EREFUSED, Outcome.REFUSED)
_TOO_MANY = ExtendedError(0, "too many queries are waiting")
_TOO_LATE = ExtendedError(0, "no answer in time")
_REFUSALS = {Verdict.FORMERR: dns.EFORMAT, Verdict.NOTIMP: dns.ENOTIMP}

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_ADMIT, _DROP, _MINIMAL = Verdict.ADMIT, Verdict.DROP, Verdict.MINIMAL
_UPSTREAM = Outcome.UPSTREAM
_UDP = Transport.UDP

_ASKED = (_ADMIT, _MINIMAL, Verdict.REFUSED)
"""What is a query to the observers, if not always to the chain."""

_KNOWN = 4096
"""Addresses that are remembered with who they are."""

_IN = 1

_LOG_SECONDS = 60.0
"""The least time between two log entries for the same kind of failure."""


class Corridor:
    """
    The way of every request.

    @ivar resolver: The L{dnsguard.interfaces.IAnswerer} that is asked; it may
        be replaced at any time.
    @ivar observers: Those who are told of each query answered; may be replaced
        at any time.
    @ivar limits: The L{ServerLimits}; C{answerSeconds} is read once, the
        others may be replaced at any time.
    @ivar counters: The L{ServerCounters}.
    @ivar pending: The L{PendingQueries}.
    """

    log = Logger()

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
        @param resolver: The one to ask: anything with an C{answer} method.
        @param policies: Where the current policy is; L{None}: there is none,
            queries have no view and everybody is nobody in particular.
        @param clock: Measures durations and ends what takes too long; without
            one, nothing is ended.
        @param observers: Those who are told of each query answered.
        @param replay: Where finished replies are kept.
        @param wallClock: Seconds since the epoch.
        """
        self._resolver: Any = None
        self._answerInto: Any = None
        self.resolver = resolver
        self.limits = ServerLimits() if limits is None else limits
        self.counters = ServerCounters()
        self.pending = PendingQueries(self.limits.answerSeconds, self._expire, clock)
        self._policies = policies
        # Who clients are, as long as the policy is the same.
        self._policy: Any = None
        self._known: dict[bytes, tuple[Asker, View]] = {}
        self._observers: tuple[IQueryObserver, ...] = ()
        self._tells: tuple[Callable[[QueryEvent], None], ...] = ()
        self.observers = tuple(observers)
        self._replay = replay
        self._seconds = time.monotonic if clock is None else clock.seconds
        self._wallClock = wallClock
        self._throttles: dict[str, Throttle] = {}

    @property
    def resolver(self) -> Any:
        """
        Who is asked.
        """
        return self._resolver

    @resolver.setter
    def resolver(self, resolver: Any) -> None:
        self._resolver = resolver
        prompt = IPromptAnswerer.providedBy(resolver)
        self._answerInto = resolver.answerInto if prompt else None

    @property
    def observers(self) -> tuple[IQueryObserver, ...]:
        """
        Who is told.
        """
        return self._observers

    @observers.setter
    def observers(self, observers: Sequence[IQueryObserver]) -> None:
        self._observers = tuple(observers)
        self._tells = tuple(observer.queryAnswered for observer in observers)

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
            request, flags, name, type, _IN, questionEnd, edns, address, transport, respond
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
        return Exchange(self, request, query, flags, questionEnd, policy, respond)

    def _identify(self, policy: Any, address: bytes) -> tuple[Asker, View]:
        """
        Say who asks, and what they see.
        """
        if not address:
            return Asker.ANONYMOUS, policy.defaultView
        found: tuple[Asker, View] = policy.identify(address)
        return found

    def _ask(self, exchange: Exchange) -> None:
        """
        Ask the chain, and see that its answer, or the want of one, is the
        end of the matter.
        """
        prompt = self._answerInto
        try:
            if prompt is not None:
                result = prompt(exchange.query, exchange.receive)
            else:
                result = self._resolver.answer(exchange.query)
        except Exception:
            self._finish(exchange, self._answerOf(exchange, Failure()))
            return
        if result is None or isinstance(result, Answer):
            self._finish(exchange, result)
        elif prompt is not None:
            self._wait(exchange, result)
        elif isinstance(result, Deferred):
            self._await(exchange, result)
        else:
            self._finish(exchange, result)

    def _await(self, exchange: Exchange, result: Deferred[Any]) -> None:
        """
        Wait for a Deferred.
        """
        if not result.called or result.paused:
            self._wait(exchange, result)
        arguments = (exchange,)
        result.addCallbacks(
            self._fired, self._failed, callbackArgs=arguments, errbackArgs=arguments
        )

    def _wait(self, exchange: Exchange, answering: Any) -> None:
        """
        Wait for an answer, unless there are too many who do.

        @param answering: What can be cancelled.
        """
        if len(self.pending) >= self.limits.pending:
            self.counters.overloaded += 1
            self._giveUp(exchange, _TOO_MANY)
            self._abandon(answering)
        else:
            exchange.answering = answering
            self.pending.add(exchange, exchange.query.received)

    def answered(self, exchange: Exchange, answer: Any) -> None:
        """
        Take what the chain gave in its time. See
        L{Ending<dnsguard.server.exchange.Ending>}.
        """
        try:
            self._finish(exchange, answer)
        except Exception:
            self._broken(Failure())

    def _fired(self, answer: Any, exchange: Exchange) -> None:
        """
        Take what a Deferred gave in its time.
        """
        self.answered(exchange, answer)

    def _failed(self, failure: Failure, exchange: Exchange) -> None:
        """
        Take what the chain failed with in its time.
        """
        self.answered(exchange, self._answerOf(exchange, failure))

    def _answerOf(self, exchange: Exchange, failure: Failure) -> Answer:
        """
        The answer to give when an answerer has failed.
        """
        if exchange.respond is None:
            # Replied to already; most likely it was therefore cancelled.
            return _SERVFAIL
        answer = answerOf(failure)
        return self._broken(failure) if answer is None else answer

    def _broken(self, failure: Failure) -> Answer:
        """
        Note that an answerer is broken.
        """
        self.counters.failed += 1
        self._complain("failed", failure, "a query failed: {reason}")
        return _SERVFAIL

    def _complain(self, kind: str, failure: Failure, text: str) -> None:
        """
        Log a failure, once in a while.
        """
        throttle = self._throttles.get(kind)
        if throttle is None:
            throttle = self._throttles[kind] = Throttle(_LOG_SECONDS, self._seconds)
        times = throttle.allows()
        if times:
            reason = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
            self.log.failure(text + " ({times} times)", failure, reason=reason, times=times)

    def _expire(self, exchange: Exchange) -> None:
        """
        Answer a query that has waited too long.
        """
        self.counters.expired += 1
        self._giveUp(exchange, _TOO_LATE)
        if exchange.answering is not None:
            self._abandon(exchange.answering)

    def _giveUp(self, exchange: Exchange, reason: ExtendedError) -> None:
        """
        Answer a query without the chain's answer.
        """
        answer = Answer.failure(dns.ESERVER, Outcome.SERVFAIL, extendedError=reason)
        self._finish(exchange, answer, reason.text)

    def _abandon(self, answering: Any) -> None:
        """
        Tell an answerer to stop, though it be too broken to be told.
        """
        try:
            answering.cancel()
        except Exception:
            self._broken(Failure())

    def _finish(self, exchange: Exchange, result: Any, error: str = "") -> None:
        """
        Reply, and tell those who want to know. The first time counts: an
        answer that comes after the time was up is nobody's.
        """
        respond = exchange.respond
        if respond is None:
            return
        exchange.respond = None
        if exchange.answering is not None:
            self.pending.remove(exchange)
        query = exchange.query
        answer, reply = self._reply(exchange, result)
        began = self._seconds()
        sent = respond(reply)
        finished = self._seconds()
        counters = self.counters
        counters.answered += 1
        if not sent:
            counters.undelivered += 1
        try:
            event = QueryEvent(
                query,
                answer,
                self._wallClock(),
                finished - query.received,
                len(reply) if sent else 0,
                0.0,
                finished - began,
                error,
            )
            for tell in self._tells:
                tell(event)
        except Exception:
            counters.unobserved += 1
            self._complain("unobserved", Failure(), "a query couldn't be noted: {reason}")
        if isTruncated(reply):
            counters.truncated += 1
        elif answer.replaySeconds > 0 and self._replay is not None:
            self._remember(self._replay, exchange, answer, reply)

    def _reply(self, exchange: Exchange, result: Any) -> tuple[Answer, bytes]:
        """
        Make the reply, and say of which answer.
        """
        request, query = exchange.request, exchange.query
        replies = self.limits.replies
        try:
            if result is None:
                result = NOT_MINE
            elif not isinstance(result, Answer):
                result = Answer.fromRecords(*result, outcome=Outcome.UPSTREAM)
            reply = composePlain(
                request, exchange.flags, exchange.questionEnd, query, result, replies
            )
            if reply is None:
                reply = compose(request, exchange.layout, query, result, replies)
            return result, reply
        except Exception:
            self._broken(Failure())
            return _SERVFAIL, compose(request, exchange.layout, query, _SERVFAIL, replies)

    def _remember(
        self, replay: IReplayStore, exchange: Exchange, answer: Answer, reply: bytes
    ) -> None:
        """
        Keep a reply for replay, unless the policy it was made under has
        meanwhile been replaced.

        An answer that was waited for isn't kept: a cache may have been cleared
        meanwhile of what it was made of. What is in the cache then answers the
        next query at once, and is kept.
        """
        query = exchange.query
        if query.transport is not _UDP or exchange.answering is not None:
            return
        if self._policies is not None and self._policies.current is not exchange.policy:
            return
        outcome = answer.outcome
        view = query.view
        facts = ReplayedAnswer(
            query.qname,
            query.type,
            query.cls,
            Outcome.CACHED if outcome is _UPSTREAM else outcome,
            answer.rCode,
            "" if view is None else view.groupID,
            answer.attribution,
            answer,
            # A server without policies is one where everybody is treated alike.
            0 if view is None else view.number,
            0 if exchange.policy is None else exchange.policy.generation,
            query.key[3],
        )
        try:
            replay.remember(exchange.request, reply, facts, answer.replaySeconds, self._seconds())
        except Exception:
            self.counters.unobserved += 1
            self._complain("unobserved", Failure(), "a reply couldn't be kept: {reason}")
