# -*- test-case-name: tests.services.test_listcompiler -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Running the list worker.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.children import childEnvironment
from dnsguard.errors import PolicyError
from dnsguard.services.listworker import Job, Report, compileLists

__all__ = ["Compiler", "ListCompiler"]


class Compiler(Protocol):
    """
    Somebody who does jobs.
    """

    def __call__(self, job: Job, /) -> Deferred[tuple[Report, ...]]:
        """
        Do a job; fails with L{PolicyError}.
        """

    def close(self) -> Deferred[Any]:
        """
        Wait for what a cancelled job left behind.
        """


_MAX_OUTPUT = 16 << 20
_MAX_ERRORS = 4096


class ListCompiler:
    """
    Does jobs in a process of their own; in a thread where none can be started.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        inThread: Callable[..., Deferred[Any]],
        *,
        timeout: float = 900.0,
        python: str = sys.executable,
    ) -> None:
        """
        @param reactor: Provides L{IReactorTime}, and L{IReactorProcess} if
            processes are to be used.
        @param inThread: Calls a function in a thread.
        @param timeout: Seconds after which a process is killed.
        @param python: The interpreter to run.
        """
        self._reactor = reactor
        self._inThread = inThread
        self._timeout = timeout
        self._python = python
        self._workers: list[_Worker] = []

    def __call__(self, job: Job) -> Deferred[tuple[Report, ...]]:
        """
        Do a job.

        @return: A Deferred of the reports; cancelling it kills the process.
            Fails with L{PolicyError}.
        """
        reactor: Any = self._reactor
        if IReactorProcess.providedBy(self._reactor) and self._python:
            worker = _Worker(job, reactor, self._timeout)
            try:
                reactor.spawnProcess(
                    worker,
                    self._python,
                    [self._python, "-m", "dnsguard.services.listworker"],
                    env=childEnvironment(),
                )
            except (OSError, ValueError, RuntimeError) as reason:
                worker.abandon()
                self.log.warn(
                    "no process for compiling block lists, a thread does it: {reason}",
                    reason=str(reason),
                )
            else:
                self._workers = [other for other in self._workers if not other.ended.called]
                self._workers.append(worker)
                return worker.done
        return self._inThread(compileLists, job).addErrback(_asPolicyError)

    def close(self) -> Deferred[Any]:
        """
        Wait for processes that were killed to be gone.
        """
        return DeferredList([worker.ended for worker in self._workers])


def _asPolicyError(reason: Failure) -> Failure:
    if reason.check(PolicyError):
        return reason
    reason.trap(OSError, ValueError, MemoryError)
    return Failure(PolicyError("block lists", reason.getErrorMessage()))


class _Worker(ProcessProtocol):
    """
    One process and its job.
    """

    def __init__(self, job: Job, clock: IReactorTime, timeout: float) -> None:
        self.done: Deferred[tuple[Report, ...]] = Deferred(lambda _: self._kill("stopped"))
        self._job = job
        self._output: list[bytes] = []
        self._size = 0
        self._errors = b""
        self._killed = ""
        self.ended: Deferred[None] = Deferred()
        self._limit = clock.callLater(
            timeout, self._kill, f"not done within {timeout:g} s, killed"
        )

    def connectionMade(self) -> None:
        """
        Hand the job over.
        """
        transport: Any = self.transport
        transport.write(self._job.dump())
        transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """
        Keep what becomes the reports.
        """
        self._size += len(data)
        if self._size > _MAX_OUTPUT:
            self._kill("it said too much")
        else:
            self._output.append(data)

    def errReceived(self, data: bytes) -> None:
        """
        Keep the end of what went wrong.
        """
        self._errors = (self._errors + data)[-_MAX_ERRORS:]

    def processEnded(self, reason: Failure) -> None:
        """
        Give the reports, or the error.
        """
        if self._limit.active():
            self._limit.cancel()
        self.ended.callback(None)
        if self.done.called:
            return
        try:
            if self._killed or not reason.check(ProcessDone):
                raise ValueError
            facts = json.loads(b"".join(self._output))
            reports = tuple(
                Report(**{**report, "examples": tuple(report["examples"])}) for report in facts
            )
        except (ValueError, TypeError, KeyError):
            self.done.errback(PolicyError("block lists", self._complaint(reason)))
        else:
            self.done.callback(reports)

    def abandon(self) -> None:
        """
        Forget that a process was wanted.
        """
        self.ended.callback(None)
        self._limit.cancel()

    def _complaint(self, reason: Failure) -> str:
        lines = self._errors.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else reason.getErrorMessage()
        return f"compiling failed: {self._killed or said}"

    def _kill(self, why: str) -> None:
        if self.ended.called:
            return
        self._killed = why
        transport: Any = self.transport
        if transport is not None and transport.pid is not None:
            transport.signalProcess("KILL")
