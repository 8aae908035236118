# -*- test-case-name: tests.resolvers.test_chain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The chain: ask one answerer after the other.

There is no "next" for an element to call and nothing to undo on the way back:
the chain asks, and the first answer wins. It is also the one place that knows
what an answer is worth that isn't final, who is offered which answer, and that
an element that breaks must never let a name slip past it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

# For what importing it registers: IAnswerer(a stock resolver).
import dnsguard.resolvers.adopted  # noqa: F401
from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerCache, IAnswerer
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered, Answerer, isUsable
from dnsguard.throttle import Throttle

if TYPE_CHECKING:
    from dnsguard.policy.view import View

__all__ = ["AnswererChain", "BrokenAnswer"]

CLIENT_RESPONSE_SECONDS = 1.8
"""
How long a client that could be given a stale answer waits for a fresh one
(RFC 8767 §5, the client response timer).
"""

HURRIED_SECONDS = 0.1
"""
The same while upstream is known to be silent: time enough to look a store up,
and for an upstream that is back to show it.
"""

RECHECK_SECONDS = 30.0
"""
How long silence counts as known (RFC 8767 §5, the failure recheck timer). The
first answer from upstream ends it at once.
"""


def _noView() -> None:
    """
    Know of no policy.
    """


class BrokenAnswer(Answer):
    """
    The SERVFAIL of a query that an element broke on. Unlike an upstream's it
    gives way to no stale answer and teaches no cache, however many chains it
    comes out of.
    """

    __slots__ = ()


class _Kept:
    """
    What one query has been given so far that wasn't final.

    @ivar usable: The best answer with something to say: a stale one.
    @ivar failed: The first failure, and the place it came from.
    @ivar raced: Is there a timer running for a fresh answer?
    """

    __slots__ = ("failed", "place", "raced", "usable")

    def __init__(self) -> None:
        self.usable: Answer | None = None
        self.failed: Answer | None = None
        self.place = 0
        self.raced = False

    def add(self, place: int, answer: Answer) -> None:
        """
        Keep an answer if it is better than what there is: among stale ones the
        one that expired last, among failures the first.
        """
        if not isUsable(answer):
            if self.failed is None:
                self.failed, self.place = answer, place
        elif self.usable is None or answer.cacheSeconds > self.usable.cacheSeconds:
            self.usable = answer


@implementer(IAnswerCache)
class AnswererChain(Answerer):
    """
    Answerers that are asked in order; the first one with an answer wins.

     - An answer that isn't final is kept while asking on. It is used if nobody
       later has one, or if a later one says only that it failed: so a stale
       answer beats SERVFAIL and REFUSED, and any fresh answer, NXDOMAIN too,
       beats a stale one (RFC 8767 §4).
     - The answer that was decided on, failures included, is offered to the
       caches asked before it. Stale answers aren't.
     - An element that raises ends the query with SERVFAIL: if it was a filter,
       going on would let names through.
     - While a stale answer is at hand, the client waits for a fresh one no
       longer than C{staleAfter}. The search goes on without it and fills the
       caches.

    A chain is an answerer and a cache itself: chains nest.

    @ivar elements: The answerers, stock resolvers adopted.
    @ivar broken: How often an element raised.
    @ivar offersFailed: How often a cache raised when it was offered an answer.
    @ivar hurried: How often a stale answer went out because of the timer.
    """

    log = Logger()

    # Nobody is left to ask when a chain has no final answer.
    _lastResort = True

    def __init__(
        self,
        elements: Iterable[Any],
        *,
        clock: IReactorTime | None = None,
        staleAfter: float = CLIENT_RESPONSE_SECONDS,
    ) -> None:
        """
        @param elements: L{IAnswerer}s and stock resolvers, in the order to ask
            them.
        @param clock: Tells the time for C{staleAfter}; without one, clients
            wait for as long as the elements take.
        @param staleAfter: How many seconds a client waits that could be given
            a stale answer.
        """
        super().__init__()
        self.elements: tuple[IAnswerer, ...] = tuple(map(IAnswerer, elements))
        self.broken = 0
        self.offersFailed = 0
        self.hurried = 0
        self._asks = tuple(element.answer for element in self.elements)
        caches: list[Any] = []
        before = []
        for element in self.elements:
            before.append(tuple(caches))
            if IAnswerCache.providedBy(element):
                caches.append(element)
        self._cachesBefore = tuple(before)
        self._caches = tuple(caches)
        self._clock = clock
        self._staleAfter = staleAfter
        self._silentUntil = float("-inf")
        self._throttle = Throttle(60.0, monotonic if clock is None else clock.seconds)

    def viewOfStrangers(self) -> View | None:
        """
        Give the view of the first element that knows one.
        """
        for element in self.elements:
            # Not only of an Answerer: who writes an IAnswerer from scratch may
            # apply policies as well.
            ask: Callable[[], View | None] = getattr(element, "viewOfStrangers", _noView)
            if (view := ask()) is not None:
                return view
        return None

    def answer(self, query: ClientQuery) -> Answered:
        """
        Ask one after the other; without a Deferred as long as all that are
        asked answer at once.
        """
        return self._askFrom(query, 0, None)

    def cacheResult(self, query: ClientQuery, payload: Answer) -> None:
        """
        Offer an answer found behind this chain to all caches in it.
        """
        self._offer(self._caches, query, payload)

    def _askFrom(self, query: ClientQuery, place: int, kept: _Kept | None) -> Answered:
        """
        Ask the element at a place and those behind it, up to one that takes
        its time.
        """
        asks = self._asks
        while place < len(asks):
            try:
                answer = asks[place](query)
                if answer is None:
                    place += 1
                    continue
                if isinstance(answer, Deferred):
                    return self._wait(query, place, answer, kept)
                # In here, so that whatever isn't an answer breaks its element.
                final = answer.final
            except Exception:
                return self._broke(place, query)
            if final:
                return self._decide(query, place, answer, kept)
            kept = kept or _Kept()
            kept.add(place, answer)
            place += 1
        return None if kept is None else self._makeDo(query, kept)

    def _wait(
        self,
        query: ClientQuery,
        place: int,
        answer: Deferred[Answer | None],
        kept: _Kept | None,
    ) -> Deferred[Answer | None]:
        """
        Go on when an element that takes its time has answered.

        With callbacks on its own L{Deferred}: a coroutine for each query that
        isn't cached costs more than all elements together.
        """
        races = kept is not None and kept.usable is not None and not kept.raced
        if kept is not None and races:
            # One timer is enough, however many are to be waited for.
            kept.raced = True
        arguments = (query, place, kept)
        answer.addCallbacks(
            self._took, self._raised, callbackArgs=arguments, errbackArgs=arguments
        )
        if kept is None or not races or self._clock is None:
            return answer
        if answer.called and not answer.paused:
            return answer
        return self._race(answer, kept, self._clock)

    def _took(
        self, answer: Answer | None, query: ClientQuery, place: int, kept: _Kept | None
    ) -> Answered:
        """
        Take what the element at a place has answered in its time.
        """
        if answer is not None:
            try:
                final = answer.final
            except Exception:
                return self._broke(place, query)
            if final:
                return self._decide(query, place, answer, kept)
            kept = kept or _Kept()
            kept.add(place, answer)
        return self._askFrom(query, place + 1, kept)

    def _raised(
        self, failure: Failure, query: ClientQuery, place: int, kept: _Kept | None
    ) -> Answer | Failure:
        """
        An element has failed, unless it was only told to stop.
        """
        return failure if failure.check(CancelledError) else self._broke(place, query, failure)

    def _race(
        self, search: Deferred[Answer | None], kept: _Kept, clock: IReactorTime
    ) -> Deferred[Answer | None]:
        """
        Give what the search finds, or the stale answer if it takes too long.
        """
        result: Deferred[Answer | None] = Deferred(lambda _: search.cancel())

        def giveUp() -> None:
            self.hurried += 1
            self._silentUntil = clock.seconds() + RECHECK_SECONDS
            result.callback(kept.usable)

        def found(outcome: Answer | Failure | None) -> None:
            if timer.active():
                timer.cancel()
                result.callback(outcome)
            elif isinstance(outcome, Failure) and self._throttle.allows():
                self.log.failure("search behind a stale answer failed", outcome)

        silent = clock.seconds() < self._silentUntil
        wait = min(HURRIED_SECONDS, self._staleAfter) if silent else self._staleAfter
        timer = clock.callLater(wait, giveUp)
        search.addBoth(found)
        return result

    def _decide(
        self, query: ClientQuery, place: int, answer: Answer, kept: _Kept | None
    ) -> Answer:
        """
        Settle on a final answer.
        """
        if type(answer) is BrokenAnswer:
            return answer
        if answer.outcome is Outcome.UPSTREAM:
            self._silentUntil = float("-inf")
        self._offer(self._cachesBefore[place], query, answer)
        if kept is not None and kept.usable is not None and not isUsable(answer):
            return kept.usable
        return answer

    def _makeDo(self, query: ClientQuery, kept: _Kept) -> Answer | None:
        """
        Settle on the best there is when nobody had a final answer.
        """
        if kept.failed is not None:
            self._offer(self._cachesBefore[kept.place], query, kept.failed)
        return kept.failed if kept.usable is None else kept.usable

    def _offer(self, caches: tuple[Any, ...], query: ClientQuery, answer: Answer) -> None:
        for cache in caches:
            try:
                cache.cacheResult(query, answer)
            except Exception:
                # The client has its answer all the same.
                self.offersFailed += 1
                self._logBreak(f"{type(cache).__name__}.cacheResult", query)

    def _broke(self, place: int, query: ClientQuery, failure: Failure | None = None) -> Answer:
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
