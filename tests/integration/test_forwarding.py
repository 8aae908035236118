# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The forwarder against servers on loopback that behave in all the ways there are.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.internet import reactor as globalReactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.names import dns
from twisted.trial.unittest import TestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.query import ClientQuery
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.factory import UpstreamFactory, UpstreamSpec
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import FailureKind, Standing, Strategy
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.support.ports import freePort

reactor: Any = globalReactor

DATA = Path(__file__).parent.parent / "data"

Behaviour = Callable[[bytes], Iterator[bytes]]
"""Makes the messages to send for a query."""


def good(query: bytes, address: bytes = b"\xc0\0\2\1", flags: int = 0x8180) -> bytes:
    """
    The right reply to a query: one address.
    """
    end = scan(query).questionEnd
    return (
        query[:2]
        + struct.pack("!HHHHH", flags, 1, 1, 0, 0)
        + query[12:end]
        + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4"
        + address
    )


def honest(query: bytes) -> Iterator[bytes]:
    """
    Behave.
    """
    yield good(query)


def silent(query: bytes) -> Iterator[bytes]:
    """
    Say nothing.
    """
    yield from ()


class UDPServer(DatagramProtocol):
    """
    Answers datagrams as it is told to.
    """

    noisy = False

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.queries: list[bytes] = []
        self.peers: set[int] = set()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.queries.append(datagram)
        self.peers.add(addr[1])
        for message in self.behaviour(datagram):
            self.transport.write(message, addr)  # type: ignore[union-attr]


class TCPServer(Protocol):
    """
    Answers messages of a stream as it is told to; an empty message closes it.
    """

    def connectionMade(self) -> None:
        self.buffer = b""
        self.server: Server = self.factory.server
        self.server.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 2:
            (length,) = struct.unpack_from("!H", self.buffer)
            query, rest = self.buffer[2 : 2 + length], self.buffer[2 + length :]
            if len(query) < length:
                return
            self.buffer = rest
            self.server.streamed.append(query)
            for message in self.server.overTCP(query):
                if not message:
                    self.transport.loseConnection()  # type: ignore[union-attr]
                    return
                self.transport.write(message)  # type: ignore[union-attr]


def framed(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


def streamed(query: bytes) -> Iterator[bytes]:
    """
    Behave, on a stream.
    """
    yield framed(good(query, b"\xc0\0\2\2"))


class Server:
    """
    A server on one UDP and TCP port.
    """

    def __init__(self, behaviour: Behaviour = honest, overTCP: Behaviour = streamed) -> None:
        self.udp = UDPServer(behaviour)
        self.overTCP = overTCP
        self.streamed: list[bytes] = []
        self.connections: list[TCPServer] = []
        self.port = freePort()
        self.start()

    def start(self) -> None:
        """
        Listen.
        """
        factory = Factory.forProtocol(TCPServer)
        factory.noisy = False
        factory.server = self  # type: ignore[attr-defined]
        tcp = reactor.listenTCP(self.port, factory, interface="127.0.0.1")
        udp = reactor.listenUDP(self.port, self.udp, interface="127.0.0.1")
        self.listening = [tcp, udp]

    def stop(self) -> Deferred[Any]:
        """
        Be gone.
        """
        for connection in self.connections:
            connection.transport.abortConnection()  # type: ignore[union-attr]
        self.connections.clear()
        listening, self.listening = self.listening, []
        return gatherResults([maybeDeferred(port.stopListening) for port in listening])


class ForwardingTests(TestCase):
    """
    L{ForwardingResolver} with real sockets.
    """

    timeout = 20

    def server(self, behaviour: Behaviour = honest, overTCP: Behaviour = streamed) -> Server:
        server = Server(behaviour, overTCP)
        self.addCleanup(server.stop)
        return server

    def forward(
        self,
        *servers: Server,
        scheme: str = "udp",
        strategy: Strategy = Strategy.FAILOVER,
        timeout: float = 5.0,
        **options: Any,
    ) -> ForwardingResolver:
        """
        Forward to servers, named by number.
        """
        self.factory = UpstreamFactory(reactor, **options)
        self.specs = [
            UpstreamSpec(str(number), UpstreamAddress.parse(f"{scheme}://127.0.0.1:{server.port}"))
            for number, server in enumerate(servers)
        ]
        resolver = ForwardingResolver(
            self.factory.upstreamSet(self.specs, strategy), clock=reactor, timeout=timeout
        )
        self.addCleanup(resolver.close)
        return resolver

    def standing(self, resolver: ForwardingResolver, place: int = 0) -> Standing:
        standing = resolver.upstreams.upstreams[place].standing
        assert isinstance(standing, Standing)
        return standing

    async def ask(self, resolver: ForwardingResolver, name: str = "www.example.org") -> Answer:
        answer = await resolver.answer(ClientQuery(fromText(name)))  # type: ignore[misc]
        assert isinstance(answer, Answer)
        return answer

    def assertAddress(self, answer: Answer, address: str) -> None:
        self.assertEqual(answer.outcome, Outcome.UPSTREAM, answer.extendedError)
        self.assertEqual([each.payload for each in answer[0]], [dns.Record_A(address, 60)])

    async def test_manyQuestions(self) -> None:
        """
        Many questions at once all have their own answer, and leave from many
        ports.
        """

        def numbered(query: bytes) -> Iterator[bytes]:
            yield good(query, b"\x0a\0" + struct.pack("!H", int(query[14:18])))

        server = self.server(numbered)
        resolver = self.forward(server)
        answers = await gatherResults(
            [
                Deferred.fromCoroutine(self.ask(resolver, f"n{number:04}.example.org"))
                for number in range(600)
            ]
        )
        for number, answer in enumerate(answers):
            self.assertAddress(answer, f"10.0.{number >> 8}.{number & 255}")
        self.assertGreater(len(server.udp.peers), 100)
        self.assertGreater(len({query[:2] for query in server.udp.queries}), 590)

    async def test_forgeries(self) -> None:
        """
        Forged replies ahead of the right one make no difference.
        """

        def attacked(query: bytes) -> Iterator[bytes]:
            evil = good(query, b"\6\6\6\6")
            yield bytes([evil[0] ^ 1]) + evil[1:]
            yield evil[:12] + b"\3WwX" + evil[16:]
            yield evil[:2] + query[2:4] + evil[4:]
            yield evil[:3]
            yield b"\xff" * 600
            yield b""
            yield good(query)

        resolver = self.forward(self.server(attacked))
        self.assertAddress(await self.ask(resolver), "192.0.2.1")
        standing = self.standing(resolver)
        self.assertEqual((standing.mismatched, standing.malformed), (3, 3))

    async def test_wrongCase(self) -> None:
        """
        A server that changes letters is asked over TCP.
        """

        def changed(query: bytes) -> Iterator[bytes]:
            whole = good(query)
            yield whole[:12] + whole[12:29].swapcase() + whole[29:]

        server = self.server(changed)
        resolver = self.forward(server)
        self.assertAddress(await self.ask(resolver), "192.0.2.2")
        self.assertEqual(len(server.streamed), 1)
        for number in range(3):
            await self.ask(resolver, f"n{number}.example.org")
        self.assertLess(len(server.streamed), 5)

    async def test_truncated(self) -> None:
        """
        TC leads to TCP; the next one takes the same connection.
        """

        def cut(query: bytes) -> Iterator[bytes]:
            yield good(query, flags=0x8380)[:-8]

        server = self.server(cut)
        resolver = self.forward(server)
        for name in ("www.example.org", "other.example.org"):
            self.assertAddress(await self.ask(resolver, name), "192.0.2.2")
        self.assertEqual((len(server.streamed), len(server.connections)), (2, 1))
        self.assertEqual(self.standing(resolver).truncated, 2)

    async def test_lostDatagram(self) -> None:
        """
        A query that got lost is sent again.
        """

        def second(query: bytes) -> Iterator[bytes]:
            if len(server.udp.queries) > 1:
                yield good(query)

        server = self.server(second)
        resolver = self.forward(server)
        self.assertAddress(await self.ask(resolver), "192.0.2.1")
        self.assertEqual(self.standing(resolver).retransmissions, 1)

    async def test_silence(self) -> None:
        """
        A silent server makes room for the next, and is then left alone; its
        late reply is only counted.
        """

        quiet = self.server(silent)
        resolver = self.forward(quiet, self.server(), timeout=2.0)
        answer = await self.ask(resolver)
        self.assertAddress(answer, "192.0.2.1")
        self.assertEqual(answer.upstream, "1")
        standing = self.standing(resolver)
        self.assertEqual(standing.failures[FailureKind.TIMEOUT], 1)
        asked = len(quiet.udp.queries)
        self.assertAddress(await self.ask(resolver, "other.example.org"), "192.0.2.1")
        self.assertEqual(len(quiet.udp.queries), asked)

    async def test_nobody(self) -> None:
        """
        With nobody there, the answer is SERVFAIL at once; when the server is
        back, it is asked though all are left alone.
        """

        server = self.server()
        resolver = self.forward(server, timeout=5.0)
        self.assertAddress(await self.ask(resolver), "192.0.2.1")
        await server.stop()
        answer = await self.ask(resolver, "gone.example.org")
        self.assertEqual((answer.rCode, answer.outcome), (2, Outcome.UPSTREAM_ERROR))
        assert answer.extendedError is not None
        self.assertEqual(answer.extendedError.text, "0: Connection refused")
        self.assertFalse(self.standing(resolver).usable(reactor.seconds()))
        server.start()
        self.assertAddress(await self.ask(resolver, "back.example.org"), "192.0.2.1")
        self.assertTrue(self.standing(resolver).usable(reactor.seconds()))

    async def test_parallel(self) -> None:
        """
        Asked in parallel, the quickest answers.
        """

        resolver = self.forward(
            self.server(silent), self.server(), self.server(silent), strategy=Strategy.PARALLEL
        )
        self.assertEqual((await self.ask(resolver)).upstream, "1")

    async def test_loadBalance(self) -> None:
        """
        Balanced, all servers have their share.
        """

        servers = [self.server() for _ in range(3)]
        resolver = self.forward(*servers, strategy=Strategy.LOAD_BALANCE)
        for number in range(9):
            await self.ask(resolver, f"n{number}.example.org")
        self.assertEqual([len(server.udp.queries) for server in servers], [3, 3, 3])

    async def test_overTCP(self) -> None:
        """
        A server may be asked over TCP alone; replies come in any order.
        """

        held: list[bytes] = []

        def reversed_(query: bytes) -> Iterator[bytes]:
            held.append(query)
            if len(held) == 5:
                for each in reversed(held):
                    yield framed(good(each, b"\x0a\0\0" + each[14:15]))

        server = self.server(silent, reversed_)
        resolver = self.forward(server, scheme="tcp")
        answers = await gatherResults(
            [
                Deferred.fromCoroutine(self.ask(resolver, f"n{number}.example.org"))
                for number in range(5)
            ]
        )
        for number, answer in enumerate(answers):
            self.assertAddress(answer, f"10.0.0.{48 + number}")
        self.assertEqual(len(server.connections), 1)

    async def test_closedConnection(self) -> None:
        """
        A server that closed a kept connection is asked over a new one; one
        that closes in the middle of each reply is given up.
        """

        server = self.server(silent)
        resolver = self.forward(server, scheme="tcp", validateBeforeReuse=True)
        self.assertAddress(await self.ask(resolver), "192.0.2.2")
        server.connections[0].transport.abortConnection()  # type: ignore[union-attr]
        self.assertAddress(await self.ask(resolver, "other.example.org"), "192.0.2.2")
        self.assertEqual(len(server.connections), 2)

        def midway(query: bytes) -> Iterator[bytes]:
            yield framed(good(query))[:-3]
            yield b""

        server.overTCP = midway
        reconnects = self.standing(resolver).reconnects
        answer = await self.ask(resolver, "third.example.org")
        self.assertEqual(answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertEqual(self.standing(resolver).reconnects, reconnects + 1)

    async def test_reload(self) -> None:
        """
        Replacing the upstreams keeps those that stay, and lets the others end
        what is under way.
        """

        release: list[Callable[[], None]] = []

        def slow(query: bytes) -> Iterator[bytes]:
            peer = max(old.udp.peers)
            release.append(
                lambda: old.udp.transport.write(good(query), ("127.0.0.1", peer))  # type: ignore[union-attr]
            )
            yield from ()

        old, new = self.server(slow), self.server()
        resolver = self.forward(old, new)
        under_way = Deferred.fromCoroutine(self.ask(resolver))
        while not release:
            await deferLater(reactor, 0.01)
        kept = resolver.upstreams.upstreams[1]
        resolver.replaceUpstreams(
            self.factory.upstreamSet(self.specs[1:], previous=resolver.upstreams)
        )
        self.assertEqual(resolver.upstreams.upstreams, (kept,))
        self.assertEqual((await self.ask(resolver, "new.example.org")).upstream, "1")
        release[0]()
        self.assertEqual((await under_way).upstream, "0")

    async def test_malformedReplies(self) -> None:
        """
        Hostile and broken replies lead to what the table accepts, within the
        deadline, and nothing is left behind.
        """

        cases = json.loads((DATA / "malformed_replies.json").read_text())["cases"]
        self.assertGreater(len(cases), 9)
        for case in cases:
            server = self.server(_table(case), _table(case, framed))
            # Where waiting in vain is right, not for long.
            accepted = _accepted(case["accept"])
            resolver = self.forward(server, timeout=0.4 if "SERVFAIL" in accepted else 5.0)
            answer = await self.ask(resolver, "www.conformance-probe.com")
            self.assertIn(_verdict(answer), accepted, case)
            names = [str(each.name) for each in answer[0]]
            self.assertLessEqual(set(names), {"www.conformance-probe.com"}, case)
            if "0xffffffff" in case["name"]:
                self.assertEqual(answer.cacheSeconds, 0)
            self.assertEqual(len(resolver.exchanges), 0)

    def test_emptySet(self) -> Deferred[None]:
        """
        Closing without having asked anything is no trouble.
        """
        resolver = ForwardingResolver(UpstreamSet({}), clock=reactor)
        return resolver.close()


def _table(case: dict[str, Any], frame: Callable[[bytes], bytes] = bytes) -> Behaviour:
    """
    Behave as a case of the table says.
    """

    def behaviour(query: bytes) -> Iterator[bytes]:
        message = bytes.fromhex(case["hex"])
        question = query[12 : scan(query).questionEnd]
        if "wrong ID" not in case["name"]:
            message = query[:2] + message[2:]
        if message[12 : 12 + len(question)].lower() == question.lower():
            message = message[:12] + question + message[12 + len(question) :]
        yield frame(message)

    return behaviour


def _verdict(answer: Answer) -> str:
    return {0: "NOERROR", 2: "SERVFAIL"}[answer.rCode]


def _accepted(words: list[str]) -> set[str]:
    """
    What the table accepts, in answers: having waited in vain is SERVFAIL too.
    """
    accepted = set()
    for word in words:
        accepted.add("NOERROR" if word.startswith("NOERROR") else "SERVFAIL")
    return accepted
