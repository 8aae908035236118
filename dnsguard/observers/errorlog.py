# -*- test-case-name: tests.observers.test_errorlog -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The errors of late, for those who have no time to read logs.

It sits in the log stream and keeps warnings and errors with a reference to the
page that explains them: some in memory, and more on disk so that they outlive
the process. The file is bounded by age and by number; nobody has to clear it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from time import time

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from dnsguard.observers.applog import LEVELS, RANKS, WORDS, levelOf, messageOf, oneLine, timeOf
from dnsguard.observers.errorpages import pageOf

__all__ = ["ErrorFile", "ErrorLog", "LoggedError"]

IN_MEMORY = 100
"""Errors kept without a file."""

ON_DISK = 1000
"""Errors kept with one."""

_MOST_OCTETS = 8 * 1024 * 1024
_DAY = 86400.0


@attrs.frozen
class LoggedError:
    """
    One warning or error.

    @ivar message: What happened.
    @ivar timestamp: When, by RFC 3339.
    @ivar severity: C{warning} or C{error}.
    @ivar docRef: The section of C{docs/errors.rst} that explains it, or empty.
    """

    message: str
    timestamp: str
    severity: str
    docRef: str = ""

    def record(self) -> dict[str, str]:
        """
        Give it as the API and the file have it.
        """
        record = {
            "message": self.message,
            "timestamp": self.timestamp,
            "severity": self.severity,
        }
        return {**record, "doc_ref": self.docRef} if self.docRef else record

    @classmethod
    def fromLine(cls, line: str) -> LoggedError | None:
        """
        Read a line of the file; L{None} if it is none.
        """
        try:
            record = json.loads(line)
            error = cls(
                record["message"],
                record["timestamp"],
                record["severity"],
                record.get("doc_ref", ""),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        sound = all(isinstance(field, str) for field in attrs.astuple(error))
        return error if sound else None

    def isSince(self, moment: float) -> bool:
        """
        Was it at this time or later? Nothing else can be said of one without
        a sound time than that it is too old.
        """
        try:
            return datetime.datetime.fromisoformat(self.timestamp).timestamp() >= moment
        except (ValueError, OverflowError):
            return False


@implementer(ILogObserver)
class ErrorLog:
    """
    Keeps the latest warnings and errors.

    @ivar errors: How many there were since the start, by severity.
    @ivar seen: Called with each L{LoggedError}, in the thread it comes from;
        or L{None}.
    @ivar retention: Seconds after which an error isn't given any more.
    """

    def __init__(self, level: str = "warning", now: Callable[[], float] = time) -> None:
        """
        @param level: What is less serious isn't kept; nor is, in any case, what
            is less serious than a warning: it would push the errors out.
        @param now: Seconds since the epoch.
        """
        self.errors = {"warning": 0, "error": 0}
        self.seen: Callable[[LoggedError], None] | None = None
        self._now = now
        self._lock = Lock()
        self._kept: deque[LoggedError] = deque(maxlen=IN_MEMORY)
        self._write: Callable[[str], None] | None = None
        self.retention = float("inf")
        self.setLevel(level)

    def setLevel(self, level: str) -> None:
        """
        Keep what is at least as serious as this, from now on.
        """
        self._least = max(RANKS[LEVELS[level]], RANKS[LogLevel.warn])

    def __call__(self, event: LogEvent) -> None:
        """
        Take one event. Any thread.
        """
        level = levelOf(event)
        if RANKS.get(level, 0) < self._least:
            return
        error = LoggedError(
            oneLine(messageOf(event)),
            timeOf(event),
            WORDS[level],
            pageOf(event.get("log_format"), "log_failure" in event),
        )
        with self._lock:
            self.errors[error.severity] += 1
            self._kept.append(error)
            if self._write is not None:
                self._write(json.dumps(error.record()))
        if self.seen is not None:
            self.seen(error)

    def entries(self) -> list[LoggedError]:
        """
        Give what is kept, the oldest first.
        """
        with self._lock:
            kept = list(self._kept)
        since = self._now() - self.retention
        return [error for error in kept if error.isSince(since)]

    def persist(self, earlier: Iterable[LoggedError], write: Callable[[str], None]) -> None:
        """
        Write down what there is, and what comes.

        @param earlier: What was written down before.
        @param write: Takes a line, which ends without newline, from any thread
            and without waiting.
        """
        with self._lock:
            for error in self._kept:
                write(json.dumps(error.record()))
            self._kept = deque([*earlier, *self._kept], maxlen=ON_DISK)
            self._write = write

    def forgo(self) -> None:
        """
        Write down no more, and keep less.
        """
        with self._lock:
            self._write = None
            self.retention = float("inf")
            self._kept = deque(self._kept, maxlen=IN_MEMORY)


class ErrorFile:
    """
    The file of errors: a JSON object a line.

    Its methods wait for the disk and are called by one thread at a time.

    @ivar path: Where it is.
    @ivar retention: Seconds after which an error is dropped.
    """

    def __init__(
        self, path: Path, retention: float = 7 * _DAY, now: Callable[[], float] = time
    ) -> None:
        """
        @param now: Seconds since the epoch.
        """
        self.path = path
        self.retention = retention
        self._now = now
        self._lines = 0
        self._day = 0.0

    def load(self) -> list[LoggedError]:
        """
        Read what is there and is worth keeping, the latest L{ON_DISK} at most;
        drop the rest from the file.

        @raise OSError: The file can't be read or written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self._compact()

    def write(self, text: str) -> None:
        """
        Append lines.

        @raise OSError: That can't be done.
        """
        with self._open(os.O_APPEND) as file:
            file.write(text)
        self._lines += text.count("\n")
        if self._lines > 2 * ON_DISK or self._now() // _DAY != self._day:
            self._compact()

    def flush(self) -> None:
        """
        Nothing is held back.
        """

    def _open(self, flag: int, path: Path | None = None) -> contextlib.AbstractContextManager:  # type: ignore[type-arg]
        # Messages may name clients and what they asked for.
        descriptor = os.open(path or self.path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
        return open(descriptor, "w", encoding="utf-8")

    def _compact(self) -> list[LoggedError]:
        """
        Write the file anew with what is worth keeping.
        """
        self._day = self._now() // _DAY
        since = self._now() - self.retention
        lines = self._tail()
        found = (LoggedError.fromLine(line) for line in lines)
        kept = [error for error in found if error is not None and error.isSince(since)]
        kept = kept[-ON_DISK:]
        self._lines = len(kept)
        if len(kept) < len(lines) or not self.path.exists():
            beside = self.path.with_name(self.path.name + ".new")
            with self._open(os.O_TRUNC, beside) as file:
                file.writelines(json.dumps(error.record()) + "\n" for error in kept)
            os.replace(beside, self.path)
        return kept

    def _tail(self) -> list[str]:
        """
        Read the lines at the end of the file, all if it isn't too large.
        """
        try:
            with open(self.path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _MOST_OCTETS))
                return file.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
