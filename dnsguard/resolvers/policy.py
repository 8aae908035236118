# -*- test-case-name: tests.resolvers.test_policy -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the answerers that apply the policy have in common.

They find the view that holds for a query, and those that lead a name elsewhere
ask the resolvers behind them, the tail, for the other name. What the tail gives
is joined with our own alias into one answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns

# For what importing it registers: IAnswerer(a stock resolver).
import dnsguard.resolvers.adopted  # noqa: F401
from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerer, IPolicies
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered, Answerer
from dnsguard.wire.layout import MalformedMessage
from dnsguard.wire.records import Record, split

__all__ = ["AliasFollower", "PolicyAnswerer"]


class PolicyAnswerer(Answerer):
    """
    A base for answerers that apply the policy: that of the view which a query
    came with or, if it came without, of strangers' view.
    """

    def __init__(self, policies: IPolicies) -> None:
        """
        @param policies: Where the current policy is looked up.
        """
        super().__init__()
        self._policies = policies

    def viewOfStrangers(self) -> View:
        """
        Give what a client gets that is in no group.
        """
        return self._policies.current.defaultView


class AliasFollower(PolicyAnswerer):
    """
    A base for answerers that lead names elsewhere.

    @ivar malformed: How often what the tail gave couldn't be taken apart.
    """

    def __init__(self, policies: IPolicies, resolver: Any) -> None:
        """
        @param resolver: The tail: who to ask for the other name, an
            L{IAnswerer} or a stock resolver. It isn't behind the block lists:
            where our own rules lead a name is not for them to question.
        """
        super().__init__(policies)
        self._tail = IAnswerer(resolver)
        self.malformed = 0

    def follow(
        self,
        query: ClientQuery,
        target: bytes,
        then: Callable[[Answer | None], Answer],
    ) -> Answered:
        """
        Ask the tail for another name, and make the answer of what it gives.

        @param target: The other name, lower-cased, in wire form.
        @param then: Called with the tail's answer.
        """
        given = self._tail.answer(query.about(target))
        if isinstance(given, Deferred):
            return Deferred.fromCoroutine(_later(given, then))
        return then(given)

    def sections(
        self, query: ClientQuery, target: bytes, answer: Answer
    ) -> tuple[list[Record], list[Record], list[Record]] | None:
        """
        Take apart what the tail gave.

        @return: L{None} if that can't be done: it is no sound message.
        """
        question = query.about(target).question
        try:
            return split(*answer.encoded(question))
        except MalformedMessage:
            self.malformed += 1
            return None


async def _later(
    given: Deferred[Answer | None], then: Callable[[Answer | None], Answer]
) -> Answer:
    return then(await given)


def failed(answer: Answer | None) -> Answer:
    """
    Give the failure of the tail as the failure of the whole.

    It is final: nobody behind us may be asked for the first name.
    """
    if answer is None or answer.rCode in (dns.OK, dns.ENAME):
        return Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
    return Answer.failure(
        answer.rCode,
        answer.outcome,
        upstream=answer.upstream,
        extendedError=answer.extendedError,
    )
