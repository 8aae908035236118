# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.listener}, over real sockets on loopback.
"""

from __future__ import annotations

import select
import socket
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet import defer, reactor, threads
from twisted.trial.unittest import SynchronousTestCase, TestCase

from dnsguard.policy.view import View
from dnsguard.query import Transport
from dnsguard.replay.batch import RECORD
from tests.support.replay import FakePolicy, compiled, facts, reply, request

_store = compiled("_store")
_listener = compiled("_listener")
if _listener is not None:
    from dnsguard.replay.listener import CompiledDatagramListener, ListenerMode

LOCAL = socket.inet_aton("127.0.0.1")
SECONDS = 5.0


def bound(host: str = "127.0.0.1", port: int = 0, reusePort: bool = False) -> socket.socket:
    """
    A server's socket as the server binds it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    if reusePort:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if host == "0.0.0.0":
        made.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    if host == "::":
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    made.bind((host, port))
    return made


def client(port: int, host: str = "127.0.0.1") -> socket.socket:
    """
    A client's socket; it takes replies from the address it asks and from no
    other.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.settimeout(SECONDS)
    made.connect((host, port))
    return made


def name(number: int) -> bytes:
    """
    One of many requests.
    """
    return request(f"host{number}.example.org", id=number & 0xFFFF)


class WorkerTests(SynchronousTestCase):
    """
    Tests for the compiled half alone, polled, without a reactor.
    """

    if _listener is None:
        skip = "the compiled listener isn't built"

    def setUp(self) -> None:
        """
        A store that knows one answer, and a worker on a socket of its own.
        """
        self.store = _store.CompiledReplayStore()
        self.remember(request())

    def remember(self, datagram: bytes, ttl: int = 300, view: int = 0) -> bytes:
        """
        Have a reply kept.
        """
        made = reply(datagram, ttl)
        kept = facts(datagram, view, self.store.generation)
        self.store.remember(datagram, made, kept, 300.0, 100.0)
        return made

    def worker(self, host: str = "127.0.0.1", **arguments: int) -> tuple[Any, int]:
        """
        Make a worker on a socket that doesn't block.

        @return: It, and its port.
        """
        server = bound(host)
        server.setblocking(False)
        self.addCleanup(server.close)
        wildcard = host in ("0.0.0.0", "::")
        made = _listener.DatagramWorker(self.store, server.fileno(), wildcard, **arguments)
        return made, server.getsockname()[1]

    def client(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """
        Make a client.
        """
        made = client(port, host)
        self.addCleanup(made.close)
        return made

    def test_hit(self) -> None:
        """
        A request that the store knows is answered, with its own id, and
        leaves a record of who asked.
        """
        worker, port = self.worker()
        asker = self.client(port)
        asker.send(request(id=0x4321))
        worker.poll()
        self.assertEqual(asker.recv(4096), reply(request(id=0x4321), 300))
        self.assertEqual(worker.misses(10), [])
        (record,) = RECORD.iter_unpack(self.store.drain().records)
        self.assertEqual(record[3:], (len(reply(request(), 300)), 0, 4, LOCAL + bytes(12)))

    def test_miss(self) -> None:
        """
        A request that the store doesn't know is passed on with the sender's
        packed address, and its reply sent back.
        """
        worker, port = self.worker()
        asker = self.client(port)
        asker.send(name(1))
        worker.poll()
        ((asked, address, peer),) = worker.misses(10)
        self.assertEqual((asked, address), (name(1), LOCAL))
        self.assertEqual(worker.send([(b"reply", peer)]), 1)
        self.assertEqual(asker.recv(4096), b"reply")
        self.assertEqual(worker.counters()["sent"], 1)

    def test_wildcard(self) -> None:
        """
        On a wildcard socket, hits and replies to misses leave from the address
        that was asked.
        """
        for wildcard, host in [("0.0.0.0", "127.0.0.5"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")]:
            worker, port = self.worker(wildcard)
            asker = self.client(port, host)
            asker.send(request())
            asker.send(name(1))
            worker.poll()
            self.assertEqual(asker.recv(4096), reply(request(), 300))
            ((_, _, peer),) = worker.misses(10)
            worker.send([(b"reply", peer)])
            self.assertEqual(asker.recv(4096), b"reply")

    def test_mappedAddress(self) -> None:
        """
        A client that comes over IPv4 to an IPv6 socket is an IPv4 client: its
        view, its records and its misses say so, and its replies reach it.
        """
        self.store.adopt(FakePolicy(1, ((LOCAL, 32, 1),), View(number=0)))
        self.remember(request(), 111, view=1)
        self.remember(request(), 222, view=0)
        worker, port = self.worker("::")
        asker = self.client(port)
        asker.send(request())
        asker.send(name(1))
        worker.poll()
        self.assertEqual(asker.recv(4096), reply(request(), 111))
        ((_, address, peer),) = worker.misses(10)
        self.assertEqual(address, LOCAL)
        worker.send([(b"reply", peer)])
        self.assertEqual(asker.recv(4096), b"reply")
        (record,) = RECORD.iter_unpack(self.store.drain().records)
        self.assertEqual(record[5:], (4, LOCAL + bytes(12)))

    def test_rubbish(self) -> None:
        """
        What can't be answered is dropped and counted; what the ordinary road
        answers with an error is passed on to it.
        """
        worker, port = self.worker()
        asker = self.client(port)
        passed = [request(flags=0x2000), request()[:-1], bytes(12), request(type=255)]
        for datagram in [b"", b"\0" * 11, request(flags=0x8100), bytes(2049), *passed]:
            asker.send(datagram)
        worker.poll()
        self.assertEqual([miss[0] for miss in worker.misses(10)], passed)
        counters = worker.counters()
        self.assertEqual(counters["malformed"], 3)
        self.assertEqual(counters["oversized"], 1)
        self.assertEqual(counters["received"], 8)

    def test_missRingIsBounded(self) -> None:
        """
        Misses that find the ring full are counted; those before them wait in
        order, and there is room again when they are taken.
        """
        worker, port = self.worker(missOctets=1 << 14)
        asker = self.client(port)
        for number in range(300):
            asker.send(name(number))
            worker.poll()
        dropped = worker.counters()["missesDropped"]
        self.assertGreater(dropped, 0)
        self.assertEqual(
            [miss[0] for miss in worker.misses(1000)], [name(n) for n in range(300 - dropped)]
        )
        for number in range(1000):
            asker.send(name(number))
            worker.poll()
            self.assertEqual([miss[0] for miss in worker.misses(10)], [name(number)])
        self.assertEqual(worker.counters()["missesDropped"], dropped)

    def test_wakes(self) -> None:
        """
        The wake-up is readable after C{wake} and not after C{hear}.
        """
        worker, _ = self.worker()
        worker.hear()
        worker.wake()
        worker.wake()
        self.assertEqual(select.select([worker.wakeFileno], [], [], 0)[0], [worker.wakeFileno])
        worker.hear()
        self.assertEqual(select.select([worker.wakeFileno], [], [], 0)[0], [])

    def test_portZero(self) -> None:
        """
        A reply that the system refuses to send is counted, and those behind
        it are sent.
        """
        worker, port = self.worker()
        asker = self.client(port)
        asker.send(name(1))
        worker.poll()
        ((_, _, peer),) = worker.misses(10)
        nowhere = peer[:2] + b"\0\0" + peer[4:]
        self.assertEqual(worker.send([(b"one", nowhere), (b"two", peer)]), 2)
        self.assertEqual(asker.recv(4096), b"two")
        counters = worker.counters()
        self.assertEqual((counters["sent"], counters["unsent"]), (1, 1))

    def test_badPeer(self) -> None:
        """
        What isn't a peer is refused.
        """
        worker, _ = self.worker()
        with self.assertRaises(ValueError):
            worker.send([(b"reply", b"")])
        with self.assertRaises(ValueError):
            self.worker(missOctets=1000)

    def test_manyInABatch(self) -> None:
        """
        Hits and misses that arrive together each get what is theirs, and each
        hit leaves its own record.
        """
        worker, port = self.worker()
        askers = [self.client(port) for _ in range(8)]
        known = [self.remember(name(number), 100 + number) for number in range(16)]
        for number in range(32):
            askers[number % 8].send(name(number))
        worker.poll()
        for number, expected in enumerate(known):
            self.assertEqual(askers[number % 8].recv(4096), expected)
        self.assertEqual(
            [miss[0] for miss in worker.misses(100)], [name(n) for n in range(16, 32)]
        )
        batch = self.store.drain()
        self.assertEqual(set(batch.hits.values()), {1})
        self.assertEqual(len(batch.hits), 16)


class RecordingDoor:
    """
    A door that answers each request with what a function makes of it.
    """

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, bytes, Transport]] = []
        self.later = False

    def requestReceived(
        self, request: bytes, address: bytes, transport: Transport, respond: Any
    ) -> bool:
        """
        Note the request, and answer it.
        """
        self.asked.append((request, address, transport))
        if self.later:
            reactor.callLater(0, respond, self.answer(request))
        else:
            assert respond(self.answer(request))
        return True


class CompiledDatagramListenerTests(TestCase):
    """
    Tests for L{CompiledDatagramListener} on the real reactor.
    """

    if _listener is None:
        skip = "the compiled listener isn't built"

    timeout = 30

    def setUp(self) -> None:
        """
        A store that knows ten answers, and a door that knows all.
        """
        self.store = _store.CompiledReplayStore()
        self.door = RecordingDoor(lambda asked: reply(asked, 7))
        for number in range(10):
            self.remember(number, 300)

    def remember(self, number: int, ttl: int) -> None:
        """
        Have a reply kept.
        """
        datagram = name(number)
        kept = facts(datagram, 0, self.store.generation)
        self.store.remember(datagram, reply(datagram, ttl), kept, 1000.0, 100.0)

    def listen(self, mode: Any, **arguments: Any) -> tuple[Any, int]:
        """
        Start a listener.
        """
        server = bound(**arguments)
        made = CompiledDatagramListener(server, self.door, reactor, replay=self.store, mode=mode)
        made.startReading()
        self.addCleanup(made.close)
        return made, made.getHost()[1]

    async def ask(self, port: int, numbers: list[int]) -> list[bytes]:
        """
        Ask from another thread, sixteen questions at a time, and wait for all
        the replies.
        """

        def exchange() -> list[bytes]:
            replies = []
            with client(port) as asker:
                for start in range(0, len(numbers), 16):
                    part = numbers[start : start + 16]
                    for number in part:
                        asker.send(name(number))
                    replies += [asker.recv(4096) for _ in part]
            return replies

        result: list[bytes] = await threads.deferToThread(exchange)
        return result

    async def _answersAll(self, mode: Any) -> None:
        listener, port = self.listen(mode)
        numbers = list(range(10)) * 30 + list(range(100, 200))
        replies = await self.ask(port, numbers)
        self.assertEqual(len(self.door.asked), 100)
        self.assertEqual(self.door.asked[0], (name(100), LOCAL, Transport.UDP))
        self.assertEqual(
            Counter(replies),
            Counter(reply(name(n), 300 if n < 10 else 7) for n in numbers),
        )
        counters = listener.counters
        self.assertEqual(counters.received, 400)
        self.assertEqual(counters.replayed, 300)
        self.assertEqual(counters.sent, 400)
        self.assertEqual(counters.missesDropped, 0)

    def test_answersAllByThread(self) -> defer.Deferred[None]:
        """
        With a thread, each question gets its answer, from the store or from
        the door.
        """
        return defer.Deferred.fromCoroutine(self._answersAll(ListenerMode.THREAD))

    def test_answersAllByReactor(self) -> defer.Deferred[None]:
        """
        Polled by the reactor it does just the same.
        """
        return defer.Deferred.fromCoroutine(self._answersAll(ListenerMode.REACTOR))

    def test_answersLater(self) -> defer.Deferred[None]:
        """
        Replies that the door makes later are sent as well.
        """
        self.door.later = True
        return defer.Deferred.fromCoroutine(self._answersAll(ListenerMode.THREAD))

    async def _everyQueryIsRecorded(self, mode: Any) -> None:
        total = 0
        _, port = self.listen(mode)
        hits: Counter[bytes] = Counter()
        for _ in range(5):
            total += len(await self.ask(port, list(range(10)) * 160))
            batch = self.store.drain()
            for number, count in batch.hits.items():
                hits[batch.entries[number].qname] += count
        while len(batch := self.store.drain()):
            for number, count in batch.hits.items():
                hits[batch.entries[number].qname] += count
        self.assertEqual(sum(hits.values()) + len(self.door.asked), total)
        self.assertEqual(set(hits.values()), {800})
        self.assertEqual(self.store.counters()["hits"], total)

    def test_everyQueryIsRecordedByThread(self) -> defer.Deferred[None]:
        """
        As many records are drained as queries were answered: each exactly once.
        """
        return defer.Deferred.fromCoroutine(self._everyQueryIsRecorded(ListenerMode.THREAD))

    def test_everyQueryIsRecordedByReactor(self) -> defer.Deferred[None]:
        """
        So it is when polled.
        """
        return defer.Deferred.fromCoroutine(self._everyQueryIsRecorded(ListenerMode.REACTOR))

    def test_stops(self) -> None:
        """
        When told to stop, the thread answers what the socket holds, and ends;
        replies to earlier requests are still sent; closing twice is once.
        """
        listener, port = self.listen(ListenerMode.THREAD)
        with client(port) as asker:
            asker.send(name(1))
            self.assertEqual(asker.recv(4096), reply(name(1), 300))
            for _ in range(50):
                asker.send(name(1))
            listener.stopReading()
            listener._thread.join(SECONDS)
            self.assertFalse(listener._thread.is_alive())
            for _ in range(50):
                self.assertEqual(asker.recv(4096), reply(name(1), 300))
        listener.close()
        listener.close()
        self.assertFalse(listener._respond(bytes(56), b"late"))

    async def _sharesThePort(self) -> None:
        first, port = self.listen(ListenerMode.THREAD, reusePort=True)
        second, _ = self.listen(ListenerMode.THREAD, reusePort=True, port=port)
        for _ in range(40):
            if first.counters.replayed and second.counters.replayed:
                break
            replies = await self.ask(port, list(range(10)))
            self.assertEqual(set(replies), {reply(name(n), 300) for n in range(10)})
        self.assertGreater(first.counters.replayed, 0)
        self.assertGreater(second.counters.replayed, 0)
        self.store.adopt(FakePolicy(1))
        for number in range(10):
            self.remember(number, 60)
        for _ in range(10):
            replies = await self.ask(port, list(range(10)))
            self.assertEqual(set(replies), {reply(name(n), 60) for n in range(10)})
        self.assertEqual(self.door.asked, [])

    def test_sharesThePort(self) -> defer.Deferred[None]:
        """
        Two listeners on one port answer from one store, and agree after a
        change of policy.
        """
        return defer.Deferred.fromCoroutine(self._sharesThePort())

    async def _policiesUnderLoad(self) -> None:
        _, port = self.listen(ListenerMode.THREAD)
        replies: list[bytes] = []
        running = [True]

        def load() -> None:
            with client(port) as asker:
                while running:
                    for number in range(10):
                        asker.send(name(number))
                    replies.extend(asker.recv(4096) for _ in range(10))

        loader = Thread(target=load)
        loader.start()
        try:
            for generation in range(1, 60):
                self.store.adopt(FakePolicy(generation, ((LOCAL, 32, generation % 3),)))
                for view in range(3):
                    for number in range(10):
                        datagram = name(number)
                        ttl = 1000 * generation + view
                        made = reply(datagram, ttl)
                        kept = facts(datagram, view, generation)
                        self.store.remember(datagram, made, kept, 1000.0, 100.0)
                while not replies:
                    await threads.deferToThread(str)
                # What was sent before the change may still be on its way; a
                # question asked from now on may not get the old answer.
                for answer in await self.ask(port, list(range(10))):
                    ttl = int.from_bytes(answer[-10:-6], "big")
                    self.assertEqual(ttl, 1000 * generation + generation % 3)
                self.store.drain()
        finally:
            running.clear()
            loader.join()
        for answer in replies:
            ttl = int.from_bytes(answer[-10:-6], "big")
            if ttl not in (7, 300):
                self.assertEqual(ttl % 1000, ttl // 1000 % 3)

    def test_policiesUnderLoad(self) -> defer.Deferred[None]:
        """
        While policies change under load, no client gets the answer of another
        view, nor, once a policy is adopted, one of the policy before.
        """
        return defer.Deferred.fromCoroutine(self._policiesUnderLoad())
