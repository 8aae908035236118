# -*- test-case-name: tests.observers.test_applog -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What dnsguard says of itself: log events into lines, and lines out.

Standard output may be a pipe that nobody reads, and a log file may be on a
disk that hangs. So the reactor's thread only formats; another one writes, and
what it can't keep up with is dropped and counted.
"""

from __future__ import annotations

import atexit
import datetime
import json
import queue
import threading
from typing import Any, Protocol

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from dnsguard.observers.errorpages import pageOf

__all__ = [
    "LEVELS",
    "RANKS",
    "TRACED",
    "WORDS",
    "ApplicationLog",
    "LineWriter",
    "Stream",
    "jsonLine",
    "levelOf",
    "messageOf",
    "oneLine",
    "textLine",
    "timeOf",
]

LEVELS = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warning": LogLevel.warn,
    "error": LogLevel.error,
}
WORDS = {level: word for word, level in LEVELS.items()} | {LogLevel.critical: "error"}
RANKS = {level: rank for rank, level in enumerate(LogLevel.iterconstants())}

TRACED = "traced"
"""The field of an event that somebody has asked to be traced: what kind it is."""

_MOST_CHARACTERS = 8192

_LEGACY = {"format", "isError", "failure", "message", "printed", "system", "time", "why"}
"""Fields of an event that say nothing beyond its message."""


class Stream(Protocol):
    """
    What lines are written to.
    """

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class ErrorKeeper(Protocol):
    """
    Who keeps the errors among the events.
    """

    def __call__(self, event: LogEvent, /) -> None: ...

    def setLevel(self, level: str) -> None:
        """
        Keep what is at least as serious as this, from now on.
        """


class LineWriter:
    """
    Writes lines without letting anybody wait.

    Before L{start} and after L{stop} lines are written at once, so that none
    from starting and stopping is missed.

    @ivar dropped: How many lines couldn't be kept.
    @ivar failed: How many times writing failed.
    """

    def __init__(self, stream: Stream, limit: int = 10_000) -> None:
        """
        @param stream: Where to; its methods may wait.
        @param limit: The most lines that are kept for writing.
        """
        self.dropped = 0
        self.failed = 0
        self._stream = stream
        self._limit = limit
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._told = 0

    def write(self, line: str) -> None:
        """
        Write a line, which ends without newline. Any thread.
        """
        if self._thread is None:
            self._writeNow(line + "\n")
        elif self._lines.qsize() >= self._limit:
            self.dropped += 1
        else:
            self._lines.put(line)

    def start(self) -> None:
        """
        Have a thread write from now on. Not before a process forks.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="applog", daemon=True)
            self._thread.start()
            # However the process ends: the last lines tell why.
            atexit.register(self.stop)

    def stop(self, timeout: float = 2.0) -> None:
        """
        Write what is left and end the thread.

        @param timeout: How long to wait for it, in seconds. If it can't write
            by then, it is left to itself.
        """
        thread = self._thread
        if thread is not None:
            atexit.unregister(self.stop)
            self._lines.put(None)
            thread.join(timeout)
            if not thread.is_alive():
                self._thread = None

    def _run(self) -> None:
        """
        The thread: write lines as they come, many at a time if many came.
        """
        ended = False
        while not ended:
            batch = [self._lines.get()]
            while len(batch) < 1000 and not self._lines.empty():
                batch.append(self._lines.get())
            ended = None in batch
            lines = [line for line in batch if line is not None]
            missed = self.dropped - self._told
            if missed:
                self._told += missed
                lines.append(f"{missed} log lines dropped: they couldn't be written fast enough")
            if lines:
                self._writeNow("\n".join(lines) + "\n")

    def _writeNow(self, text: str) -> None:
        """
        Write; where that fails there is nobody to tell.
        """
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self.failed += 1


@implementer(ILogObserver)
class ApplicationLog:
    """
    A log observer that makes one line of each event that is serious enough.

    Other libraries' information, such as each port that Twisted opens, counts
    as debugging. What somebody has asked to be traced is written at any level.
    """

    def __init__(
        self,
        writer: LineWriter,
        format: str = "text",
        level: str = "info",
        errors: ErrorKeeper | None = None,
    ) -> None:
        """
        @param writer: Takes the lines.
        @param format: C{text} or C{json}.
        @param level: C{error}, C{warning}, C{info} or C{debug}.
        @param errors: Is told of every event, too, and of changes of the level.
        """
        self.writer = writer
        self.errors = errors
        self.configure(format, level)

    def configure(self, format: str, level: str) -> None:
        """
        Change format and level, for events from now on.
        """
        self.format = format
        self.level = level
        self._line = jsonLine if format == "json" else textLine
        self._least = RANKS[LEVELS[level]]
        if self.errors is not None:
            self.errors.setLevel(level)

    def __call__(self, event: LogEvent) -> None:
        """
        Take one event. Any thread.
        """
        if self.errors is not None:
            self.errors(event)
        if RANKS.get(levelOf(event), 0) >= self._least or TRACED in event:
            self.writer.write(self._line(event))


def levelOf(event: LogEvent) -> Any:
    """
    How serious an event is.
    """
    level = event.get("log_level", LogLevel.info)
    if level is LogLevel.info:
        room = str(event.get("log_namespace", "")).partition(".")[0]
        if room not in {"dnsguard", "stdout", "stderr"}:
            return LogLevel.debug
    return level


def timeOf(event: LogEvent) -> str:
    """
    When it was: RFC 3339 in UTC, with milliseconds.
    """
    moment = datetime.datetime.fromtimestamp(event.get("log_time", 0.0), datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def messageOf(event: LogEvent) -> str:
    """
    What happened, in words; with the last line of a failure.
    """
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        reason = f"{failure.type.__name__}: {failure.getErrorMessage()}"
        text = f"{text}: {reason}" if text else reason
    return text[:_MOST_CHARACTERS]


def _traceback(event: LogEvent) -> str:
    """
    Where a failure came from; empty without one.
    """
    failure = event.get("log_failure")
    try:
        return failure.getTraceback() if failure is not None else ""
    except Exception as error:  # What is logged must not keep the log from being written.
        return f"(no traceback: {error!r})"


def oneLine(text: str) -> str:
    """
    Make control characters visible: a name from a packet must not be able to
    begin a line of its own or to colour a terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def textLine(event: LogEvent) -> str:
    """
    Write an event for people: time, level, source and message, then the
    traceback of a failure, indented.
    """
    source = event.get("log_namespace", "-")
    if "helper" in event:
        source = f"{source}, helper {event['helper']}"
    word = WORDS.get(event.get("log_level", LogLevel.info), "info")
    line = f"{timeOf(event)} {word:7} [{source}] {oneLine(messageOf(event))}"
    for row in _traceback(event).splitlines():
        line += f"\n    {oneLine(row)}"
    return line


def jsonLine(event: LogEvent) -> str:
    """
    Write an event for programs: C{time}, C{level}, C{msg}, C{logger}, then
    the event's own fields, C{doc_ref} if there is a page that explains it, and
    C{traceback}.
    """
    record: dict[str, Any] = {
        "time": timeOf(event),
        "level": WORDS.get(event.get("log_level", LogLevel.info), "info"),
        "msg": messageOf(event),
        "logger": str(event.get("log_namespace", "")),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY and name not in record:
            record[name] = _plain(value)
    if RANKS.get(event.get("log_level"), 0) >= RANKS[LogLevel.warn]:
        page = pageOf(event.get("log_format"), "log_failure" in event)
        if page:
            record["doc_ref"] = page
    traceback = _traceback(event)
    if traceback:
        record["traceback"] = traceback
    return json.dumps(record, ensure_ascii=True)


def _plain(value: object) -> str | int | float | bool | None:
    """
    A field's value, or what stands for it, in JSON.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no infinity.
        return value if value - value == 0 else str(value)
    try:
        return str(value)[:_MOST_CHARACTERS]
    except Exception as error:  # Whatever a field's __str__ does.
        return f"(unprintable: {type(error).__name__})"
