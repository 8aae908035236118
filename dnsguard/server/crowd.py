# -*- test-case-name: tests.integration.test_crowd -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Many connections that the reactor sees as one descriptor, and their transport.

A reactor does a lot for each of its events, and a stock transport hands what is
written to the turn after: of what a query over an established connection costs,
these two were the greater part. So connections are watched here, by an C{epoll}
of their own that the reactor watches, and what they write goes to the socket at
once, as far as the socket takes it. The rest, and all that concerns closing, is
Twisted's.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFDSet,
    IReadDescriptor,
    IReadWriteDescriptor,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.throttle import Throttle

__all__ = ["Crowd", "StreamTransport", "isAvailable"]

_BATCH = 64
"""Connections seen to before the reactor may see to others."""


def isAvailable() -> bool:
    """
    Does the system have C{epoll}?
    """
    return hasattr(select, "epoll")


class StreamTransport(Server):
    """
    The transport of one accepted connection, which sends without waiting for
    the reactor's next turn.
    """

    _waits = False

    def startWriting(self) -> None:
        """
        There is something that the socket hasn't taken.
        """
        self._waits = True
        super().startWriting()

    def stopWriting(self) -> None:
        """
        The socket has taken everything.
        """
        self._waits = False
        super().stopWriting()

    def write(self, data: bytes) -> None:
        """
        Send what the socket takes, and have the rest sent later.
        """
        if not self._waits and self.connected and not (self.disconnecting or self.TLS):
            try:
                sent = self.socket.send(data)
            except OSError:
                # It is full, or there is nobody any more: sending it later
                # finds out which, and deals with it.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)


@implementer(IReadDescriptor)
class Crowd:
    """
    What takes the place of a reactor for the transports of connections.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        """
        @param reactor: What watches the crowd, and times things.
        """
        self._reactor: IReactorFDSet = reactor
        self._callLater = reactor.callLater
        self._throttle = Throttle(now=reactor.seconds)
        self._poller = select.epoll()
        self._members: dict[int, IReadWriteDescriptor] = {}
        self._masks: dict[int, int] = {}
        self._reactor.addReader(self)

    @property
    def watched(self) -> int:
        """
        How many connections read or write. Not the length: a reactor that is
        empty counts as none with transports, which then take the global one.
        """
        return len(self._members)

    def close(self) -> None:
        """
        Watch nobody any more.
        """
        if not self._poller.closed:
            self._reactor.removeReader(self)
            self._poller.close()
            self._members.clear()
            self._masks.clear()

    def serve(self, port: Any) -> None:
        """
        Have the connections that a listening port accepts from now on be of
        this crowd. A port that isn't Twisted's own is left alone.
        """
        if isinstance(port, Port):
            port.transport = self._makeTransport  # type: ignore[assignment]

    def _makeTransport(
        self, bound: Any, protocol: Protocol, client: Any, port: Any, number: int, _: Any
    ) -> StreamTransport:
        reactor: Any = self
        return StreamTransport(bound, protocol, client, port, number, reactor)

    # What transports ask of a reactor.

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any) -> IDelayedCall:
        """
        As the reactor's.
        """
        later: IDelayedCall = self._callLater(delay, call, *args)
        return later

    def addReader(self, reader: Any) -> None:
        """
        Tell a transport when there is something to be read.
        """
        self._watch(reader, select.EPOLLIN, 0)

    def addWriter(self, writer: Any) -> None:
        """
        Tell a transport when its socket takes something.
        """
        self._watch(writer, select.EPOLLOUT, 0)

    def removeReader(self, reader: Any) -> None:
        """
        Tell a transport no more that there is something to be read.
        """
        self._watch(reader, 0, select.EPOLLIN)

    def removeWriter(self, writer: Any) -> None:
        """
        Tell a transport no more that its socket takes something.
        """
        self._watch(writer, 0, select.EPOLLOUT)

    def _watch(self, member: Any, more: int, less: int) -> None:
        number = member.fileno()
        before = self._masks.get(number, 0)
        mask = (before | more) & ~less
        if mask == before or self._poller.closed:
            return
        if not mask:
            self._poller.unregister(number)
            del self._masks[number], self._members[number]
            return
        if before:
            self._poller.modify(number, mask)
        else:
            self._poller.register(number, mask)
            self._members[number] = member
        self._masks[number] = mask

    # What the reactor asks.

    def fileno(self) -> int:
        """
        The C{epoll}'s number, -1 when it is closed.
        """
        return -1 if self._poller.closed else self._poller.fileno()

    def logPrefix(self) -> str:
        """
        What it is called in logs.
        """
        return "Crowd"

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor is at its end, and so are all connections.
        """
        for member in list(self._members.values()):
            member.connectionLost(reason)
        self.close()

    def doRead(self) -> None:
        """
        See to those who have something to be read, or room to write. Others
        have their turn when there are many: the system gives those first that
        weren't seen to last.
        """
        for number, event in self._poller.poll(0, _BATCH):
            member = self._members.get(number)
            if member is not None:
                self._see(member, number, event)
                if self._poller.closed:
                    return

    def _see(self, member: IReadWriteDescriptor, number: int, event: int) -> None:
        """
        Let one read or write, and end it if it says so.
        """
        ended: Any = None
        reading = bool(self._masks[number] & select.EPOLLIN)
        try:
            if event & select.EPOLLIN:
                ended = member.doRead()
            elif event & (select.EPOLLHUP | select.EPOLLERR):
                ended = CONNECTION_DONE if reading else CONNECTION_LOST
            if not ended and event & select.EPOLLOUT and self._members.get(number) is member:
                reading = False
                ended = member.doWrite()
        except Exception as reason:
            times = self._throttle.allows()
            if times:
                self.log.failure("a connection broke ({times} times)", times=times)
            ended = reason
        if ended:
            self._end(member, ended, reading)

    def _end(self, member: Any, why: Exception, reading: bool) -> None:
        """
        Tell a transport that it has read its last, or that all is over.
        """
        self.removeReader(member)
        if reading and isinstance(why, ConnectionDone):
            member.readConnectionLost(Failure(why))
            return
        self.removeWriter(member)
        member.connectionLost(Failure(why if isinstance(why, Exception) else ConnectionLost()))
