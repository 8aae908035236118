# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Doubles of what stands between dnsguard and Redis: wires without sockets, and
servers that say what a test wants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.errors import StoreError
from dnsguard.redis.client import encode
from dnsguard.redis.replies import Command, IRedis, Reply

__all__ = ["FakeEndpoint", "FakeRedis", "Wire"]


class Wire(StringTransport):
    """
    One connection, seen from the server.

    @ivar aborted: Was it cut off?
    @ivar closing: Is it to end when all is written?
    """

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.closing = False
        self.protocol: Any = None
        self._reader = hiredis.Reader()

    def commands(self) -> list[list[bytes]]:
        """
        Take what was written since.
        """
        self._reader.feed(self.value())
        self.clear()
        found = []
        while (command := self._reader.gets()) is not False:
            found.append(command)
        return found

    def reply(self, *octets: bytes) -> None:
        """
        Say something.
        """
        self.protocol.dataReceived(b"".join(octets))

    def abortConnection(self) -> None:
        """
        Cut the connection off.
        """
        if not self.aborted and self.protocol is not None:
            self.aborted = True
            self.protocol.connectionLost(Failure(ConnectionAborted()))

    def loseConnection(self) -> None:
        """
        Begin to end the connection: it ends with L{drop}.
        """
        self.closing = True

    def drop(self) -> None:
        """
        Lose the connection.
        """
        if not self.aborted:
            self.aborted = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


@implementer(IStreamClientEndpoint)
class FakeEndpoint:
    """
    Connections that a test makes.

    @ivar wires: Those made, in order.
    @ivar refusing: Fail each attempt with this, unless it is L{None}.
    """

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.attempts = 0
        self.refusing: Exception | None = None

    @property
    def wire(self) -> Wire:
        """
        The latest connection.
        """
        return self.wires[-1]

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """
        Connect at once.
        """
        self.attempts += 1
        if self.refusing is not None:
            return fail(self.refusing)
        protocol = protocolFactory.buildProtocol(None)
        wire = Wire()
        wire.protocol = protocol
        self.wires.append(wire)
        protocol.makeConnection(wire)
        return succeed(protocol)


class FakeRedis:
    """
    An L{IRedis} whose replies are the test's.

    @ivar asked: What it was asked, pipeline by pipeline.
    @ivar available: What it says of itself.
    """

    def __init__(
        self,
        answer: Callable[[Command], Reply] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        @param answer: Gives the reply to a command, or raises L{StoreError} for
            all of its pipeline; without it each is L{None}.
        """
        self.name = "redis"
        self.available = True
        self.asked: list[list[Command]] = []
        self.waiting: list[tuple[list[Command], Deferred[list[Reply]]]] = []
        self.held = False
        self.answer: Callable[[Command], Reply] = answer or (lambda command: None)

    def execute(self, commands: Sequence[Command], octets: bytes = b"") -> Deferred[list[Reply]]:
        """
        Answer, or wait for L{release}.
        """
        if octets and octets != encode(commands):
            raise AssertionError(f"{octets!r} aren't these commands")
        if not self.available:
            return fail(StoreError(self.name, "away"))
        given = list(commands)
        self.asked.append(given)
        if self.held:
            deferred: Deferred[list[Reply]] = Deferred()
            self.waiting.append((given, deferred))
            return deferred
        try:
            return succeed([self.answer(command) for command in given])
        except StoreError as error:
            return fail(error)

    def release(self) -> None:
        """
        Answer what waits.
        """
        waiting, self.waiting = self.waiting, []
        for commands, deferred in waiting:
            deferred.callback([self.answer(command) for command in commands])

    def servers(self) -> Sequence[IRedis]:
        """
        Itself.
        """
        return (self,)

    @property
    def commands(self) -> list[Command]:
        """
        All commands, one after the other.
        """
        return [command for pipeline in self.asked for command in pipeline]
