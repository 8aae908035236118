# -*- test-case-name: tests.upstream.test_ports -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The UDP sockets that one upstream is asked from.

A forger must guess the port a query came from (RFC 5452 §4.5), so each query
leaves from one of a thousand and more, drawn by lot; each is opened when first
drawn, connected, so that the kernel drops what strangers send and reports what
ICMP says, and replaced after some use.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime
from twisted.logger import Logger

from dnsguard.upstream.watch import BATCH, EpollWatch, ReaderWatch

if TYPE_CHECKING:
    from dnsguard.upstream.attempt import Attempt

try:
    from dnsguard.upstream._sockets import sendAll  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: one at a time.
    sendAll = None

__all__ = ["IDatagramReader", "Port", "PortPool", "affordablePorts", "sendAll"]

RECEIVE_SIZE = 4096
"""More than any reply to a query that announces 1232 octets."""

USES = 256
"""Queries from one port before it is replaced."""

PRUNE_SECONDS = 10.0
LATE_IDS = 64

_RESERVED = 256
"""Descriptors left to everything that isn't an upstream socket."""


def affordablePorts(wanted: int, upstreams: int, limit: int) -> int:
    """
    Say how many ports each upstream can have.

    @param wanted: How many it should have.
    @param upstreams: How many upstreams there are.
    @param limit: The process's limit of open files.
    @return: At least 16, whatever the limit.
    """
    return max(16, min(wanted, (limit - _RESERVED) // 2 // max(1, upstreams)))


class Port:
    """
    One socket, connected to the upstream, and what was asked from it.

    @ivar number: The socket's descriptor, -1 when it is closed.
    @ivar waiting: What waits for a reply here, by message id.
    @ivar late: Ids of what was given up here lately.
    @ivar guesses: Datagrams that came here and answered nothing asked.
    @ivar uses: Queries asked from here.
    @ivar fresh: Has it been used since the last pruning?
    """

    __slots__ = (
        "fresh",
        "guesses",
        "late",
        "number",
        "receive",
        "send",
        "socket",
        "uses",
        "waiting",
    )

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.number = connected.fileno()
        self.send = connected.send
        self.receive = connected.recv
        self.waiting: dict[bytes, Attempt] = {}
        self.late: set[bytes] = set()
        self.guesses = 0
        self.uses = 0
        self.fresh = True

    def giveUp(self, id: bytes) -> None:
        """
        Stop waiting for a reply, but know it when it comes after all.
        """
        if self.waiting.pop(id, None) is not None:
            if len(self.late) >= LATE_IDS:
                self.late.clear()
            self.late.add(id)


class IDatagramReader(Protocol):
    """
    Who is told of what arrives.
    """

    def datagramReceived(self, port: Port, datagram: bytes) -> None: ...

    def portFailed(self, port: Port, error: OSError) -> None:
        """
        The network says that the upstream can't be reached from this port.
        """

    def sendFailed(self, port: Port, message: bytes, error: OSError) -> None:
        """
        A datagram couldn't be sent.
        """


class PortPool:
    """
    Sockets connected to one upstream, drawn by lot.

    @ivar size: How many ports there may be.
    @ivar ports: Those open, by descriptor.
    @ivar opened: Sockets opened so far.
    @ivar shortages: Times when no further socket could be opened and an open
        one was used instead.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        host: str,
        port: int,
        size: int,
    ) -> None:
        """
        @param reactor: Provides L{IReactorFDSet} too.
        @param host: The upstream's IP address.
        @param port: The upstream's port.
        """
        self.size = size
        self.opened = 0
        self.shortages = 0
        self._reactor = reactor
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._peer = (host, port)
        self._slots: list[Port | None] = [None] * size
        self.ports: dict[int, Port] = {}
        self._watch: EpollWatch | ReaderWatch | None = None
        self._pruning: IDelayedCall | None = None
        self._outbox: list[tuple[Port, bytes]] = []
        self._flushing: IDelayedCall | None = None
        self.reader: IDatagramReader

    def draw(self, chance: int) -> Port:
        """
        Give a port.

        @param chance: An unpredictable number of at least 24 bits.
        @raise OSError: No socket can be opened, or the network isn't there.
        """
        place = chance % self.size
        port = self._slots[place]
        if port is None or (port.uses >= USES and not port.waiting):
            port = self._replace(place, port, chance)
        port.uses += 1
        port.fresh = True
        return port

    def post(self, port: Port, message: bytes) -> None:
        """
        Send a datagram, where there is a compiler together with all others of
        this turn of the reactor.

        @raise OSError: It can't be sent. If that turns out later, the reader
            is told.
        """
        if sendAll is None:
            port.send(message)
            return
        self._outbox.append((port, message))
        if len(self._outbox) == BATCH:
            self._sendOutbox()
        elif self._flushing is None:
            self._flushing = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self._sendOutbox()

    def _sendOutbox(self) -> None:
        """
        Send what was posted.
        """
        outbox, self._outbox = self._outbox, []
        for place, number in sendAll(outbox):
            port, message = outbox[place]
            # One that was closed meanwhile is nobody's concern any more.
            if port.number >= 0:
                self.reader.sendFailed(port, message, OSError(number, os.strerror(number)))

    def __len__(self) -> int:
        return len(self.ports)

    def close(self) -> None:
        """
        Close all sockets.
        """
        self._outbox.clear()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        for port in list(self.ports.values()):
            self._shut(port)
        self._slots = [None] * self.size
        if self._pruning is not None:
            self._pruning.cancel()
            self._pruning = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _replace(self, place: int, old: Port | None, chance: int) -> Port:
        """
        Open a socket in the place of an old one or none.
        """
        try:
            port = Port(self._connected())
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL):
                raise
            self.shortages += 1
            if old is not None:
                return old
            if not self.ports:
                raise
            return list(self.ports.values())[chance % len(self.ports)]
        if old is not None:
            self._shut(old)
        self._slots[place] = port
        self.ports[port.number] = port
        self.opened += 1
        if self._watch is None:
            self._watch = self._makeWatch()
        self._watch.add(port)
        if self._pruning is None:
            self._pruning = self._reactor.callLater(PRUNE_SECONDS, self._prune)
        return port

    def _connected(self) -> socket.socket:
        """
        Open a socket; connecting it makes the kernel choose a random port.
        """
        made = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.connect(self._peer)
        except BaseException:
            made.close()
            raise
        return made

    def _makeWatch(self) -> EpollWatch | ReaderWatch:
        reactor = IReactorFDSet(self._reactor)
        if hasattr(select, "epoll"):
            return EpollWatch(reactor, self)
        return ReaderWatch(reactor, self)

    def _shut(self, port: Port) -> None:
        del self.ports[port.number]
        if self._watch is not None:
            self._watch.remove(port)
        port.number = -1
        port.socket.close()

    def _prune(self) -> None:
        """
        Close the sockets that weren't used for a while, so that a quiet
        server holds few and its ports change.
        """
        self._pruning = None
        for place, port in enumerate(self._slots):
            if port is None or port.waiting:
                continue
            if port.fresh:
                port.fresh = False
            else:
                self._shut(port)
                self._slots[place] = None
        if self.ports:
            self._pruning = self._reactor.callLater(PRUNE_SECONDS, self._prune)

    def read(self, port: Port) -> None:
        """
        Take one datagram from a readable socket.
        """
        try:
            datagram = port.receive(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.reader.portFailed(port, error)
            return
        self.received([(port, datagram)])

    def received(self, arrived: list[tuple[Port, bytes | int]]) -> None:
        """
        Pass on what has arrived at some ports: a datagram, or the C{errno} of
        what went wrong there.
        """
        told = self.reader.datagramReceived
        for port, datagram in arrived:
            try:
                if isinstance(datagram, bytes):
                    told(port, datagram)
                elif datagram not in (errno.EAGAIN, errno.EWOULDBLOCK):
                    self.reader.portFailed(port, OSError(datagram, os.strerror(datagram)))
            except Exception:
                # The reactor drops a reader that raises, and here one reader
                # stands for all ports: the upstream would fall silent for good.
                self.log.failure("a datagram was handled badly")
