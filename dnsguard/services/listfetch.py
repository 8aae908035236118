# -*- test-case-name: tests.services.test_listfetch -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Fetching one block list over HTTP, from a server that means no good.

A fetch ends with a whole new copy on disk, with the news that nothing has
changed, or with one error; never with half a list, a web page that says sorry
in place of a list, more octets than allowed (packed or unpacked), or after the
deadline. The reactor only ever holds one chunk: unpacking and writing happen
in threads while the connection is paused.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from dnsguard import __version__
from dnsguard.errors import PolicyError
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststore import Copy, ListStore, StoredCopy, Unpacker

__all__ = ["Fetcher", "InThread"]

MAX_REDIRECTS = 5

_FLUSH = 1 << 18

InThread = Callable[..., "Deferred[Any]"]
"""Calls a function in a thread, gives a Deferred of what it returns."""


class _Body(Protocol):
    """
    Takes a response's octets to a thread, some at a time.
    """

    def __init__(self, sink: Unpacker, inThread: InThread) -> None:
        self.finished: Deferred[None] = Deferred(self._cancel)
        self._sink = sink
        self._inThread = inThread
        self._pending: list[bytes] = []
        self._size = 0
        self._busy = False
        self._reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Keep octets until there are enough to be worth a thread.
        """
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _FLUSH and not self._busy:
            self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note that no more will come.
        """
        self._reason = reason
        if not self._busy:
            self._flush()

    def _flush(self) -> None:
        """
        Have the octets written while no more are taken from the connection.
        """
        data, self._pending, self._size = b"".join(self._pending), [], 0
        self._busy = True
        if self._reason is None and self.transport is not None:
            self.transport.pauseProducing()  # type: ignore[attr-defined]
        self._inThread(self._sink.write, data).addCallbacks(self._written, self._failed)

    def _written(self, _: None) -> None:
        self._busy = False
        if self.finished.called:
            return
        if self._pending and (self._reason is not None or self._size >= _FLUSH):
            self._flush()
        elif self._reason is None:
            assert self.transport is not None
            self.transport.resumeProducing()  # type: ignore[attr-defined]
        elif self._reason.check(ResponseDone, PotentialDataLoss):
            self.finished.callback(None)
        else:
            self.finished.errback(self._reason)

    def _failed(self, reason: Failure) -> None:
        self._busy = False
        if not self.finished.called:
            self._drop()
            self.finished.errback(reason)

    def _cancel(self, _: Deferred[None]) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._reason is None and self.transport is not None:
            self.transport.loseConnection()


class Fetcher:
    """
    Fetches lists.
    """

    def __init__(
        self,
        clock: IReactorTime,
        agent: IAgent,
        store: ListStore,
        inThread: InThread,
        *,
        timeout: float = 60.0,
        maxSize: int = 256 << 20,
        now: Callable[[], float],
    ) -> None:
        """
        @param agent: Asks; follows no redirects itself.
        @param store: Where copies are kept.
        @param inThread: Calls a function in a thread.
        @param timeout: Seconds for one fetch, from connecting to the last
            octet.
        @param maxSize: Octets that a list may have, unpacked.
        @param now: Gives the seconds since the epoch.
        """
        self._clock = clock
        self._agent = agent
        self._store = store
        self._inThread = inThread
        self._timeout = timeout
        self._maxSize = maxSize
        self._now = now

    def configure(self, *, timeout: float, maxSize: int) -> None:
        """
        Do otherwise from now on.

        @param timeout: As the constructor takes it, likewise C{maxSize}.
        """
        self._timeout = timeout
        self._maxSize = maxSize

    def fetch(self, source: ListSource, known: StoredCopy | None) -> Deferred[StoredCopy]:
        """
        Bring a source's copy up to date.

        @param known: The copy there is.
        @return: A Deferred of the copy, C{known} again when nothing changed.
            Fails with L{PolicyError}, without a place.
        """
        fetching = Deferred.fromCoroutine(self._fetch(source, known))
        fetching.addTimeout(
            self._timeout,
            self._clock,
            onTimeoutCancel=lambda _, seconds: Failure(
                PolicyError("", f"not there within {seconds:g} s")
            ),
        )
        return fetching.addErrback(_named)

    async def _fetch(self, source: ListSource, known: StoredCopy | None) -> StoredCopy:
        if source.path is not None:
            copy: StoredCopy = await self._inThread(
                self._store.takeFile, source, known, self._maxSize, self._now()
            )
            return copy
        response = await self._ask(source.url, known)
        if response.code == 304 and known is not None:
            confirmed: StoredCopy = await self._inThread(
                self._store.confirm, source.url, known, self._now()
            )
            return confirmed
        if response.code != 200:
            _abandon(response)
            raise PolicyError("", f"HTTP status {response.code}")
        if isinstance(response.length, int) and response.length > self._maxSize:
            _abandon(response)
            raise PolicyError("", f"larger than {self._maxSize:,} octets")
        return await self._take(source, response)

    async def _take(self, source: ListSource, response: IResponse) -> StoredCopy:
        """
        Write a response's body to a new copy.
        """
        copy: Copy = await self._inThread(Copy, self._store, source.url, self._maxSize)
        try:
            unpacker = Unpacker(copy)
            body = _Body(unpacker, self._inThread)
            response.deliverBody(body)
            await body.finished
            await self._inThread(unpacker.finish)
            taken: StoredCopy = await self._inThread(
                copy.finish,
                self._now(),
                _header(response, b"etag"),
                _header(response, b"last-modified"),
            )
            return taken
        finally:
            self._inThread(copy.discard).addErrback(lambda _: None)

    async def _ask(self, url: str, known: StoredCopy | None) -> IResponse:
        """
        Ask for a URL and follow redirects, a few, and never out of TLS.
        """
        headers = _headers(known)
        start = urlsplit(url)
        credentials = _credentials(start)
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
            sent = dict(headers)
            # A server is sent elsewhere without the password for this one.
            if credentials and (parts.scheme, parts.hostname, parts.port) == (
                start.scheme,
                start.hostname,
                start.port,
            ):
                sent[b"Authorization"] = [credentials]
            target = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
            response: IResponse = await self._agent.request(
                b"GET", target.encode("ascii"), Headers(sent), None
            )
            if response.code not in (301, 302, 303, 307, 308):
                return response
            _abandon(response)
            location = _header(response, b"location")
            target = urljoin(url, location)
            if not location or urlsplit(target).scheme not in ("http", "https"):
                raise PolicyError("", "a redirect to nowhere")
            if url.startswith("https:") and not target.startswith("https:"):
                raise PolicyError("", "a redirect from https to http")
            url = target
        raise PolicyError("", f"more than {MAX_REDIRECTS} redirects")


def _headers(known: StoredCopy | None) -> dict[bytes, list[bytes]]:
    """
    What to send along: above all, which version we have (RFC 9110 §13.1).
    """
    headers = {
        b"User-Agent": [f"dnsguard/{__version__}".encode("ascii")],
        b"Accept-Encoding": [b"gzip"],
        b"Accept": [b"text/plain, */*;q=0.5"],
    }
    if known is not None and known.etag:
        headers[b"If-None-Match"] = [known.etag.encode("latin-1")]
    elif known is not None and known.modified:
        headers[b"If-Modified-Since"] = [known.modified.encode("latin-1")]
    return headers


def _credentials(parts: SplitResult) -> bytes:
    """
    The value of the Authorization header for a URL's user and password
    (RFC 7617), or empty.
    """
    if parts.username is None:
        return b""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return b"Basic " + b64encode(pair.encode("utf-8"))


def _header(response: IResponse, name: bytes) -> str:
    """
    A header's first value, or empty; cut at a length that is none for a list.
    """
    values = response.headers.getRawHeaders(name)
    return values[0].decode("latin-1")[:1024] if values else ""


class _Ignored(Protocol):
    def connectionMade(self) -> None:
        """
        Hang up: nobody wants the body.
        """
        assert self.transport is not None
        self.transport.loseConnection()


def _abandon(response: IResponse) -> None:
    """
    Hang up without reading a body.
    """
    response.deliverBody(_Ignored())


def _named(reason: Failure) -> Failure:
    """
    Turn whatever went wrong into a L{PolicyError} that says so in a few words.
    """
    value = reason.value
    if isinstance(value, PolicyError | CancelledError):
        return reason
    if isinstance(value, ResponseFailed):
        inner = value.reasons[0].value if value.reasons else value
        text = f"the connection broke: {_words(inner)}"
    elif isinstance(value, DNSLookupError):
        text = "the server's name can't be resolved"
    elif isinstance(value, TimeoutError):
        text = "the server doesn't answer"
    elif isinstance(value, ConnectError | ConnectionLost | OSError):
        text = _words(value)
    elif isinstance(value, UnicodeError):
        text = "a URL with letters outside ASCII"
    else:
        text = f"{type(value).__name__}: {_words(value)}"
    return Failure(PolicyError("", text))


def _words(value: BaseException | None) -> str:
    return str(value).strip()[:200] or type(value).__name__
