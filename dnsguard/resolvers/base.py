# -*- test-case-name: tests.resolvers.test_base -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The base of every answerer, and both ways across the border to Twisted Names.

Stock code knows triples of records and a few exceptions. One of ours among
stock resolvers must not lose its meaning there, above all never turn "blocked"
into "ask the next"; and a stock resolver among ours must not turn an upstream's
SERVFAIL into "no such name". What becomes what is decided here and nowhere
else; L{dnsguard.resolvers.adopted} is the way in, this module the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.names import common, dns, error
from zope.interface import implementer

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import AnswerFailed, NameDenied
from dnsguard.interfaces import IAnswerer
from dnsguard.query import ClientQuery
from dnsguard.wire.names import InvalidName

if TYPE_CHECKING:
    from dnsguard.policy.view import View

__all__ = ["AnswerNotFinal", "Answered", "Answerer", "isUsable"]

_USABLE = (dns.OK, dns.ENAME)

Answered = Answer | None | Deferred[Answer | None]
"""What L{IAnswerer.answer} gives."""


class AnswerNotFinal(AnswerFailed, TimeoutError):
    """
    One of our answerers gives stock Twisted Names code an answer to use only
    if nobody else has one.

    Being a C{TimeoutError} as well it makes a stock chain ask the next
    resolver, and a stock server say SERVFAIL, not NXDOMAIN, if there is none.
    """


def isUsable(answer: Answer) -> bool:
    """
    Does an answer say something of the name, and not just that it couldn't be
    found out?
    """
    return answer.rCode in _USABLE


@implementer(IAnswerer)
class Answerer(common.ResolverBase):
    """
    A base for answerers: a subclass writes L{answer} and has all the methods
    that stock Twisted Names code calls.

    To that code an answer is the usual sequence of three lists. L{None} is
    C{DomainError}, so that a stock chain asks the next resolver. NXDOMAIN is
    L{NameDenied} and any other code L{AnswerFailed}: a stock chain stops there,
    and a stock server says NXDOMAIN or SERVFAIL. An answer that isn't final is
    L{AnswerNotFinal}: a stock chain asks the next, and a stock server says
    SERVFAIL if there is none. All three carry the answer.
    """

    _lastResort = False
    """
    Has everybody been asked when this one answers? Then what isn't final is as
    good as it gets.
    """

    def __init__(self) -> None:
        common.ResolverBase.__init__(self)

    def answer(self, query: ClientQuery) -> Answered:
        """
        See L{IAnswerer.answer}.
        """
        raise NotImplementedError(f"{type(self).__name__}.answer")

    def viewOfStrangers(self) -> View | None:
        """
        Give the view for a query that comes without one, from stock code.

        Those who apply policies give their current policy's default view: what
        a client gets that is in no group. L{None}: no policy is known here.
        """
        return None

    def query(self, query: dns.Query, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        """
        Answer stock code, see the class.

        @param query: A plain L{dns.Query}, answered as a stranger's, or a
            L{ClientQuery}, answered as that client's.
        """
        try:
            adopted = ClientQuery.adopt(
                query, self.viewOfStrangers(), timeout=None if timeout is None else tuple(timeout)
            )
        except InvalidName:
            # Such a name is nobody's: asking the next would only get it past
            # the filters.
            return fail(AnswerFailed(Answer.failure(dns.EFORMAT, Outcome.INVALID)))
        return Deferred.fromCoroutine(self._answerStock(adopted))

    async def _answerStock(self, query: ClientQuery) -> Answer:
        answer = self.answer(query)
        if isinstance(answer, Deferred):
            answer = await answer
        if answer is None:
            raise error.DomainError(query.name.name)
        if not answer.final and not (self._lastResort and isUsable(answer)):
            raise AnswerNotFinal(answer)
        if answer.rCode == dns.OK:
            return answer
        raise NameDenied(answer) if answer.rCode == dns.ENAME else AnswerFailed(answer)

    def _lookup(
        self, name: bytes, cls: int, type: int, timeout: Sequence[int] | None
    ) -> Deferred[Any]:
        return self.query(dns.Query(name, type, cls), timeout)
