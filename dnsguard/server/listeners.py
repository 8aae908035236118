# -*- test-case-name: tests.integration.test_listeners -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The services that listen.

One service has all of a server's addresses, because they start together or
not at all: when one can't be had, nothing is left listening, and the error
names the address. They stop together as well: first no new query is taken,
then those under way get a short time, then the sockets close.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorFDSet,
    IReactorSocket,
    IReactorTime,
)
from twisted.logger import Logger

from dnsguard.errors import ListenError
from dnsguard.interfaces import IReplayStore
from dnsguard.server import burst, crowd
from dnsguard.server.address import ListenAddress
from dnsguard.server.corridor import Corridor
from dnsguard.server.counters import PastSockets, StreamCounters
from dnsguard.server.datagram import DatagramListener
from dnsguard.server.sockets import bindDatagram, bindStream, isMissing
from dnsguard.server.stream import StreamFactory

__all__ = ["IListenReactor", "ListenerService", "UDPListener"]


class UDPListener(Protocol):
    """
    Something that reads requests from one UDP socket and sends the replies.
    """

    @property
    def counters(self) -> Any:
        """
        What has become of datagrams so far.
        """

    def startReading(self) -> None:
        """
        Take requests. Once.
        """

    def stopReading(self) -> None:
        """
        Take no more requests; replies are still sent.
        """

    def close(self) -> None:
        """
        Close the socket.
        """

    def getHost(self) -> tuple[str, int]:
        """
        The address and port it is bound to.
        """


class IListenReactor(IReactorFDSet, IReactorSocket, IReactorTime):
    """
    What of a reactor the listeners use.
    """


class ListenerService(Service):
    """
    Listens for DNS over UDP and TCP.

    @ivar streams: The L{StreamFactory} of the TCP connections.
    @ivar shares: For each helper process: its sockets, bound together with the
        service's own, until somebody takes them.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IListenReactor,
        server: Corridor,
        addresses: Sequence[ListenAddress],
        *,
        streams: StreamFactory | None = None,
        datagrams: bool = True,
        reusePort: bool = False,
        sockets: int = 1,
        helpers: int = 0,
        inherited: Sequence[tuple[ListenAddress, socket.socket]] = (),
        makeListener: Callable[[socket.socket, ListenAddress], UDPListener] | None = None,
        receiveBuffer: int = 0,
        replay: IReplayStore | None = None,
        past: PastSockets | None = None,
        drainSeconds: float = 2.0,
    ) -> None:
        """
        @param server: The L{Corridor}, such as a L{GuardServerFactory}, that
            requests go to.
        @param addresses: Where to listen. Optional ones that this machine
            doesn't have are left out.
        @param streams: Makes the protocols of TCP connections; L{None}: don't
            listen for any.
        @param datagrams: Listen for UDP?
        @param reusePort: Share the ports with other processes. Without, a port
            that anybody else has is an error, however many C{sockets} there are.
        @param sockets: How many UDP sockets of this service share each
            address.
        @param helpers: How many other processes get as many UDP sockets at each
            address, and share the TCP sockets.
        @param inherited: Sockets that are bound already, instead of addresses.
        @param makeListener: Makes the listener for a bound UDP socket, as
            L{DatagramListener} is made if this is L{None}.
        @param receiveBuffer: Octets of requests that the system may hold for
            each UDP socket; 0 leaves it alone.
        @param replay: Where finished replies to datagrams may be found.
        @param past: Where to leave what was counted on sockets that are closed.
        @param drainSeconds: How long queries under way may take when the
            service is stopped.
        """
        self.streams = streams
        self._reactor = reactor
        self._server = server
        self._addresses = tuple(addresses)
        self._wantsDatagrams = datagrams
        self._reusePort = reusePort
        self._sockets = sockets
        self._inherited = tuple(inherited)
        self.shares: list[list[tuple[ListenAddress, socket.socket]]] = [[] for _ in range(helpers)]
        self._makeListener = makeListener or self._plainListener
        self._receiveBuffer = receiveBuffer
        self._replay = replay
        self._past = past or PastSockets()
        self._drainSeconds = drainSeconds
        self._bound: list[tuple[ListenAddress, socket.socket]] = []
        self._datagrams: list[UDPListener] = []
        self._ports: list[IListeningPort] = []
        self._crowd: crowd.Crowd | None = None

    # Starting.

    def privilegedStartService(self) -> None:
        """
        Bind, while we may still bind to port 53.

        @raise ListenError: An address can't be had; nothing is bound then.
        """
        super().privilegedStartService()
        self._bindAll()

    def startService(self) -> None:
        """
        Take requests.

        @raise ListenError: An address can't be had; nothing is bound then.
        """
        if not self._bound:
            self._bindAll()
        super().startService()
        while self._bound:
            address, each = self._bound.pop(0)
            if each.type == socket.SOCK_DGRAM:
                self._listenForDatagrams(address, each)
            else:
                self._listenForStreams(address, each)
        hosts = dict.fromkeys(f"{protocol} {address}" for protocol, address in self.getHosts())
        self.log.info("listening on {addresses}", addresses=", ".join(hosts))

    def _bindAll(self) -> None:
        if self._inherited:
            self._bound = list(self._inherited)
            return
        try:
            for address in self._addresses:
                self._bind(address)
            if not self._bound:
                names = ", ".join(map(str, self._addresses)) or "no address"
                raise ListenError(names, "dns", "this machine has no such address")
        except ListenError:
            self._closeAll()
            raise

    def _bind(self, address: ListenAddress) -> None:
        try:
            if self._wantsDatagrams:
                self._bindDatagrams(address)
            if self.streams is not None:
                stream = bindStream(address, reusePort=self._reusePort)
                self._bound.append((address, stream))
                # One queue of connections, which whoever has time takes from.
                for share in self.shares:
                    share.append((address, stream.dup()))
        except ListenError as reason:
            cause = reason.__cause__
            if not (address.optional and isinstance(cause, OSError) and isMissing(cause)):
                raise
            self.log.info("{reason}; going on without it", reason=str(reason))

    def _bindDatagrams(self, address: ListenAddress) -> None:
        """
        Bind all UDP sockets for one address.
        """
        first = bindDatagram(address, reusePort=self._reusePort, receiveBuffer=self._receiveBuffer)
        if self._sockets == 1 and not self.shares:
            self._bound.append((address, first))
            return
        # A port that may be shared can be had though another server has it. So
        # the first socket, which shares with nobody unless told to, only shows
        # that the port is free, and which one it is.
        host, port = first.getsockname()[:2]
        first.close()
        shared = attrs.evolve(address, host=host, port=port)
        for share in (self._bound, *self.shares):
            for _ in range(self._sockets):
                each = bindDatagram(shared, reusePort=True, receiveBuffer=self._receiveBuffer)
                share.append((shared, each))

    def _plainListener(self, bound: socket.socket, address: ListenAddress) -> UDPListener:
        return DatagramListener(
            bound,
            self._server,
            self._reactor,
            wildcard=address.isWildcard,
            bursts=burst.isAvailable(),
            replay=self._replay,
            now=None if self._replay is None else self._reactor.seconds,
        )

    def _listenForDatagrams(self, address: ListenAddress, bound: socket.socket) -> None:
        listener = self._makeListener(bound, address)
        self._datagrams.append(listener)
        listener.startReading()

    def _listenForStreams(self, address: ListenAddress, bound: socket.socket) -> None:
        assert self.streams is not None
        port = self._reactor.adoptStreamPort(bound.fileno(), address.family, self.streams)
        self._ports.append(port)
        if self._crowd is None and crowd.isAvailable():
            self._crowd = crowd.Crowd(self._reactor)
        if self._crowd is not None:
            self._crowd.serve(port)
        # The reactor works on a duplicate.
        bound.close()

    def takeShares(self) -> list[list[tuple[ListenAddress, socket.socket]]]:
        """
        Give the sockets of helper processes away.
        """
        shares = self.shares
        self.shares = [[] for _ in shares]
        return shares

    # Being asked.

    def getHosts(self) -> list[tuple[str, ListenAddress]]:
        """
        What is listened on, C{"udp"} or C{"tcp"} with the address, and the
        real port where any was asked for.
        """
        hosts = [("udp", ListenAddress(*listener.getHost())) for listener in self._datagrams]
        for port in self._ports:
            host = port.getHost()
            assert isinstance(host, IPv4Address | IPv6Address)
            hosts.append(("tcp", ListenAddress(host.host, host.port)))
        return hosts

    @property
    def datagramCounters(self) -> list[Any]:
        """
        The counters of each UDP socket, as long as the service runs.
        """
        return [listener.counters for listener in self._datagrams]

    @property
    def udpSockets(self) -> int:
        """
        How many UDP sockets are read.
        """
        return len(self._datagrams)

    @property
    def streamCounters(self) -> StreamCounters | None:
        """
        The counters of TCP connections.
        """
        return None if self.streams is None else self.streams.counters

    # Stopping.

    def stopService(self) -> Deferred[None]:
        """
        Take no more queries, let those under way end, and close.

        @return: A L{Deferred} that fires when everything is closed.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for listener in self._datagrams:
            listener.stopReading()
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        waits = [self._server.pending.whenEmpty()]
        if self.streams is not None:
            self.streams.finish()
            waits.append(self.streams.whenEmpty())
        # A list of results: those that were still waited for when the time was
        # up are failures in it.
        drained = DeferredList(waits, consumeErrors=True)
        drained.addTimeout(self._drainSeconds, self._reactor)
        await drained
        if self._server.pending:
            left = len(self._server.pending)
            self.log.info("stopping with {left} queries not answered", left=left)
        self._closeAll()

    def _closeAll(self) -> None:
        """
        Close what is open.
        """
        bound, self._bound = self._bound, []
        for _, each in bound:
            each.close()
        for share in self.shares:
            # Of those taken there is none left here.
            for _, each in share:
                each.close()
            share.clear()
        datagrams, self._datagrams = self._datagrams, []
        for listener in datagrams:
            listener.close()
            self._past.bury(listener.counters)
        if self.streams is not None:
            self.streams.abort()
        if self._crowd is not None:
            self._crowd.close()
            self._crowd = None
