# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for fetching one list, with an agent that says what it's told.
"""

from __future__ import annotations

import gzip
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent
from zope.interface import implementer

from dnsguard.errors import PolicyError
from dnsguard.services.listfetch import MAX_REDIRECTS, Fetcher
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststore import ListStore, StoredCopy

URL = "https://lists.example/ads.txt"


class BodyTransport:
    """
    What a body's protocol sees of the connection.
    """

    def __init__(self) -> None:
        self.paused = 0
        self.lost = False

    def pauseProducing(self) -> None:
        """
        Count the pause.
        """
        self.paused += 1

    def resumeProducing(self) -> None:
        """
        End the pause.
        """
        assert self.paused > 0

    def loseConnection(self) -> None:
        """
        Note that somebody hung up.
        """
        self.lost = True


@attrs.define(eq=False)
class FakeResponse:
    """
    A response; its body comes when the test says so.
    """

    code: int = 200
    headers: Headers = attrs.field(factory=Headers)
    length: Any = UNKNOWN_LENGTH
    body: tuple[bytes, ...] | None = None
    end: BaseException = attrs.field(factory=ResponseDone)
    transport: BodyTransport = attrs.field(factory=BodyTransport)
    protocol: Protocol | None = None

    def deliverBody(self, protocol: Protocol) -> None:
        """
        Give the body at once, if there is one.
        """
        self.protocol = protocol
        protocol.makeConnection(self.transport)
        if self.body is not None:
            for piece in self.body:
                protocol.dataReceived(piece)
            protocol.connectionLost(Failure(self.end))


@implementer(IAgent)
class FakeAgent:
    """
    Gives responses in order; an exception is a failure, L{None} nothing.
    """

    def __init__(self, *responses: FakeResponse | Exception | None) -> None:
        self.responses = list(responses)
        self.requests: list[tuple[bytes, Headers]] = []
        self.cancelled = 0

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None
    ) -> Deferred[Any]:
        """
        Note a request and answer it.
        """
        assert method == b"GET"
        assert headers is not None
        assert bodyProducer is None
        self.requests.append((uri, headers))
        response = self.responses.pop(0)

        def cancel(_: Deferred[Any]) -> None:
            self.cancelled += 1

        answered: Deferred[Any] = Deferred(cancel)
        if isinstance(response, Exception):
            answered.errback(response)
        elif response is not None:
            answered.callback(response)
        return answered


class FetcherTests(SynchronousTestCase):
    """
    L{Fetcher}.
    """

    def setUp(self) -> None:
        """
        Make a store.
        """
        self.clock = Clock()
        self.store = ListStore(self.mktemp())
        self.store.prepare()

    def start(
        self,
        *responses: FakeResponse | Exception | None,
        known: StoredCopy | None = None,
        url: str = URL,
        maxSize: int = 10000,
    ) -> Deferred[StoredCopy]:
        """
        Begin a fetch.
        """
        self.agent = FakeAgent(*responses)
        fetcher = Fetcher(
            self.clock,
            self.agent,
            self.store,
            maybeDeferred,
            timeout=60,
            maxSize=maxSize,
            now=lambda: 1000.0,
        )
        return fetcher.fetch(ListSource("ads", url), known)

    def fetched(self, *responses: FakeResponse | Exception | None, **facts: Any) -> StoredCopy:
        """
        Fetch with success.
        """
        return self.successResultOf(self.start(*responses, **facts))

    def failed(self, *responses: FakeResponse | Exception | None, **facts: Any) -> str:
        """
        Fetch without; nothing is left on disk.
        """
        failure = self.failureResultOf(self.start(*responses, **facts), PolicyError)
        self.assertEqual([path.name for path in self.store.folder.glob("new.*")], [])
        reason: str = failure.value.reason
        return reason

    def test_list(self) -> None:
        """
        A list becomes a copy that knows its version.
        """
        headers = Headers({b"ETag": [b'"v1"'], b"Last-Modified": [b"some day"]})
        copy = self.fetched(FakeResponse(headers=headers, body=(b"ads.", b"example\n")))
        self.assertEqual(copy.path.read_bytes(), b"ads.example\n")
        self.assertEqual((copy.etag, copy.modified, copy.fetched), ('"v1"', "some day", 1000.0))
        sent = self.agent.requests[0][1]
        self.assertEqual(self.agent.requests[0][0], URL.encode())
        self.assertTrue(sent.getRawHeaders(b"User-Agent", [b""])[0].startswith(b"dnsguard/"))
        self.assertFalse(sent.hasHeader(b"If-None-Match"))

    def test_unchanged(self) -> None:
        """
        A known version is asked about, and kept if it's still current.
        """
        known = self.fetched(
            FakeResponse(headers=Headers({b"ETag": [b'"v1"']}), body=(b"ads.example",))
        )
        again = self.fetched(FakeResponse(304), known=attrs.evolve(known, fetched=1.0))
        self.assertEqual(again, known)
        self.assertEqual(self.agent.requests[0][1].getRawHeaders(b"If-None-Match"), [b'"v1"'])

    def test_unchangedByDate(self) -> None:
        """
        Without an ETag the date serves.
        """
        known = self.fetched(
            FakeResponse(headers=Headers({b"Last-Modified": [b"day"]}), body=(b"ads.example",))
        )
        self.fetched(FakeResponse(304), known=known)
        self.assertEqual(self.agent.requests[0][1].getRawHeaders(b"If-Modified-Since"), [b"day"])

    def test_unexpectedlyUnchanged(self) -> None:
        """
        "Unchanged" without anything to compare is an error.
        """
        self.assertEqual(self.failed(FakeResponse(304)), "HTTP status 304")

    def test_packed(self) -> None:
        """
        A packed body is unpacked.
        """
        copy = self.fetched(FakeResponse(body=(gzip.compress(b"ads.example"),)))
        self.assertEqual(copy.path.read_bytes(), b"ads.example")

    def test_failureKeepsOldCopy(self) -> None:
        """
        When a fetch fails, the copy there was stays.
        """
        known = self.fetched(FakeResponse(body=(b"ads.example",)))
        for response in [
            FakeResponse(500),
            FakeResponse(body=()),
            FakeResponse(body=(b"<html>sorry</html>",)),
            FakeResponse(body=(b"half",), end=ResponseFailed([Failure(OSError("reset"))])),
        ]:
            self.failed(response, known=known)
            self.assertEqual(self.store.find(URL), known)

    def test_reasons(self) -> None:
        """
        Each failure is told in a few words.
        """
        cases: list[tuple[FakeResponse | Exception, str]] = [
            (FakeResponse(404), "HTTP status 404"),
            (FakeResponse(body=(b"\n",)), "empty"),
            (FakeResponse(body=(b"<!doctype html>",)), "a web page instead of a list"),
            (FakeResponse(length=10001), "larger than 10,000 octets"),
            (FakeResponse(body=(b"x" * 10001,)), "larger than 10,000 octets"),
            (FakeResponse(body=(gzip.compress(bytes(10001)),)), "larger than 10,000 octets"),
            (FakeResponse(body=(b"\x1f\x8bxxxxxxxxxxxxxx",)), "damaged gzip data"),
            (
                FakeResponse(body=(b"x",), end=ResponseFailed([Failure(OSError("reset"))])),
                "the connection broke: reset",
            ),
            (DNSLookupError("x"), "the server's name can't be resolved"),
            (ConnectionRefusedError(), "Connection was refused by other side."),
            (ValueError("odd"), "ValueError: odd"),
        ]
        for response, reason in cases:
            self.assertEqual(self.failed(response), reason)

    def test_deadline(self) -> None:
        """
        A server that says nothing is given up, and the request is cancelled.
        """
        waiting = self.start(None)
        self.clock.advance(60)
        failure = self.failureResultOf(waiting, PolicyError)
        self.assertEqual(failure.value.reason, "not there within 60 s")
        self.assertEqual(self.agent.cancelled, 1)

    def test_drippingBody(self) -> None:
        """
        A body that never ends is given up, however lively it is.
        """
        response = FakeResponse()
        waiting = self.start(response)
        for _ in range(60):
            assert response.protocol is not None
            response.protocol.dataReceived(b"x")
            self.clock.advance(1)
        self.assertEqual(
            self.failureResultOf(waiting, PolicyError).value.reason, "not there within 60 s"
        )
        self.assertTrue(response.transport.lost)
        self.assertEqual(list(self.store.folder.iterdir()), [])

    def test_pausesWhileWriting(self) -> None:
        """
        No more is taken from the connection while a thread writes.
        """
        response = FakeResponse()
        writes: list[tuple[Any, ...]] = []

        def inThread(function: Any, *args: Any) -> Deferred[Any]:
            if getattr(function, "__name__", "") != "write":
                return maybeDeferred(function, *args)
            held: Deferred[Any] = Deferred()
            writes.append((held, function, args))
            return held

        fetcher = Fetcher(
            self.clock, FakeAgent(response), self.store, inThread, now=lambda: 1000.0
        )
        waiting = fetcher.fetch(ListSource("ads", URL), None)
        assert response.protocol is not None
        response.protocol.dataReceived(b"a" * 300_000)
        self.assertEqual((response.transport.paused, len(writes)), (1, 1))
        response.protocol.dataReceived(b"b" * 300_000)
        response.protocol.connectionLost(Failure(ResponseDone()))
        self.assertEqual(len(writes), 1)
        while writes:
            self.assertNoResult(waiting)
            held, function, args = writes.pop(0)
            held.callback(function(*args))
        self.assertEqual(self.successResultOf(waiting).size, 600_000)

    def test_redirects(self) -> None:
        """
        Redirects are followed, relative ones and better protected ones too.
        """
        self.fetched(
            FakeResponse(301, Headers({b"Location": [b"/b"]})),
            FakeResponse(308, Headers({b"Location": [b"https://other.example/c"]})),
            FakeResponse(body=(b"ads.example",)),
            url="http://lists.example/a",
        )
        self.assertEqual(
            [url for url, _ in self.agent.requests],
            [b"http://lists.example/a", b"http://lists.example/b", b"https://other.example/c"],
        )

    def test_badRedirects(self) -> None:
        """
        Redirects in a circle, to nowhere, to other schemes and out of TLS are
        errors.
        """

        def to(place: bytes) -> FakeResponse:
            return FakeResponse(302, Headers({b"Location": [place]}))

        circle = [to(URL.encode()) for _ in range(MAX_REDIRECTS + 1)]
        self.assertEqual(self.failed(*circle), "more than 5 redirects")
        self.assertEqual(self.failed(FakeResponse(302)), "a redirect to nowhere")
        self.assertEqual(self.failed(to(b"file:///etc/passwd")), "a redirect to nowhere")
        self.assertEqual(self.failed(to(b"http://a.example/")), "a redirect from https to http")
        self.assertTrue(all(response.transport.lost for response in circle))

    def test_credentials(self) -> None:
        """
        User and password go to the server they are for, in a header, and to no
        other.
        """
        self.fetched(
            FakeResponse(302, Headers({b"Location": [b"/b"]})),
            FakeResponse(302, Headers({b"Location": [b"https://other.example/"]})),
            FakeResponse(body=(b"ads.example",)),
            url="https://me:a%3Ab@lists.example/a",
        )
        self.assertEqual(self.agent.requests[0][0], b"https://lists.example/a")
        sent = [headers.getRawHeaders(b"Authorization") for _, headers in self.agent.requests]
        self.assertEqual(sent, [[b"Basic bWU6YTpi"], [b"Basic bWU6YTpi"], None])

    def test_file(self) -> None:
        """
        A file is copied, nobody is asked.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"ads.example")
        self.assertEqual(self.fetched(url=path).size, 11)
        self.assertEqual(self.failed(url=path + "x"), "No such file or directory")
