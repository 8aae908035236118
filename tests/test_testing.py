# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.testing}.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest import TestResult

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import UpstreamError, UpstreamTimeout
from dnsguard.interfaces import IAnswerer, IQueryObserver, IUpstream
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Asker, ClientQuery
from dnsguard.testing import (
    Exchange,
    FakeUpstream,
    FixedAnswerer,
    RecordingObserver,
    StillWaiting,
    askChain,
)
from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.caching.messages import A, message, record

ANSWER = Answer.fromRecords(
    [dns.RRHeader(b"www.example.org", dns.A, dns.IN, 60, dns.Record_A("192.0.2.1", 60))],
    outcome=Outcome.UPSTREAM,
)
QUERY = message(flags=0x0100, edns=EDNS())[0].replace(b"example", b"eXaMpLe")


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
    Tests for L{FakeUpstream}.
    """

    def test_interface(self) -> None:
        """
        It is an upstream.
        """
        verifyObject(IUpstream, FakeUpstream())

    def test_replies(self) -> None:
        """
        An exchange is settled with an answer, which gets the query's id and
        question, letter case included.
        """
        upstream = FakeUpstream()
        result = upstream.exchange(QUERY, 2.0)
        self.assertNoResult(result)
        (exchange,) = upstream.pending
        self.assertEqual((exchange.timeout, exchange.layout.name), (2.0, scan(QUERY).name))
        exchange.reply(ANSWER)
        wire = self.successResultOf(result)
        self.assertIn(b"eXaMpLe", wire)
        layout = scan(wire)
        self.assertEqual((layout.id, layout.counts, layout.rCode), (0x1234, (1, 1, 0, 0), 0))
        self.assertEqual(upstream.pending, [])

    def test_repliesByItself(self) -> None:
        """
        Given an answer or a callable it settles each exchange with that.
        """
        refused = Answer.failure(dns.EREFUSED, Outcome.REFUSED)
        wire = self.successResultOf(FakeUpstream(answer=refused).exchange(QUERY, 1.0))
        self.assertEqual(scan(wire).rCode, dns.EREFUSED)
        self.failureResultOf(
            FakeUpstream(answer=Exchange.fail).exchange(QUERY, 1.0), UpstreamTimeout
        )

    def test_sameAnswerForOtherQuestions(self) -> None:
        """
        One answer serves for questions of all lengths.
        """
        upstream = FakeUpstream(answer=ANSWER)
        for name in ("www.example.org", "a.example.org", "something.longer.example.org"):
            query = message(flags=0x0100, qname=fromText(name))[0]
            wire = self.successResultOf(upstream.exchange(query, 1.0))
            self.assertEqual(scan(wire).name, fromText(name))

    def test_close(self) -> None:
        """
        Closing fails what is under way and what comes after.
        """
        upstream = FakeUpstream()
        result = upstream.exchange(QUERY, 1.0)
        self.successResultOf(upstream.close())
        self.failureResultOf(result, UpstreamError)
        self.failureResultOf(upstream.exchange(QUERY, 1.0), UpstreamError)
        self.assertEqual(len(upstream.exchanges), 1)

    def test_strictAboutQueries(self) -> None:
        """
        What the real one couldn't send isn't taken.
        """
        exchange: Any = FakeUpstream().exchange
        for query, timeout in [
            (bytearray(QUERY), 1.0),
            (message()[0], 1.0),
            (message([record(A, 5)], flags=0)[0], 1.0),
            (QUERY, 0),
            (QUERY, -1.0),
        ]:
            self.assertRaises(AssertionError, exchange, query, timeout)
        self.assertRaises(ValueError, exchange, QUERY[:20], 1.0)

    def test_strictAboutReplies(self) -> None:
        """
        What the real one would never give out isn't given.
        """
        upstream = FakeUpstream()
        upstream.exchange(QUERY, 1.0)
        (exchange,) = upstream.pending
        for reply in [QUERY, message(id=1)[0], message(qname=fromText("example.org"))[0]]:
            self.assertRaises(AssertionError, exchange.replyWire, reply)


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
