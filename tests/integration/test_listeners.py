# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.listeners}, on loopback.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor as globalReactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import ListenError
from dnsguard.replay import newStore
from dnsguard.replay.batch import RECORD
from dnsguard.server.address import ListenAddress
from dnsguard.server.counters import PastSockets
from dnsguard.server.crowd import Crowd, StreamTransport, isAvailable
from dnsguard.server.datagram import DatagramListener
from dnsguard.server.factory import GuardServerFactory
from dnsguard.server.listeners import ListenerService
from dnsguard.wire.layout import Layout, scan
from tests.support.answering import Answers, FakeReplay, Observer, addressAnswer
from tests.support.requests import requestFor

reactor: Any = globalReactor

LOOPBACK = ListenAddress("127.0.0.1", 0)
HAS_IPV6 = os.path.exists("/proc/net/if_inet6") and socket.has_ipv6


def exchangeUDP(request: bytes, address: ListenAddress, connected: bool = True) -> bytes:
    """
    Ask over UDP, blocking. A connected socket takes replies only from the
    address that it asked.
    """
    with socket.socket(address.family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((address.host, address.port))
        client.send(request)
        return client.recv(65535)


def exchangeTCP(octets: bytes, address: ListenAddress, count: int) -> list[bytes]:
    """
    Send these octets over TCP and end, blocking; read so many messages.
    """
    with socket.create_connection((address.host, address.port), timeout=5) as client:
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        stream = client.makefile("rb")
        replies = []
        for _ in range(count):
            replies.append(stream.read(int.from_bytes(stream.read(2), "big")))
        assert stream.read() == b""
        return replies


def framed(*messages: bytes) -> bytes:
    """
    Messages as a stream has them.
    """
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


class ListenerTestCase(TestCase):
    """
    A server that listens.
    """

    def setUp(self) -> None:
        self.answers = Answers()
        self.server = GuardServerFactory(resolver=self.answers, clock=reactor)
        self.addCleanup(self.server.pending.close)

    def service(self, *addresses: ListenAddress, **facts: Any) -> ListenerService:
        """
        Make a service that is stopped after the test.
        """
        facts.setdefault("streams", self.server.streams)
        service = ListenerService(reactor, self.server, addresses, **facts)

        def stop() -> Deferred[None] | None:
            return service.stopService() if service.running else None

        self.addCleanup(stop)
        return service

    def start(self, *addresses: ListenAddress, **facts: Any) -> ListenerService:
        """
        Make a service and start it.
        """
        service = self.service(*addresses, **facts)
        service.startService()
        return service

    async def ask(self, address: ListenAddress, request: bytes) -> Layout:
        """
        Ask over UDP without blocking.
        """
        return scan(await deferToThread(exchangeUDP, request, address))


class AnsweringTests(ListenerTestCase):
    """
    Tests for a service that runs.
    """

    def test_interface(self) -> None:
        """
        It is a service.
        """
        verifyObject(IService, self.service(LOOPBACK))

    async def test_severalSockets(self) -> None:
        """
        Several sockets share one address; all of them answer, and each is
        made by what the service was given.
        """
        made: list[ListenAddress] = []

        def make(bound: socket.socket, address: ListenAddress) -> DatagramListener:
            made.append(address)
            return DatagramListener(bound, self.server, reactor)

        service = self.start(LOOPBACK, streams=None, sockets=4, makeListener=make)
        hosts = {address for _, address in service.getHosts()}
        self.assertEqual((len(made), hosts), (4, set(made)))
        (host,) = hosts
        for _ in range(24):
            self.assertEqual((await self.ask(host, requestFor())).rCode, dns.OK)
        taken = [counters.received for counters in service.datagramCounters]
        self.assertEqual(sum(taken), 24)
        self.assertGreater(sum(map(bool, taken)), 1)

    async def test_sharedWithHelpers(self) -> None:
        """
        Sockets of other processes are bound with the service's own, at the same
        addresses; another service listens on them without binding anything. Who
        connects is taken in by whoever has time.
        """
        service = self.service(LOOPBACK, ListenAddress("127.0.0.2", 0), sockets=2, helpers=2)
        service.privilegedStartService()
        shares = service.takeShares()
        service.startService()
        self.assertEqual(service.shares, [[], []])
        udp = [host for protocol, host in service.getHosts() if protocol == "udp"]
        for share in shares:
            bound = [each.getsockname() for _, each in share if each.type == socket.SOCK_DGRAM]
            self.assertEqual(bound, [(host.host, host.port) for host in udp])
            self.assertEqual(len(share), 6)
        other = self.start(inherited=shares[0])
        self.assertEqual(len(other.getHosts()), 6)
        for _, each in shares[1]:
            each.close()
        for _ in range(30):
            self.assertEqual((await self.ask(udp[0], requestFor())).rCode, dns.OK)
        for listening in (service, other):
            counters = listening.datagramCounters
            self.assertGreater(sum(counter.received for counter in counters), 0)
        address = dict(service.getHosts())["tcp"]
        await service.stopService()
        octets = framed(requestFor())
        self.assertEqual(len(await deferToThread(exchangeTCP, octets, address, 1)), 1)

    def test_sharesNobodyTook(self) -> None:
        """
        Sockets that nobody took are closed with the others.
        """
        service = self.service(LOOPBACK, helpers=1)
        service.privilegedStartService()
        ((_, each), *_) = service.shares[0]
        service._closeAll()
        self.assertEqual(each.fileno(), -1)

    def test_sharedWithNobodyElse(self) -> None:
        """
        However many sockets share an address, it is refused if somebody has
        it who would share it, too.
        """
        first = self.start(LOOPBACK, streams=None, sockets=2)
        ((_, host), *_) = first.getHosts()
        second = self.service(host, streams=None, sockets=2)
        error = self.assertRaises(ListenError, second.startService)
        self.assertIn("in use", str(error))

    async def test_udp(self) -> None:
        """
        Over UDP a question is answered, and the client's address known.
        """
        service = self.start(LOOPBACK)
        hosts = dict(service.getHosts())
        layout = await self.ask(hosts["udp"], requestFor(id=7))
        self.assertEqual((layout.id, layout.counts), (7, (1, 1, 0, 0)))
        self.assertEqual(self.answers.asked[0].asker.address, "127.0.0.1")
        self.assertEqual(service.datagramCounters[0].sent, 1)

    async def test_past(self) -> None:
        """
        What was counted on a socket outlives it.
        """
        past = PastSockets()
        service = self.start(LOOPBACK, past=past)
        for _ in range(2):
            await self.ask(dict(service.getHosts())["udp"], requestFor())
            self.assertEqual(sum(each.sent for each in service.datagramCounters), 1)
            await service.stopService()
            self.assertEqual(service.datagramCounters, [])
            service.startService()
        self.assertEqual((past.counted["received"], past.counted["sent"]), (2, 2))

    async def test_tcp(self) -> None:
        """
        Over TCP many questions are answered on one connection, the client
        having ended its side.
        """
        service = self.start(LOOPBACK)
        address = dict(service.getHosts())["tcp"]
        octets = framed(*(requestFor(id=number) for number in range(100)))
        replies = await deferToThread(exchangeTCP, octets, address, 100)
        self.assertEqual([scan(reply).id for reply in replies], list(range(100)))
        assert service.streamCounters is not None
        self.assertEqual(service.streamCounters.accepted, 1)

    async def test_ipv6(self) -> None:
        """
        IPv6 is served like IPv4.
        """
        if not HAS_IPV6:
            raise SkipTest("no IPv6 on this machine")
        hosts = dict(self.start(ListenAddress("::1", 0)).getHosts())
        self.assertEqual((await self.ask(hosts["udp"], requestFor())).counts, (1, 1, 0, 0))
        (reply,) = await deferToThread(exchangeTCP, framed(requestFor()), hosts["tcp"], 1)
        self.assertEqual(scan(reply).counts, (1, 1, 0, 0))
        self.assertEqual(self.answers.asked[0].asker.address, "::1")

    async def test_wildcard(self) -> None:
        """
        On a wildcard address replies leave from the address that was asked.
        """
        service = self.start(*ListenAddress.parse(":0"), streams=None)
        for _, host in service.getHosts():
            for own in ["::1"] if ":" in host.host else ["127.0.0.1", "127.0.0.2"]:
                address = ListenAddress(own, host.port)
                self.assertEqual((await self.ask(address, requestFor())).counts, (1, 1, 0, 0))

    async def test_replay(self) -> None:
        """
        What the replay store has doesn't get to the chain.
        """
        replay = FakeReplay()
        request = requestFor()
        facts: Any = None
        replay.remember(request, b"from the store", facts, 1, 0)
        service = self.start(LOOPBACK, replay=replay, streams=None)
        address = service.getHosts()[0][1]
        self.assertEqual(await deferToThread(exchangeUDP, request, address), b"from the store")
        self.assertEqual(self.answers.asked, [])

    async def test_exactlyOnce(self) -> None:
        """
        Whether over TCP or UDP, and from whichever store, each query is
        answered once, and the observers hear of it once, with its transport.
        """
        facts: dict[str, Any] = {"replaySeconds": 300.0}
        self.answers.make = lambda query: addressAnswer(query, **facts)
        for compiled in (False, None):
            replay, observer = newStore(compiled=compiled), Observer()
            server = GuardServerFactory(
                resolver=self.answers, clock=reactor, replay=replay, observers=[observer]
            )
            self.addCleanup(server.pending.close)
            service = ListenerService(
                reactor, server, [LOOPBACK], streams=server.streams, replay=replay
            )
            service.startService()
            hosts = dict(service.getHosts())
            names = [f"host{number % 7}.example.org" for number in range(200)]
            octets = framed(*(requestFor(name, id=at) for at, name in enumerate(names)))
            for _ in range(2):
                replies = await deferToThread(exchangeTCP, octets, hosts["tcp"], 200)
                self.assertEqual([scan(reply).id for reply in replies], list(range(200)))
            for name in names[:20]:
                await self.ask(hosts["udp"], requestFor(name))
            await maybeDeferred(service.stopService)
            records = [record[4] for record in RECORD.iter_unpack(replay.drain().records)]
            self.assertEqual(len(observer.events), 7)
            self.assertEqual((records.count(1), records.count(0)), (393, 20))
            self.assertEqual(server.streams.counters.replayed, 393)

    async def test_manyConnections(self) -> None:
        """
        Connections are watched together: the reactor sees one descriptor for
        all of them.
        """
        if not isAvailable():
            raise SkipTest("this system has no epoll")
        service = self.start(LOOPBACK, datagrams=False)
        address = service.getHosts()[0][1]
        clients = [socket.create_connection((address.host, address.port)) for _ in range(5)]
        for client in clients:
            self.addCleanup(client.close)
        (reply,) = await deferToThread(exchangeTCP, framed(requestFor()), address, 1)
        self.assertEqual(scan(reply).rCode, dns.OK)
        self.assertEqual(len(self.server.streams.connections), 5)
        kinds = [type(reader) for reader in reactor.getReaders()]
        self.assertNotIn(StreamTransport, kinds)
        self.assertEqual(kinds.count(Crowd), 1)

    async def test_streamsOnly(self) -> None:
        """
        Each protocol can be left out.
        """
        service = self.start(LOOPBACK, datagrams=False)
        self.assertEqual([protocol for protocol, _ in service.getHosts()], ["tcp"])


class StockListenerTests(TestCase):
    """
    Tests for a server behind Twisted's own listeners.
    """

    async def test_stock(self) -> None:
        """
        A factory made of nothing but a resolver answers behind a stock
        C{DNSDatagramProtocol}, and on connections that it accepts itself.
        """
        factory = GuardServerFactory(resolver=Answers())
        udp = reactor.listenUDP(0, dns.DNSDatagramProtocol(factory), "127.0.0.1")
        tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
        try:
            address = ListenAddress("127.0.0.1", udp.getHost().port)
            reply = await deferToThread(exchangeUDP, requestFor(), address)
            self.assertEqual(scan(reply).counts, (1, 1, 0, 0))
            address = ListenAddress("127.0.0.1", tcp.getHost().port)
            octets = framed(requestFor(), requestFor())
            self.assertEqual(len(await deferToThread(exchangeTCP, octets, address, 2)), 2)
        finally:
            await maybeDeferred(udp.stopListening)
            await maybeDeferred(tcp.stopListening)
            factory.streams.abort()
            await factory.streams.whenEmpty()


class StartingTests(ListenerTestCase):
    """
    Tests for starting.
    """

    def occupied(self) -> ListenAddress:
        """
        An address that somebody else listens on.
        """
        other = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.addCleanup(other.close)
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        return ListenAddress("127.0.0.1", other.getsockname()[1])

    async def test_allOrNothing(self) -> None:
        """
        When one address can't be had the error names it, and none is kept.
        """
        address = self.occupied()
        first = ListenAddress("127.0.0.2", address.port)
        service = self.service(first, address)
        reason = self.assertRaises(ListenError, service.startService)
        self.assertEqual(str(reason), f"can't listen on {address} (tcp): address already in use")
        self.assertEqual((service.running, service.getHosts()), (0, []))
        self.assertEqual(len(self.start(first).getHosts()), 2)

    async def test_optional(self) -> None:
        """
        An optional address that this machine doesn't have is left out.
        """
        missing = ListenAddress("192.0.2.1", 0, optional=True)
        self.assertEqual(len(self.start(LOOPBACK, missing).getHosts()), 2)

    async def test_missing(self) -> None:
        """
        One that isn't optional is an error, and so is it when there is no
        other.
        """
        foreign = ListenAddress("192.0.2.1", 0)
        self.assertRaises(ListenError, self.service(LOOPBACK, foreign).startService)
        optional = ListenAddress("192.0.2.1", 0, optional=True)
        self.assertRaises(ListenError, self.service(optional).startService)
        self.assertRaises(ListenError, self.service().startService)

    async def test_optionalButInUse(self) -> None:
        """
        An optional address that somebody else has is an error.
        """
        address = self.occupied()
        taken = ListenAddress(address.host, address.port, optional=True)
        self.assertRaises(ListenError, self.service(taken).startService)

    async def test_privileged(self) -> None:
        """
        The sockets are bound while there are privileges for it, and no query
        is taken before the service is started.
        """
        service = self.service(LOOPBACK)
        service.privilegedStartService()
        self.assertEqual(service.getHosts(), [])
        service.startService()
        address = dict(service.getHosts())["udp"]
        self.assertEqual((await self.ask(address, requestFor())).counts, (1, 1, 0, 0))


class StoppingTests(ListenerTestCase):
    """
    Tests for stopping.
    """

    def setUp(self) -> None:
        super().setUp()
        self.asked: Deferred[None] = Deferred()
        self.later: Deferred[Answer | None] = Deferred()

        def make(query: object) -> Deferred[Answer | None]:
            reactor.callLater(0, self.asked.callback, None)
            return self.later

        self.answers.make = make

    async def test_queryUnderway(self) -> None:
        """
        A query under way is answered before the sockets close, over UDP and
        over TCP.
        """
        for protocol in ("udp", "tcp"):
            self.asked, self.later = Deferred(), Deferred()
            service = self.start(LOOPBACK)
            address = dict(service.getHosts())[protocol]
            reply: Deferred[Any]
            if protocol == "udp":
                reply = deferToThread(exchangeUDP, requestFor(), address)
            else:
                reply = deferToThread(exchangeTCP, framed(requestFor()), address, 1)
            await self.asked
            stopped = service.stopService()
            self.assertNoResult(stopped)
            self.later.callback(Answer.failure(3, Outcome.LOCAL))
            await stopped
            octets = await reply
            self.assertEqual(scan(octets if protocol == "udp" else octets[0]).rCode, 3)
            self.assertEqual(service.getHosts(), [])

    async def test_queryThatTakesTooLong(self) -> None:
        """
        Queries under way get only so much time.
        """
        service = self.start(LOOPBACK, drainSeconds=0.01)
        address = dict(service.getHosts())["udp"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(requestFor(), (address.host, address.port))
            await self.asked
            await service.stopService()
        self.assertEqual(len(self.server.pending), 1)
        self.later.callback(None)
        self.assertEqual(self.server.counters.undelivered, 1)

    async def test_idleConnection(self) -> None:
        """
        Connections with nothing under way are closed, and nobody new gets in.
        """
        service = self.start(LOOPBACK)
        address = dict(service.getHosts())["tcp"]
        with socket.create_connection((address.host, address.port), timeout=5) as client:
            made: Deferred[None] = Deferred()
            while not self.server.streams.connections:
                made = Deferred()
                reactor.callLater(0, made.callback, None)
                await made
            await service.stopService()
            self.assertEqual(await deferToThread(client.recv, 10), b"")
        self.assertEqual(self.server.streams.connections, set())
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((address.host, address.port), timeout=5)

    async def test_startAgain(self) -> None:
        """
        A stopped service can be started again.
        """
        service = self.start(LOOPBACK)
        await service.stopService()
        service.startService()
        self.assertEqual(len(service.getHosts()), 2)
