# -*- test-case-name: tests.server.test_stream -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Who may have a connection, how many there are, and what they may take.

A connection costs its client little and the server much, so their number is
bounded, in all and for each client network.
"""

from __future__ import annotations

from time import monotonic

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from dnsguard.interfaces import IReplayStore
from dnsguard.query import Transport
from dnsguard.server.address import pack
from dnsguard.server.connection import MOST_REPLAYED, StreamProtocol, Wait
from dnsguard.server.counters import StreamCounters
from dnsguard.server.door import RequestDoor
from dnsguard.throttle import Throttle

__all__ = ["StreamFactory", "StreamLimits"]


@attrs.frozen
class StreamLimits:
    """
    What streams may take.

    @ivar idleSeconds: How long a connection may have nothing under way
        (RFC 7766 §6.2.3).
    @ivar readSeconds: How long one message may take from first octet to last.
    @ivar writeSeconds: How long a client may leave replies unread.
    @ivar pipelined: Queries of one connection under way; more aren't read.
    @ivar connections: Connections in all.
    @ivar connectionsPerAddress: Connections from one IPv4 address or one
        IPv6 network of 64 bits.
    """

    idleSeconds: float = 10.0
    readSeconds: float = 5.0
    writeSeconds: float = 5.0
    pipelined: int = 64
    connections: int = 1000
    connectionsPerAddress: int = 50


class StreamFactory(ServerFactory):
    """
    Makes protocols for accepted connections, as long as there aren't too many.

    @ivar door: Where requests go.
    @ivar transport: What they come over.
    @ivar limits: The L{StreamLimits}; they may be replaced at any time.
    @ivar clock: What times connections; L{None} for the global reactor.
    @ivar counters: The L{StreamCounters}.
    @ivar connections: The protocols of all connections there are.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        door: RequestDoor,
        transport: Transport,
        limits: StreamLimits | None = None,
        clock: IReactorTime | None = None,
        replay: IReplayStore | None = None,
    ) -> None:
        """
        @param limits: What streams may take; L{None} for the defaults.
        @param replay: Where finished replies may be found.
        """
        self.door = door
        self.transport = transport
        self.limits = StreamLimits() if limits is None else limits
        self.clock = clock
        self.counters = StreamCounters()
        self.connections: set[StreamProtocol] = set()
        self._replay = replay
        self._now = monotonic if clock is None else clock.seconds
        self._throttle = Throttle(now=self._now)
        self._perNetwork: dict[bytes, int] = {}
        self._waiters: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol | None:  # type: ignore[override]
        """
        Make the protocol for one connection, or L{None}, which closes it.
        """
        address = pack(getattr(addr, "host", ""))
        if len(self.connections) >= self.limits.connections:
            self.counters.refused += 1
            return None
        if self._perNetwork.get(_network(address), 0) >= self.limits.connectionsPerAddress:
            self.counters.refusedAddress += 1
            return None
        self.counters.accepted += 1
        return StreamProtocol(self, address)

    def lookUp(self, octets: bytearray, start: int, address: bytes) -> tuple[int, bytes]:
        """
        Look into the replay store for replies to the messages that begin at
        C{start}; see L{IReplayStore.lookupStream}. One that is broken costs
        time, not answers.

        @return: Where the first message is that isn't answered, and the replies.
        """
        if self._replay is None:
            return start, b""
        try:
            end, replies, count = self._replay.lookupStream(
                octets, start, address, self._now(), MOST_REPLAYED
            )
        except Exception:
            self.counters.lookupErrors += 1
            times = self._throttle.allows()
            if times:
                self.log.failure("the replay store failed ({times} times)", times=times)
            return start, b""
        self.counters.replayed += count
        return end, replies

    def connected(self, protocol: StreamProtocol) -> None:
        """
        Count a connection in.
        """
        network = _network(protocol.address)
        self.connections.add(protocol)
        self._perNetwork[network] = self._perNetwork.get(network, 0) + 1

    def disconnected(self, protocol: StreamProtocol) -> None:
        """
        Count a connection out.
        """
        network = _network(protocol.address)
        self.connections.discard(protocol)
        left = self._perNetwork.pop(network, 0) - 1
        if left > 0:
            self._perNetwork[network] = left
        if not self.connections:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def whenEmpty(self) -> Deferred[None]:
        """
        A L{Deferred} that fires when there are no connections; cancel it to
        ask no more.
        """
        if not self.connections:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        return waiter

    def seconds(self, wait: Wait | None) -> float | None:
        """
        How long a client may have a connection wait.
        """
        if wait is None:
            return None
        if wait is Wait.QUERY:
            return self.limits.idleSeconds
        return self.limits.readSeconds if wait is Wait.REST else self.limits.writeSeconds

    def finish(self) -> None:
        """
        Have all connections end when their queries under way are answered.
        """
        for protocol in list(self.connections):
            protocol.finish()

    def abort(self) -> None:
        """
        Cut all connections.
        """
        for protocol in list(self.connections):
            if protocol.transport is not None:
                protocol.transport.abortConnection()


def _network(address: bytes) -> bytes:
    """
    Who counts as one: an IPv4 address, or the network that an IPv6 host can
    choose its addresses from.
    """
    return address[:8] if len(address) == 16 else address
