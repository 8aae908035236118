# -*- test-case-name: tests.observers.test_requestlog -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A line in a file for each query, written beside the reactor.

The reactor's part is one append to a bounded queue. Lines are made and written
by one thread of the log's own; when the disk is full or slow, lines are lost
and counted, and no query waits.
"""

from __future__ import annotations

import enum
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from dnsguard.interfaces import IQueryObserver
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.event import QueryEvent
from dnsguard.observers.loglines import REPLAY_RECORD, JSONLines, LogEntry, TextLines, entryOf
from dnsguard.replay.entry import ReplayedAnswer

__all__ = ["LogFile", "LogFormat", "RequestLog"]

QUEUE_LIMIT = 200_000
"""Queries that may wait for the writer."""

WRITE_SECONDS = 0.25
"""How long a line waits at most before it is written."""

WRITE_LINES = 5_000
"""Lines in one write."""

COMPLAINT_SECONDS = 60.0
"""The least time between two log lines about a disk that fails."""

ReplayedQueries: TypeAlias = tuple[bytes, dict[int, ReplayedAnswer]]


class LogFile(Protocol):
    """
    Where lines go: a L{DailyFile <dnsguard.observers.logfile.DailyFile>}, or
    another process. Writer thread; its methods may wait.
    """

    @property
    def path(self) -> Path:
        """
        What it is called in complaints.
        """

    def write(self, octets: bytes) -> None:
        """
        Append whole lines.

        @raise OSError: None of them is there.
        """

    def close(self) -> None:
        """
        Let go of it.
        """


class ReadyLines(NamedTuple):
    """
    Lines that another process has made.
    """

    octets: bytes
    number: int


class LogFormat(enum.Enum):
    """
    What lines look like. The values are the words of the configuration.
    """

    TEXT = "text"
    JSON = "json"


@implementer(IQueryObserver)
class RequestLog(Service):
    """
    Writes the request log.

    @ivar recorded: Lines written.
    @ivar dropped: Lines lost: the queue was full, or the disk refused them.
    """

    log = Logger()

    def __init__(
        self,
        file: LogFile,
        reactor: Any,
        pool: Any,
        format: LogFormat = LogFormat.TEXT,
        anonymizer: Anonymizer | None = None,
        queueLimit: int = QUEUE_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        @param file: Where lines go.
        @param reactor: Provides
            L{IReactorThreads<twisted.internet.interfaces.IReactorThreads>}.
        @param pool: A thread pool in which the end of the writer is awaited.
        @param anonymizer: What is shown of clients.
        @param queueLimit: Queries that may wait.
        @param clock: Monotonic seconds.
        """
        self.setName("request-log")
        identify = (anonymizer or Anonymizer()).identity
        make = JSONLines if format is LogFormat.JSON else TextLines
        self._lines: JSONLines | TextLines = make(identify, secrets.randbits(48))
        self._file = file
        self._reactor = reactor
        self._pool = pool
        self._queueLimit = queueLimit
        self._clock = clock
        self._queue: deque[LogEntry | ReplayedQueries | ReadyLines] = deque()
        # Added to by the reactor only, and the two below by the writer only.
        self._accepted = 0
        self._refused = 0
        self._taken = 0
        self._failed = 0
        self.recorded = 0
        self._complained: float | None = None
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """
        Lines lost.
        """
        return self._refused + self._failed

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish.
        """
        return {
            "buffer_size": self._queueLimit,
            "buffer_used": self._accepted - self._taken,
            "dropped_events": self.dropped,
            "total_recorded": self.recorded,
        }

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        Queue one query.
        """
        if self._accepted - self._taken >= self._queueLimit:
            self._refused += 1
            return
        self._accepted += 1
        self._queue.append(entryOf(event))

    def queriesReplayed(self, batch: Any) -> None:
        """
        Queue a batch as it is; it becomes lines in the writer thread.
        """
        count = len(batch)
        room = self._queueLimit - (self._accepted - self._taken)
        if count > room:
            self._refused += count - room
            count = room
        if count <= 0:
            return
        self._accepted += count
        records = bytes(memoryview(batch.records).cast("B")[: count * REPLAY_RECORD.size])
        entries = batch.entries
        self._queue.append((records, {number: entries[number] for number in batch.hits}))

    def take(self, octets: bytes) -> bool:
        """
        Queue lines that another process has made of its queries.

        @param octets: Whole lines.
        @return: Was there room for them?
        """
        count = octets.count(b"\n")
        if count > self._queueLimit - (self._accepted - self._taken):
            return False
        self._accepted += count
        self._queue.append(ReadyLines(octets, count))
        return True

    def startService(self) -> None:
        """
        Start the writer.
        """
        super().startService()
        self._ending = False
        self._wake.clear()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def stopService(self) -> Deferred[None]:
        """
        Write what is queued, then close the file.

        @return: Fires when that is done.
        """
        super().stopService()
        self._ending = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return succeed(None)
        return deferToThreadPool(self._reactor, self._pool, thread.join)

    def _run(self) -> None:
        """
        The writer thread.
        """
        while not self._ending:
            self._wake.wait(WRITE_SECONDS)
            self._tick()
        self._tick()
        self._file.close()

    def _tick(self) -> None:
        """
        Write what is queued, and outlive a line that can't be made.
        """
        try:
            self.writeQueued()
        except Exception:
            # All that was taken and isn't written is lost.
            self._failed = self._taken - self.recorded
            self.log.failure("request log: a line can't be made")

    def writeQueued(self) -> None:
        """
        Write all that is queued. Writer thread; never raises for the disk's
        sake.
        """
        lines: list[str] = []
        for _ in range(len(self._queue)):
            item = self._queue.popleft()
            if isinstance(item, LogEntry):
                self._taken += 1
                lines.append(self._lines.line(item))
            elif isinstance(item, ReadyLines):
                self._write(lines)
                self._taken += item.number
                self._writeOctets(item.octets, item.number)
            else:
                self._taken += len(item[0]) // REPLAY_RECORD.size
                for line in self._lines.replayed(*item):
                    lines.append(line)
                    if len(lines) >= WRITE_LINES:
                        self._write(lines)
            if len(lines) >= WRITE_LINES:
                self._write(lines)
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        """
        Write lines, or count them as lost; empties the list.
        """
        if lines:
            self._writeOctets("".join(lines).encode("utf-8"), len(lines))
            lines.clear()

    def _writeOctets(self, octets: bytes, count: int) -> None:
        try:
            self._file.write(octets)
        except OSError as reason:
            self._failed += count
            self._complain(reason)
        else:
            self.recorded += count

    def _complain(self, reason: OSError) -> None:
        """
        Say that the disk fails, not too often.
        """
        now = self._clock()
        if self._complained is not None and now - self._complained < COMPLAINT_SECONDS:
            return
        self._complained = now
        self.log.error(
            "request log {path} can't be written: {reason}; {dropped} lines lost so far",
            path=str(self._file.path),
            reason=reason.strerror,
            dropped=self.dropped,
        )
