# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Random and mutated packets through every door of the server.

The default run sends 210,000. For another number through each door::

    DNSGUARD_FUZZ_PACKETS=1000000 python -m twisted.trial tests.server.test_fuzz

and with C{DNSGUARD_FUZZ_CORPUS=FOLDER}, a folder of gzipped JSON lines with
packets in a member C{hex}, those are sent as well, as they are and mutated.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import UpstreamError
from dnsguard.query import ClientQuery, Transport
from dnsguard.server.factory import GuardServerFactory
from dnsguard.wire.edns import InvalidOPT
from dnsguard.wire.layout import QR, TC, MalformedMessage, scan
from dnsguard.wire.names import fromText
from tests.support.answering import Answers, FakePolicies, addressAnswer
from tests.support.fuzzing import corpus, packets

COUNT = int(os.environ.get("DNSGUARD_FUZZ_PACKETS", "70000"))
CORPUS = os.environ.get("DNSGUARD_FUZZ_CORPUS")
PEER = ("192.0.2.7", 5353)

OTHER = addressAnswer(ClientQuery(fromText("elsewhere.example.net")))
OTHER.encoded(ClientQuery(fromText("elsewhere.example.net")).question)


class FuzzTests(SynchronousTestCase):
    """
    What holds for whatever is sent.
    """

    def setUp(self) -> None:
        self.later: list[Deferred[Answer | None]] = []
        self.answers = Answers(self.answer)
        self.answers.asked = Forgetful()
        self.server = GuardServerFactory(
            resolver=self.answers, policies=FakePolicies(), clock=Clock()
        )
        self.seen: Counter[int] = Counter()

    def answer(self, query: ClientQuery) -> Any:
        """
        Answer in all the ways there are.
        """
        label = query.qname[1:4]
        if label == b"big":
            return addressAnswer(query, 100, extendedError=None)
        if label == b"nob":
            return None
        if label == b"fai":
            return fail(UpstreamError("one", "no reply within 1 s"))
        if label == b"oth":
            return OTHER
        if label == b"lat":
            self.later.append(Deferred())
            return self.later[-1]
        if label == b"www":
            return succeed(addressAnswer(query, 2, authenticData=True))
        return Answer.failure(dns.ENAME, Outcome.BLOCKED)

    def fireLater(self) -> None:
        """
        Give the answers that are still to be given.
        """
        later, self.later = self.later, []
        for deferred in later:
            deferred.callback(None)

    def check(self, packet: bytes, reply: bytes, room: int) -> None:
        """
        Hold a reply against its request.
        """
        layout = scan(reply)
        self.seen[layout.rCode] += 1
        self.assertLessEqual(len(reply), room)
        self.assertEqual(reply[:2], packet[:2])
        self.assertTrue(layout.flags & QR)
        # The opcode, RD and CD are the request's.
        self.assertEqual((reply[2] ^ packet[2]) & 0x79, 0)
        self.assertEqual((reply[3] ^ packet[3]) & 0x10, 0)
        if layout.counts[0]:
            self.assertEqual(reply[12 : layout.questionEnd], packet[12 : layout.questionEnd])
        if layout.flags & TC:
            self.assertEqual(layout.counts[1:3], (0, 0))

    def checkStock(self, packet: bytes, reply: bytes) -> None:
        """
        Hold a reply against a request that went through the stock decoder,
        which reads over much of what is wrong.
        """
        layout = scan(reply)
        self.seen[layout.rCode] += 1
        self.assertEqual(reply[:2], packet[:2])
        self.assertTrue(layout.flags & QR)
        self.assertLessEqual(len(reply), 1232)

    def room(self, packet: bytes) -> int:
        """
        What a reply over UDP may have.
        """
        try:
            edns = scan(packet).edns
        except (MalformedMessage, InvalidOPT):
            return 512
        return 512 if edns is None else min(max(512, edns.payloadSize), 1232)

    def checkCounters(self) -> None:
        """
        Every request is accounted for, and nothing broke.
        """
        counters = self.server.counters
        self.assertEqual(
            counters.received,
            counters.dropped + counters.malformed + counters.refused + counters.answered,
        )
        self.assertEqual((counters.failed, counters.unobserved), (0, 0))
        self.assertEqual(len(self.server.pending), 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        # The packets have been everywhere.
        self.assertGreaterEqual(set(self.seen), {0, 1, 2, 3, 4, 5, 16})

    def given(self) -> list[bytes]:
        """
        The packets of the corpus, if there is one.
        """
        return corpus(Path(CORPUS)) if CORPUS else []

    def test_octets(self) -> None:
        """
        Through the door for octets each packet has one good reply, or none.
        """
        before = liveObjects()
        for packet in packets(COUNT, 1, self.given()):
            replies: list[bytes] = []

            def respond(reply: bytes, replies: list[bytes] = replies) -> bool:
                replies.append(reply)
                return True

            taken = self.server.requestReceived(packet, b"\xc0\0\2\7", Transport.UDP, respond)
            self.fireLater()
            self.assertEqual(len(replies), 1 if taken else 0)
            for reply in replies:
                self.check(packet, reply, self.room(packet))
        self.checkCounters()
        self.assertEqual(liveObjects(), before)

    def test_stockDatagrams(self) -> None:
        """
        Through a stock C{DNSDatagramProtocol} likewise.
        """
        before = liveObjects()
        transport = DatagramTransport()
        written = transport.written
        protocol = dns.DNSDatagramProtocol(self.server, Clock())
        protocol.makeConnection(transport)  # type: ignore[arg-type]
        protocol.startProtocol()
        for packet in packets(COUNT, 2, self.given()):
            protocol.datagramReceived(packet, PEER)
            self.fireLater()
            self.assertLessEqual(len(written), 1)
            for reply in written:
                self.checkStock(packet, reply)
            written.clear()
        self.checkCounters()
        protocol.stopProtocol()
        del protocol, transport, written
        self.assertEqual(liveObjects(), before)

    def test_streams(self) -> None:
        """
        Through streams each packet in a frame has one good reply, or ends the
        connection.
        """
        before = liveObjects()
        peer = IPv4Address("TCP", *PEER)
        protocol, transport = None, StringTransport()
        for packet in packets(COUNT, 3, self.given()):
            if protocol is None or transport.disconnecting:
                if protocol is not None:
                    protocol.connectionLost()
                protocol = self.server.buildProtocol(peer)
                assert protocol is not None
                transport = StringTransport(peerAddress=peer)
                protocol.makeConnection(transport)
            protocol.dataReceived(len(packet).to_bytes(2, "big") + packet)
            self.fireLater()
            reply = transport.value()
            transport.clear()
            if reply:
                self.assertEqual(int.from_bytes(reply[:2], "big"), len(reply) - 2)
                self.check(packet, reply[2:], 65535)
            else:
                self.assertTrue(transport.disconnecting)
        assert protocol is not None
        protocol.connectionLost()
        del protocol, transport
        self.assertEqual(self.server.streams.connections, set())
        self.checkCounters()
        self.assertEqual(liveObjects(), before)


class DatagramTransport:
    """
    Keeps what a stock C{DNSDatagramProtocol} writes.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes, address: object) -> None:
        """
        Keep it.
        """
        self.written.append(data)


class Forgetful(list[ClientQuery]):
    """
    A list that keeps nothing.
    """

    def append(self, item: ClientQuery) -> None:
        """
        Don't.
        """


def liveObjects() -> int:
    """
    How many objects of the kinds that a request makes there are.
    """
    gc.collect()
    kinds = {"ClientQuery", "Answer", "Exchange", "Deferred", "Layout", "StreamProtocol"}
    return sum(type(each).__name__ in kinds for each in gc.get_objects())
