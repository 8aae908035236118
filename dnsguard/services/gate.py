# -*- test-case-name: tests.services.test_gate -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A service that starts once something else is ready, but not much later.

Listeners stand behind it: a restarted filter first looks for its lists on the
disk, which takes a moment. In that moment it would let every name through;
and if the disk fails, it must not stay silent for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["GateService"]


class GateService(Service):
    """
    Starts one service when a L{Deferred} has fired, or when patience ends.

    @ivar impatient: How often it started the service before all was ready.
    """

    log = Logger()

    def __init__(
        self,
        inner: IService,
        ready: Callable[[], Deferred[Any]],
        patience: float,
        clock: IReactorTime,
        failed: Callable[[Failure], None],
    ) -> None:
        """
        @param inner: The service to start and stop.
        @param ready: Called at each start; what it gives fires, or fails, when
            the service may start.
        @param patience: Seconds to wait for that.
        @param failed: Told when the service can't be started later on, when
            nobody who called C{startService} is there any more to be told.
        """
        self.impatient = 0
        self.inner = inner
        self._ready = ready
        self._patience = patience
        self._clock = clock
        self._failed = failed
        self._waiting: Deferred[Any] | None = None

    def privilegedStartService(self) -> None:
        """
        Let the inner service do what needs privileges.
        """
        super().privilegedStartService()
        self.inner.privilegedStartService()

    def startService(self) -> None:
        """
        Start the inner service, at once if all is ready.
        """
        super().startService()
        waiting = self._waiting = self._ready()
        waiting.addTimeout(self._patience, self._clock)
        waiting.addErrback(self._notReady)
        waiting.addCallback(self._open)
        waiting.addErrback(self._failed)

    def _notReady(self, reason: Failure) -> None:
        if reason.check(TimeoutError):
            self.impatient += 1
            self.log.warn(
                "starting without lists: they weren't there within {seconds} s",
                seconds=self._patience,
            )
        elif not reason.check(CancelledError):
            self.log.failure("starting without lists", reason)

    def _open(self, _: Any) -> None:
        self._waiting = None
        if self.running:
            self.inner.startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop the inner service, or don't start it any more.
        """
        super().stopService()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        stopped: Deferred[None] = maybeDeferred(self.inner.stopService)
        return stopped
