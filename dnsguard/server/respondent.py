# -*- test-case-name: tests.server.test_corridor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From question to reply: one question to the chain, one reply, one word to the
observers.

Whatever the chain makes of a question, a broken answerer included, leaves through
L{compose<dnsguard.server.reply.compose>}, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.names import dns
from twisted.python.failure import Failure

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IPolicies, IPromptAnswerer, IQueryObserver, IReplayStore
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Transport
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.server.counters import ServerCounters
from dnsguard.server.exchange import Exchange
from dnsguard.server.failure import NOT_MINE, answerOf
from dnsguard.server.limits import ServerLimits
from dnsguard.server.pending import PendingQueries
from dnsguard.server.reply import compose, composePlain, isTruncated
from dnsguard.throttle import Throttle
from dnsguard.wire.edns import ExtendedError

__all__ = ["Respondent"]

_SERVFAIL = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
_TOO_MANY = ExtendedError(0, "too many queries are waiting")
_TOO_LATE = ExtendedError(0, "no answer in time")

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_UPSTREAM = Outcome.UPSTREAM
_REPLAYED = (Transport.UDP, Transport.TCP)

_LOG_SECONDS = 60.0
"""The least time between two log entries for the same kind of failure."""


class Respondent:
    """
    What answers questions, with the chain's help.

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
        result.addCallbacks(exchange.receive, self._failed, errbackArgs=(exchange,))

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
        if query.transport not in _REPLAYED or exchange.answering is not None:
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
