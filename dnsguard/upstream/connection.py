# -*- test-case-name: tests.upstream.test_stream -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One connection to an upstream, with many questions under way.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from dnsguard.upstream.attempt import Attempt
from dnsguard.upstream.message import queryParts

if TYPE_CHECKING:
    from dnsguard.upstream.stream import ConnectionPool

__all__ = ["PIPELINED", "Connection"]

PIPELINED = 100
"""Questions under way on one connection, at most."""

_LENGTH = struct.Struct("!H")


class Connection(Protocol, TimeoutMixin):
    """
    One connection to an upstream.

    @ivar waiting: What waits for a reply here, by message id.
    @ivar lastReply: When a reply last came in over it; 0 before the first.
    """

    transport: ITCPTransport

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.waiting: dict[bytes, Attempt] = {}
        self.lastReply = 0.0
        self._late: set[bytes] = set()
        self._received = bytearray()

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:
        """
        Let the idle limit run on the pool's clock.
        """
        return self.pool.clock.callLater(period, func)

    def connectionMade(self) -> None:
        """
        Let queries go out at once.
        """
        setNoDelay = getattr(self.transport, "setTcpNoDelay", None)
        if setNoDelay is not None:
            setNoDelay(True)

    def ask(self, attempt: Attempt) -> None:
        """
        Write a query.
        """
        entropy = self.pool.entropy
        id = entropy.take(2)
        while id in self.waiting or id in self._late:
            id = entropy.take(2)
        exchange = attempt.exchange
        attempt.id = id
        attempt.via = self
        # Letter case isn't mixed: whoever can write into the connection has
        # seen what was asked.
        header, opt = queryParts(exchange.dnssecOK, exchange.checkingDisabled, not attempt.plain)
        message = id + header + exchange.qname + exchange.tail + opt
        self.waiting[id] = attempt
        self.setTimeout(None)
        # Length and message in one write, hence one segment (RFC 7766 §8).
        self.transport.write(_LENGTH.pack(len(message)) + message)

    def forget(self, attempt: Attempt) -> None:
        """
        Stop waiting for a reply. Its id isn't used again on this connection
        until the reply has come.
        """
        del self.waiting[attempt.id]
        self._late.add(attempt.id)
        if len(self._late) > PIPELINED:
            # One that swallows so many questions is of no use.
            self.pool.drop(self)
        elif not self.waiting:
            self.pool.connectionIdle(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Take the messages out of the stream.
        """
        received = self._received
        received += data
        start = 0
        while len(received) - start >= 2:
            end = start + 2 + (received[start] << 8 | received[start + 1])
            if end > len(received):
                break
            message = bytes(received[start + 2 : end])
            start = end
            self._messageReceived(message)
        del received[:start]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the pool.
        """
        self.setTimeout(None)
        self.pool.connectionLost(self, reason)

    def timeoutConnection(self) -> None:
        """
        It was idle for too long.
        """
        self.pool.drop(self)

    def isUsable(self) -> bool:
        """
        Look at the socket, whether the other side has closed it and the
        reactor only hasn't come round to it yet.
        """
        handle = getattr(self.transport, "getHandle", lambda: None)()
        if not isinstance(handle, socket.socket):
            return True
        try:
            return bool(handle.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _messageReceived(self, message: bytes) -> None:
        id = message[:2]
        attempt = self.waiting.pop(id, None)
        if attempt is not None:
            self.lastReply = self.pool.clock.seconds()
            self.pool.messageReceived(self, attempt, message)
        elif id in self._late:
            self._late.discard(id)
            self.pool.standing.late += 1
        else:
            # No stranger can have sent it: the two ends have lost each other.
            self.pool.standing.mismatched += 1
            self.pool.drop(self)
