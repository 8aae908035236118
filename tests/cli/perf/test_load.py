# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.perf.load} and its compiled twin.
"""

from __future__ import annotations

import select
import socket
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dnsguard.cli.perf import load
from dnsguard.cli.perf.questions import Questions
from dnsguard.cli.perf.run import COMPILED, Plan, Resolver, measure
from dnsguard.cli.perf.tally import COUNTS, Tally
from tests.support.loopback import LoopbackServer, reply
from tests.support.ports import freePort

NAMES = [f"host{number}.example.org" for number in range(7)]
QUESTIONS = Questions(NAMES, 1)
MOMENT = 0.003


def twin(compiled: bool) -> Any:
    """
    The module with the classes.
    """
    if not compiled:
        return load
    if not COMPILED:
        raise SkipTest("the compiled twin isn't there")
    import dnsguard.cli.perf._load as compiledLoad

    return compiledLoad


def told(tally: Tally) -> dict[str, int]:
    """
    What was counted, without what wasn't.
    """
    return {name: tally[name] for name in COUNTS if tally[name]}


class LoadContract:
    """
    What both twins do.
    """

    compiled: bool

    def serve(self: Any, *arguments: Any) -> LoopbackServer:
        """
        Begin to answer.
        """
        server = LoopbackServer(*arguments)
        self.addCleanup(server.close)
        return server

    def measure(self: Any, port: int, protocol: str = "udp", **options: Any) -> Tally:
        """
        Send some questions.
        """
        twin(self.compiled)
        known: dict[str, Any] = {"queries": 50, "concurrency": 5, "timeout": 5.0, **options}
        plan = Plan(**known, compiled=self.compiled)
        result = measure(Resolver("127.0.0.1", port, protocol), QUESTIONS, plan)
        self.assertEqual(result.tally.samples, plan.queries)
        self.assertEqual(sum(result.tally.histogram), plan.queries)
        return result.tally

    def test_answers(self: Any) -> None:
        """
        All questions are asked, in turn, and the answers counted.
        """
        server = self.serve(lambda question: [reply(question, flags=0x8183)])
        tally = self.measure(server.port)
        self.assertEqual(told(tally), {"sent": 50, "answered": 50})
        self.assertEqual(tally.rCodes[3], 50)
        asked = [question for _, question in server.asked]
        self.assertEqual(
            sorted(question[2:] for question in asked),
            sorted(QUESTIONS[number % len(NAMES)][2:] for number in range(50)),
        )

    def test_stream(self: Any) -> None:
        """
        The same over TCP, also for answers that come in pieces.
        """
        server = self.serve(lambda question: [reply(question) + b"x" * 9000])
        self.assertEqual(told(self.measure(server.port, "tcp")), {"sent": 50, "answered": 50})
        self.assertEqual({transport for transport, _ in server.asked}, {"tcp"})

    def test_truncated(self: Any) -> None:
        """
        Truncated answers are answers, and are counted.
        """
        server = self.serve(lambda question: [reply(question, flags=0x8380)])
        expected = {"sent": 50, "answered": 50, "truncated": 50}
        self.assertEqual(told(self.measure(server.port)), expected)

    def test_wrong(self: Any) -> None:
        """
        A reply to another question under the right id is an error.
        """
        server = self.serve(lambda question: [reply(question)[:-1] + b"\2"])
        for protocol in ("udp", "tcp"):
            self.assertEqual(told(self.measure(server.port, protocol)), {"sent": 50, "wrong": 50})

    def test_silent(self: Any) -> None:
        """
        Questions without a reply are errors, and each has a latency.
        """
        server = self.serve(lambda question: [] if question[1] % 2 else [reply(question)])
        tally = self.measure(server.port, timeout=0.05)
        self.assertEqual(tally["timeouts"] + tally["answered"], 50)
        self.assertGreater(tally["timeouts"], 0)
        self.assertGreaterEqual(tally.greatest, 50)

    def test_silentStream(self: Any) -> None:
        """
        Over TCP, too; a connection that brought nothing is given up.
        """
        server = self.serve(lambda question: [b""])
        tally = self.measure(server.port, "tcp", queries=6, concurrency=3, timeout=0.05)
        self.assertEqual((tally["timeouts"], tally["answered"]), (6, 0))

    def test_unexpected(self: Any) -> None:
        """
        What comes twice or isn't asked for is counted, and isn't an answer.
        """

        def answer(question: bytes) -> list[bytes]:
            right = reply(question)
            return [b"", b"\xff" * 12, right, right]

        tally = self.measure(self.serve(answer).port, concurrency=1, queries=9)
        self.assertEqual((tally["sent"], tally["answered"], tally.errors), (9, 9, 0))
        self.assertGreaterEqual(tally["unexpected"], 8 * 3)

    def test_refused(self: Any) -> None:
        """
        Nobody listens: all questions are over at once.
        """
        port = freePort()
        for protocol in ("udp", "tcp"):
            self.assertEqual(told(self.measure(port, protocol)), {"sent": 50, "refused": 50})

    def test_closing(self: Any) -> None:
        """
        A server that closes connections is connected to again.
        """
        server = self.serve(lambda question: [])
        tally = self.measure(server.port, "tcp", concurrency=2, queries=10)
        self.assertEqual(told(tally), {"sent": 10, "refused": 10})

    def test_concurrency(self: Any) -> None:
        """
        No more are under way than are allowed, be they one or more than
        questions.
        """
        server = self.serve(lambda question: [reply(question)])
        for concurrency in (1, 300):
            for protocol in ("udp", "tcp"):
                tally = self.measure(server.port, protocol, concurrency=concurrency, queries=20)
                self.assertEqual(told(tally), {"sent": 20, "answered": 20})

    def test_sockets(self: Any) -> None:
        """
        Questions come from as many ports as are wanted.
        """
        server = self.serve(lambda question: [reply(question)])
        self.assertEqual(told(self.measure(server.port, sockets=4))["answered"], 50)

    def test_coordinatedOmission(self: Any) -> None:
        """
        At a rate, latency is counted from when a question is due: when the
        first one stalls everything, all that follow were waiting.
        """
        asked: list[bytes] = []

        def answer(question: bytes) -> list[bytes]:
            asked.append(question)
            return [] if len(asked) == 1 else [reply(question)]

        tally = self.measure(
            self.serve(answer).port, concurrency=1, queries=40, timeout=0.6, rate=1000.0
        )
        self.assertEqual((tally["timeouts"], tally["answered"]), (1, 39))
        # All were due within 40 ms and had to wait until 600 ms.
        self.assertGreaterEqual(tally.least, 500)


class PythonLoadTests(LoadContract, SynchronousTestCase):
    """
    Tests for L{load}.
    """

    compiled = False


class CompiledLoadTests(LoadContract, SynchronousTestCase):
    """
    Tests for the compiled twin.
    """

    compiled = True

    def test_bounds(self) -> None:
        """
        What would overrun a table is refused.
        """
        module = twin(True)
        options = {"queries": 1, "timeout": 1.0}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for sockets, concurrency in [([one], 0), ([one], 20000), ([], 1), ([one, one], 1)]:
                self.assertRaises(
                    ValueError,
                    module.DatagramLoad,
                    sockets,
                    QUESTIONS,
                    Tally(),
                    concurrency=concurrency,
                    **options,
                )


def _isReadable(waiting: socket.socket) -> bool:
    """
    Is there something to be read?
    """
    return bool(select.select([waiting], [], [], 0)[0])


def _changed(right: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    """
    A reply with other octets here and there.
    """
    octets = bytearray(right)
    for place, value in changes:
        octets[place % len(octets)] = value
    return bytes(octets[: len(octets) - cut])


replies = st.tuples(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=3),
    st.integers(0, 40),
)


class SameTests(SynchronousTestCase):
    """
    Both twins judge alike, whatever comes.
    """

    def settle(self, driven: Any, mine: socket.socket) -> None:
        """
        Have all read that there is, in as many moments as it takes: in a single
        one, a busy machine may give us no time at all.
        """
        while driven.step(MOMENT) and _isReadable(mine):
            pass

    def datagrams(self, compiled: bool, made: list[tuple[int, Any]]) -> dict[str, int]:
        """
        Judge changed replies to three questions.
        """
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with mine, theirs:
            mine.setblocking(False)
            theirs.setblocking(False)
            tally = Tally()
            driven = twin(compiled).DatagramLoad(
                [mine], QUESTIONS, tally, queries=3, concurrency=3, timeout=5.0
            )
            questions: list[bytes] = []
            while len(questions) < 3:
                driven.step(MOMENT)
                while _isReadable(theirs):
                    questions.append(theirs.recv(512))
            for which, (changes, cut) in made:
                theirs.send(_changed(reply(questions[which]), changes, cut))
            self.settle(driven, mine)
            return told(tally)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2), replies), max_size=6))
    def test_datagrams(self, made: list[tuple[int, Any]]) -> None:
        """
        Datagrams.
        """
        self.assertEqual(self.datagrams(False, made), self.datagrams(True, made))

    def streams(self, compiled: bool, frames: list[Any], cuts: list[int]) -> dict[str, int]:
        """
        Judge changed replies to one question, sent in pieces.
        """
        pairs: list[tuple[socket.socket, socket.socket]] = []

        def connect() -> socket.socket:
            mine, theirs = socket.socketpair()
            mine.setblocking(False)
            pairs.append((mine, theirs))
            return mine

        tally = Tally()
        driven = twin(compiled).StreamLoad(
            connect, QUESTIONS, tally, queries=1, concurrency=1, timeout=5.0
        )
        while not pairs or not _isReadable(pairs[0][1]):
            driven.step(MOMENT)
        [(mine, theirs)] = pairs
        question = theirs.recv(512)[2:]
        octets = b""
        for changes, cut in frames:
            message = _changed(reply(question), changes, cut)
            octets += struct.pack("!H", len(message)) + message
        at = 0
        for cut in [*sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]:
            if cut > at and driven.over == 0:
                theirs.sendall(octets[at:cut])
                self.settle(driven, mine)
                at = cut
        driven.close()
        theirs.close()
        # What follows the answer is read or not, as it happens to come.
        counts = told(tally)
        if driven.over:
            counts.pop("unexpected", None)
        return counts

    def test_emptyFrame(self) -> None:
        """
        A message without a single octet.
        """
        for compiled in (False, True):
            counts = self.streams(compiled, [([], 35)], [])
            self.assertEqual(counts, {"sent": 1, "unexpected": 1})

    @settings(max_examples=40, deadline=None)
    @given(st.lists(replies, min_size=1, max_size=4), st.lists(st.integers(0, 200), max_size=3))
    def test_streams(self, frames: list[Any], cuts: list[int]) -> None:
        """
        Streams.
        """
        self.assertEqual(self.streams(False, frames, cuts), self.streams(True, frames, cuts))
