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
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

# For what importing it registers: IAnswerer(a stock resolver).
import dnsguard.resolvers.adopted  # noqa: F401
from dnsguard.answer import Answer
from dnsguard.interfaces import IAnswerCache, IAnswerer, IPromptAnswerer
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered, Answerer
from dnsguard.resolvers.search import BrokenAnswer, Course, Search

if TYPE_CHECKING:
    from dnsguard.policy.view import View

__all__ = ["AnswererChain", "BrokenAnswer"]

CLIENT_RESPONSE_SECONDS = 1.8
"""
How long a client that could be given a stale answer waits for a fresh one
(RFC 8767 §5, the client response timer).
"""


def _noView() -> None:
    """
    Know of no policy.
    """


@implementer(IPromptAnswerer, IAnswerCache)
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
    """

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
        self._course = Course(self.elements, clock, staleAfter)

    @property
    def broken(self) -> int:
        """
        How often an element raised.
        """
        return self._course.broken

    @property
    def offersFailed(self) -> int:
        """
        How often a cache raised when it was offered an answer.
        """
        return self._course.offersFailed

    @property
    def hurried(self) -> int:
        """
        How often a stale answer went out because of the timer.
        """
        return self._course.hurried

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
        search = Search(self._course, query, None)
        # Nobody can be told before this is set: no receiver is called at once.
        found = search.begin()
        if not isinstance(found, Search):
            return found
        answer: Deferred[Answer | None] = Deferred(lambda _: search.cancel())
        search.receive = answer.callback
        return answer

    def answerInto(
        self, query: ClientQuery, receive: Callable[[Answer | None], object]
    ) -> Answer | Search | None:
        """
        Ask one after the other; see L{IPromptAnswerer}.
        """
        return Search(self._course, query, receive).begin()

    def cacheResult(self, query: ClientQuery, payload: Answer) -> None:
        """
        Offer an answer found behind this chain to all caches in it.
        """
        self._course.offer(self._course.caches, query, payload)
