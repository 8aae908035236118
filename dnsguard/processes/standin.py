# -*- test-case-name: tests.processes.test_standin -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Reading a helper's sockets in the main process while the helper doesn't.

The system spreads clients over all sockets of a port, read or not. What it has
put into one whose process died waits there for whoever reads it next.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from dnsguard.server.address import ListenAddress

__all__ = ["SharedSocket", "SocketStandIn"]

DRAIN_SECONDS = 15.0
"""How long replies may take to requests read before a helper took over."""


class SharedSocket(socket.socket):
    """
    A socket whose other owner may let it block or not, which goes for both:
    here it never does.
    """

    def sendto(self, octets: Any, peer: Any) -> int:  # type: ignore[override]
        """
        See L{socket.socket.sendto}.
        """
        return super().sendto(octets, socket.MSG_DONTWAIT, peer)

    def sendmsg(  # type: ignore[override]
        self, octets: Any, ancillary: Any, flags: int, peer: Any
    ) -> int:
        """
        See L{socket.socket.sendmsg}.
        """
        return super().sendmsg(octets, ancillary, flags | socket.MSG_DONTWAIT, peer)

    def recvfrom(self, size: int) -> Any:  # type: ignore[override]
        """
        See L{socket.socket.recvfrom}.
        """
        return super().recvfrom(size, socket.MSG_DONTWAIT)

    def recvmsg(self, size: int, ancillary: int) -> Any:  # type: ignore[override]
        """
        See L{socket.socket.recvmsg}.
        """
        return super().recvmsg(size, ancillary, socket.MSG_DONTWAIT)

    @classmethod
    def of(cls, bound: socket.socket) -> SharedSocket:
        """
        Share a socket.
        """
        with bound.dup() as other:
            shared = cls(bound.family, bound.type, bound.proto, other.detach())
        shared.setblocking(False)
        return shared


class SocketStandIn:
    """
    Reads the UDP sockets of one helper. Of TCP there is one listening socket
    for all, so that nobody needs to stand in.

    @ivar listeners: Those that read, or still send replies.
    """

    def __init__(
        self,
        sockets: Sequence[tuple[ListenAddress, socket.socket]],
        makeListener: Callable[[socket.socket, ListenAddress], Any],
        clock: IReactorTime,
        over: Callable[[Any], object] = lambda counters: None,
    ) -> None:
        """
        @param sockets: All of its sockets.
        @param makeListener: Makes what reads one, a L{UDPListener
            <dnsguard.server.listeners.UDPListener>}.
        @param over: Told what each listener that has come to its end had
            counted.
        """
        self._sockets = list(sockets)
        self._makeListener = makeListener
        self._clock = clock
        self._over = over
        self._reading: list[Any] = []
        self._draining: dict[Any, IDelayedCall] = {}

    @property
    def reading(self) -> int:
        """
        How many sockets are read.
        """
        return len(self._reading)

    @property
    def listeners(self) -> list[Any]:
        return [*self._reading, *self._draining]

    def begin(self) -> None:
        """
        Take requests.
        """
        if self._reading:
            return
        for address, bound in self._sockets:
            if bound.type != socket.SOCK_DGRAM:
                continue
            listener = self._makeListener(SharedSocket.of(bound), address)
            self._reading.append(listener)
            listener.startReading()

    def end(self) -> None:
        """
        Take no more; replies are still sent for a while.
        """
        reading, self._reading = self._reading, []
        for listener in reading:
            listener.stopReading()
            self._draining[listener] = self._clock.callLater(
                DRAIN_SECONDS, self._drained, listener
            )

    def _drained(self, listener: Any) -> None:
        call = self._draining.pop(listener)
        if call.active():
            call.cancel()
        listener.close()
        self._over(listener.counters)

    def close(self) -> None:
        """
        Let go of everything now, the sockets included.
        """
        self.end()
        for listener in list(self._draining):
            self._drained(listener)
        sockets, self._sockets = self._sockets, []
        for _, bound in sockets:
            bound.close()
