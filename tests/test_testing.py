# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.testing}.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest import TestResult

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerer, IQueryObserver, IUpstream
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Asker, ClientQuery
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.testing import (
    Asked,
    FakeUpstream,
    FixedAnswerer,
    RecordingObserver,
    StillWaiting,
    askChain,
)
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import Strategy
from dnsguard.wire.names import fromText
from tests.caching.messages import message

ANSWER = Answer.fromRecords(
    [dns.RRHeader(b"www.example.org", dns.A, dns.IN, 60, dns.Record_A("192.0.2.1", 60))],
    outcome=Outcome.UPSTREAM,
)
QUESTION = ClientQuery(fromText("www.example.org")).question


class AskChainTests(SynchronousTestCase):
    """
    Tests for L{askChain} and L{FixedAnswerer}.
    """

    def test_asks(self) -> None:
        """
        The answerer is asked what was said, and its answer given.
        """
        answerer = FixedAnswerer(ANSWER)
        verifyObject(IAnswerer, answerer)
        asker = Asker("192.0.2.9")
        self.assertIs(askChain(answerer, "WWW.example.org", dns.MX, asker=asker), ANSWER)
        (query,) = answerer.queries
        self.assertEqual((query.text, query.type), ("www.example.org", dns.MX))
        self.assertIs(query.asker, asker)

    def test_answersOfAllKinds(self) -> None:
        """
        A miss is L{None}; exceptions come through, raised at once or later; a
        callable answers for itself.
        """
        self.assertIsNone(askChain(FixedAnswerer(), "example.org"))
        self.assertRaises(KeyError, askChain, FixedAnswerer(KeyError()), "example.org")
        failed: Deferred[Answer | None] = Deferred()
        failed.errback(KeyError())
        self.assertRaises(KeyError, askChain, FixedAnswerer(lambda query: failed), "example.org")
        self.assertIs(askChain(FixedAnswerer(lambda query: ANSWER), "example.org"), ANSWER)

    def test_doesNotWait(self) -> None:
        """
        No answer yet is an error of the test.
        """
        waiting = FixedAnswerer(lambda query: Deferred())
        self.assertRaises(StillWaiting, askChain, waiting, "example.org")

    def test_strict(self) -> None:
        """
        What isn't an answer isn't taken for one, nor a plain query for one of
        ours.
        """
        triple: Any = FixedAnswerer(lambda query: ([], [], []))  # type: ignore[arg-type,return-value]
        self.assertRaises(AssertionError, askChain, triple, "example.org")
        plain: Any = dns.Query(b"example.org")
        self.assertRaises(AssertionError, FixedAnswerer().answer, plain)


class FakeUpstreamTests(SynchronousTestCase):
    """
    Tests for L{FakeUpstream}, asked by a real forwarder.
    """

    def ask(
        self, upstream: FakeUpstream, name: str = "www.example.org"
    ) -> Deferred[Answer | None]:
        """
        Forward a query to it.
        """
        group = Group.of(Strategy.FAILOVER, [upstream])
        forwarder = ForwardingResolver(UpstreamSet({b"\0": group}), clock=Clock())
        found = forwarder.answer(ClientQuery(fromText(name)))
        return found if isinstance(found, Deferred) else succeed(found)

    def test_interface(self) -> None:
        """
        It is an upstream.
        """
        verifyObject(IUpstream, FakeUpstream())

    def test_replies(self) -> None:
        """
        A question is settled with an answer.
        """
        upstream = FakeUpstream()
        result = self.ask(upstream)
        self.assertNoResult(result)
        (asked,) = upstream.pending
        self.assertEqual(asked.question, QUESTION)
        asked.reply(ANSWER)
        answer = self.successResultOf(result)
        assert answer is not None
        self.assertEqual((answer.rCode, answer.upstream), (dns.OK, "fake"))
        self.assertEqual(len(answer[0]), 1)
        self.assertEqual(upstream.pending, [])

    def test_repliesByItself(self) -> None:
        """
        Given an answer or a callable it settles each question with that.
        """
        refused = Answer.failure(dns.EREFUSED, Outcome.REFUSED)
        answer = self.successResultOf(self.ask(FakeUpstream(answer=refused)))
        assert answer is not None
        self.assertEqual(answer.outcome, Outcome.REFUSED)
        answer = self.successResultOf(self.ask(FakeUpstream(answer=Asked.fail)))
        assert answer is not None
        self.assertEqual(answer.outcome, Outcome.UPSTREAM_ERROR)

    def test_sameAnswerForOtherQuestions(self) -> None:
        """
        One answer serves for questions of all lengths.
        """
        upstream = FakeUpstream(answer=Answer.failure(dns.OK, Outcome.UPSTREAM))
        for name in ("www.example.org", "a.example.org", "something.longer.example.org"):
            answer = self.successResultOf(self.ask(upstream, name))
            assert answer is not None
            assert answer.layout is not None
            self.assertEqual(answer.layout.name, fromText(name))

    def test_close(self) -> None:
        """
        Closing fails what is under way and what comes after.
        """
        upstream = FakeUpstream()
        result = self.ask(upstream)
        self.successResultOf(upstream.close())
        for failed in (result, self.ask(upstream)):
            answer = self.successResultOf(failed)
            assert answer is not None
            self.assertEqual(answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertEqual(len(upstream.asked), 2)

    def test_strictAboutAttempts(self) -> None:
        """
        What the real one is never sent isn't taken.
        """
        send: Any = FakeUpstream().send
        self.assertRaises(AssertionError, send, b"octets")
        retired = FakeUpstream()
        retired.retire()
        self.assertRaises(AssertionError, self.ask, retired)

    def test_strictAboutReplies(self) -> None:
        """
        What the real one would never give out isn't given.
        """
        upstream = FakeUpstream()
        self.ask(upstream)
        (asked,) = upstream.pending
        for reply in [message(flags=0x0100)[0], message(qname=fromText("example.org"))[0]]:
            self.assertRaises(AssertionError, asked.replyWire, reply)


class Batch:
    """
    A batch of replayed queries.
    """

    records = memoryview(bytes(80))
    hits = {3: 2}
    entries = {3: "facts", 4: "others"}

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


class RecordingObserverTests(SynchronousTestCase):
    """
    Tests for L{RecordingObserver}.
    """

    def test_records(self) -> None:
        """
        It keeps events, and copies of batches.
        """
        observer = RecordingObserver()
        verifyObject(IQueryObserver, observer)
        event = QueryEvent(ClientQuery(fromText("example.org")), ANSWER, 1.0, 0.1)
        observer.queryAnswered(event)
        observer.queriesReplayed(Batch())
        self.assertEqual(observer.events, [event])
        (batch,) = observer.batches
        self.assertEqual((batch.records, batch.hits), (bytes(80), {3: 2}))
        self.assertEqual(batch.entries, {3: "facts"})

    def test_strict(self) -> None:
        """
        It takes nothing but events, and no batch that contradicts itself.
        """
        observer: Any = RecordingObserver()
        self.assertRaises(AssertionError, observer.queryAnswered, ANSWER)
        self.assertRaises(AssertionError, observer.queriesReplayed, Batch(3))


class DocumentedTests(SynchronousTestCase):
    """
    The example of C{docs/testing.rst}.
    """

    def test_exampleRuns(self) -> None:
        """
        The example is a test that passes.
        """
        path = Path(__file__).parent.parent / "docs" / "testing.rst"
        _, code = path.read_text("utf-8").split(".. code-block:: python\n")
        space: dict[str, Any] = {}
        exec(compile(dedent(code), str(path), "exec"), space)
        result = TestResult()
        space["ChainTests"]("test_secondQueryIsCached").run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))
