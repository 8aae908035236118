# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.datagram}.
"""

from __future__ import annotations

import errno

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Outcome
from dnsguard.interfaces import IUpstream
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.datagram import (
    FOLDING_SECONDS,
    FOLDING_STRIKES,
    GUESSES,
    DatagramUpstream,
)
from dnsguard.upstream.message import Entropy
from dnsguard.upstream.selection import PLAIN_SECONDS, FailureKind, Standing
from dnsguard.upstream.wheel import TimerWheel
from dnsguard.wire.layout import scan
from tests.support.upstreams import (
    A_RECORD,
    QNAME,
    QUESTION,
    TAIL,
    Asked,
    FakeConnections,
    FakePorts,
    opt,
    reply,
)


class DatagramUpstreamTests(SynchronousTestCase):
    """
    Tests for L{DatagramUpstream}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.ports = FakePorts()
        self.socket = self.ports.socket
        self.connections = FakeConnections()
        self.standing = Standing()
        self.upstream = self.build()

    def build(self, mixCase: bool = True, maxInFlight: int = 10) -> DatagramUpstream:
        return DatagramUpstream(
            "first",
            UpstreamAddress.parse("192.0.2.53"),
            clock=self.clock,
            ports=self.ports,
            connections=self.connections,  # type: ignore[arg-type]
            wheel=TimerWheel(self.clock),
            entropy=Entropy(),
            standing=self.standing,
            mixCase=mixCase,
            maxInFlight=maxInFlight,
        )

    def ask(self, timeout: float = 10.0) -> Asked:
        """
        Ask the question of the tests.
        """
        return Asked(self.upstream, clock=self.clock, timeout=timeout)

    def sent(self) -> tuple[bytes, bytes]:
        """
        The id and the question last sent.
        """
        message = self.socket.sent[-1]
        return message[:2], message[12 : 12 + len(QUESTION)]

    def receive(self, datagram: bytes) -> None:
        """
        Have a datagram arrive.
        """
        self.upstream.datagramReceived(self.ports.port, datagram)

    def wait(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.clock.pump([0.05] * round(seconds / 0.05))

    def test_interface(self) -> None:
        """
        It is an upstream.
        """
        verifyObject(IUpstream, self.upstream)

    def test_goodReply(self) -> None:
        """
        The reply to the query sent is the answer.
        """
        asked = self.ask()
        layout = scan(self.socket.sent[0])
        self.assertEqual((layout.name, layout.type, layout.cls), (QNAME, 1, 1))
        self.wait(0.1)
        self.receive(reply(*self.sent()))
        self.assertEqual(asked.answer.wire, reply(additional=()))
        self.assertEqual((self.standing.queries, self.standing.replies), (1, 1))
        self.assertAlmostEqual(self.standing.latency, 0.06)
        self.assertEqual((self.upstream.inFlight, self.ports.port.waiting), (0, {}))

    def test_questionIsMixed(self) -> None:
        """
        Ids and letter case differ from query to query.
        """
        for _ in range(20):
            asked = self.ask()
            self.receive(reply(*self.sent()))
            self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        sent = self.socket.sent
        self.assertGreater(len({message[:2] for message in sent}), 15)
        self.assertGreater(len({message[12:29] for message in sent}), 15)

    def test_caseCanBeLeftAlone(self) -> None:
        """
        Where letters aren't to be mixed they aren't.
        """
        self.upstream = self.build(mixCase=False)
        self.ask()
        self.assertEqual(self.sent()[1], QUESTION)

    def test_forgeriesAreIgnored(self) -> None:
        """
        Datagrams with a wrong id or question, without QR bit or with another
        opcode, and garbage are counted, and the wait goes on.
        """
        asked = self.ask()
        id, question = self.sent()
        other = bytes([id[0] ^ 1, id[1]])
        for datagram, counter in [
            (reply(other, question), "mismatched"),
            (reply(id, b"\4evil" + question[4:]), "mismatched"),
            (reply(id, question[:-4] + b"\0\x1c\0\1"), "mismatched"),
            (reply(id, question)[:4] + b"\0\2" + reply(id, question)[6:], "mismatched"),
            (reply(id, question, flags=0x0100), "malformed"),
            (reply(id, question, flags=0x8900), "malformed"),
            (b"", "malformed"),
            (id, "malformed"),
            (id + b"\x81", "malformed"),
            (other + b"\x81", "malformed"),
            (id + b"\xff" * 9, "malformed"),
        ]:
            before = getattr(self.standing, counter)
            self.receive(datagram)
            self.assertEqual(getattr(self.standing, counter), before + 1, datagram)
            self.assertEqual(asked.answers, [])
        self.receive(reply(id, question))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)

    def test_guessing(self) -> None:
        """
        Whoever goes through ids on a port has few tries: then what waits
        there goes over TCP.
        """
        asked, other = self.ask(), self.ask()
        id, question = self.sent()
        wrong = bytes([id[0] ^ 1, id[1]])
        for number in range(GUESSES):
            self.assertEqual(self.connections.carried, [])
            if number % 2:
                self.receive(reply(wrong, question))
            else:
                self.receive(reply(id, b"\4evil" + question[4:]))
        self.assertEqual(
            [attempt.exchange for attempt in self.connections.carried],
            [asked.exchange, other.exchange],
        )
        self.assertEqual(self.standing.mismatched, GUESSES)
        self.ask()
        for _ in range(GUESSES - 1):
            self.receive(reply(b"\0\0", question))
        self.assertEqual(len(self.connections.carried), 2)

    def test_changedCaseGoesOverTCP(self) -> None:
        """
        A reply that is right but for its letters isn't believed; TCP settles
        it.
        """
        asked = self.ask()
        id, question = self.sent()
        self.receive(reply(id, question.swapcase()[:-4] + TAIL))
        self.assertEqual(asked.answers, [])
        self.assertEqual(self.standing.caseChanged, 1)
        (attempt,) = self.connections.carried
        self.assertIs(attempt.exchange, asked.exchange)
        self.assertEqual(self.upstream.inFlight, 0)

    def test_serverThatFoldsCase(self) -> None:
        """
        For a server that changes letters three times in a row they aren't
        mixed any more, for an hour.
        """
        for _ in range(FOLDING_STRIKES):
            self.ask()
            id, question = self.sent()
            self.receive(reply(id, question.swapcase()[:-4] + TAIL))
        asked = self.ask()
        id, question = self.sent()
        self.assertEqual(question, QUESTION)
        self.receive(reply(id, question))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        self.clock.advance(FOLDING_SECONDS)
        questions = set()
        for _ in range(5):
            self.ask()
            questions.add(self.sent()[1])
        self.assertGreater(len(questions), 1)

    def test_keptCaseClearsTheSuspicion(self) -> None:
        """
        Replies with the letters kept in between count.
        """
        for _ in range(3 * FOLDING_STRIKES):
            self.ask()
            id, question = self.sent()
            self.receive(reply(id, question.swapcase()[:-4] + TAIL))
            self.ask()
            self.receive(reply(*self.sent()))
        self.assertEqual(self.upstream._foldsUntil, 0.0)

    def test_truncatedGoesOverTCP(self) -> None:
        """
        TC means TCP, whatever else the datagram holds.
        """
        asked = self.ask()
        self.receive(reply(*self.sent(), flags=0x8380)[:-20])
        self.assertEqual(len(self.connections.carried), 1)
        self.assertEqual((self.standing.truncated, asked.answers), (1, []))

    def test_mangledGoesOverTCP(self) -> None:
        """
        So does a reply whose records are broken or about something else.
        """
        for datagram in [
            reply()[2:-3],
            reply(answers=[b"\5other\4test\0" + A_RECORD[2:]])[2:],
        ]:
            self.ask()
            id, question = self.sent()
            self.receive(id + datagram[:10] + question + datagram[10 + len(QUESTION) :])
        self.assertEqual(len(self.connections.carried), 2)
        self.assertEqual(self.standing.malformed, 2)

    def test_retransmission(self) -> None:
        """
        A query is sent again, the same each time, at growing intervals.
        """
        self.ask(timeout=10)
        times: list[float] = []
        for _ in range(190):
            self.clock.advance(0.05)
            if len(self.socket.sent) > len(times) + 1:
                times.append(self.clock.seconds() - 1000)
        first, second, *later = times
        self.assertTrue(0.3 <= first <= 0.45, first)
        self.assertTrue(2 * first <= second - first <= 3 * first, second)
        self.assertEqual(len(set(self.socket.sent)), 1)
        self.assertEqual(self.standing.retransmissions, 2 + len(later))

    def test_upstreamComesBack(self) -> None:
        """
        As long as anybody waits the upstream is asked every two seconds or so:
        when it is back, those who have asked in vain get their answer.
        """
        asked = self.ask(timeout=10)
        self.wait(4)
        sends = len(self.socket.sent)
        self.wait(2.2)
        self.assertEqual(len(self.socket.sent), sends + 1)
        self.receive(reply(*self.sent()))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)

    def test_secondReply(self) -> None:
        """
        When a query sent twice is answered twice, the second reply is a late
        one, not a forgery.
        """
        asked = self.ask()
        self.wait(0.5)
        self.assertEqual(len(self.socket.sent), 2)
        datagram = reply(*self.sent())
        self.receive(datagram)
        self.receive(datagram)
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        self.assertEqual((self.standing.late, self.standing.mismatched), (1, 0))

    def test_timeout(self) -> None:
        """
        At the deadline it is over, and a reply that comes then is a late one;
        nothing is left on the clock.
        """
        asked = self.ask(timeout=2.0)
        datagram = reply(*self.sent())
        self.wait(2.2)
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertIn("first: no reply within 2", asked.answer.extendedError.text)
        self.assertEqual(self.standing.failures[FailureKind.TIMEOUT], 1)
        self.assertEqual(self.upstream.inFlight, 0)
        self.receive(datagram)
        self.receive(datagram)
        self.assertEqual((self.standing.late, self.standing.mismatched), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abandoned(self) -> None:
        """
        What nobody waits for is forgotten, and its reply is a late one.
        """
        asked = self.ask()
        asked.waiter.cancel()
        self.assertEqual(self.upstream.inFlight, 0)
        self.receive(reply(*self.sent()))
        self.assertEqual(self.standing.late, 1)
        self.wait(1)
        self.assertEqual(len(self.socket.sent), 1)

    def test_withoutEDNS(self) -> None:
        """
        A server that refuses EDNS is asked without, and from then on, until
        it may have learnt it.
        """
        for datagram in [
            lambda id, question: reply(id, question, answers=(), additional=(), rCode=1),
            lambda id, question: reply(id, question, answers=(), additional=(), rCode=4),
        ]:
            asked = self.ask()
            self.assertEqual(scan(self.socket.sent[-1]).counts, (1, 0, 0, 1))
            self.receive(datagram(*self.sent()))
            self.assertEqual(scan(self.socket.sent[-1]).counts, (1, 0, 0, 0))
            self.receive(reply(*self.sent(), additional=()))
            self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
            self.ask()
            self.assertEqual(scan(self.socket.sent[-1]).counts, (1, 0, 0, 0))
            self.clock.advance(PLAIN_SECONDS)
        self.assertEqual(self.standing.plain, 2)

    def test_badVersion(self) -> None:
        """
        BADVERS, which takes EDNS to be said, has one question asked again
        without EDNS, and no other: one strange name costs nobody DNSSEC.
        """
        asked = self.ask()
        self.receive(reply(*self.sent(), answers=(), additional=[opt(1)]))
        self.assertEqual(scan(self.socket.sent[-1]).counts, (1, 0, 0, 0))
        self.receive(reply(*self.sent(), additional=()))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        self.ask()
        self.assertEqual(scan(self.socket.sent[-1]).counts, (1, 0, 0, 1))

    def test_bareHeader(self) -> None:
        """
        A bare header, that anybody could have sent, has one question asked
        again without EDNS, and no other.
        """
        for code in (1, 4):
            asked = self.ask()
            self.receive(self.sent()[0] + bytes([0x81, 0x80 | code]) + b"\0" * 8)
            self.assertEqual(scan(self.socket.sent[-1]).counts, (1, 0, 0, 0))
            self.receive(self.sent()[0] + bytes([0x81, 0x80 | code]) + b"\0" * 8)
            self.assertEqual(self.standing.mismatched, 1)
            self.standing.mismatched = 0
            self.receive(reply(*self.sent(), additional=()))
            self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
            self.ask()
            self.assertEqual(scan(self.socket.sent[-1]).counts, (1, 0, 0, 1))

    def test_failureOverTCPIsNoBackoff(self) -> None:
        """
        An upstream that answers over UDP but not over TCP isn't down.
        """
        asked = self.ask()
        self.receive(reply(*self.sent(), flags=0x8380))
        self.wait(11)
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertTrue(self.standing.usable(self.clock.seconds()))

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_anyDatagram(self, data: st.DataObject) -> None:
        """
        Whatever arrives, nothing breaks: the question still waits, goes over
        to TCP, or has its answer.
        """
        self.setUp()
        asked = self.ask()
        id, question = self.sent()
        whole = reply(id, question)
        start = data.draw(st.sampled_from([0, 2, 4, 12, 12 + len(question), len(whole)]))
        datagram = bytearray(whole[:start] + data.draw(st.binary(max_size=60)))
        if data.draw(st.booleans()):
            datagram = bytearray(whole)
        for at, octet in data.draw(
            st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=3)
        ):
            if at < len(datagram):
                datagram[at] = octet
        self.receive(bytes(datagram))
        over = len(self.connections.carried)
        self.assertEqual(self.upstream.inFlight + over + len(asked.answers), 1)
        self.assertEqual(len(self.ports.port.waiting), self.upstream.inFlight)

    def test_formErrToPlainIsAnAnswer(self) -> None:
        """
        FORMERR to a plain query isn't asked about again.
        """
        asked = self.ask()
        for _ in range(2):
            self.receive(reply(*self.sent(), answers=(), additional=(), rCode=1))
        self.assertEqual((asked.answer.rCode, asked.answer.final), (1, False))

    def test_unreachable(self) -> None:
        """
        What the network reports ends all that wait on that port at once.
        """
        first, second = self.ask(), self.ask()
        self.upstream.portFailed(
            self.ports.port, ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        )
        for asked in (first, second):
            self.assertEqual(asked.answer.extendedError.text, "first: Connection refused")
        self.assertEqual(self.standing.failures[FailureKind.UNREACHABLE], 2)
        self.assertFalse(self.standing.usable(self.clock.seconds()))
        self.assertEqual(self.upstream.inFlight, 0)

    def test_noSocket(self) -> None:
        """
        When no port can be had, that is the reason.
        """
        self.ports.error = OSError(errno.ENETUNREACH, "Network is unreachable")
        self.assertIn("Network is unreachable", self.ask().answer.extendedError.text)

    def test_sendReportsAnEarlierError(self) -> None:
        """
        An error of an earlier datagram, reported when the next is sent, costs
        one more system call; only a second one counts.
        """
        refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self.socket.errors = [refused]
        asked = self.ask()
        self.assertEqual((len(self.socket.sent), asked.answers), (1, []))
        self.socket.errors = [refused, refused]
        self.assertEqual(self.ask().answer.outcome, Outcome.UPSTREAM_ERROR)

    def test_fullBuffer(self) -> None:
        """
        A datagram that finds no room is sent again in its time.
        """
        self.socket.errors = [BlockingIOError()]
        asked = self.ask()
        self.assertEqual((self.socket.sent, self.standing.unsent), ([], 1))
        self.wait(0.5)
        self.receive(reply(*self.sent()))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)

    def test_bound(self) -> None:
        """
        Beyond the bound questions fail at once, and the upstream isn't
        blamed.
        """
        self.upstream = self.build(maxInFlight=2)
        waiting = [self.ask(), self.ask()]
        self.assertIn("too many", self.ask().answer.extendedError.text)
        self.assertEqual(self.standing.failures[FailureKind.OVERLOAD], 1)
        self.assertTrue(self.standing.usable(self.clock.seconds()))
        self.assertEqual([asked.answers for asked in waiting], [[], []])

    def test_retire(self) -> None:
        """
        A retired upstream closes when the last reply is in.
        """
        asked = self.ask()
        self.upstream.retire()
        self.assertTrue(self.connections.retired)
        self.assertFalse(self.ports.closed)
        self.receive(reply(*self.sent()))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        self.assertTrue(self.ports.closed)

    def test_retireIdle(self) -> None:
        """
        It closes at once if there is nothing to wait for.
        """
        self.upstream.retire()
        self.assertTrue(self.ports.closed)

    def test_retireAndFail(self) -> None:
        """
        Giving up, letting go and going over to TCP also free its ports.
        """
        self.ask(timeout=1)
        self.upstream.retire()
        self.wait(1.2)
        self.assertTrue(self.ports.closed)
        for end in (
            lambda asked: asked.waiter.cancel(),
            lambda asked: self.receive(reply(*self.sent(), flags=0x8380)),
            lambda asked: self.upstream.portFailed(self.ports.port, OSError(1, "bad")),
        ):
            self.standing.backoffUntil = 0.0
            self.ports.closed = False
            self.upstream = self.build()
            asked = self.ask()
            self.upstream.retire()
            self.assertFalse(self.ports.closed)
            end(asked)
            self.assertTrue(self.ports.closed)

    def test_close(self) -> None:
        """
        Closing fails what is under way, and what comes later.
        """
        asked = self.ask()
        self.successResultOf(self.upstream.close())
        self.assertTrue(self.ports.closed)
        self.assertIn("shut down", asked.answer.extendedError.text)
        self.assertIn("shut down", self.ask().answer.extendedError.text)
