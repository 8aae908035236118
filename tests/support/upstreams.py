# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Stand-ins for upstreams and their sockets, and replies to feed them with.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from dnsguard.interfaces import IUpstream
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.attempt import Attempt
from dnsguard.upstream.exchange import Exchange, Group
from dnsguard.upstream.ports import Port, PortPool
from dnsguard.upstream.reply import Reply, readReply
from dnsguard.upstream.selection import FailureKind, Standing, Strategy
from dnsguard.wire.names import fromText

QNAME = fromText("www.example.org")
TAIL = b"\0\1\0\1"
QUESTION = QNAME + TAIL

A_RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def opt(extendedRCode: int = 0, options: bytes = b"") -> bytes:
    """
    An OPT record.
    """
    return (
        b"\0\0\x29\x04\xd0"
        + bytes([extendedRCode, 0, 0, 0])
        + struct.pack("!H", len(options))
        + options
    )


def reply(
    id: bytes = b"\0\0",
    question: bytes = QUESTION,
    answers: Sequence[bytes] = (A_RECORD,),
    authority: Sequence[bytes] = (),
    additional: Sequence[bytes] = (OPT,),
    rCode: int = 0,
    flags: int = 0x8180,
) -> bytes:
    """
    A response of these records.
    """
    header = struct.pack("!HHHHH", flags | rCode, 1, len(answers), len(authority), len(additional))
    return id + header + question + b"".join([*answers, *authority, *additional])


def read(**parts: Any) -> Reply:
    """
    What is read of a L{reply}.
    """
    return readReply(reply(**parts), QUESTION)


@implementer(IUpstream)
class FakeUpstream:
    """
    Keeps what it is asked for the test to answer.

    @ivar attempts: What it was asked.
    @ivar abandoned: What nobody wants any more.
    @ivar refusing: The reason to fail each attempt at once with, or empty.
    """

    def __init__(self, name: str = "first") -> None:
        self.name = name
        self.address = UpstreamAddress.parse("192.0.2.53")
        self.standing = Standing()
        self.attempts: list[Attempt] = []
        self.abandoned: list[Attempt] = []
        self.refusing = ""
        self.retired = False
        self.closed = False

    def send(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        attempt.carrier = self
        if self.refusing:
            attempt.fail(FailureKind.UNREACHABLE, self.refusing, attempt.asked)

    def attemptTimedOut(self, attempt: Attempt, now: float) -> None:
        raise AssertionError("never put on a wheel")

    def abandon(self, attempt: Attempt) -> None:
        self.abandoned.append(attempt)

    def retire(self) -> None:
        self.retired = True

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


class FakeSocket:
    """
    Takes datagrams, and gives the errors it is told to.
    """

    numbers = itertools.count(1 << 20)

    def __init__(self) -> None:
        self.number = next(self.numbers)
        self.sent: list[bytes] = []
        self.errors: list[OSError] = []
        self.received: list[bytes | OSError] = []
        self.isClosed = False

    def send(self, datagram: bytes) -> int:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(datagram)
        return len(datagram)

    def recv(self, size: int) -> bytes:
        if not self.received:
            raise BlockingIOError()
        first = self.received.pop(0)
        if isinstance(first, OSError):
            raise first
        return first[:size]

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        self.isClosed = True


class FakePorts(PortPool):
    """
    One port, that every query leaves from.
    """

    def __init__(self) -> None:
        super().__init__(Clock(), "192.0.2.53", 53, 1)
        self.socket = FakeSocket()
        self.port = Port(self.socket)  # type: ignore[arg-type]
        self.ports = {self.port.number: self.port}
        self.error: OSError | None = None
        self.closed = False

    def draw(self, chance: int) -> Port:
        if self.error is not None:
            raise self.error
        return self.port

    def post(self, port: Port, message: bytes) -> None:
        port.send(message)

    def close(self) -> None:
        self.closed = True


class FakeConnections:
    """
    Keeps the attempts that go over TCP.
    """

    def __init__(self) -> None:
        self.carried: list[Attempt] = []
        self.retired = False

    def carry(self, attempt: Attempt) -> None:
        attempt.carrier = self
        attempt.due = attempt.deadline
        self.carried.append(attempt)

    def attemptTimedOut(self, attempt: Attempt, now: float) -> None:
        attempt.fail(FailureKind.TIMEOUT, "no reply", now)

    def abandon(self, attempt: Attempt) -> None:
        self.carried.remove(attempt)

    def retire(self) -> None:
        self.retired = True

    def close(self) -> Deferred[None]:
        return succeed(None)


class Asked:
    """
    An exchange that ends in lists.

    @ivar answers: The answer, once there is one.
    @ivar waiter: Who waits for it, unless it was there at once.
    @ivar ended: How often the exchange said it was over.
    """

    def __init__(
        self,
        *upstreams: Any,
        strategy: Strategy = Strategy.FAILOVER,
        clock: Clock | None = None,
        timeout: float = 10.0,
        dnssecOK: bool = False,
        checkingDisabled: bool = False,
        trace: Any = None,
    ) -> None:
        self.answers: list[Any] = []
        self.ended = 0
        now = (clock or Clock()).seconds()
        self.exchange = Exchange(
            (QNAME, TAIL, dnssecOK, checkingDisabled),
            Group.of(strategy, upstreams),
            self._ended,
            now + timeout,
            trace,
        )
        self.exchange.start(now)
        if self.exchange.answer is not None:
            self.answers.append(self.exchange.answer)
        else:
            self.waiter = self.exchange.join(self.answers.append)

    def _ended(self, exchange: Exchange) -> None:
        self.ended += 1

    @property
    def answer(self) -> Any:
        """
        The one answer.
        """
        (answer,) = self.answers
        return answer
