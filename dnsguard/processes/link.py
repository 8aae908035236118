# -*- test-case-name: tests.processes.test_link -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What two processes say to each other: requests and replies, both ways, over a
pair of sockets.

They are the frames that the query store's process is spoken to in: some JSON,
and octets behind it. Each side counts its requests; a reply bears the number of
the request it belongs to. Every request has a deadline, and whoever asks sees to
it that few are under way, so nothing piles up before a process that hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.errors import DNSGuardError, HelperError
from dnsguard.querystore.frames import BrokenFrame, FrameReader, frame

__all__ = ["Handler", "Link", "Message"]

MAX_PENDING = 64
"""Requests under way; more are refused."""

GRACE = 0.25
"""Seconds after a deadline in which what has come meanwhile is read."""

Message: TypeAlias = tuple[dict[str, Any], bytes]
"""Fields, and octets that go with them."""

Handler: TypeAlias = Callable[[dict[str, Any], bytes], Any]
"""
Does what a request asks for. Gives a L{Message}, fields alone, or L{None}; or a
Deferred of these. A L{DNSGuardError} is told to whoever asked.
"""


class Link(Protocol):
    """
    One end of the pair.

    @ivar alive: Is the other end there?
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        handlers: Mapping[str, Handler],
        lost: Callable[[], object] = lambda: None,
    ) -> None:
        """
        @param handlers: By name: what the other side may ask for.
        @param lost: Called once when the other end has gone.
        """
        self.alive = False
        self._clock = clock
        self._handlers = handlers
        self._lost = lost
        self._reader = FrameReader()
        self._pending: dict[int, Deferred[Message]] = {}
        self._deadlines: dict[int, IDelayedCall] = {}
        self._number = 0

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self.alive = True

    def call(
        self,
        name: str,
        fields: dict[str, Any] | None = None,
        payload: bytes = b"",
        *,
        seconds: float,
    ) -> Deferred[Message]:
        """
        Ask for something.

        @param seconds: How long the reply may take.
        @return: A Deferred of the reply; it fails with L{HelperError} if that
            is no, doesn't come in time, or can't come any more.
        """
        if not self.alive:
            return fail(HelperError("the other process has gone"))
        if len(self._pending) >= MAX_PENDING:
            return fail(HelperError("too much is asked of the other process already"))
        self._number += 1
        number = self._number

        def forget(_: Deferred[Message]) -> None:
            self._drop(number)

        waiting: Deferred[Message] = Deferred(forget)
        self._pending[number] = waiting
        self._deadlines[number] = self._clock.callLater(seconds, self._late, number)
        self._send({**(fields or {}), "ask": name, "number": number}, payload)
        return waiting

    def close(self) -> None:
        """
        Hang up.
        """
        if self.transport is not None:
            self.transport.loseConnection()

    def _send(self, fields: dict[str, Any], payload: bytes) -> None:
        assert self.transport is not None
        self.transport.write(frame(fields, payload))

    def _drop(self, number: int) -> Deferred[Message] | None:
        """
        Wait for a reply no more.
        """
        deadline = self._deadlines.pop(number, None)
        if deadline is not None and deadline.active():
            deadline.cancel()
        return self._pending.pop(number, None)

    def _late(self, number: int) -> None:
        """
        A reply isn't there in time; or it is, and we are late ourselves, so
        that nobody has read it yet.
        """
        self._deadlines[number] = self._clock.callLater(GRACE, self._giveUp, number)

    def _giveUp(self, number: int) -> None:
        waiting = self._drop(number)
        if waiting is not None:
            waiting.errback(HelperError("no reply in time"))

    def dataReceived(self, data: bytes) -> None:
        """
        Do what requests ask for, and hand replies to those who wait.
        """
        try:
            for fields, payload in self._reader.feed(data):
                if "ask" in fields:
                    self._asked(fields, payload)
                else:
                    self._answered(fields, payload)
        except (BrokenFrame, KeyError, TypeError) as reason:
            self.log.error("processes talk past each other: {reason}", reason=repr(reason))
            self.close()

    def _answered(self, fields: dict[str, Any], payload: bytes) -> None:
        waiting = self._drop(fields["number"])
        if waiting is None:
            return  # It came too late.
        if "error" in fields:
            waiting.errback(HelperError(fields["error"]))
        else:
            waiting.callback((fields, payload))

    def _asked(self, fields: dict[str, Any], payload: bytes) -> None:
        number, name = fields["number"], fields["ask"]
        handler = self._handlers.get(name)
        if handler is None:
            self._reply({"number": number, "error": f"nobody knows how to {name}"})
            return
        doing = maybeDeferred(handler, fields, payload)
        doing.addCallback(self._done, number)
        doing.addErrback(self._failed, number, name)

    def _done(self, result: Any, number: int) -> None:
        fields, payload = result if isinstance(result, tuple) else (result or {}, b"")
        self._reply({**fields, "number": number}, payload)

    def _failed(self, reason: Failure, number: int, name: str) -> None:
        if reason.check(DNSGuardError):
            text = str(reason.value)
        else:
            self.log.failure("what another process asked for failed: {name}", reason, name=name)
            text = f"{type(reason.value).__name__}: {reason.getErrorMessage()}"
        self._reply({"number": number, "error": text})

    def _reply(self, fields: dict[str, Any], payload: bytes = b"") -> None:
        if self.alive:
            self._send(fields, payload)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Tell all who wait that there is nothing to wait for.
        """
        self.alive = False
        for number in list(self._pending):
            waiting = self._drop(number)
            assert waiting is not None
            waiting.errback(HelperError("the other process has gone"))
        self._lost()
