# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for block lists with a real reactor, sockets on loopback, threads and a
process.
"""

from __future__ import annotations

import gzip
import os
import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from dnsguard.errors import PolicyError
from dnsguard.services.blocklists import BlockLists, BlocklistService, SourceState
from dnsguard.services.listcompiler import ListCompiler
from dnsguard.services.listfetch import Fetcher
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststore import ListStore, StoredCopy
from dnsguard.services.listworker import Job
from dnsguard.wire.names import fromText

reactor: Any = _reactor


class Octets(Resource):
    """
    A resource with an ETag.
    """

    isLeaf = True

    def __init__(self, data: bytes, **headers: str) -> None:
        super().__init__()
        self.data = data
        self.headers = headers
        self.served: list[int] = []

    def render_GET(self, request: Any) -> bytes:
        """
        Serve the octets, or say that they are known.
        """
        for name, value in self.headers.items():
            request.setHeader(name.replace("_", "-"), value)
        if "etag" in self.headers and request.setETag(self.headers["etag"].encode()):
            self.served.append(304)
            return b""
        self.served.append(200)
        return self.data


class Stalled(Resource):
    """
    A resource that sends some and then nothing.
    """

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        """
        Begin.
        """
        request.write(b"ads.example\n")
        return NOT_DONE_YET


class Redirect(Resource):
    """
    A resource that leads to itself.
    """

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """
        Lead on.
        """
        request.redirect(request.uri)
        return b""


class Raw(Protocol):
    """
    A server that says what it is told, whatever it's asked.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer the first octets and hang up.
        """
        assert self.transport is not None
        assert isinstance(self.factory, RawFactory)
        self.transport.write(self.factory.answer)
        self.transport.loseConnection()


class RawFactory(Factory):
    """
    Makes L{Raw}.
    """

    protocol = Raw

    def __init__(self, answer: bytes) -> None:
        self.answer = answer


class LoopbackCase(TestCase):
    """
    A store, and servers on loopback.
    """

    timeout = 30

    def setUp(self) -> None:
        """
        Make them.
        """
        self.folder = self.mktemp()
        self.root = Resource()
        self.site = self.listen(Site(self.root))

    def listen(self, factory: Any) -> str:
        """
        Listen; gives the URL.
        """
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}"

    def serve(self, name: str, resource: Resource) -> str:
        """
        Serve a resource; gives the URL.
        """
        self.root.putChild(name.encode(), resource)
        return f"{self.site}/{name}"


class FetchTests(LoopbackCase):
    """
    Fetching from servers that behave badly.
    """

    async def fetch(self, url: str, timeout: float = 10.0, maxSize: int = 100_000) -> StoredCopy:
        """
        Fetch a list.
        """
        store = ListStore(self.folder)
        store.prepare()
        fetcher = Fetcher(
            reactor,
            Agent(reactor),
            store,
            deferToThread,
            timeout=timeout,
            maxSize=maxSize,
            now=time.time,
        )
        return await fetcher.fetch(ListSource("ads", url), None)

    async def reason(self, url: str, **options: Any) -> str:
        """
        Why a fetch fails.
        """
        try:
            await self.fetch(url, **options)
        except PolicyError as error:
            return error.reason
        raise self.failureException("fetched")

    async def test_plain(self) -> None:
        """
        A list of more octets than one read has is fetched whole.
        """
        data = b"".join(b"n%d.example\n" % number for number in range(100_000))
        copy = await self.fetch(self.serve("a", Octets(data)), maxSize=len(data))
        self.assertEqual(copy.path.read_bytes(), data)

    async def test_packed(self) -> None:
        """
        A packed transfer is unpacked.
        """
        url = self.serve("a", Octets(gzip.compress(b"ads.example"), content_encoding="gzip"))
        copy = await self.fetch(url)
        self.assertEqual(copy.path.read_bytes(), b"ads.example")

    async def test_bomb(self) -> None:
        """
        A gzip bomb is refused.
        """
        url = self.serve("a", Octets(gzip.compress(bytes(20_000_000))))
        self.assertEqual(await self.reason(url), "larger than 100,000 octets")

    async def test_brokenPacked(self) -> None:
        """
        Broken gzip is refused.
        """
        url = self.serve("a", Octets(gzip.compress(b"ads.example\n" * 50)[:-10]))
        self.assertEqual(await self.reason(url), "gzip data cut short")

    async def test_stalled(self) -> None:
        """
        A server that stops in the middle is given up.
        """
        url = self.serve("a", Stalled())
        self.assertEqual(await self.reason(url, timeout=0.2), "not there within 0.2 s")

    async def test_circle(self) -> None:
        """
        A redirect to itself is given up.
        """
        url = self.serve("a", Redirect())
        self.assertEqual(await self.reason(url), "more than 5 redirects")

    async def test_empty(self) -> None:
        """
        An empty body is refused.
        """
        self.assertEqual(await self.reason(self.serve("a", Octets(b""))), "empty")

    async def test_wrongLength(self) -> None:
        """
        A body shorter than announced is refused.
        """
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nads.example\n"
        self.assertIn("the connection broke", await self.reason(self.listen(RawFactory(answer))))

    async def test_noHTTP(self) -> None:
        """
        A server of something else is refused.
        """
        self.assertIn(
            "the connection broke", await self.reason(self.listen(RawFactory(b"220 hello\r\n")))
        )

    async def test_nobody(self) -> None:
        """
        Nobody there is an error that says so.
        """
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        url = f"http://127.0.0.1:{port.getHost().port}/"
        await port.stopListening()
        self.assertIn("refused", await self.reason(url))


class ServiceTests(LoopbackCase):
    """
    The whole service.
    """

    def service(self, *sources: ListSource) -> tuple[BlocklistService, Deferred[BlockLists]]:
        """
        A started service, and a Deferred of its first lists.
        """
        first: Deferred[BlockLists] = Deferred()

        def onChange(lists: BlockLists) -> None:
            if not first.called:
                first.callback(lists)

        service = BlocklistService.over(
            reactor, Agent(reactor), self.folder, onChange=onChange, sources=sources
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service, first

    async def test_fromSourcesToNames(self) -> None:
        """
        Lists from a server and a file are compiled by a process and found
        again after a restart, without a server.
        """
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write("0.0.0.0 ads.example tracker.example\n")
        octets = Octets("||bücher.example^\n".encode(), etag="v1")
        sources = (ListSource("own", path), ListSource("web", self.serve("a", octets)))
        service, first = self.service(*sources)
        domains = (await first).domains
        self.assertEqual(domains.lookup(fromText("tracker.example")), (0, 1, 0))
        self.assertEqual(domains.lookup(fromText("x.xn--bcher-kva.example")), (1, 1, 2))
        lists = await service.refresh()
        self.assertEqual(octets.served, [200, 304])
        self.assertEqual({status.state for status in lists.statuses}, {SourceState.CURRENT})
        self.assertEqual(service.statistics.compiles, 1)
        await service.stopService()

        self.root.putChild(b"a", Stalled())
        again, restored = self.service(*sources)
        self.assertEqual((await restored).domains.lookup(fromText("ads.example")), (0, 1, 0))
        self.assertEqual(again.statistics.compiles, 0)

    async def test_reactorGoesOn(self) -> None:
        """
        While a long list is parsed and compiled, the reactor serves others.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.writelines(b"n%d.example\n" % number for number in range(100_000))
        _, first = self.service(ListSource("long", path))
        turns = 0
        while not first.called:
            await deferLater(reactor, 0.001)
            turns += 1
        self.assertEqual(len((await first).domains), 100_000)
        self.assertTrue(turns > 10, turns)

    async def test_stopWhileCompiling(self) -> None:
        """
        Stopping kills the process and leaves no half set.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.writelines(b"n%d.example\n" % number for number in range(200_000))
        service, first = self.service(ListSource("long", path))
        await deferLater(reactor, 0.15)
        await service.stopService()
        self.assertFalse(first.called)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "lists.set")))


class WorkerTests(LoopbackCase):
    """
    The worker as a process.
    """

    async def test_missingCopy(self) -> None:
        """
        A copy that isn't there is one error in words, not a traceback.
        """
        compiler = ListCompiler(reactor, deferToThread)
        job = Job((("a", "/nowhere/list", "x"),), self.mktemp())
        try:
            await compiler(job)
        except PolicyError as error:
            self.assertEqual(
                error.reason,
                "compiling failed: [Errno 2] No such file or directory: '/nowhere/list'",
            )
        else:
            self.fail("compiled")

    async def test_killed(self) -> None:
        """
        A process that takes too long is killed.
        """
        compiler = ListCompiler(reactor, deferToThread, timeout=0.001)
        try:
            await compiler(Job((), self.mktemp()))
        except PolicyError as error:
            self.assertIn("not done within 0.001 s", error.reason)
        else:
            self.fail("compiled")
