# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.listener}, over real sockets on loopback.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet import defer, reactor, threads
from twisted.trial.unittest import TestCase

from dnsguard.query import Transport
from tests.support.datagrams import LOCAL, SECONDS, bound, client, name
from tests.support.replay import FakePolicy, compiled, facts, reply

_store = compiled("_store")
_listener = compiled("_listener")
if _listener is not None:
    from dnsguard.replay.listener import CompiledDatagramListener, ListenerMode


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

    def test_equalOnesWait(self) -> None:
        """
        Of equal requests that wait for the reactor one comes to the door, when its
        answer is made at once and kept; all are answered, and counted.
        """

        def answer(asked: bytes) -> bytes:
            made = reply(asked, 7)
            kept = facts(asked, 0, self.store.generation)
            self.store.remember(asked, made, kept, 7.0, time.monotonic())
            return made

        self.door.answer = answer
        server = bound()
        listener = CompiledDatagramListener(
            server, self.door, reactor, replay=self.store, mode=ListenerMode.REACTOR
        )
        self.addCleanup(listener.close)
        with client(listener.getHost()[1]) as asker:
            asked = [name(number) for number in range(100, 110)] * 4
            for datagram in asked:
                asker.send(datagram)
            listener.doRead()
            replies = [asker.recv(4096) for _ in asked]
        self.assertEqual(Counter(replies), Counter(reply(each, 7) for each in asked))
        self.assertEqual(len(self.door.asked), 10)
        counters = listener.counters
        self.assertEqual((counters.received, counters.sent), (40, 40))
        self.assertEqual((counters.replayed, counters.recalled), (0, 30))
        self.assertEqual(sum(self.store.drain().hits.values()), 30)

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
        self.assertFalse(listener.respond(bytes(56), b"late"))

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

    async def _twoUnderLoad(self) -> None:
        first, port = self.listen(ListenerMode.THREAD, reusePort=True)
        second, _ = self.listen(ListenerMode.THREAD, reusePort=True, port=port)
        replies: list[bytes] = []
        asked = Counter[str]()
        hits = 0
        running = [True]

        def load(which: str) -> None:
            # Each round from another port, and so from now one listener, now
            # the other; a reply that is lost ends this with an error.
            while running:
                with client(port) as asker:
                    for number in range(10):
                        asker.send(name(number))
                    asked[which] += 10
                    replies.extend(asker.recv(4096) for _ in range(10))

        loaders = [threads.deferToThread(load, which) for which in ("a", "b")]
        try:
            for generation in range(1, 40):
                self.store.adopt(FakePolicy(generation, ((LOCAL, 32, generation % 3),)))
                for view in range(3):
                    for number in range(10):
                        datagram = name(number)
                        made = reply(datagram, 1000 * generation + view)
                        kept = facts(datagram, view, generation)
                        self.store.remember(datagram, made, kept, 1000.0, 100.0)
                for _ in range(4):
                    asked["here"] += 10
                    for answer in await self.ask(port, list(range(10))):
                        ttl = int.from_bytes(answer[-10:-6], "big")
                        self.assertEqual(ttl, 1000 * generation + generation % 3)
                hits += sum(self.store.drain().hits.values())
        finally:
            running.clear()
            for loader in loaders:
                await loader
        while len(batch := self.store.drain()):
            hits += sum(batch.hits.values())
        for answer in replies:
            ttl = int.from_bytes(answer[-10:-6], "big")
            if ttl not in (7, 300):
                self.assertEqual(ttl % 1000, ttl // 1000 % 3)
        self.assertGreater(min(first.counters.replayed, second.counters.replayed), 0)
        # Every question was answered, and is either a record or went to the door.
        self.assertEqual(len(replies), asked["a"] + asked["b"])
        self.assertEqual(hits + len(self.door.asked), asked.total())
        self.assertEqual(first.counters.received + second.counters.received, asked.total())
        self.assertEqual(first.counters.sent + second.counters.sent, asked.total())

    def test_twoUnderLoad(self) -> defer.Deferred[None]:
        """
        While policies change, two listeners on one port lose no question and no
        record, and once a policy is adopted neither answers by the one before.
        """
        return defer.Deferred.fromCoroutine(self._twoUnderLoad())

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
                batch = self.store.drain()
                for number in batch.hits:
                    self.assertEqual(batch.entries[number].type, 1)
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
