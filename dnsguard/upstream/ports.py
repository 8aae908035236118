# -*- test-case-name: tests.upstream.test_ports -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The UDP sockets that one upstream is asked from.

A forger must guess the port a query came from (RFC 5452 §4.5), so each query
leaves from one of a thousand and more, drawn by lot; each is opened when first
drawn, connected, so that the kernel drops what strangers send and reports what
ICMP says, and replaced after some use. The reactor watches one descriptor for
all of them: an epoll of ours, which is itself readable when a socket is. A
wake-up then costs the reactor once, not once a reply.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from dnsguard.upstream.attempt import Attempt

__all__ = ["IDatagramReader", "Port", "PortPool", "affordablePorts"]

RECEIVE_SIZE = 4096
"""More than any reply to a query that announces 1232 octets."""

BATCH = 64
"""Replies read before the reactor gets its turn."""

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

    @ivar waiting: What waits for a reply here, by message id.
    @ivar late: Ids of what was given up here lately.
    @ivar guesses: Datagrams that came here and answered nothing asked.
    @ivar uses: Queries asked from here.
    @ivar fresh: Has it been used since the last pruning?
    """

    __slots__ = ("fresh", "guesses", "late", "receive", "send", "socket", "uses", "waiting")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
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
        self._watch: _EpollWatch | _ReaderWatch | None = None
        self._pruning: IDelayedCall | None = None
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

    def __len__(self) -> int:
        return len(self.ports)

    def close(self) -> None:
        """
        Close all sockets.
        """
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
        self.ports[port.socket.fileno()] = port
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

    def _makeWatch(self) -> _EpollWatch | _ReaderWatch:
        reactor = IReactorFDSet(self._reactor)
        if hasattr(select, "epoll"):
            return _EpollWatch(reactor, self)
        return _ReaderWatch(reactor, self)

    def _shut(self, port: Port) -> None:
        del self.ports[port.socket.fileno()]
        if self._watch is not None:
            self._watch.remove(port)
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
        try:
            self.reader.datagramReceived(port, datagram)
        except Exception:
            # The reactor drops a reader that raises, and here one reader
            # stands for all ports: the upstream would fall silent for good.
            self.log.failure("a datagram was handled badly")


@implementer(IReadDescriptor)
class _EpollWatch:
    """
    All sockets of a pool as one readable descriptor.
    """

    def __init__(self, reactor: IReactorFDSet, pool: PortPool) -> None:
        self._reactor = reactor
        self._pool = pool
        self._epoll = select.epoll()
        reactor.addReader(self)

    def add(self, port: Port) -> None:
        self._epoll.register(port.socket.fileno(), select.EPOLLIN)

    def remove(self, port: Port) -> None:
        self._epoll.unregister(port.socket.fileno())

    def close(self) -> None:
        self._reactor.removeReader(self)
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def doRead(self) -> None:
        read = self._pool.read
        ports = self._pool.ports
        for number, _ in self._epoll.poll(0, BATCH):
            # One handled just before may have closed this one.
            port = ports.get(number)
            if port is not None:
                read(port)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor shuts down.
        """

    def logPrefix(self) -> str:
        return "upstream"


class _ReaderWatch:
    """
    Each socket as a descriptor of its own, where there is no epoll.
    """

    def __init__(self, reactor: IReactorFDSet, pool: PortPool) -> None:
        self._reactor = reactor
        self._pool = pool
        self._readers: dict[Port, _PortReader] = {}

    def add(self, port: Port) -> None:
        self._readers[port] = reader = _PortReader(port, self._pool)
        self._reactor.addReader(reader)

    def remove(self, port: Port) -> None:
        self._reactor.removeReader(self._readers.pop(port))

    def close(self) -> None:
        for port in list(self._readers):
            self.remove(port)


@implementer(IReadDescriptor)
class _PortReader:
    """
    One socket for the reactor to watch.
    """

    def __init__(self, port: Port, pool: PortPool) -> None:
        self._port = port
        self._pool = pool

    def fileno(self) -> int:
        return self._port.socket.fileno()

    def doRead(self) -> None:
        self._pool.read(self._port)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor shuts down.
        """

    def logPrefix(self) -> str:
        return "upstream"
