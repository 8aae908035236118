# -*- test-case-name: tests.redis.test_client -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One connection to Redis, as txredisapi speaks it; nobody else imports that.

txredisapi reads the replies, and logs in. What it does besides isn't used, for
reasons that were found out the hard way: its pool queues commands without bound
while Redis is down; a password or a database number together with a server that
stalls during the log-in stops its reconnecting for good; each command costs
several L{Deferred <twisted.internet.defer.Deferred>}s and a write. Here a
connection is told to write many commands at once, tells its owner of each reply
or of its end, and L{dnsguard.redis.link} does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
import txredisapi
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.errors import StoreError
from dnsguard.redis.replies import Command, ErrorReply, Reply

try:
    from hiredis import Reader, pack_command
except ImportError:
    _pack: Callable[[Any], bytes] | None = None
    _reader: Callable[..., Any] | None = None
else:
    _pack = pack_command
    _reader = Reader

__all__ = ["MAX_REPLY", "Credentials", "RedisConnection", "RedisFactory", "encode"]

MAX_REPLY = 16 << 20
"""The most octets of one reply; more is no answer to anything asked here."""


@attrs.frozen
class Credentials:
    """
    How to log in, and where.

    @ivar username: The user of the access control list, or empty.
    @ivar password: The password, or empty.
    @ivar database: The database's number.
    """

    username: str = ""
    password: str = attrs.field(default="", repr=False)
    database: int = 0


class Owner(Protocol):
    """
    What a connection belongs to.
    """

    def replyReceived(self, reply: Reply) -> None:
        """
        Take the next reply, in the order of the commands.
        """

    def connectionGone(self, connection: Any, reason: str) -> None:
        """
        Learn that no more replies will come.
        """


def encode(commands: Sequence[Command]) -> bytes:
    """
    Write commands as Redis reads them.
    """
    if _pack is not None:
        if len(commands) == 1:
            return _pack(commands[0])
        return b"".join(map(_pack, commands))
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in command]
    return b"".join(parts)


class Speaking:
    """
    What is done to either of txredisapi's protocols, the one with hiredis and
    the one without.

    @ivar ready: Fires with the connection when it is logged in, or fails with
        L{StoreError} if it never will be.
    @ivar gone: Fires with L{None} when the connection has ended, after
        everybody else was told.
    @ivar received: How many times octets came in.
    """

    log = Logger()

    factory: RedisFactory
    transport: Any

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.ready: Deferred[Any] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.owner: Owner | None = None
        self.received = 0
        self._reason = ""
        self._unanswered = 0

    def connectionMade(self) -> None:
        """
        Log in.
        """
        self.whenConnected().addCallback(self._loggedIn)  # type: ignore[attr-defined]
        super().connectionMade()  # type: ignore[misc]

    def _loggedIn(self, _: Any) -> None:
        self.owner = self.factory.owner
        if not self.ready.called:
            self.ready.callback(self)

    def send(self, octets: bytes) -> None:
        """
        Write commands.
        """
        self.transport.write(octets)

    def abort(self, reason: str) -> None:
        """
        End the connection at once.
        """
        self._reason = self._reason or reason
        self.transport.abortConnection()

    def dataReceived(self, data: bytes, *rest: Any) -> None:
        """
        Take octets; what isn't a reply ends the connection.
        """
        self.received += 1
        self._unanswered += len(data)
        if self._unanswered > MAX_REPLY:
            self.abort("a reply too long")
            return
        try:
            self.read(data, *rest)
        except (txredisapi.RedisError, ValueError, TypeError) as error:
            self.abort(f"no Redis reply: {str(error)[:100]}")

    def read(self, data: bytes, *rest: Any) -> None:
        """
        Find replies among octets.
        """
        super().dataReceived(data, *rest)  # type: ignore[misc]

    def tryConvertData(self, data: Any) -> Any:
        """
        Leave replies as they are: octets are never text or numbers here.
        """
        return data

    def replyReceived(self, reply: Any) -> None:
        """
        Give a reply to the owner, once there is one.
        """
        self._unanswered = 0
        if self.owner is None:
            super().replyReceived(reply)  # type: ignore[misc]
            return
        if isinstance(reply, Exception):
            reply = ErrorReply(self.factory.name, str(reply))
        self.owner.replyReceived(reply)

    def connectionLost(self, why: Failure) -> None:
        """
        Tell whoever waits.
        """
        reason = self._reason or self.factory.takeReason() or why.getErrorMessage()
        owner, self.owner = self.owner, None
        super().connectionLost(why)  # type: ignore[misc]
        if not self.ready.called:
            self.ready.errback(StoreError(self.factory.name, reason))
        if owner is not None:
            owner.connectionGone(self, reason)
        self.gone.callback(None)


class RedisConnection(Speaking, txredisapi.RedisProtocol):
    """
    A connection to one server, with hiredis if that is installed.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._reading: Any = None
        if _reader is not None:
            self._reading = _reader(
                protocolError=txredisapi.InvalidData, replyError=txredisapi.ResponseError
            )

    def read(self, data: bytes, *rest: Any) -> None:
        """
        Find replies, and give them to the owner by the shortest way: there is
        one for each lookup.
        """
        reading = self._reading
        if reading is None:
            super().read(data, *rest)
            return
        reading.feed(data)
        reply = reading.gets()
        while reply is not False:
            owner = self.owner
            if owner is None or isinstance(reply, Exception):
                self.replyReceived(reply)
            else:
                self._unanswered = 0
                owner.replyReceived(reply)
            reply = reading.gets()


class RedisFactory(Factory):
    """
    Makes the connections of one owner, one after the other.

    To txredisapi this is what keeps connections up, so it is told to give up
    when a log-in fails. It doesn't: the password may be put right, and a server
    that stalls now will be back.
    """

    noisy = False
    # Not to have failures logged as text, without a place.
    isLazy = False

    def __init__(
        self,
        name: str,
        owner: Owner,
        credentials: Credentials | None = None,
        make: Callable[..., Any] = RedisConnection,
    ) -> None:
        """
        @param name: What the store is called in errors.
        @param make: The connections' class.
        """
        self.name = name
        self.owner = owner
        self._credentials = credentials or Credentials()
        self._make = make
        self._reason = ""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Make a connection that logs in.
        """
        credentials = self._credentials
        connection = self._make(
            charset=None,
            convertNumbers=False,
            password=credentials.password or None,
            username=credentials.username or None,
            dbid=credentials.database or None,
        )
        connection.factory = self
        return connection

    def stopTrying(self) -> None:
        """
        Don't. See the class.
        """

    def connectionError(self, why: str) -> None:
        """
        Note why a log-in failed.
        """
        self._reason = why.removeprefix("Redis error: ")

    def takeReason(self) -> str:
        """
        Give why the last log-in failed, once.
        """
        reason, self._reason = self._reason, ""
        return reason
