# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay._listener}: the compiled half of the listener,
polled over real sockets on loopback, without a reactor.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.view import View
from dnsguard.replay.batch import RECORD
from tests.support.datagrams import LOCAL, bound, client, name
from tests.support.replay import FakePolicy, compiled, facts, reply, request

_store = compiled("_store")
_listener = compiled("_listener")


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
        ((asked, address, peer, _),) = worker.misses(10)
        self.assertEqual((asked, address), (name(1), LOCAL))
        self.assertEqual(worker.send([(b"reply", peer)]), 1)
        self.assertEqual(asker.recv(4096), b"reply")
        self.assertEqual(worker.counters()["sent"], 1)

    def test_recall(self) -> None:
        """
        A miss that has become a hit while it waited is answered, and recorded
        once, as long as it took; what is still a miss leaves nothing.
        """
        worker, port = self.worker()
        asker = self.client(port)
        asker.send(name(1))
        asker.send(name(2))
        began = time.time_ns()
        worker.poll()
        (known, address, _, arrived), (unknown, _, _, _) = worker.misses(10)
        made = self.remember(name(1), 300)
        misses = self.store.counters()["misses"]
        self.assertEqual(worker.recall(known, address, arrived), made)
        self.assertIsNone(worker.recall(unknown, address, arrived))
        self.assertIsNone(worker.recall(known, b"", arrived))
        self.assertEqual(worker.counters()["recalled"], 1)
        counters = self.store.counters()
        self.assertEqual((counters["hits"], counters["misses"]), (1, misses))
        (record,) = RECORD.iter_unpack(self.store.drain().records)
        self.assertEqual(record[0], arrived)
        self.assertTrue(abs(arrived - began) < 10**9)
        self.assertTrue(0 < record[2] <= time.time_ns() - arrived)
        self.assertEqual(record[3:], (len(made), 0, 4, LOCAL + bytes(12)))
        worker.recall(known, address, time.time_ns() + 10**10)
        (record,) = RECORD.iter_unpack(self.store.drain().records)
        self.assertEqual(record[2], 0)

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
            ((_, _, peer, _),) = worker.misses(10)
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
        ((_, address, peer, _),) = worker.misses(10)
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
        ((_, _, peer, _),) = worker.misses(10)
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
