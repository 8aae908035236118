# -*- test-case-name: tests.server.test_datagram -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
DNS over UDP, many datagrams a wake-up.

Twisted's own UDP port makes Python objects and calls for each datagram that a
DNS server can do without; this one reads the socket straight, looks into the
replay store, and goes to the server only with what isn't there. On a wildcard
address it also sends replies from the address that was asked: clients, and
every firewall before them, ignore the others.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.interfaces import IReplayStore
from dnsguard.query import Transport
from dnsguard.server.address import pack
from dnsguard.server.counters import DatagramCounters
from dnsguard.server.door import RequestDoor
from dnsguard.server.sockets import IP_PKTINFO
from dnsguard.throttle import Throttle

__all__ = ["DatagramListener"]

_BATCH = 128
"""Datagrams read before the reactor may see to others."""

_MAX_REQUEST = 4096
"""Octets read of a datagram. Requests have some dozens; more is no request."""

_MAX_QUEUE = 256
"""Replies that may wait for a socket whose buffer is full."""

_MAX_SOURCES = 1024
"""Destination addresses whose ancillary data is kept."""

_ANCILLARY = 64
"""Octets for ancillary data: one destination address of either family."""

_Ancillary = list[tuple[int, int, bytes]]
_Waiting = tuple[bytes, Any, _Ancillary | None]


@implementer(IReadWriteDescriptor)
class DatagramListener:
    """
    Reads requests from one UDP socket, and sends the replies.

    @ivar counters: The L{DatagramCounters}.
    """

    log = Logger()

    def __init__(
        self,
        bound: socket.socket,
        door: RequestDoor,
        reactor: IReactorFDSet,
        *,
        wildcard: bool = False,
        replay: IReplayStore | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        """
        @param bound: A bound, non-blocking socket; the listener closes it.
        @param door: Where requests go.
        @param wildcard: Is it bound to a wildcard address, and set to tell
            where datagrams were sent to?
        @param replay: Where finished replies may be found.
        @param now: The clock of C{replay}, in seconds; needed with it.
        """
        if (replay is None) is not (now is None):
            raise TypeError("a replay store needs a clock, and only that does")
        self.counters = DatagramCounters()
        self._socket = bound
        self._door = door
        self._reactor = reactor
        self._wildcard = wildcard
        self._replay = replay
        self._now = now or monotonic
        self._throttle = Throttle(now=self._now)
        self._waiting: deque[_Waiting] = deque()
        self._sources: dict[bytes, _Ancillary] = {}

    def startReading(self) -> None:
        """
        Take requests.
        """
        self._reactor.addReader(self)

    def stopReading(self) -> None:
        """
        Take no more requests; replies are still sent.
        """
        self._reactor.removeReader(self)

    def close(self) -> None:
        """
        Close the socket; replies still to come are nobody's.
        """
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._waiting.clear()
        self._socket.close()

    def getHost(self) -> tuple[str, int]:
        """
        The address and port it is bound to.
        """
        host, port = self._socket.getsockname()[:2]
        return host, port

    # What the reactor asks.

    def fileno(self) -> int:
        """
        The socket's number, -1 when it is closed.
        """
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """
        What it is called in logs.
        """
        return "DatagramListener"

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor won't deal with the socket any more.
        """
        self.close()

    def doRead(self) -> None:
        """
        Read a batch of requests.
        """
        if self._wildcard:
            self._readMessages()
        else:
            self._readDatagrams()

    def doWrite(self) -> None:
        """
        Send what had to wait.
        """
        waiting = self._waiting
        while waiting:
            reply, peer, ancillary = waiting[0]
            try:
                self._put(reply, peer, ancillary)
            except BlockingIOError:
                return
            except OSError:
                self.counters.unsent += 1
            else:
                self.counters.sent += 1
            waiting.popleft()
        self._reactor.removeWriter(self)

    # Requests.

    def _readDatagrams(self) -> None:
        """
        Read from a socket that has one address, so that replies leave from it
        anyway.
        """
        receive = self._socket.recvfrom
        for _ in range(_BATCH):
            try:
                request, peer = receive(_MAX_REQUEST)
            except BlockingIOError:
                return
            except OSError:
                # ICMP's answer to an earlier reply, for the most part.
                self.counters.errors += 1
                if self._socket.fileno() < 0:
                    return
                continue
            self._received(request, peer, None)

    def _readMessages(self) -> None:
        """
        Read from a socket that stands for all addresses, and remember for
        each datagram which one of them it was sent to.
        """
        receive = self._socket.recvmsg
        for _ in range(_BATCH):
            try:
                request, ancillary, _flags, peer = receive(_MAX_REQUEST, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                self.counters.errors += 1
                if self._socket.fileno() < 0:
                    return
                continue
            self._received(request, peer, self._source(ancillary))

    def _received(self, request: bytes, peer: Any, source: _Ancillary | None) -> None:
        counters = self.counters
        counters.received += 1
        if peer[1] == 0:
            counters.portless += 1
            return
        address = pack(peer[0])
        if self._replay is not None:
            reply = self._lookUp(self._replay, request, address)
            if reply is not None:
                counters.replayed += 1
                self._send(peer, source, reply)
                return
        self._door.requestReceived(
            request, address, Transport.UDP, partial(self._send, peer, source)
        )

    def _lookUp(self, replay: IReplayStore, request: bytes, address: bytes) -> bytes | None:
        """
        Look into the replay store. One that is broken costs time, not answers.
        """
        try:
            found: bytes | None = replay.lookup(request, address, self._now())
            return found
        except Exception:
            self.counters.lookupErrors += 1
            times = self._throttle.allows()
            if times:
                self.log.failure("the replay store failed ({times} times)", times=times)
            return None

    def _source(self, ancillary: _Ancillary) -> _Ancillary | None:
        """
        Turn what the system says of a datagram's destination into what it
        wants to hear of a reply's source.
        """
        for level, kind, data in ancillary:
            source = self._sources.get(data)
            if source is not None:
                return source
            if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                # struct in_pktinfo: interface, local address, destination.
                # Without the interface, so that the routes decide.
                reply = bytes(4) + data[4:8] + bytes(4)
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                # struct in6_pktinfo: address, interface, which only the same
                # address on every link (fe80::/10) can't do without.
                linkLocal = data[0] == 0xFE and data[1] & 0xC0 == 0x80
                reply = data if linkLocal else data[:16] + bytes(4)
            else:
                continue
            if len(self._sources) >= _MAX_SOURCES:
                self._sources.clear()
            source = self._sources[data] = [(level, kind, reply)]
            return source
        return None

    # Replies.

    def _send(self, peer: Any, source: _Ancillary | None, reply: bytes) -> bool:
        """
        Send one reply, now or when the socket can take it.

        @return: Is it sent, or waiting to be?
        """
        counters = self.counters
        if not self._waiting:
            try:
                self._put(reply, peer, source)
            except BlockingIOError:
                pass
            except OSError:
                counters.unsent += 1
                return False
            else:
                counters.sent += 1
                return True
        if len(self._waiting) >= _MAX_QUEUE:
            counters.dropped += 1
            return False
        counters.queued += 1
        self._waiting.append((reply, peer, source))
        self._reactor.addWriter(self)
        return True

    def _put(self, reply: bytes, peer: Any, source: _Ancillary | None) -> None:
        if source is None:
            self._socket.sendto(reply, peer)
        else:
            self._socket.sendmsg((reply,), source, 0, peer)
