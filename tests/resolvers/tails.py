# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A tail for tests: what is asked of it, and what it gives.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answerer
from dnsguard.wire.names import fromText
from dnsguard.wire.records import Record, join


class FakeTail(Answerer):
    """
    A resolver that gives what it was told to.

    @ivar asked: The queries it was asked, in order.
    @ivar given: What it gives: an answer, L{None}, an exception to raise, or a
        Deferred.
    """

    def __init__(self, given: Any = None) -> None:
        super().__init__()
        self.asked: list[ClientQuery] = []
        self.given = given

    def answer(self, query: ClientQuery) -> Answer | Deferred[Answer | None] | None:
        """
        Note the query.
        """
        self.asked.append(query)
        if isinstance(self.given, Exception):
            raise self.given
        given: Answer | Deferred[Answer | None] | None = self.given
        return given


def upstream(
    name: str,
    *records: Record,
    type: int = dns.A,
    authority: tuple[Record, ...] = (),
    **facts: Any,
) -> Answer:
    """
    An answer from upstream to a question for a name.
    """
    question = fromText(name) + type.to_bytes(2, "big") + b"\0\1"
    wire, layout = join(question, records, authority, flags=0x8000 | facts.pop("rCode", 0))
    facts = {"outcome": Outcome.UPSTREAM, "cacheSeconds": 60, "replaySeconds": 60.0, **facts}
    return Answer.fromWire(wire, layout, upstream="one", **facts)


def address(name: str, octet: int, ttl: int = 120) -> Record:
    """
    The A record of a name for 192.0.2.x.
    """
    return Record.make(fromText(name), dns.A, ttl, bytes([192, 0, 2, octet]))


def now(answered: Any) -> Answer:
    """
    The answer itself: from a Deferred that has fired, or as it is.
    """
    if isinstance(answered, Deferred):
        results: list[Any] = []
        answered.addBoth(results.append)
        (answered,) = results
    assert isinstance(answered, Answer), answered
    return answered


def later(answer: Answer | None) -> Deferred[Answer | None]:
    """
    A Deferred that has fired already.
    """
    return succeed(answer)
