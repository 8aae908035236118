# -*- test-case-name: tests.upstream.test_stream -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
An upstream that is asked over connections: TCP, or TLS if the endpoint says so.

Connections are kept and shared: many questions are under way on one at a time,
and replies come in any order (RFC 7766 §6.2.1). Servers close idle connections
when they like (RFC 7766 §6.2.3), so a question that was written to a connection
that turns out dead is asked once more on a fresh one.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.interfaces import IUpstream
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.attempt import Attempt
from dnsguard.upstream.connection import PIPELINED, Connection
from dnsguard.upstream.message import Entropy
from dnsguard.upstream.reply import MalformedReply, Reply, readReply
from dnsguard.upstream.selection import PLAIN_SECONDS, FailureKind, Standing
from dnsguard.upstream.wheel import TimerWheel

__all__ = ["ConnectionPool", "StreamUpstream"]

CONNECTIONS = 10
"""Connections to one upstream."""

SHARED = 16
"""Questions under way on one connection before another one is opened."""

QUEUED = CONNECTIONS * PIPELINED
"""Questions waiting for a connection to open."""


class ConnectionPool:
    """
    The connections to one upstream.

    @ivar standing: How the upstream is doing.
    @ivar clock: The clock.
    @ivar entropy: Where message ids come from.
    @ivar connections: Those open.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        *,
        clock: IReactorTime,
        entropy: Entropy,
        standing: Standing,
        idleTimeout: float = 30.0,
        validateBeforeReuse: bool = False,
    ) -> None:
        """
        @param endpoint: Makes connections.
        @param idleTimeout: Seconds until an idle connection is closed; 0:
            never.
        @param validateBeforeReuse: Look at an idle connection's socket before
            it is used again?
        """
        self.clock = clock
        self.entropy = entropy
        self.standing = standing
        self.connections: list[Connection] = []
        self._endpoint = endpoint
        self._idleTimeout = idleTimeout or None
        self._validate = validateBeforeReuse
        self._queue: deque[Attempt] = deque()
        self._connecting: list[Deferred[IProtocol]] = []
        self._closing: list[Connection] = []
        self._retired = False
        self._closed: list[Deferred[None]] | None = None

    def carry(self, attempt: Attempt) -> None:
        """
        Ask a question over a connection.
        """
        attempt.carrier = self
        attempt.via = None
        attempt.sends = 0
        attempt.due = attempt.deadline
        if self._closed is None:
            self._dispatch(attempt)
        else:
            attempt.fail(FailureKind.CLOSED, "shut down", self.clock.seconds())

    def retire(self) -> None:
        """
        Close connections as they become idle.
        """
        self._retired = True
        for connection in list(self.connections):
            if not connection.waiting:
                self.drop(connection)

    def close(self) -> Deferred[None]:
        """
        Close all connections; what is under way fails.

        @return: Fires when they are closed.
        """
        if self._closed is None:
            self._closed = []
        for connecting in list(self._connecting):
            connecting.cancel()
        for connection in list(self.connections):
            self.drop(connection)
        if not self._closing:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        return closed

    def attemptTimedOut(self, attempt: Attempt, now: float) -> None:
        """
        Give up. A connection over which nothing has come since the question
        was asked is taken for dead.
        """
        connection = attempt.via
        if connection is not None:
            connection.forget(attempt)
            if connection.lastReply <= attempt.asked:
                self.drop(connection)
        attempt.fail(FailureKind.TIMEOUT, f"no reply within {now - attempt.asked:.3g} s", now)

    def abandon(self, attempt: Attempt) -> None:
        """
        Stop waiting for a reply.
        """
        if attempt.via is not None:
            attempt.via.forget(attempt)

    def drop(self, connection: Connection) -> None:
        """
        Close a connection, and don't use it any more.
        """
        if connection in self.connections:
            self.connections.remove(connection)
            self._closing.append(connection)
            connection.transport.abortConnection()

    def connectionIdle(self, connection: Connection) -> None:
        """
        Nothing is under way on a connection.
        """
        if self._retired:
            self.drop(connection)
        elif connection in self.connections:
            connection.setTimeout(self._idleTimeout)

    def connectionLost(self, connection: Connection, reason: Failure) -> None:
        """
        A connection is closed, by whichever side.
        """
        for place in (self.connections, self._closing):
            if connection in place:
                place.remove(connection)
        now = self.clock.seconds()
        waiting, connection.waiting = connection.waiting, {}
        for attempt in waiting.values():
            attempt.via = None
            if self._closed is not None or not connection.lastReply or attempt.sends > 1:
                attempt.fail(FailureKind.CLOSED, reason.getErrorMessage(), now)
            else:
                self.standing.reconnects += 1
                self._dispatch(attempt, fresh=True)
        if self._closed is not None and not self._closing:
            closed, self._closed = self._closed, []
            for each in closed:
                each.callback(None)

    def messageReceived(self, connection: Connection, attempt: Attempt, message: bytes) -> None:
        """
        Read a reply, and end the attempt with it.
        """
        if self._queue:
            self._feed(connection)
        if not connection.waiting:
            self.connectionIdle(connection)
        self.standing.lastReply = now = connection.lastReply
        try:
            reply = self._read(attempt, message)
        except MalformedReply as error:
            self.standing.malformed += 1
            attempt.fail(FailureKind.MALFORMED, str(error), now)
            return
        if reply is None or (reply.rCode and not attempt.plain and reply.lacksEDNS):
            self.standing.plain += 1
            if reply is None or reply.edns is None:
                self.standing.plainUntil = now + PLAIN_SECONDS
            attempt.plain = True
            self.carry(attempt)
            return
        attempt.succeed(reply, now)

    def _read(self, attempt: Attempt, message: bytes) -> Reply | None:
        """
        Read a reply.

        @return: L{None} for the bare header that some servers answer an OPT
            record with.
        @raise MalformedReply: It is none.
        """
        if len(message) < 12 or message[2] & 0xFA != 0x80:
            raise MalformedReply("not a whole response to a query")
        if len(message) == 12 and message[3] & 15 in (1, 4) and not attempt.plain:
            return None
        exchange = attempt.exchange
        split = 12 + len(exchange.qname)
        if (
            message[4:6] != b"\0\1"
            or message[12:split].lower() != exchange.qname
            or message[split : split + 4] != exchange.tail
        ):
            raise MalformedReply("a response to another question")
        return readReply(message, exchange.qname + exchange.tail)

    def _dispatch(self, attempt: Attempt, fresh: bool = False) -> None:
        """
        Write a query to a connection, or have it wait for one to open.

        @param fresh: Don't take one that is open already, if that can be.
        """
        attempt.sends += 1
        room = len(self.connections) + len(self._connecting) < CONNECTIONS
        connection = None if fresh and room else self._leastBusy()
        if connection is not None and (len(connection.waiting) < SHARED or not room):
            connection.ask(attempt)
        elif len(self._queue) >= QUEUED or not (room or self._connecting):
            attempt.fail(FailureKind.OVERLOAD, "too many queries under way", self.clock.seconds())
        else:
            self._queue.append(attempt)
            if room and len(self._queue) > len(self._connecting) * SHARED:
                self._connect()

    def _leastBusy(self) -> Connection | None:
        """
        The connection with the fewest questions under way, if it has room.
        """
        for connection in sorted(self.connections, key=lambda each: len(each.waiting)):
            if len(connection.waiting) >= PIPELINED:
                return None
            if not self._validate or connection.waiting or connection.isUsable():
                return connection
            self.drop(connection)
        return None

    def _connect(self) -> None:
        """
        Open a connection for those in the queue.
        """
        connecting = self._endpoint.connect(Factory.forProtocol(lambda: Connection(self)))
        self._connecting.append(connecting)
        connecting.addCallbacks(
            self._connected,
            self._connectFailed,
            callbackArgs=(connecting,),
            errbackArgs=(connecting,),
        )

    def _connected(self, connection: Connection, connecting: Deferred[IProtocol]) -> None:
        self._connecting.remove(connecting)
        self.connections.append(connection)
        self._feed(connection)
        if not connection.waiting:
            self.connectionIdle(connection)

    def _connectFailed(self, reason: Failure, connecting: Deferred[IProtocol]) -> None:
        self._connecting.remove(connecting)
        if self._connecting:
            return
        now = self.clock.seconds()
        queue, self._queue = self._queue, deque()
        for attempt in queue:
            if attempt.carrier is self and attempt.via is None:
                attempt.fail(FailureKind.UNREACHABLE, reason.getErrorMessage(), now)

    def _feed(self, connection: Connection) -> None:
        """
        Ask on a connection what waits in the queue.
        """
        while self._queue and len(connection.waiting) < PIPELINED:
            attempt = self._queue.popleft()
            # One that timed out or was abandoned is still in the queue.
            if attempt.carrier is self and attempt.via is None:
                connection.ask(attempt)


@implementer(IUpstream)
class StreamUpstream:
    """
    One server, asked over connections only.
    """

    def __init__(
        self,
        name: str,
        address: UpstreamAddress,
        *,
        connections: ConnectionPool,
        wheel: TimerWheel,
    ) -> None:
        """
        @param wheel: The timers, shared among upstreams.
        """
        self.name = name
        self.address = address
        self.standing = connections.standing
        self._connections = connections
        self._wheel = wheel

    def send(self, attempt: Attempt) -> None:
        """
        Ask a question.
        """
        self.standing.queries += 1
        attempt.plain = attempt.asked < self.standing.plainUntil
        self._connections.carry(attempt)
        if attempt.carrier is not None:
            self._wheel.add(attempt)

    def retire(self) -> None:
        """
        Close once nothing is under way any more.
        """
        self._connections.retire()

    def close(self) -> Deferred[None]:
        """
        Close all connections.
        """
        return self._connections.close()
