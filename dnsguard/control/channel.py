# -*- test-case-name: tests.control.test_channel -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
HTTP connections of the control API, bounded on every side.

twisted.web reads whatever body comes before anybody is asked, and counts as
idle only those who say nothing at all. Here a body that is too large is
refused when its size is known, a request has to be there after some seconds,
and connections are counted.
"""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes as unquote

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site

if TYPE_CHECKING:
    from twisted.web.resource import IResource

__all__ = ["MAX_BODY", "ControlChannel", "ControlFactory", "ControlRequest"]

MAX_BODY = 1 << 20
"""Octets of a request's body."""

MAX_BUFFERED = 16 << 20
"""Octets of all bodies that wait to be complete, or to be answered."""

MAX_CONNECTIONS = 128
MAX_CONNECTIONS_PER_ADDRESS = 32

REQUEST_SECONDS = 10.0
"""From a request's first octet to its last."""

IDLE_SECONDS = 60.0
"""Between requests."""

LINGER_SECONDS = 2.0
"""How long a refused body is taken in, and thrown away, so that the client
comes to read why: a socket closed with octets unread resets the connection."""

LINGER_OCTETS = 4 << 20
"""How much of it is taken in at most: it costs time that others wait for."""

_REASONS = {
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class ControlRequest(Request):
    """
    A request.

    @ivar received: Octets of the body so far.
    """

    received = 0
    channel: ControlChannel

    def gotLength(self, length: int | None) -> None:
        """
        Keep the body in memory: it is small.
        """
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Take a part of the body, unless it is too large.
        """
        self.received += len(data)
        if self.received > MAX_BODY:
            self.channel.refuse(413)
        elif self.channel.buffer(len(data)):
            super().handleContentChunk(data)

    def process(self) -> None:
        """
        Answer, unless the path is no text.
        """
        try:
            unquote(self.path).decode("utf-8")
        except UnicodeDecodeError:
            body = b'{"error":"the path isn\'t UTF-8"}'
            self.setResponseCode(400)
            self.setHeader("Content-Type", "application/json")
            self.setHeader("Content-Length", str(len(body)))
            self.write(body)
            self.finish()
        else:
            super().process()

    def getRequestHostname(self) -> bytes:
        """
        Whatever the client calls us, it means us: nothing is routed by it.
        """
        return b"localhost"


class ControlChannel(HTTPChannel):
    """
    A connection.
    """

    requestFactory = ControlRequest
    maxHeaders = 100
    factory: ControlFactory
    site: ControlFactory
    transport: Any
    callLater: Any
    timeOut: Any

    def __init__(self, address: str = "") -> None:
        super().__init__()
        self._address = address
        self._refused = False
        self._thrownAway = 0
        self._buffered = 0
        self._deadline: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Take octets of a request, which has to be there in time.
        """
        if self._refused:
            self._thrownAway += len(data)
            if self._thrownAway > LINGER_OCTETS:
                self._cancel()
                self._end()
            return
        if data and self._deadline is None and not self._handlingRequest:
            self._deadline = self.callLater(REQUEST_SECONDS, self._tooSlow)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        """
        Look at the size of what is to come.
        """
        if self.length is not None and self.length > MAX_BODY:
            self.refuse(413)
        else:
            super().allHeadersReceived()

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Say that a line is too long, rather than hang up.
        """
        self.refuse(431 if self._receivedHeaderSize else 414)

    def rawDataReceived(self, data: bytes) -> None:
        """
        Take octets of the body.
        """
        if not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """
        The request is there.
        """
        self._cancel()
        if not self._refused:
            super().allContentReceived()

    def buffer(self, octets: int) -> bool:
        """
        Find room for a part of a body; refuse the request if there is none.

        @return: Is there?
        """
        if self.factory.buffered + octets > MAX_BUFFERED:
            self.refuse(503)
            return False
        self._buffered += octets
        self.factory.buffered += octets
        return True

    def _release(self) -> None:
        self.factory.buffered -= self._buffered
        self._buffered = 0

    def requestDone(self, request: Any) -> None:
        """
        A request has been answered.
        """
        self._release()
        super().requestDone(request)

    def _tooSlow(self) -> None:
        self._deadline = None
        self.refuse(408)

    def refuse(self, status: int) -> None:
        """
        Say no and end the connection, whatever else comes.
        """
        if self._refused:
            return
        self._refused = True
        self._cancel()
        self.factory.refused[status] += 1
        body = b'{"error":"%s"}' % _REASONS[status].lower()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (status, _REASONS[status], len(body), body)
        )
        close = getattr(self.transport, "loseWriteConnection", None)
        if close is not None:
            close()
        self._deadline = self.callLater(LINGER_SECONDS, self._end)

    def _end(self) -> None:
        self._deadline = None
        self.transport.abortConnection()

    def closeWhenIdle(self) -> None:
        """
        End the connection, after the answer that is under way.
        """
        if self._handlingRequest:
            self.persistent = 0
        else:
            self.transport.loseConnection()

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is no more.
        """
        self._cancel()
        self._release()
        self.factory.left(self, self._address)
        super().connectionLost(reason)


class ControlFactory(Site):
    """
    Takes connections, not too many.

    @ivar connections: How many there are, by address.
    @ivar buffered: Octets of bodies that are held.
    @ivar refused: Requests refused before they were read, by status; under 0
        connections that were one too many.
    """

    def __init__(self, resource: IResource, reactor: Any) -> None:
        super().__init__(
            resource, timeout=IDLE_SECONDS, reactor=reactor, parsePOSTFormSubmission=False
        )
        self.noisy = False
        self.connections: Counter[str] = Counter()
        self.buffered = 0
        self.refused: Counter[int] = Counter()
        self._channels: set[ControlChannel] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Take a connection, if there is room.
        """
        address = getattr(addr, "host", "")
        if (
            self.connections.total() >= MAX_CONNECTIONS
            or self.connections[address] >= MAX_CONNECTIONS_PER_ADDRESS
        ):
            self.refused[0] += 1
            return None
        self.connections[address] += 1
        channel = ControlChannel(address)
        self._channels.add(channel)
        channel.factory = self
        channel.site = self
        channel.callLater = self.reactor.callLater
        channel.timeOut = self.timeOut
        return channel

    def closeIdle(self) -> None:
        """
        Close all connections; those that wait for an answer when they have it.
        """
        for channel in list(self._channels):
            channel.closeWhenIdle()

    def left(self, channel: ControlChannel, address: str) -> None:
        """
        A connection is no more.
        """
        self._channels.discard(channel)
        self.connections[address] -= 1
        if self.connections[address] <= 0:
            del self.connections[address]

    def log(self, request: Any) -> None:
        """
        Write no access log: what changes something is in the audit log.
        """
