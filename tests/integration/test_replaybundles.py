# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for replies that are given to the system together (C{bundle.h} of
L{dnsguard.replay}): over real sockets on loopback, without a reactor.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.replay.batch import RECORD
from dnsguard.wire.names import fromText
from tests.support.datagrams import bound, client, name
from tests.support.replay import compiled, facts, reply, request

_store = compiled("_store")
_listener = compiled("_listener")

UDP_SEGMENT = 103
SO_NO_CHECK = 11


def system() -> str:
    """
    Why the system can't do it; empty when it can.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        try:
            made.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
        except OSError as reason:
            return f"this system doesn't cut messages into datagrams: {reason}"
    return ""


class BundleTests(SynchronousTestCase):
    """
    Replies of one length to one client go together, and the client can't tell.
    """

    if _listener is None:
        skip = "the compiled listener isn't built"
    elif why := system():
        skip = why

    def setUp(self) -> None:
        """
        A store that knows the answers to a hundred questions; those to the
        first ten are of one length, those to the others of another one.
        """
        self.store = _store.CompiledReplayStore(payloadLimit=4096)
        for number in range(100):
            self.remember(name(number), 300 + number)

    def remember(self, datagram: bytes, *ttls: int) -> bytes:
        """
        Have a reply kept.
        """
        made = reply(datagram, *ttls)
        kept = facts(datagram, 0, self.store.generation)
        self.store.remember(datagram, made, kept, 300.0, 100.0)
        return made

    def worker(self, host: str = "127.0.0.1", port: int = 0) -> tuple[Any, int, socket.socket]:
        """
        Make a worker on a socket that doesn't block.

        @return: It, its port, and its socket.
        """
        try:
            server = bound(host, port)
        except OSError as reason:
            raise SkipTest(f"no {host} here: {reason}") from None
        server.setblocking(False)
        self.addCleanup(server.close)
        made = _listener.DatagramWorker(self.store, server.fileno(), host in ("0.0.0.0", "::"))
        return made, server.getsockname()[1], server

    def client(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """
        Make a client.
        """
        made = client(port, host)
        self.addCleanup(made.close)
        return made

    def assertAnswered(self, worker: Any, asker: socket.socket, numbers: range) -> None:
        """
        Ask, and check that each reply comes as a datagram of its own, once.
        """
        for number in numbers:
            asker.send(name(number))
        worker.poll()
        replies = [asker.recv(4096) for _ in numbers]
        self.assertEqual(
            sorted(replies), sorted(reply(name(number), 300 + number) for number in numbers)
        )
        self.assertEqual(select.select([asker], [], [], 0)[0], [])

    def test_together(self) -> None:
        """
        From whatever kind of socket, over IPv4 and IPv6: all replies arrive as
        datagrams of their own, from the address that was asked.
        """
        for host, asked in (
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.7"),
            ("::1", "::1"),
            ("::", "::1"),
            ("::", "127.0.0.1"),
        ):
            worker, port, _ = self.worker(host)
            asker = self.client(port, asked)
            self.assertAnswered(worker, asker, range(60))
            counters = worker.counters()
            self.assertEqual((counters["segmented"], counters["sent"]), (60, 60), (host, asked))
            self.assertEqual((counters["unsegmented"], counters["unsent"]), (0, 0))

    def test_records(self) -> None:
        """
        Each hit leaves the record that is its own.
        """
        worker, port, _ = self.worker()
        self.assertAnswered(worker, self.client(port), range(60))
        batch = self.store.drain()
        found = [
            (batch.entries[record[1]].qname, record[3])
            for record in RECORD.iter_unpack(batch.records)
        ]
        self.assertEqual(
            found,
            [
                (fromText(f"host{number}.example.org"), len(reply(name(number), 300)))
                for number in range(60)
            ],
        )

    def test_clientsAreToldApart(self) -> None:
        """
        Of clients that ask in turn each gets what it asked for, and a client
        that asks two addresses is answered from both.
        """
        worker, port, _ = self.worker("0.0.0.0")
        askers = [self.client(port, f"127.0.0.{1 + number % 3}") for number in range(7)]
        # Another address of the server's, but the same of the client's.
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(plain.close)
        plain.settimeout(5)
        plain.bind(("127.0.0.1", 0))
        for number in range(10, 52):
            askers[number % 7].send(name(number))
        for number in range(52, 60):
            plain.sendto(name(number), (f"127.0.0.{1 + number // 56}", port))
        worker.poll()
        for place, asker in enumerate(askers):
            expected = [
                reply(name(number), 300 + number)
                for number in range(10, 52)
                if number % 7 == place
            ]
            self.assertEqual(sorted(asker.recv(4096) for _ in expected), sorted(expected))
        answers = [plain.recvfrom(4096) for _ in range(52, 60)]
        self.assertEqual(
            sorted(answers),
            sorted(
                (reply(name(number), 300 + number), (f"127.0.0.{1 + number // 56}", port))
                for number in range(52, 60)
            ),
        )
        self.assertEqual(worker.counters()["segmented"], 50)

    def test_alone(self) -> None:
        """
        With nothing to put together replies are sent as ever.
        """
        worker, port, _ = self.worker()
        for number in range(10, 30):
            self.client(port).send(name(number))
        worker.poll()
        counters = worker.counters()
        self.assertEqual((counters["sent"], counters["segmented"]), (20, 0))

    def test_longReplies(self) -> None:
        """
        Replies that may be longer than what a path takes go alone, and those
        that just fit go together, no more of them than a datagram can hold.
        """
        lengths = {}
        for records, letters in ((74, 9), (74, 10), (75, 9)):
            asked = [
                request(f"{'x' * letters}{number:02}.example", edns=4096) for number in range(60)
            ]
            made = [self.remember(each, *[300] * records) for each in asked]
            worker, port, _ = self.worker()
            asker = self.client(port)
            for each in asked:
                asker.send(each)
            worker.poll()
            replies = [asker.recv(4096) for _ in asked]
            self.assertEqual(sorted(replies), sorted(made))
            lengths[len(made[0])] = worker.counters()["segmented"]
        self.assertEqual(lengths, {1232: 60, 1233: 0, 1248: 0})

    def test_refused(self) -> None:
        """
        When the system refuses them together, all replies go one by one, and
        the next ones are tried together again.
        """
        worker, port, _ = self.worker("0.0.0.0")
        asker = self.client(port, "127.0.0.1")
        for number in (errno.EINVAL, errno.EMSGSIZE, errno.ENOBUFS, errno.EPERM):
            worker.refuse(number)
            self.assertAnswered(worker, asker, range(10, 60))
        counters = worker.counters()
        self.assertEqual((counters["sent"], counters["unsent"]), (200, 0))
        self.assertEqual((counters["segmented"], counters["unsegmented"]), (0, 4))
        worker.refuse(0)
        self.assertAnswered(worker, asker, range(10, 60))
        self.assertEqual(worker.counters()["segmented"], 50)

    def test_refusedForGood(self) -> None:
        """
        When it says that it never will, it isn't asked again.
        """
        for number in (errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT):
            worker, port, _ = self.worker()
            asker = self.client(port)
            worker.refuse(number)
            self.assertAnswered(worker, asker, range(10, 60))
            worker.refuse(0)
            self.assertAnswered(worker, asker, range(10, 60))
            counters = worker.counters()
            self.assertEqual((counters["segmented"], counters["unsegmented"]), (0, 1))
            self.assertEqual((counters["sent"], counters["unsent"]), (100, 0))

    def test_refusedByTheSystem(self) -> None:
        """
        So it is when a real system refuses: it does on a socket that makes no
        checksums.
        """
        worker, port, server = self.worker()
        server.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        asker = self.client(port)
        self.assertAnswered(worker, asker, range(10, 60))
        counters = worker.counters()
        self.assertEqual((counters["sent"], counters["segmented"]), (50, 0))
        self.assertEqual(counters["unsegmented"], 1)
        server.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 0)
        self.assertAnswered(worker, asker, range(10, 60))
        self.assertEqual(worker.counters()["segmented"], 50)

    def test_oldSystem(self) -> None:
        """
        On a socket that doesn't know of it nothing goes together.
        """
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(left.close)
        self.addCleanup(right.close)
        worker = _listener.DatagramWorker(self.store, left.fileno(), False)
        self.assertFalse(worker.segments)
