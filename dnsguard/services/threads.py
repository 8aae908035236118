# -*- test-case-name: tests.services.test_threads -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Threads that keep nobody waiting.

What waits for a slow server must not take the reactor's few threads from those
who look names up or read files. What works in a thread must not keep Python's
lock from the reactor, which needs it for a moment and often.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from dnsguard.priority import PatientThread

__all__ = ["TURN", "ThreadedService", "giveWay", "takeTurns"]

TURN = 0.001
"""
Seconds that a thread may keep Python's lock when another one wants it: each time
that the reactor has waited for the network it wants it, and a query may take it
there several times. Python's own value is five times as long.
"""


def takeTurns() -> None:
    """
    Have threads give way to each other sooner.
    """
    sys.setswitchinterval(min(TURN, sys.getswitchinterval()))


def giveWay(pool: ThreadPool) -> None:
    """
    Have the threads that a pool starts from now on step back behind those that
    answer: rows are encoded there, policies made and files read, for milliseconds
    at a time.
    """
    pool.threadFactory = PatientThread


class ThreadedService(Service):
    """
    A service, and the thread pool it works in.

    The pool runs for as long as the service does, its last work included.
    """

    def __init__(self, inner: IService, pool: ThreadPool, reactor: Any) -> None:
        """
        @param inner: The service.
        @param pool: Its pool, not started.
        @param reactor: Has threads of its own, in which the end of the pool's
            is awaited.
        """
        self.inner = inner
        self._pool = pool
        self._reactor = reactor

    def startService(self) -> None:
        """
        Start the threads, then the service.
        """
        super().startService()
        self._pool.start()
        self.inner.startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop the service, then the threads.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(self.inner.stopService)
        await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._pool.stop)
