# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.corridor}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.key import CHECKING_DISABLED, DNSSEC_OK
from dnsguard.errors import NameDenied
from dnsguard.interfaces import IAnswerer, IPolicies, IQueryObserver, IReplayStore
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Asker, ClientQuery, Transport
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.server.corridor import Corridor, ServerLimits
from dnsguard.server.reply import ReplyLimits
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import AD, CD, QR, RA, RD, TC, Layout, scan
from dnsguard.wire.names import fromText
from tests.support.answering import (
    Answers,
    FakePolicies,
    FakePolicy,
    FakeReplay,
    Observer,
    addressAnswer,
)
from tests.support.requests import requestFor

ADDRESS = b"\xc0\0\2\7"
WWW = fromText("www.example.org")


class CorridorTestCase(SynchronousTestCase):
    """
    A corridor with a chain of one, and what comes out of it.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers = Answers()
        self.observer = Observer()
        self.policies = FakePolicies()
        self.replay = FakeReplay()
        self.replies: list[bytes] = []
        self.writable = True
        self.server = self.corridor()

    def corridor(self, **facts: Any) -> Corridor:
        """
        A corridor in which everything is in place.
        """
        given: dict[str, Any] = {
            "policies": self.policies,
            "clock": self.clock,
            "observers": [self.observer],
            "replay": self.replay,
            "wallClock": lambda: 1e9 + self.clock.seconds(),
        }
        return Corridor(self.resolver(), **{**given, **facts})

    def resolver(self) -> Any:
        """
        Who is asked.
        """
        return self.answers

    def respond(self, reply: bytes) -> bool:
        """
        Take a reply.
        """
        if self.writable:
            self.replies.append(reply)
        return self.writable

    def ask(self, request: bytes, transport: Transport = Transport.UDP) -> bool:
        """
        Send a request.
        """
        return self.server.requestReceived(request, ADDRESS, transport, self.respond)

    def replyTo(self, request: bytes, transport: Transport = Transport.UDP) -> Layout:
        """
        Send a request, and scan the one reply to it.
        """
        self.assertTrue(self.ask(request, transport))
        (reply,) = self.replies
        self.replies.clear()
        return scan(reply)


class DoubleTests(CorridorTestCase):
    """
    Tests for the doubles that the others use.
    """

    def test_doubles(self) -> None:
        """
        The doubles provide what they stand for.
        """
        verifyObject(IAnswerer, self.answers)
        verifyObject(IQueryObserver, self.observer)
        verifyObject(IPolicies, self.policies)
        verifyObject(IReplayStore, self.replay)


class QueryTests(CorridorTestCase):
    """
    Tests for the query that is made of a request.
    """

    def test_facts(self) -> None:
        """
        It has all the facts of the request, and the view and name of the one
        who asks.
        """
        self.clock.advance(5)
        edns = EDNS(payloadSize=1400, dnssecOK=True, options=((10, b"12345678"),))
        self.ask(requestFor("www.example.org", 65, flags=CD | AD, edns=edns), Transport.DOT)
        (query,) = self.answers.asked
        self.assertEqual((query.qname, query.type, query.cls), (WWW, 65, 1))
        self.assertEqual(query.asker, Asker("192.0.2.7", "name of 192.0.2.7", "192.0.2.7"))
        assert query.view is not None
        self.assertEqual(query.view.groupID, "192.0.2.7")
        self.assertIs(query.transport, Transport.DOT)
        self.assertEqual(query.edns, edns)
        self.assertEqual(
            (query.recursionDesired, query.checkingDisabled, query.wantsAD), (False, True, True)
        )
        self.assertEqual(query.received, 5)

    def test_withoutPolicies(self) -> None:
        """
        Without policies nobody has a name or a view, but an address.
        """
        self.server = self.corridor(policies=None)
        self.ask(requestFor())
        (query,) = self.answers.asked
        self.assertEqual(query.asker, Asker("192.0.2.7"))
        self.assertIsNone(query.view)

    def test_nobodyInParticular(self) -> None:
        """
        Who has no IP address sees what an unlisted client sees.
        """
        self.server.requestReceived(requestFor(), b"", Transport.TCP, self.respond)
        (query,) = self.answers.asked
        self.assertIs(query.asker, Asker.ANONYMOUS)
        self.assertIs(query.view, self.policies.current.defaultView)

    def test_brokenPolicy(self) -> None:
        """
        With a policy that can't say who asks nothing is answered, and the
        listener lives on.
        """
        self.policies.publish(None)
        self.assertFalse(self.ask(requestFor()))
        self.assertEqual((self.answers.asked, self.replies), ([], []))
        self.assertEqual((self.server.counters.dropped, self.server.counters.failed), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_letterCase(self) -> None:
        """
        The chain sees lower-case names, the client its own letter case.
        """
        request = requestFor(b"\x03wWw\x07eXample\x03oRG\0")
        self.ask(request)
        self.assertEqual(self.answers.asked[0].qname, WWW)
        self.assertEqual(self.replies[0][12:33], request[12:33])


class AdmissionTests(CorridorTestCase):
    """
    Tests for requests that don't get to the chain.
    """

    def tearDown(self) -> None:
        self.assertEqual(self.answers.asked, [])

    def test_dropped(self) -> None:
        """
        Responses and scraps get no reply.
        """
        for request in (b"", b"\x12\x34", requestFor()[:11], requestFor(flags=QR | RD)):
            self.assertFalse(self.ask(request))
        self.assertEqual((self.replies, self.observer.events), ([], []))
        self.assertEqual(self.server.counters.dropped, 4)

    def test_malformed(self) -> None:
        """
        What can't be scanned is FORMERR, with an OPT record if the request's
        own one is at fault (RFC 6891 §7).
        """
        layout = self.replyTo(requestFor(counts=(1, 1, 0, 0)))
        self.assertEqual((layout.rCode, layout.counts), (dns.EFORMAT, (0, 0, 0, 0)))
        layout = self.replyTo(requestFor(more=EDNS().encode() * 2, counts=(1, 0, 0, 2)))
        self.assertEqual((layout.rCode, layout.counts), (dns.EFORMAT, (0, 0, 0, 1)))
        self.assertEqual(self.server.counters.malformed, 2)
        self.assertEqual(self.observer.events, [])

    def test_opcodes(self) -> None:
        """
        Other opcodes are NOTIMP, with the question if there is one to see,
        and with EDNS in kind.
        """
        for opcode in (1, 2, 3, 4, 5, 6, 15):
            layout = self.replyTo(requestFor(flags=opcode << 11, edns=EDNS()))
            self.assertEqual((layout.rCode, layout.opcode), (dns.ENOTIMP, opcode))
            self.assertEqual((layout.name, layout.counts), (WWW, (1, 0, 0, 1)))
            layout = self.replyTo(requestFor(flags=opcode << 11)[:12] + b"\xff\xff")
            self.assertEqual((layout.rCode, layout.counts), (dns.ENOTIMP, (0, 0, 0, 0)))

    def test_questions(self) -> None:
        """
        Two questions, or none, are FORMERR (RFC 9619).
        """
        two = requestFor(counts=(2, 0, 0, 0), more=requestFor()[12:])
        self.assertEqual(self.replyTo(two).rCode, dns.EFORMAT)
        self.assertEqual(self.replyTo(requestFor()[:4] + bytes(8)).rCode, dns.EFORMAT)
        self.assertEqual(self.server.counters.refused, 2)

    def test_badVersion(self) -> None:
        """
        An EDNS version that isn't spoken is BADVERS.
        """
        layout = self.replyTo(requestFor(edns=EDNS(version=1)))
        self.assertEqual((layout.rCode, layout.counts), (16, (1, 0, 0, 1)))
        assert layout.edns is not None
        self.assertEqual(layout.edns.version, 0)

    def test_refused(self) -> None:
        """
        Other classes and zone transfers are REFUSED, and told to the observers.
        """
        for type, cls in ((16, 3), (1, 255), (252, 1), (251, 1), (254, 1)):
            self.assertEqual(self.replyTo(requestFor(type=type, cls=cls)).rCode, dns.EREFUSED)
            self.assertIs(self.observer.events[-1].answer.outcome, Outcome.REFUSED)

    def test_any(self) -> None:
        """
        ANY is answered with one HINFO record of the name asked for (RFC 8482).
        """
        for name in ("www.example.org", "example.net"):
            self.ask(requestFor(name, 255))
            found = dns.Message()
            found.fromStr(self.replies.pop())
            (record,) = found.answers
            self.assertEqual((record.name.name.decode(), record.type), (name, dns.HINFO))
            self.assertEqual(record.payload, dns.Record_HINFO(b"RFC8482", b"", 3600))


class AnswerTests(CorridorTestCase):
    """
    Tests for what becomes of answers.
    """

    def test_atOnce(self) -> None:
        """
        An answer given at once is the reply.
        """
        layout = self.replyTo(requestFor())
        self.assertEqual((layout.rCode, layout.counts), (dns.OK, (1, 1, 0, 0)))

    def test_later(self) -> None:
        """
        An answer given later is the reply then.
        """
        later: Deferred[Answer | None] = Deferred()
        self.answers.make = lambda query: later
        self.ask(requestFor())
        self.assertEqual((self.replies, len(self.server.pending)), ([], 1))
        later.callback(Answer.failure(dns.ENAME, Outcome.UPSTREAM))
        self.assertEqual(scan(self.replies[0]).rCode, dns.ENAME)
        self.assertEqual(len(self.server.pending), 0)

    def test_laterAlreadyThere(self) -> None:
        """
        A Deferred that has its result already doesn't wait.
        """
        self.answers.make = lambda query: succeed(addressAnswer(query))
        self.assertEqual(self.replyTo(requestFor()).counts, (1, 1, 0, 0))

    def test_nobody(self) -> None:
        """
        A question that nobody takes on is REFUSED, with the extended error
        "not authoritative", now or later.
        """
        for make in (lambda query: None, lambda query: succeed(None)):
            self.answers.make = make
            layout = self.replyTo(requestFor(edns=EDNS()))
            assert layout.edns is not None
            self.assertEqual(layout.rCode, dns.EREFUSED)
            self.assertEqual(layout.edns.options[0][1][:2], b"\0\x14")

    def test_triple(self) -> None:
        """
        Three lists of records are as good as an answer.
        """
        self.answers.make = lambda query: tuple(addressAnswer(query))
        self.assertEqual(self.replyTo(requestFor()).counts, (1, 1, 0, 0))

    def test_carriedInFailure(self) -> None:
        """
        An answer that a failure carries is the answer.
        """
        answer = Answer.failure(dns.ENAME, Outcome.BLOCKED)
        self.answers.make = lambda query: fail(NameDenied(answer))
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.ENAME)
        self.assertIs(self.observer.events[0].answer, answer)
        self.assertEqual(self.server.counters.failed, 0)

    def test_broken(self) -> None:
        """
        An answerer that raises, fails or gives nonsense means SERVFAIL, is
        counted each time, and logged once in a while.
        """

        def raising(query: ClientQuery) -> None:
            raise ZeroDivisionError("raised")

        for make in (raising, lambda query: fail(ZeroDivisionError("failed")), lambda query: 7):
            self.answers.make = make
            self.assertEqual(self.replyTo(requestFor()).rCode, dns.ESERVER)
        self.assertEqual(self.server.counters.failed, 3)
        (logged,) = self.flushLoggedErrors()
        self.assertEqual(logged.type, ZeroDivisionError)
        self.clock.advance(60)
        self.ask(requestFor())
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_unencodable(self) -> None:
        """
        An answer that can't be encoded means SERVFAIL.
        """
        broken = dns.RRHeader(b"x" * 300, dns.A, payload=dns.Record_A("192.0.2.1"))
        self.answers.make = lambda query: Answer.fromRecords([broken], outcome=Outcome.LOCAL)
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.ESERVER)
        self.assertEqual(self.server.counters.failed, 1)
        self.flushLoggedErrors()

    def test_undelivered(self) -> None:
        """
        A reply that can't be written counts as undelivered, and the observers
        see that it wasn't sent.
        """
        self.writable = False
        self.ask(requestFor())
        self.assertEqual(self.server.counters.undelivered, 1)
        self.assertEqual(self.observer.events[0].replySize, 0)

    def test_truncated(self) -> None:
        """
        A reply too large for UDP has TC and is counted.
        """
        self.answers.make = lambda query: addressAnswer(query, 100)
        self.assertTrue(self.replyTo(requestFor()).flags & TC)
        self.assertFalse(self.replyTo(requestFor(), Transport.TCP).flags & TC)
        self.assertEqual(self.server.counters.truncated, 1)

    def test_limits(self) -> None:
        """
        The limits of replies hold, and may be replaced on the way.
        """
        self.answers.make = lambda query: addressAnswer(query, outcome=Outcome.CACHED)
        self.assertEqual(self.replyTo(requestFor()).leastTTL, 300)
        self.server.limits = ServerLimits(replies=ReplyLimits(ttlCap=30))
        self.assertEqual(self.replyTo(requestFor()).leastTTL, 30)


class WaitingTests(CorridorTestCase):
    """
    Tests for queries that wait for their answers.
    """

    def setUp(self) -> None:
        super().setUp()
        self.later: list[Deferred[Answer | None]] = []
        self.cancelled = 0
        self.answers.make = self.makeLater
        self.server = self.corridor(limits=ServerLimits(pending=3, answerSeconds=10))

    def makeLater(self, query: ClientQuery) -> Deferred[Answer | None]:
        """
        Give a Deferred, and count if it is cancelled.
        """

        def cancel(deferred: Deferred[Answer | None]) -> None:
            self.cancelled += 1

        self.later.append(Deferred(cancel))
        return self.later[-1]

    def test_overload(self) -> None:
        """
        With too many waiting the next one gets SERVFAIL at once and its
        answerer is told to stop; those answered at once don't care.
        """
        for _ in range(3):
            self.ask(requestFor())
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.ESERVER)
        self.assertEqual((self.cancelled, len(self.server.pending)), (1, 3))
        self.assertEqual(self.server.counters.overloaded, 1)
        self.assertEqual(self.server.counters.failed, 0)
        self.answers.make = addressAnswer
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.OK)
        self.later[0].callback(None)
        self.answers.make = self.makeLater
        self.replies.clear()
        self.ask(requestFor())
        self.assertEqual(self.replies, [])

    def test_timeIsUp(self) -> None:
        """
        Who has waited too long gets SERVFAIL, and its answerer is told to
        stop. What it says then is nobody's.
        """
        self.ask(requestFor())
        self.clock.advance(9)
        self.assertEqual(self.replies, [])
        self.clock.advance(1)
        self.assertEqual(scan(self.replies[0]).rCode, dns.ESERVER)
        self.assertEqual((self.cancelled, self.server.counters.expired), (1, 1))
        self.assertEqual((len(self.server.pending), len(self.replies)), (0, 1))
        (event,) = self.observer.events
        self.assertEqual(event.error, "no answer in time")
        self.assertEqual(event.answer.extendedError, ExtendedError(0, "no answer in time"))
        self.assertEqual(self.server.counters.failed, 0)

    def test_answererThatWontStop(self) -> None:
        """
        An answerer that goes on when told to stop is answered for all the same.
        """
        inner: Deferred[Answer | None] = Deferred()

        async def stubborn() -> Answer:
            try:
                await self.makeLater(ClientQuery(WWW))
            except CancelledError:
                await inner
            return Answer.failure(dns.ENAME, Outcome.UPSTREAM)

        self.answers.make = lambda query: Deferred.fromCoroutine(stubborn())
        self.ask(requestFor())
        self.clock.advance(10)
        self.assertEqual(scan(self.replies[0]).rCode, dns.ESERVER)
        self.assertEqual(len(self.server.pending), 0)
        inner.callback(None)
        self.assertEqual(len(self.replies), 1)
        self.assertEqual(len(self.observer.events), 1)

    def test_answererThatCantBeStopped(self) -> None:
        """
        An answerer that breaks when told to stop does no harm to others whose
        time is up as well.
        """

        def cancel(deferred: Deferred[Answer | None]) -> None:
            raise ZeroDivisionError

        self.answers.make = lambda query: Deferred(cancel)
        self.ask(requestFor())
        self.ask(requestFor())
        self.clock.advance(10)
        self.assertEqual((len(self.replies), len(self.server.pending)), (2, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ObserverTests(CorridorTestCase):
    """
    Tests for what the observers are told.
    """

    def test_event(self) -> None:
        """
        Each query is told once, with its answer, times and size.
        """
        later: Deferred[Answer | None] = Deferred()
        self.answers.make = lambda query: later
        self.clock.advance(1)
        self.ask(requestFor())
        self.clock.advance(0.25)
        answer = Answer.failure(dns.ENAME, Outcome.UPSTREAM)
        later.callback(answer)
        (event,) = self.observer.events
        self.assertIs(event.query, self.answers.asked[0])
        self.assertIs(event.answer, answer)
        self.assertEqual((event.finished, event.duration), (1e9 + 1.25, 0.25))
        self.assertEqual((event.replySize, event.error), (len(self.replies[0]), ""))

    def test_brokenObserver(self) -> None:
        """
        An observer that fails costs no reply; it is counted and logged.
        """
        self.server = self.corridor(observers=[BrokenObserver()])
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.OK)
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.OK)
        self.assertEqual(self.server.counters.unobserved, 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class PromptTests(WaitingTests):
    """
    The same with a resolver that takes receivers.
    """

    def resolver(self) -> Any:
        """
        A chain does.
        """
        return AnswererChain([self.answers])

    def test_broken(self) -> None:
        """
        A resolver that breaks is answered for.
        """

        class Broken(AnswererChain):
            def answerInto(self, query: ClientQuery, receive: Any) -> Any:
                raise ZeroDivisionError

        self.server.resolver = Broken([])
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.ESERVER)
        self.assertEqual(self.server.counters.failed, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_replaced(self) -> None:
        """
        The resolver may be replaced by one that doesn't, and the other way about.
        """
        self.answers.make = addressAnswer
        self.assertIsInstance(self.server.resolver, AnswererChain)
        for resolver in (self.answers, AnswererChain([self.answers])):
            self.server.resolver = resolver
            self.assertEqual(self.replyTo(requestFor()).rCode, dns.OK)
        self.assertEqual(len(self.answers.asked), 2)


class BrokenObserver:
    """
    An observer that fails.
    """

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        Fail.
        """
        raise ZeroDivisionError


class ReplayTests(CorridorTestCase):
    """
    Tests for remembering replies.
    """

    def setUp(self) -> None:
        super().setUp()
        self.facts: dict[str, Any] = {"outcome": Outcome.UPSTREAM, "replaySeconds": 30.0}
        self.count = 1
        self.answers.make = lambda query: addressAnswer(query, self.count, **self.facts)

    def test_remembered(self) -> None:
        """
        A reply that may be replayed is remembered with what the logs need; an
        answer from upstream is a cached one from then on.
        """
        self.clock.advance(7)
        request = requestFor()
        self.ask(request)
        reply, facts, seconds, now = self.replay.kept[request]
        self.assertEqual((reply, seconds, now), (self.replies[0], 30.0, 7))
        self.assertEqual((facts.qname, facts.type, facts.cls), (WWW, 1, 1))
        self.assertIs(facts.outcome, Outcome.CACHED)
        self.assertEqual((facts.rCode, facts.groupID), (dns.OK, "192.0.2.7"))
        self.assertEqual((facts.viewNumber, facts.generation), (1, 101))
        self.assertEqual(list(facts.answer), list(self.observer.events[0].answer))

    def test_variants(self) -> None:
        """
        The facts tell apart what caches tell apart: the DO and CD bits.
        """
        for dnssecOK, flags, expected in [
            (True, 0x0100, DNSSEC_OK),
            (False, 0x0110, CHECKING_DISABLED),
            (False, 0x0100, 0),
        ]:
            request = requestFor(flags=flags, edns=EDNS(dnssecOK=dnssecOK))
            self.ask(request)
            self.assertEqual(self.replay.kept[request][1].cacheFlags, expected)

    def test_waitedFor(self) -> None:
        """
        An answer that was waited for isn't remembered: a cache may have been
        cleared meanwhile of what it is made of.
        """
        waiting: Deferred[Answer | None] = Deferred()
        self.answers.make = lambda query: waiting
        self.ask(requestFor())
        waiting.callback(addressAnswer(self.answers.asked[0], **self.facts))
        self.assertEqual((len(self.replies), self.replay.kept), (1, {}))

    def test_otherOutcomes(self) -> None:
        """
        Other outcomes are replayed as what they are.
        """
        self.facts["outcome"] = Outcome.BLOCKED
        self.ask(requestFor())
        self.assertIs(self.replay.kept[requestFor()][1].outcome, Outcome.BLOCKED)

    def test_notRemembered(self) -> None:
        """
        Answers that aren't for replay, replies over streams and truncated
        ones aren't remembered.
        """
        self.ask(requestFor(), Transport.TCP)
        self.count = 100
        self.ask(requestFor())
        self.count = 1
        self.facts["replaySeconds"] = 0.0
        self.ask(requestFor())
        self.assertEqual((self.replay.kept, len(self.replies)), ({}, 3))

    def test_brokenStore(self) -> None:
        """
        A store that fails costs neither the reply nor the word to observers.
        """
        replay: Any = object()
        self.server = self.corridor(replay=replay)
        self.assertEqual(self.replyTo(requestFor()).rCode, dns.OK)
        self.assertEqual((len(self.observer.events), self.server.counters.unobserved), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_policyReplaced(self) -> None:
        """
        What was decided under a policy that is no more isn't remembered.
        """
        later: Deferred[Answer | None] = Deferred()
        self.answers.make = lambda query: later
        self.ask(requestFor())
        self.policies.publish(FakePolicy(2))
        later.callback(addressAnswer(self.answers.asked[0], **self.facts))
        self.assertEqual((self.replay.kept, len(self.replies)), ({}, 1))


class CounterTests(CorridorTestCase):
    """
    Tests for the counters as a whole.
    """

    def test_addUp(self) -> None:
        """
        Each request is counted once by what became of it, or is pending.
        """
        later: Deferred[Answer | None] = Deferred()
        self.ask(requestFor())
        self.ask(requestFor(flags=QR))
        self.ask(requestFor(counts=(9, 9, 9, 9)))
        self.ask(requestFor(flags=0x2000))
        self.ask(requestFor(cls=3))
        self.answers.make = lambda query: later
        self.ask(requestFor())
        counters = self.server.counters
        self.assertEqual(
            (counters.received, counters.dropped, counters.malformed, counters.refused),
            (6, 1, 1, 1),
        )
        self.assertEqual((counters.answered, len(self.server.pending)), (2, 1))
        self.assertTrue(scan(self.replies[0]).flags & RA)
