# -*- test-case-name: tests.resolvers.test_chain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One query's way along a chain.

Most queries that aren't cached wait once, for the forwarder, at the chain's end.
Tens of thousands of them do in a second, so what they wait with is one small
object that is called back, and no L{Deferred}. An element that has nothing
better than a Deferred to offer is waited for all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.names import dns
from twisted.python.failure import Failure

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerCache, IPromptAnswerer
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import isUsable
from dnsguard.throttle import Throttle

__all__ = ["BrokenAnswer", "Course", "Search"]

HURRIED_SECONDS = 0.1
"""
How long a client that could be given a stale answer waits for a fresh one while
upstream is known to be silent: time enough to look a store up, and for an
upstream that is back to show it.
"""

RECHECK_SECONDS = 30.0
"""
How long silence counts as known (RFC 8767 §5, the failure recheck timer). The
first answer from upstream ends it at once.
"""

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_UPSTREAM = Outcome.UPSTREAM


class BrokenAnswer(Answer):
    """
    The SERVFAIL of a query that an element broke on. Unlike an upstream's it
    gives way to no stale answer and teaches no cache, however many chains it
    comes out of.
    """

    __slots__ = ()


class Course:
    """
    What all queries have in common that go along one chain.

    @ivar asks: By place: what to ask.
    @ivar prompt: By place: does it take a receiver, see L{IPromptAnswerer}?
    @ivar caches: All caches in the chain.
    @ivar cachesBefore: By place: the caches asked before it.
    @ivar silentUntil: Until when upstream counts as silent.
    @ivar broken: How often an element raised.
    @ivar offersFailed: How often a cache raised when it was offered an answer.
    @ivar hurried: How often a stale answer went out because of the timer.
    """

    log = Logger()

    def __init__(
        self, elements: Sequence[Any], clock: IReactorTime | None, staleAfter: float
    ) -> None:
        """
        @param elements: L{IAnswerer}s.
        @param clock: See L{AnswererChain<dnsguard.resolvers.chain.AnswererChain>};
            so for C{staleAfter}.
        """
        self.elements = tuple(elements)
        self.prompt = tuple(IPromptAnswerer.providedBy(element) for element in elements)
        self.asks: tuple[Callable[..., Any], ...] = tuple(
            element.answerInto if prompt else element.answer
            for element, prompt in zip(elements, self.prompt, strict=True)
        )
        caches: list[Any] = []
        before = []
        for element in elements:
            before.append(tuple(caches))
            if IAnswerCache.providedBy(element):
                caches.append(element)
        self.cachesBefore = tuple(before)
        self.caches = tuple(caches)
        self.clock = clock
        self.staleAfter = staleAfter
        self.silentUntil = float("-inf")
        self.broken = 0
        self.offersFailed = 0
        self.hurried = 0
        self._throttle = Throttle(60.0, monotonic if clock is None else clock.seconds)

    def offer(self, caches: tuple[Any, ...], query: ClientQuery, answer: Answer) -> None:
        """
        Offer an answer to caches.
        """
        for cache in caches:
            try:
                cache.cacheResult(query, answer)
            except Exception:
                # The client has its answer all the same.
                self.offersFailed += 1
                self._logBreak(f"{type(cache).__name__}.cacheResult", query)

    def broke(self, place: int, query: ClientQuery, failure: Failure | None = None) -> Answer:
        """
        End a query whose element raised.

        @param failure: What it raised; L{None}: the exception being handled.
        """
        self.broken += 1
        self._logBreak(type(self.elements[place]).__name__, query, failure)
        return BrokenAnswer.failure(dns.ESERVER, Outcome.SERVFAIL)

    def _logBreak(self, where: str, query: ClientQuery, failure: Failure | None = None) -> None:
        if times := self._throttle.allows():
            self.log.failure(
                "{where} broke on {name}, {times} break(s) since this was last logged",
                failure,
                where=where,
                name=query.text,
                times=times,
            )


class Search:
    """
    One query on its way along a chain. It is what waits for an element, and
    what whoever asked may cancel.

    @ivar course: The chain's L{Course}.
    @ivar query: The query.
    @ivar receive: Is told the answer; L{None} when nobody is to be told (any
        more).
    """

    __slots__ = (
        "_arrived",
        "_asking",
        "_cancel",
        "_failed",
        "_failedAt",
        "_over",
        "_place",
        "_raced",
        "_timer",
        "_usable",
        "course",
        "query",
        "receive",
    )

    def __init__(
        self,
        course: Course,
        query: ClientQuery,
        receive: Callable[[Answer | None], object] | None,
    ) -> None:
        self.course = course
        self.query = query
        self.receive = receive
        self._place = -1
        self._cancel: Callable[[], object] | None = None
        self._over = False
        # Of a Deferred that is being looked at: has it fired, and with what?
        self._asking = False
        self._arrived: Any = None
        # What wasn't final so far: the best answer with something to say, a
        # stale one; the first failure, and the place it came from.
        self._usable: Answer | None = None
        self._failed: Answer | None = None
        self._failedAt = 0
        self._raced = False
        self._timer: IDelayedCall | None = None

    def begin(self) -> Answer | Search | None:
        """
        Ask one element after the other.

        @return: The answer, if all that are asked answer at once; else this
            search: C{receive} will be told.
        """
        found: Answer | Search | None = self._goOn(0)
        return found

    def cancel(self) -> None:
        """
        Give up, and tell nobody. Of no effect when the answer was told.
        """
        if self.receive is None:
            return
        self.receive = None
        self._over = True
        self._stopTimer()
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()

    def took(self, answer: Answer | None) -> None:
        """
        Take what the element that is waited for has answered.
        """
        if self._over:
            return
        if self._asking:
            self._asking = False
            self._arrived = answer
            return
        self._tell(self._judge(answer))

    def _raised(self, failure: Failure) -> None:
        """
        The element that is waited for has failed.
        """
        if not self._over:
            self.took(self.course.broke(self._place, self.query, failure))

    def _tell(self, result: Any) -> None:
        """
        Tell who asked, unless there is more to be waited for.
        """
        if result is self:
            return
        self._over = True
        self._stopTimer()
        receive, self.receive = self.receive, None
        if receive is not None:
            receive(result)

    def _judge(self, answer: Any) -> Any:
        """
        Go on with what the element at the present place has answered.
        """
        if answer is None:
            return self._goOn(self._place + 1)
        try:
            # In here, so that whatever isn't an answer breaks its element.
            final = answer.final
        except Exception:
            return self.course.broke(self._place, self.query)
        if final:
            return self._decide(answer)
        self._keep(answer)
        return self._goOn(self._place + 1)

    def _goOn(self, place: int) -> Any:
        """
        Ask the elements from a place on, up to one that takes its time.
        """
        course, query = self.course, self.query
        asks, prompt = course.asks, course.prompt
        while place < len(asks):
            self._place = place
            try:
                answer = asks[place](query, self.took) if prompt[place] else asks[place](query)
                if answer is None:
                    place += 1
                    continue
                if not isinstance(answer, Answer):
                    if prompt[place]:
                        self._cancel = answer.cancel
                        return self._waited()
                    if isinstance(answer, Deferred):
                        answer = self._await(answer)
                        if answer is self:
                            return self._waited()
                        if answer is None:
                            place += 1
                            continue
                final = answer.final
            except Exception:
                return course.broke(place, query)
            if final:
                return self._decide(answer)
            self._keep(answer)
            place += 1
        return self._makeDo()

    def _await(self, answer: Deferred[Answer | None]) -> Any:
        """
        Wait for a Deferred.

        @return: This search; or what it has fired with already.
        """
        self._asking = True
        self._cancel = answer.cancel
        answer.addCallbacks(self.took, self._raised)
        if self._asking:
            self._asking = False
            return self
        arrived, self._arrived = self._arrived, None
        return arrived

    def _waited(self) -> Search:
        """
        There is an element to wait for: not for too long, where there is a
        stale answer.
        """
        clock = self.course.clock
        # One timer is enough, however many are to be waited for.
        if self._usable is not None and not self._raced and clock is not None:
            self._raced = True
            silent = clock.seconds() < self.course.silentUntil
            wait = self.course.staleAfter
            if silent:
                wait = min(HURRIED_SECONDS, wait)
            self._timer = clock.callLater(wait, self._giveUp)
        return self

    def _giveUp(self) -> None:
        """
        Tell the stale answer. The search goes on, for the caches' sake.
        """
        self._timer = None
        course = self.course
        course.hurried += 1
        assert course.clock is not None
        course.silentUntil = course.clock.seconds() + RECHECK_SECONDS
        receive, self.receive = self.receive, None
        if receive is not None:
            receive(self._usable)

    def _stopTimer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _keep(self, answer: Answer) -> None:
        """
        Keep an answer that isn't final if it is better than what there is:
        among stale ones the one that expired last, among failures the first.
        """
        if not isUsable(answer):
            if self._failed is None:
                self._failed, self._failedAt = answer, self._place
        elif self._usable is None or answer.cacheSeconds > self._usable.cacheSeconds:
            self._usable = answer

    def _decide(self, answer: Answer) -> Answer:
        """
        Settle on a final answer.
        """
        if type(answer) is BrokenAnswer:
            return answer
        course = self.course
        if answer.outcome is _UPSTREAM:
            course.silentUntil = float("-inf")
        course.offer(course.cachesBefore[self._place], self.query, answer)
        if self._usable is not None and not isUsable(answer):
            return self._usable
        return answer

    def _makeDo(self) -> Answer | None:
        """
        Settle on the best there is when nobody had a final answer.
        """
        failed = self._failed
        if failed is not None:
            course = self.course
            course.offer(course.cachesBefore[self._failedAt], self.query, failed)
        return failed if self._usable is None else self._usable
