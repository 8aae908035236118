# -*- test-case-name: tests.redis.test_reconnector -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Keep one connection up, whatever happens to it and at whatever moment.

Twisted's C{ClientService} does this for connections that are good once they are
made. These have to log in, and to be asked whether they are good; a server may
go away in the midst of that, and a service whose connection ends while it is
being prepared learns of two failures and can cope with one. Here the end of a
connection is told in one way only, and leads to one next attempt.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure

from dnsguard.errors import StoreError

__all__ = ["LOG_IN_SECONDS", "Reconnector", "retryAfter", "words"]

LOG_IN_SECONDS = 2.0
"""How long connecting, and then logging in, may take each."""

FIRST_RETRY = 0.1
LONGEST_RETRY = 2.0


def retryAfter(attempts: int) -> float:
    """
    Tell how long to wait after so many attempts in a row that failed.
    """
    pause = min(FIRST_RETRY * 2 ** min(max(attempts - 1, 0), 10), LONGEST_RETRY)
    return float(pause * random.uniform(0.75, 1.25))


def words(error: BaseException | None) -> str:
    """
    Say in a few words why something failed.
    """
    return error.reason if isinstance(error, StoreError) else str(error or "")[:200] or "no answer"


class Reconnector:
    """
    One connection at a time, and another one when that has ended.

    @ivar connection: The connection that is there, good or yet to be examined,
        or L{None}.
    @ivar attempts: Attempts in a row that came to nothing.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        factory: IProtocolFactory,
        clock: Any,
        examine: Callable[[Any], Deferred[Any]],
        failed: Callable[[str], None],
    ) -> None:
        """
        @param factory: Makes L{dnsguard.redis.client.RedisConnection}s.
        @param examine: Called with each connection that is logged in; gives
            what fires if it is good, and fails if it isn't.
        @param failed: Told why each time an attempt comes to nothing.
        """
        self.connection: Any = None
        self.attempts = 0
        self._endpoint = endpoint
        self._factory = factory
        self._clock = clock
        self._examine = examine
        self._failed = failed
        self._running = False
        self._connecting: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._stopped: list[Deferred[None]] = []

    def start(self) -> None:
        """
        Connect.
        """
        if not self._running:
            self._running = True
            if self.connection is None and self._connecting is None:
                self._attempt()

    def stop(self) -> Deferred[None]:
        """
        Hang up.

        @return: Fires when that is done.
        """
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self.connection is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        # Not in good order: it may be waiting for a server that never reads.
        self.connection.abort("closed")
        return stopped

    def _attempt(self) -> None:
        self._timer = None
        connecting = self._connecting = self._endpoint.connect(self._factory)
        connecting.addTimeout(LOG_IN_SECONDS, self._clock)
        connecting.addCallbacks(self._connected, self._notConnected)

    def _notConnected(self, reason: Failure) -> None:
        self._connecting = None
        if not (reason.check(CancelledError) and not self._running):
            self._failed(words(reason.value))
        self._retry()

    def _connected(self, connection: Any) -> None:
        self._connecting = None
        self.connection = connection
        # Cuts the connection off; the rest follows from its end.
        timer = self._clock.callLater(LOG_IN_SECONDS, connection.abort, "no log-in in time")

        def settled(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        def good(_: Any) -> None:
            self.attempts = 0

        def unfit(reason: Failure) -> None:
            why = words(reason.value)
            self._failed(why)
            connection.abort(why)

        ready: Any = connection.ready
        ready.addBoth(settled)
        ready.addCallback(self._examine)
        ready.addCallbacks(good, unfit)
        connection.gone.addCallback(self._gone)
        if not self._running:
            connection.abort("closed")

    def _gone(self, _: Any) -> None:
        self.connection = None
        stopped, self._stopped = self._stopped, []
        for each in stopped:
            each.callback(None)
        self._retry()

    def _retry(self) -> None:
        if self._running:
            self.attempts += 1
            self._timer = self._clock.callLater(retryAfter(self.attempts), self._attempt)
