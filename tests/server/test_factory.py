# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.factory}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.names import common, dns, error, server
from twisted.python import components
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementedBy

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import AnswerFailed, NameDenied
from dnsguard.interfaces import IAnswerer
from dnsguard.query import ClientQuery, Transport
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.server.connection import StreamProtocol
from dnsguard.server.corridor import ServerLimits
from dnsguard.server.factory import GuardServerFactory, Reply
from dnsguard.server.reply import ReplyLimits
from dnsguard.server.stream import StreamLimits
from dnsguard.testing import FixedAnswerer
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import AA, AD, CD, QR, RA, RD, TC, Layout, scan
from tests.support.answering import Answers, FakePolicies, FakeReplay, Observer, addressAnswer
from tests.support.requests import requestFor

PEER = ("192.0.2.7", 5353)
SOA = dns.RRHeader(
    b"example.org", dns.SOA, dns.IN, 60, dns.Record_SOA(b"ns.example.org", minimum=30)
)


def constant(result: object) -> Callable[[ClientQuery], Any]:
    """
    Make an answerer's answer to everything.
    """
    return lambda query: result


class DatagramTransport:
    """
    What a stock C{DNSDatagramProtocol} writes to.
    """

    def __init__(self) -> None:
        self.written: list[tuple[bytes, Any]] = []

    def write(self, data: bytes, address: Any) -> None:
        """
        Keep it.
        """
        self.written.append((data, address))


class StockDoorTestCase(SynchronousTestCase):
    """
    Our factory behind a stock C{DNSDatagramProtocol}.
    """

    def setUp(self) -> None:
        self.answers = Answers()
        self.observer = Observer()
        self.factory = GuardServerFactory(resolver=self.answers, observers=[self.observer])
        self.protocol = self.listen(self.factory)

    def listen(self, factory: server.DNSServerFactory) -> Any:
        """
        Put a stock protocol before a factory.
        """
        protocol = dns.DNSDatagramProtocol(factory, Clock())
        self.transport = DatagramTransport()
        protocol.makeConnection(self.transport)  # type: ignore[arg-type]
        protocol.startProtocol()
        return protocol

    def send(self, request: bytes) -> list[bytes]:
        """
        Send a request, and take what comes back.
        """
        self.protocol.datagramReceived(request, PEER)
        written = [data for data, address in self.transport.written if address == PEER]
        self.transport.written.clear()
        return written

    def replyTo(self, request: bytes) -> Layout:
        """
        Send a request, and scan the one reply to it.
        """
        (reply,) = self.send(request)
        return scan(reply)


class WhatStockLosesTests(StockDoorTestCase):
    """
    One test for each thing that a stock server forgets or gets wrong.
    """

    def test_requestBits(self) -> None:
        """
        RD and CD come back as they were, RA is set, and the question is
        echoed octet for octet.
        """
        request = requestFor(b"\x03wWw\x07eXample\x03oRG\0", flags=RD | CD)
        (reply,) = self.send(request)
        self.assertEqual(scan(reply).flags, QR | RD | CD | RA)
        self.assertEqual(reply[12:33], request[12:33])
        self.assertFalse(self.replyTo(requestFor(flags=0)).flags & (RD | CD))

    def test_edns(self) -> None:
        """
        A request's OPT record reaches the chain and is answered with one, DO
        echoed and the extended error in it.
        """
        reason = ExtendedError(15, "ads")
        self.answers.make = lambda query: addressAnswer(query, extendedError=reason)
        edns = EDNS(payloadSize=1400, dnssecOK=True, options=((65001, b"x"),))
        layout = self.replyTo(requestFor(edns=edns))
        self.assertEqual(self.answers.asked[0].edns, edns)
        self.assertEqual(layout.edns, EDNS(0, 1232, True, 0, (reason.option(),)))
        self.assertIsNone(self.replyTo(requestFor()).edns)

    def test_ednsErrors(self) -> None:
        """
        Two OPT records are FORMERR, another version is BADVERS.
        """
        two = requestFor(more=EDNS().encode() * 2, counts=(1, 0, 0, 2))
        self.assertEqual(self.replyTo(two).rCode, dns.EFORMAT)
        self.assertEqual(self.replyTo(requestFor(edns=EDNS(version=3))).rCode, 16)

    def test_responseCodes(self) -> None:
        """
        The answer's code is the reply's, and an upstream's SERVFAIL or
        REFUSED never becomes NXDOMAIN.
        """
        for rCode in (0, 2, 3, 5, 9):
            self.answers.make = constant(Answer.failure(rCode, Outcome.UPSTREAM))
            self.assertEqual(self.replyTo(requestFor()).rCode, rCode)
        message = dns.Message(answer=1, rCode=dns.EREFUSED)
        for reason, rCode in (
            (error.DNSServerError(dns.Message(rCode=dns.ESERVER)), dns.ESERVER),
            (error.DNSQueryRefusedError(message), dns.EREFUSED),
            (error.AuthoritativeDomainError("x"), dns.ENAME),
            (NameDenied(Answer.failure(dns.ENAME, Outcome.BLOCKED)), dns.ENAME),
            (AnswerFailed(Answer.failure(dns.EREFUSED, Outcome.REFUSED)), dns.EREFUSED),
        ):
            self.answers.make = constant(fail(reason))
            self.assertEqual(self.replyTo(requestFor()).rCode, rCode)

    def test_negative(self) -> None:
        """
        A negative answer keeps its SOA.
        """
        self.answers.make = lambda query: Answer.fromRecords(
            [], [SOA], rCode=dns.ENAME, outcome=Outcome.UPSTREAM
        )
        layout = self.replyTo(requestFor())
        self.assertEqual((layout.rCode, layout.negativeTTL), (dns.ENAME, 30))

    def test_truncation(self) -> None:
        """
        What doesn't fit into the client's datagram is TC with the question
        and the OPT record, complete in itself.
        """
        self.answers.make = lambda query: addressAnswer(query, 60)
        (reply,) = self.send(requestFor())
        layout = scan(reply)
        self.assertEqual((layout.flags & TC, layout.counts), (TC, (1, 0, 0, 0)))
        layout = self.replyTo(requestFor(edns=EDNS(payloadSize=4096)))
        self.assertEqual((layout.flags & TC, layout.counts), (0, (1, 60, 0, 1)))
        layout = self.replyTo(requestFor(edns=EDNS(payloadSize=600)))
        self.assertEqual((layout.flags & TC, layout.counts), (TC, (1, 0, 0, 1)))

    def test_authenticData(self) -> None:
        """
        AD is set when the answer has it and the client asks for it.
        """
        self.answers.make = lambda query: addressAnswer(query, authenticData=True)
        self.assertFalse(self.replyTo(requestFor()).flags & AD)
        self.assertTrue(self.replyTo(requestFor(flags=AD)).flags & AD)
        self.assertTrue(self.replyTo(requestFor(edns=EDNS(dnssecOK=True))).flags & AD)

    def test_authoritative(self) -> None:
        """
        AA is what the answer says, not what its records say.
        """
        for authoritative in (False, True):

            def make(query: ClientQuery, aa: bool = authoritative) -> Answer:
                answer = addressAnswer(query, authoritative=aa)
                answer[0][0].auth = not aa
                return answer

            self.answers.make = make
            self.assertEqual(bool(self.replyTo(requestFor()).flags & AA), authoritative)

    def test_refusalsAreResponses(self) -> None:
        """
        NOTIMP and REFUSED are responses, not the request sent back.
        """
        for opcode in (1, 2, 4, 5):
            layout = self.replyTo(requestFor(flags=opcode << 11 | RD))
            self.assertEqual(layout.flags, QR | opcode << 11 | RD | RA | dns.ENOTIMP)
            self.assertEqual(layout.counts, (1, 0, 0, 0))
        self.factory.allowQuery = lambda *args: False  # type: ignore[method-assign]
        layout = self.replyTo(requestFor(edns=EDNS()))
        self.assertEqual(layout.flags, QR | RD | RA | dns.EREFUSED)
        self.assertIsNotNone(layout.edns)
        self.assertEqual(self.factory.counters.refused, 5)

    def test_responsesAreDropped(self) -> None:
        """
        A response is never answered.
        """
        self.assertEqual(self.send(requestFor(flags=QR | RD)), [])
        self.assertEqual(self.answers.asked, [])
        self.assertEqual(self.factory.counters.dropped, 1)

    def test_oneQuestion(self) -> None:
        """
        Two questions, or none, are FORMERR.
        """
        two = requestFor(counts=(2, 0, 0, 0), more=requestFor()[12:])
        for request in (two, requestFor()[:4] + bytes(8)):
            self.assertEqual(self.replyTo(request).rCode, dns.EFORMAT)
        self.assertEqual(self.answers.asked, [])

    def test_undecodable(self) -> None:
        """
        Octets that are no message are FORMERR, at the door for octets and
        where the stock decoder stops short of a question.
        """
        replies: list[bytes] = []

        def respond(reply: bytes) -> bool:
            replies.append(reply)
            return True

        request = requestFor()[:-1]
        self.factory.requestReceived(request, b"\xc0\0\2\7", Transport.UDP, respond)
        self.assertEqual(scan(replies[0]).rCode, dns.EFORMAT)
        self.assertEqual(self.factory.counters.malformed, 1)
        self.assertEqual(self.replyTo(request).rCode, dns.EFORMAT)

    def test_chainGetsTheQuery(self) -> None:
        """
        The chain is asked our query, not a plain one made of it, and no cache
        is filled but by the chain.
        """
        self.send(requestFor())
        self.assertIsInstance(self.answers.asked[0], ClientQuery)
        self.assertEqual(self.answers.asked[0].asker.address, "192.0.2.7")
        self.assertIsNone(self.factory.cache)

    def test_streamLimits(self) -> None:
        """
        Connections accepted by the factory are limited, and their peers known.
        """
        self.factory.streams.clock = Clock()
        self.factory.streams.limits = StreamLimits(connections=1)
        address = IPv4Address("TCP", "192.0.2.7", 53)
        protocol = self.factory.buildProtocol(address)
        assert isinstance(protocol, StreamProtocol)
        self.assertEqual(protocol.address, b"\xc0\0\2\7")
        protocol.makeConnection(StringTransport())
        self.assertIsNone(self.factory.buildProtocol(address))

    def test_otherClasses(self) -> None:
        """
        Another class than IN is REFUSED, as is a zone transfer.
        """
        for type, cls in ((16, 3), (252, 1)):
            self.assertEqual(self.replyTo(requestFor(type=type, cls=cls)).rCode, dns.EREFUSED)
        self.assertEqual(self.answers.asked, [])


class StockStreamTests(StockDoorTestCase):
    """
    Our factory behind a stock C{DNSProtocol}.
    """

    def listen(self, factory: server.DNSServerFactory) -> Any:
        """
        Put a stock stream protocol before a factory.
        """
        protocol = dns.DNSProtocol(factory, Clock())
        self.stream = StringTransport(peerAddress=IPv4Address("TCP", *PEER))
        protocol.makeConnection(self.stream)
        return protocol

    def test_asks(self) -> None:
        """
        A query over a stream has its peer's address, no limit of size, and
        one reply.
        """
        self.answers.make = lambda query: addressAnswer(query, 60)
        request = requestFor()
        self.protocol.dataReceived(len(request).to_bytes(2, "big") + request)
        reply = self.stream.value()
        self.assertEqual(int.from_bytes(reply[:2], "big"), len(reply) - 2)
        self.assertEqual(scan(reply[2:]).counts, (1, 60, 0, 0))
        (query,) = self.answers.asked
        self.assertIs(query.transport, Transport.TCP)
        self.assertEqual(query.asker.address, "192.0.2.7")

    def test_gone(self) -> None:
        """
        A reply to a client that has gone isn't delivered, and nothing breaks.
        """
        later: Deferred[Answer | None] = Deferred()
        self.answers.make = lambda query: later
        request = requestFor()
        self.protocol.dataReceived(len(request).to_bytes(2, "big") + request)
        self.protocol.connectionLost(Failure(ConnectionError()))
        self.protocol.connected = 0
        later.callback(None)
        self.assertEqual(self.factory.counters.undelivered, 1)
        self.assertEqual(self.stream.value(), b"")


class SubclassTests(StockDoorTestCase):
    """
    Tests for what subclasses of a stock server call and override.
    """

    def message(self, request: bytes) -> dns.Message:
        """
        A request as stock protocols decode it.
        """
        message = dns.Message()
        message.fromStr(request)
        return message

    def test_ownResponse(self) -> None:
        """
        A subclass may hand a stock resolver's three lists to
        C{gotResolverResponse}, and gets a whole reply sent.
        """
        message = self.message(requestFor(edns=EDNS()))
        records = addressAnswer(ClientQuery(b"\x03www\x07example\x03org\0"))[0]
        self.factory.gotResolverResponse((records, [], []), self.protocol, message, PEER)
        layout = scan(self.transport.written[0][0])
        self.assertEqual((layout.flags, layout.counts), (QR | RD | RA, (1, 1, 0, 1)))
        self.assertEqual(len(self.observer.events), 1)

    def test_ownError(self) -> None:
        """
        A subclass may hand a failure to C{gotResolverError}.
        """
        reason = Failure(error.DNSQueryRefusedError("x"))
        self.factory.gotResolverError(reason, self.protocol, self.message(requestFor()), PEER)
        self.assertEqual(scan(self.transport.written[0][0]).rCode, dns.EREFUSED)

    def test_ownResponseToTwoQuestions(self) -> None:
        """
        Even then two questions are FORMERR.
        """
        two = requestFor(counts=(2, 0, 0, 0), more=requestFor()[12:])
        self.factory.gotResolverResponse(([], [], []), self.protocol, self.message(two), PEER)
        self.assertEqual(scan(self.transport.written[0][0]).rCode, dns.EFORMAT)

    def test_ownMessage(self) -> None:
        """
        A message that is marked as a response is sent as it is.
        """
        message = dns.Message(7, answer=1, rCode=dns.EREFUSED)
        self.factory.sendReply(self.protocol, message, PEER)
        self.assertEqual(self.transport.written, [(message.toStr(), PEER)])

    def test_reply(self) -> None:
        """
        A reply gives its octets to stock protocols.
        """
        self.assertEqual(Reply(b"octets").toStr(), b"octets")


class Stock(common.ResolverBase):
    """
    A stock resolver, in name.
    """


class AdaptedStock(Answers):
    """
    What an adapter makes of it.
    """

    def __init__(self, stock: object) -> None:
        super().__init__()
        self.stock = stock


class ConstructorTests(SynchronousTestCase):
    """
    Tests for making a factory.
    """

    def adapt(self, kind: type) -> None:
        """
        Have instances of a class adapted during the test.
        """
        registry = components.getRegistry()
        spec = implementedBy(kind)
        before = registry.registered([spec], IAnswerer)
        registry.register([spec], IAnswerer, "", AdaptedStock)
        self.addCleanup(registry.register, [spec], IAnswerer, "", before)

    def test_stockResolver(self) -> None:
        """
        A stock resolver is adapted.
        """
        self.adapt(Stock)
        stock = Stock()
        factory = GuardServerFactory(resolver=stock)
        assert isinstance(factory.resolver, AdaptedStock)
        self.assertIs(factory.resolver.stock, stock)

    def test_stockLists(self) -> None:
        """
        Authorities, caches and clients become one chain, in this order.
        """
        elements = [FixedAnswerer() for _ in range(4)]
        factory = GuardServerFactory(elements[:1], elements[1:3], elements[3:])
        assert isinstance(factory.resolver, AnswererChain)
        self.assertEqual(factory.resolver.elements, tuple(elements))
        self.assertIsNone(factory.cache)

    def test_both(self) -> None:
        """
        The two ways don't mix.
        """
        self.assertRaises(TypeError, GuardServerFactory, ["zone"], resolver=Answers())

    def test_unadaptable(self) -> None:
        """
        What can't be adapted is refused at once.
        """
        self.assertRaises(TypeError, GuardServerFactory, resolver=object())

    def test_recursionAvailable(self) -> None:
        """
        RA is set unless there are authorities only; other limits are kept.
        """
        limits = ServerLimits(replies=ReplyLimits(payloadSize=1400), pending=7)
        zone = GuardServerFactory([FixedAnswerer()], limits=limits)
        self.assertEqual(zone.limits, ServerLimits(ReplyLimits(1400, None, False), 7))
        self.assertTrue(
            GuardServerFactory([], [], [FixedAnswerer()]).limits.replies.recursionAvailable
        )
        self.assertTrue(GuardServerFactory(resolver=Answers()).limits.replies.recursionAvailable)

    def test_parts(self) -> None:
        """
        Policies, clock, observers and replay store are put in place.
        """
        clock, observer, replay = Clock(), Observer(), FakeReplay()
        answers = Answers(
            lambda query: addressAnswer(query, replaySeconds=1.0, outcome=Outcome.CACHED)
        )
        factory = GuardServerFactory(
            resolver=answers,
            policies=FakePolicies(),
            clock=clock,
            observers=[observer],
            replay=replay,
        )
        clock.advance(3)
        factory.requestReceived(requestFor(), b"\xc0\0\2\7", Transport.UDP, lambda reply: True)
        self.assertEqual(answers.asked[0].asker.groupID, "192.0.2.7")
        self.assertEqual(answers.asked[0].received, 3)
        self.assertEqual((len(observer.events), len(replay.kept)), (1, 1))
