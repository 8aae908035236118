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
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.answer import Answer
from dnsguard.interfaces import IAnswerer, IQueryObserver, IUpstream
from dnsguard.observers.event import QueryEvent
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered, Answerer
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.attempt import Attempt
from dnsguard.upstream.reply import readReply
from dnsguard.upstream.selection import FailureKind, Standing
from dnsguard.wire.layout import HEADER, QR, scan
from dnsguard.wire.names import fromText

__all__ = [
    "Asked",
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
class Asked:
    """
    One question put to a L{FakeUpstream}, and the way to settle it.

    @ivar attempt: What was sent.
    @ivar clock: Tells the time.
    """

    attempt: Attempt
    clock: IReactorTime

    @property
    def question(self) -> bytes:
        """
        The question section: lower-cased name, type and class.
        """
        return self.attempt.exchange.qname + self.attempt.exchange.tail

    @property
    def pending(self) -> bool:
        """
        Does anybody still wait for it?
        """
        return self.attempt.pending

    def reply(self, answer: Answer) -> None:
        """
        Settle it with an answer.
        """
        # Encoded anew: the same answer may settle other questions, too.
        wire, _ = answer.replace(sections=answer.sections).encoded(self.question)
        id, flags, *counts = HEADER.unpack_from(wire)
        header = HEADER.pack(id, (flags | QR) & 0xFFF0 | answer.rCode & 15, *counts)
        self.replyWire(header + wire[len(header) :])

    def replyWire(self, wire: bytes) -> None:
        """
        Settle it with octets: those that an upstream could give out, a
        response to this question.
        """
        layout = scan(wire)
        if not layout.flags & QR:
            raise AssertionError("an upstream gives out responses only")
        end = layout.questionEnd
        # Letter case is the name's affair: types have octets that are letters, too.
        if wire[12 : end - 4].lower() + wire[end - 4 : end] != self.question:
            raise AssertionError("an upstream gives out responses to its question only")
        self.attempt.succeed(readReply(wire, self.question), self.clock.seconds())

    def fail(
        self, kind: FailureKind = FailureKind.TIMEOUT, reason: str = "no reply in time"
    ) -> None:
        """
        Settle it with a failure; without arguments, with a timeout.
        """
        self.attempt.fail(kind, reason, self.clock.seconds())


@implementer(IUpstream)
class FakeUpstream:
    """
    An upstream whose replies are the test's.

    @ivar name: Its name.
    @ivar address: Its address.
    @ivar standing: What is known of it.
    @ivar asked: Everything that it was L{Asked}, in order.
    @ivar retired: Has it been told to take no further part?
    @ivar closed: Has it been closed?
    """

    def __init__(
        self,
        name: str = "fake",
        address: str = "192.0.2.53",
        answer: Answer | Callable[[Asked], None] | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        @param answer: Settle each question with this at once, or call it with
            what was asked; without it the test settles them.
        @param clock: Tells the time; without one it stands still.
        """
        self.name = name
        self.address = UpstreamAddress.parse(address)
        self.standing = Standing()
        self.asked: list[Asked] = []
        self.retired = False
        self.closed = False
        self._answer = answer
        self._clock = clock or Clock()

    @property
    def pending(self) -> list[Asked]:
        """
        The questions that aren't settled.
        """
        return [asked for asked in self.asked if asked.pending]

    def send(self, attempt: Attempt) -> None:
        """
        See L{IUpstream.send}.
        """
        if not isinstance(attempt, Attempt):
            raise AssertionError(f"an upstream is sent attempts, not {attempt!r}")
        if not attempt.deadline > self._clock.seconds():
            raise AssertionError("no time to answer in")
        if self.retired:
            raise AssertionError("a retired upstream isn't asked any more")
        asked = Asked(attempt, self._clock)
        self.asked.append(asked)
        attempt.carrier = self
        if self.closed:
            asked.fail(FailureKind.UNREACHABLE, "closed")
        elif isinstance(self._answer, Answer):
            asked.reply(self._answer)
        elif self._answer is not None:
            self._answer(asked)

    def attemptTimedOut(self, attempt: Attempt, now: float) -> None:
        """
        Fail what wasn't settled in time.
        """
        attempt.fail(FailureKind.TIMEOUT, "no reply in time", now)

    def abandon(self, attempt: Attempt) -> None:
        """
        Nobody wants the reply any more.
        """

    def retire(self) -> None:
        """
        See L{IUpstream.retire}.
        """
        self.retired = True

    def close(self) -> Deferred[None]:
        """
        See L{IUpstream.close}.
        """
        self.closed = True
        for asked in self.pending:
            asked.fail(FailureKind.UNREACHABLE, "closed")
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
