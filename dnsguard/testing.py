# -*- test-case-name: tests.test_testing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Doubles for tests of what is composed of dnsguard's parts, C{.tac} files above
all: no sockets, no waiting, and as strict as the real things.

A test of a chain reads::

    upstream = FixedAnswerer(Answer.fromRecords([record], outcome=Outcome.UPSTREAM))
    chain = AnswererChain([MyResolver(), upstream])
    answer = askChain(chain, "www.example.org", dns.A, asker=Asker("192.0.2.1"))
    self.assertEqual(answer.outcome, Outcome.UPSTREAM)
    self.assertEqual(upstream.queries, [])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.answer import Answer
from dnsguard.errors import UpstreamError, UpstreamTimeout
from dnsguard.interfaces import IAnswerer, IQueryObserver, IUpstream
from dnsguard.observers.event import QueryEvent
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered, Answerer
from dnsguard.wire.layout import HEADER, QR, Layout, scan
from dnsguard.wire.names import fromText

__all__ = [
    "Exchange",
    "FakeUpstream",
    "FixedAnswerer",
    "RecordingObserver",
    "ReplayedBatch",
    "StillWaiting",
    "askChain",
]


class StillWaiting(AssertionError):
    """
    An answer was wanted now, and there is none yet.
    """


def askChain(resolver: Any, name: str, type: int = dns.A, **facts: Any) -> Answer | None:
    """
    Ask an answerer, a chain or a stock resolver, and give the answer it has
    now.

    @param name: The name in presentation form.
    @param facts: Further keyword arguments of L{ClientQuery}: C{asker},
        C{view}, C{edns}, ...
    @return: The answer, or L{None} for "not mine".
    @raise StillWaiting: It waits for something; ask its C{answer} yourself.
    @raise Exception: What it failed with.
    """
    found = IAnswerer(resolver).answer(ClientQuery(fromText(name), type, **facts))
    if not isinstance(found, Deferred):
        return _checked(found)
    results: list[Answer | Failure | None] = []
    found.addBoth(results.append)
    if not results:
        raise StillWaiting(f"no answer yet to {name} {type}")
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return _checked(result)


def _checked(answer: Answer | None) -> Answer | None:
    if answer is not None and not isinstance(answer, Answer):
        raise AssertionError(f"an answerer answers with an Answer, not {answer!r}")
    return answer


class FixedAnswerer(Answerer):
    """
    An answerer that always says the same.

    @ivar queries: The queries it was asked, in order.
    """

    def __init__(
        self, answer: Answer | BaseException | Callable[[ClientQuery], Answered] | None = None
    ) -> None:
        """
        @param answer: What to say; L{None}: not mine. An exception is raised;
            anything callable is called with the query.
        """
        super().__init__()
        self.queries: list[ClientQuery] = []
        self._answer = answer

    def answer(self, query: ClientQuery) -> Answered:
        """
        Say it.
        """
        if not isinstance(query, ClientQuery):
            raise AssertionError(f"an answerer is asked ClientQueries, not {query!r}")
        self.queries.append(query)
        answer = self._answer
        if isinstance(answer, BaseException):
            raise answer
        if answer is None or isinstance(answer, Answer):
            return answer
        return answer(query)


@attrs.frozen(eq=False)
class Exchange:
    """
    One query sent to a L{FakeUpstream}, and the way to settle it.

    @ivar message: The query's octets.
    @ivar layout: The scan of C{message}.
    @ivar timeout: The seconds that were allowed.
    @ivar deferred: What C{exchange} gave out.
    """

    message: bytes
    layout: Layout
    timeout: float
    deferred: Deferred[bytes]

    def reply(self, answer: Answer) -> None:
        """
        Settle it with an answer.
        """
        question = self.message[12 : self.layout.questionEnd]
        # Encoded anew: the same answer may settle other exchanges, too.
        wire, _ = answer.replace(sections=answer.sections).encoded(question)
        _, flags, *counts = HEADER.unpack_from(wire)
        header = HEADER.pack(self.layout.id, (flags | QR) & 0xFFF0 | answer.rCode & 15, *counts)
        # The question goes back as it came, letter case included.
        self.replyWire(header + question + wire[12 + len(question) :])

    def replyWire(self, wire: bytes) -> None:
        """
        Settle it with octets: those that an upstream could give out, a
        response with this exchange's id and question.
        """
        layout = scan(wire)
        if not layout.flags & QR or layout.id != self.layout.id:
            raise AssertionError("an upstream gives out responses to its query only")
        if wire[12 : layout.questionEnd] != self.message[12 : self.layout.questionEnd]:
            raise AssertionError("an upstream gives out responses to its question only")
        self.deferred.callback(wire)

    def fail(self, reason: UpstreamError | None = None) -> None:
        """
        Settle it with a failure; without one, with a timeout.
        """
        self.deferred.errback(reason or UpstreamTimeout("fake", self.timeout))


@implementer(IUpstream)
class FakeUpstream:
    """
    An upstream whose replies are the test's.

    @ivar name: Its name.
    @ivar address: Its address, whatever it was made with.
    @ivar exchanges: All L{Exchange}s begun, in order.
    @ivar closed: Has it been closed?
    """

    def __init__(
        self,
        name: str = "fake",
        address: Any = None,
        answer: Answer | Callable[[Exchange], None] | None = None,
    ) -> None:
        """
        @param answer: Settle each exchange with this at once, or call it with
            the exchange; without it the test settles them.
        """
        self.name = name
        self.address = address
        self.exchanges: list[Exchange] = []
        self.closed = False
        self._answer = answer

    @property
    def pending(self) -> list[Exchange]:
        """
        The exchanges that aren't settled.
        """
        return [exchange for exchange in self.exchanges if not exchange.deferred.called]

    def exchange(self, message: bytes, timeout: float) -> Deferred[bytes]:
        """
        See L{IUpstream.exchange}.
        """
        if not isinstance(message, bytes):
            raise AssertionError(f"a query is bytes, not {type(message).__name__}")
        layout = scan(message)
        if layout.flags & QR or layout.opcode or layout.counts[0] != 1 or any(layout.counts[1:3]):
            raise AssertionError("not a query with one question and no records")
        if not timeout > 0:
            raise AssertionError(f"no time to answer in: {timeout!r}")
        if self.closed:
            return fail(UpstreamError(self.name, "closed"))
        exchange = Exchange(message, layout, timeout, Deferred())
        self.exchanges.append(exchange)
        if isinstance(self._answer, Answer):
            exchange.reply(self._answer)
        elif self._answer is not None:
            self._answer(exchange)
        return exchange.deferred

    def close(self) -> Deferred[None]:
        """
        See L{IUpstream.close}.
        """
        self.closed = True
        for exchange in self.pending:
            exchange.fail(UpstreamError(self.name, "closed"))
        return succeed(None)


@attrs.frozen
class ReplayedBatch:
    """
    What was in an L{dnsguard.interfaces.IReplayBatch}, copied.

    @ivar records: Its records' octets.
    @ivar hits: How often each entry number occurs.
    @ivar entries: The facts of each of those entries.
    """

    records: bytes
    hits: dict[int, int]
    entries: dict[int, Any]


@implementer(IQueryObserver)
class RecordingObserver:
    """
    An observer that keeps what it is told.

    @ivar events: The L{QueryEvent}s, in order.
    @ivar batches: The batches of replayed queries, copied.
    """

    def __init__(self) -> None:
        self.events: list[QueryEvent] = []
        self.batches: list[ReplayedBatch] = []

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        See L{IQueryObserver.queryAnswered}.
        """
        if not isinstance(event, QueryEvent):
            raise AssertionError(f"an observer is told QueryEvents, not {event!r}")
        self.events.append(event)

    def queriesReplayed(self, batch: Any) -> None:
        """
        See L{IQueryObserver.queriesReplayed}.
        """
        hits = dict(batch.hits)
        records = bytes(batch.records)
        if len(records) != 40 * len(batch) or sum(hits.values()) != len(batch):
            raise AssertionError("a batch's records, hits and length must agree")
        self.batches.append(
            ReplayedBatch(records, hits, {number: batch.entries[number] for number in hits})
        )
