# -*- test-case-name: tests.services.test_redishealth -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Keeps the connections to Redis up, tries out what has failed, and says so.

Queries never find out that Redis is back: that would cost each of them the time
it takes to find out that it isn't. A probe now and then does, more often after
a failure that has just happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.errors import StoreError

__all__ = ["RedisHealthService"]

LOOK_SECONDS = 0.1
"""How often a server that is away is looked at; it has its own mind about when
to be tried out."""

PING_SECONDS = 5.0
"""How often one is that seems to be there."""

START_SECONDS = 2.0
"""How long Redis may take to be there at the start, where it must be."""


FLUSH_SECONDS = 2.0
"""How long writing what is to be written may take at the end."""


class Connected(Protocol):
    """
    What is kept up: a link, a cluster, a channel.
    """

    def start(self) -> None: ...

    def stop(self) -> Deferred[None]: ...


class Probed(Connected, Protocol):
    """
    What is tried out as well.
    """

    name: str

    @property
    def reason(self) -> str: ...

    @property
    def available(self) -> bool: ...

    def probe(self) -> Deferred[bool]: ...

    def ping(self) -> Deferred[None]: ...


class RedisHealthService(Service):
    """
    Starts and stops the connections, and looks after them.

    @ivar transitions: How often Redis went away or came back.
    """

    log = Logger()

    def __init__(
        self,
        store: Probed,
        others: Sequence[Probed],
        listeners: Sequence[Connected],
        clock: Any,
        *,
        flush: Callable[[], Any] = lambda: None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """
        @param store: What lookups go to; its coming and going is logged.
        @param others: Other connections to the same servers.
        @param listeners: What is only started and stopped.
        @param flush: Called before all is stopped; may give a Deferred.
        @param failed: Called with the reason if Redis isn't there soon after
            the start; without it, one goes on without Redis.
        """
        self.setName("redis")
        self.transitions = 0
        self._store = store
        self._probed = (store, *others)
        self._all: tuple[Connected, ...] = (store, *others, *listeners)
        self._clock = clock
        self._flush = flush
        self._failed = failed
        self._sleep: IDelayedCall | None = None
        self._verdict: IDelayedCall | None = None
        self._wasAvailable: bool | None = None
        self._pinged = 0.0

    def startService(self) -> None:
        """
        Connect.
        """
        super().startService()
        for each in self._all:
            each.start()
        self._verdict = self._clock.callLater(START_SECONDS, self._judge)
        self._look()

    def _judge(self) -> None:
        """
        See if Redis was there in time.
        """
        self._verdict = None
        if self._store.available:
            return
        if self._failed is not None:
            self._failed(f"{self._store.name}: {self._store.reason}")
        elif self._wasAvailable is None:
            self._wasAvailable = False
            self.log.warn(
                "{name} isn't there: {reason}; going on without it",
                name=self._store.name,
                reason=self._store.reason,
            )

    def _look(self) -> None:
        """
        Try out what has failed, and less often what hasn't.
        """
        self._sleep = None
        now = self._clock.seconds()
        ping = now - self._pinged >= PING_SECONDS
        if ping:
            self._pinged = now
        for each in self._probed:
            each.probe().addErrback(lambda reason: self.log.failure("probe failed", reason))
            if ping:
                each.ping().addErrback(lambda reason: self.log.failure("ping failed", reason))
        self._tell()
        self._sleep = self._clock.callLater(LOOK_SECONDS, self._look)

    def _tell(self) -> None:
        """
        Log that Redis is away, or back.
        """
        available = self._store.available
        if available == self._wasAvailable or (not available and self._wasAvailable is None):
            return
        if self._wasAvailable is not None:
            self.transitions += 1
        if available:
            self.log.info("{name} is in use", name=self._store.name)
        else:
            self.log.warn(
                "{name} is left alone: {reason}", name=self._store.name, reason=self._store.reason
            )
        self._wasAvailable = available

    def stopService(self) -> Deferred[None]:
        """
        Write what is to be written, then hang up.
        """
        super().stopService()
        for call in (self._sleep, self._verdict):
            if call is not None and call.active():
                call.cancel()
        self._sleep = self._verdict = None
        flushed = maybeDeferred(self._flush)
        flushed.addTimeout(FLUSH_SECONDS, self._clock)
        flushed.addErrback(self._notFlushed)
        return flushed.addCallback(self._hangUp)

    def _notFlushed(self, reason: Failure) -> None:
        if reason.check(TimeoutError, StoreError):
            self.log.warn("not all answers were written: {name} is slow", name=self._store.name)
        else:
            self.log.failure("answers weren't written", reason)

    def _hangUp(self, _: Any) -> Deferred[None]:
        stopped = DeferredList([each.stop() for each in self._all], consumeErrors=True)
        return stopped.addCallback(lambda _: None)
