# -*- test-case-name: tests.upstream.test_ports -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How the reactor watches the UDP sockets of an upstream.

It watches one descriptor for all of them: an epoll of ours, which is itself
readable when a socket is. A wake-up then costs the reactor once, not once a
reply.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from dnsguard.upstream.ports import Port, PortPool

try:
    from dnsguard.upstream._sockets import receiveAll  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: one at a time.
    receiveAll = None

__all__ = ["BATCH", "EpollWatch", "ReaderWatch"]

BATCH = 64
"""Replies read before the reactor gets its turn, and queries sent in one go."""


@implementer(IReadDescriptor)
class EpollWatch:
    """
    All sockets of a pool as one readable descriptor.
    """

    def __init__(self, reactor: IReactorFDSet, pool: PortPool) -> None:
        self._reactor = reactor
        self._pool = pool
        self._epoll = select.epoll()
        reactor.addReader(self)

    def add(self, port: Port) -> None:
        self._epoll.register(port.number, select.EPOLLIN)

    def remove(self, port: Port) -> None:
        self._epoll.unregister(port.number)

    def close(self) -> None:
        self._reactor.removeReader(self)
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def doRead(self) -> None:
        pool = self._pool
        ports = pool.ports
        if receiveAll is not None:
            pool.received(receiveAll(self._epoll.fileno(), ports))
            return
        read = pool.read
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


class ReaderWatch:
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
        return self._port.number

    def doRead(self) -> None:
        self._pool.read(self._port)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor shuts down.
        """

    def logPrefix(self) -> str:
        return "upstream"
