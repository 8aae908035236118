# -*- test-case-name: tests.querystore.test_duckdb -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The embedded engine, seen from the reactor: a process that is started when it is
needed, spoken to in frames, and started anew when it ends or falls silent.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.children import childEnvironment
from dnsguard.errors import StoreError
from dnsguard.interfaces import IQueryStore
from dnsguard.querystore.block import Block
from dnsguard.querystore.ducksql import statements
from dnsguard.querystore.frames import BrokenFrame, FrameReader, frame
from dnsguard.querystore.questions import Question, Shape

__all__ = ["DuckDBStore"]

MAX_PENDING = 64
"""Requests under way; more are refused."""

START_SECONDS = 30.0
ASK_SECONDS = 30.0
INSERT_SECONDS = 60.0
MAINTAIN_SECONDS = 300.0
CLOSE_SECONDS = 20.0

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class _WorkerProcess(ProcessProtocol):
    """
    One run of the process.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._reader = FrameReader()
        self._pending: dict[int, Deferred[Any]] = {}
        self._number = 0
        self.ended: Deferred[None] = Deferred()
        self.alive = True
        self.ready: Deferred[Any] = Deferred()

    def connectionMade(self) -> None:
        """
        Await word that the file is open.
        """
        self.ready = self._expect(0, START_SECONDS)

    def _expect(self, number: int, seconds: float) -> Deferred[Any]:
        """
        Await the reply of one number. A process that doesn't reply in time is
        ended: there is no other way to be sure of what it will do.
        """
        waiting: Deferred[Any] = Deferred()
        self._pending[number] = waiting
        waiting.addTimeout(seconds, self._reactor)
        return waiting.addErrback(self._tooLate, number)

    def _tooLate(self, failure: Failure, number: int) -> Failure:
        """
        End the process if it was silent.
        """
        self._pending.pop(number, None)
        if not failure.check(TimeoutError):
            return failure
        self.kill()
        return Failure(StoreError("duckdb", "no reply in time"))

    def request(self, fields: dict[str, Any], payload: bytes, seconds: float) -> Deferred[Any]:
        """
        Send a frame and await its reply.
        """
        if not self.alive:
            raise StoreError("duckdb", "its process has ended")
        self._number += 1
        octets = frame({"id": self._number, **fields}, payload)
        assert self.transport is not None
        self.transport.write(octets)
        return self._expect(self._number, seconds)

    def outReceived(self, data: bytes) -> None:
        """
        Hand replies to those who wait.
        """
        try:
            for fields, _ in self._reader.feed(data):
                waiting = self._pending.pop(fields["id"], None)
                if waiting is None:
                    continue
                if "error" in fields:
                    waiting.errback(StoreError("duckdb", fields["error"]))
                else:
                    waiting.callback(fields["result"])
        except BrokenFrame as reason:
            self.log.error("query store: broken reply: {reason}", reason=reason)
            self.kill()

    def errReceived(self, data: bytes) -> None:
        """
        Pass on what the process complains about.
        """
        text = data.decode("utf-8", "replace").strip()
        self.log.warn("query store: {text}", text=text[:2000])

    def kill(self) -> None:
        """
        End the process now. The file is whole all the same: what wasn't
        committed isn't in it.
        """
        self.alive = False
        assert self.transport is not None
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def processEnded(self, reason: Failure) -> None:
        """
        Fail whatever was under way.
        """
        self.alive = False
        pending, self._pending = self._pending, {}
        for waiting in pending.values():
            waiting.errback(StoreError("duckdb", "its process has ended"))
        self.ended.callback(None)


@implementer(IQueryStore)
class DuckDBStore:
    """
    Rows in one file, kept by a process of its own.

    @ivar restarts: How often the process was started after the first time.
    """

    name = "duckdb"
    log = Logger()

    def __init__(
        self,
        reactor: Any,
        pool: Any,
        path: Path,
        retention: float = 0.0,
        maxOctets: int = 0,
        threads: int = 2,
        memoryOctets: int = 256 << 20,
        checkpointOctets: int = 16 << 20,
    ) -> None:
        """
        @param reactor: Provides
            L{IReactorProcess<twisted.internet.interfaces.IReactorProcess>},
            L{IReactorTime<twisted.internet.interfaces.IReactorTime>} and
            L{IReactorThreads<twisted.internet.interfaces.IReactorThreads>}.
        @param pool: A thread pool in which blocks are encoded.

        For the other parameters see
        L{dnsguard.querystore.duckfile.DuckFile}.
        """
        self._reactor = reactor
        self._pool = pool
        self._path = path
        self._settings = {
            "retention": retention,
            "maxOctets": maxOctets,
            "threads": threads,
            "memoryOctets": memoryOctets,
            "checkpointOctets": checkpointOctets,
        }
        self._process: _WorkerProcess | None = None
        self._starts = self._pending = 0
        self._pause = 0.0
        self._notBefore = 0.0
        self._known = {"stored_rows": 0, "stored_octets": 0}

    @property
    def restarts(self) -> int:
        """
        How often the process was started again.
        """
        return max(0, self._starts - 1)

    def _spawn(self) -> _WorkerProcess:
        """
        Start the process, unless that failed a moment ago.
        """
        now = self._reactor.seconds()
        if now < self._notBefore:
            raise StoreError("duckdb", f"next try in {self._notBefore - now:.0f} s")
        process = _WorkerProcess(self._reactor)
        self._starts += 1
        # Cleared once the process has answered: it isn't started in a loop.
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        self._notBefore = now + self._pause
        try:
            self._reactor.spawnProcess(
                process,
                sys.executable,
                [
                    sys.executable,
                    "-m",
                    "dnsguard.querystore.duckworker",
                    str(self._path.absolute()),
                    json.dumps(self._settings),
                ],
                childEnvironment(),
            )
        except OSError as reason:
            raise StoreError("duckdb", f"no process: {reason.strerror}") from None
        process.ready.addCallbacks(self._started, lambda failure: failure)
        # Whoever asks gets the failure from a request of his own.
        process.ready.addErrback(self._notStarted)
        return process

    def _started(self, result: None) -> None:
        self._pause = self._notBefore = 0.0

    def _notStarted(self, failure: Failure) -> StoreError:
        """
        Make a failure a result, so that it can be awaited by many.
        """
        reason = failure.check(StoreError) and failure.value
        return reason if isinstance(reason, StoreError) else StoreError("duckdb", str(failure))

    async def _request(self, op: str, seconds: float, payload: bytes = b"", **fields: Any) -> Any:
        """
        Have the process do something, starting it when it isn't there.
        """
        if self._pending >= MAX_PENDING:
            raise StoreError("duckdb", f"{MAX_PENDING} requests under way")
        self._pending += 1
        try:
            return await self._answer(op, seconds, payload, fields)
        finally:
            self._pending -= 1

    async def _answer(
        self, op: str, seconds: float, payload: bytes, fields: dict[str, Any]
    ) -> Any:
        """
        Do that.
        """
        if self._process is None or not self._process.alive:
            self._process = self._spawn()
        process = self._process
        waiting: Deferred[StoreError | None] = Deferred()
        process.ready.addCallback(_tell, waiting)
        problem = await waiting
        if problem is not None:
            raise problem
        if not op:
            return None
        return await process.request({"op": op, **fields}, payload, seconds)

    def start(self) -> Deferred[None]:
        """
        Start the process and open the file.
        """
        return Deferred.fromCoroutine(self._request("", 0))

    def insert(self, block: Block) -> Deferred[None]:
        """
        Send a block over.
        """

        async def insert() -> None:
            # Megabytes to copy and sum up: not for the reactor.
            octets = await deferToThreadPool(self._reactor, self._pool, block.encode)
            await self._request("insert", INSERT_SECONDS, octets)

        return Deferred.fromCoroutine(insert())

    def isStarved(self) -> Deferred[bool]:
        """
        Ask the process how long it had to wait for a core when this came. One
        that isn't there has to be started first.
        """
        process = self._process
        if process is None or not process.alive or not process.ready.called:
            return succeed(False)
        return Deferred.fromCoroutine(self._request("starved", INSERT_SECONDS))

    def ask(self, question: Question) -> Deferred[Shape]:
        """
        Have statements run.
        """

        async def ask() -> Shape:
            made = [[statement.text, statement.parameters] for statement in statements(question)]
            return question.shape(await self._request("query", ASK_SECONDS, statements=made))

        return Deferred.fromCoroutine(ask())

    def maintain(self) -> Deferred[None]:
        """
        Have rows removed, and learn how many are left.
        """

        async def maintain() -> None:
            await self._request("maintain", MAINTAIN_SECONDS)
            self._known = await self._request("counters", ASK_SECONDS)

        return Deferred.fromCoroutine(maintain())

    def clear(self) -> Deferred[None]:
        """
        Have all rows removed.
        """
        return Deferred.fromCoroutine(self._request("clear", MAINTAIN_SECONDS))

    def counters(self) -> dict[str, int]:
        """
        Give what was known after the last L{maintain}.
        """
        return {**self._known, "restarts": self.restarts}

    def close(self) -> Deferred[None]:
        """
        Let the process finish what it does, write its file and end.
        """
        process, self._process = self._process, None
        if process is None or process.ended.called:
            return succeed(None)
        process.alive = False
        assert process.transport is not None
        process.transport.closeStdin()
        impatience = self._reactor.callLater(CLOSE_SECONDS, process.kill)

        def ended(result: None) -> None:
            if impatience.active():
                impatience.cancel()

        return process.ended.addCallback(ended)


def _tell(result: StoreError | None, waiting: Deferred[StoreError | None]) -> StoreError | None:
    """
    Fire one more Deferred with a result, and pass it on.
    """
    waiting.callback(result)
    return result
