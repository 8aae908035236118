# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.errorlog}.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.observers import errorlog
from dnsguard.observers.errorlog import IN_MEMORY, ON_DISK, ErrorFile, ErrorLog, LoggedError
from dnsguard.observers.errorpages import UNEXPECTED

NOON = 1_700_000_000.0
DAY = 86400.0


def lineAt(moment: str, message: str = "x") -> str:
    """
    A line of the file.
    """
    return json.dumps({"message": message, "timestamp": moment, "severity": "error"}) + "\n"


@implementer(ILogObserver)
class AtNoon:
    """
    Hands events on as if they were all at one time.
    """

    def __init__(self, errors: ErrorLog) -> None:
        self.errors = errors

    def __call__(self, event: LogEvent) -> None:
        self.errors({**event, "log_time": NOON})


class ErrorLogTests(SynchronousTestCase):
    """
    Warnings and errors are kept, nothing else is.
    """

    def setUp(self) -> None:
        """
        A logger whose events are at one time.
        """
        self.errors = ErrorLog(now=lambda: NOON)
        self.log = Logger(namespace="dnsguard.test", observer=AtNoon(self.errors))

    def messages(self) -> list[str]:
        """
        What is kept.
        """
        return [error.message for error in self.errors.entries()]

    def test_interface(self) -> None:
        """
        It is a log observer.
        """
        verifyObject(ILogObserver, self.errors)

    def test_severities(self) -> None:
        """
        Warnings and errors are kept and counted, information isn't.
        """
        for level in ("debug", "info", "warn", "error", "critical"):
            self.log.emit(LogLevel.lookupByName(level), "{word}", word=level)
        self.assertEqual(
            [error.record() for error in self.errors.entries()],
            [
                {"message": word, "timestamp": "2023-11-14T22:13:20.000Z", "severity": severity}
                for word, severity in [
                    ("warn", "warning"),
                    ("error", "error"),
                    ("critical", "error"),
                ]
            ],
        )
        self.assertEqual(self.errors.errors, {"warning": 1, "error": 2})

    def test_level(self) -> None:
        """
        At level error warnings aren't kept; below warning nothing changes.
        """
        self.errors.setLevel("error")
        self.log.warn("w")
        self.log.error("e")
        self.errors.setLevel("debug")
        self.log.info("i")
        self.log.warn("w2")
        self.assertEqual(self.messages(), ["e", "w2"])

    def test_pageIsNamed(self) -> None:
        """
        A known message comes with its page, and a failure that nobody knows
        with the one for the unexpected.
        """
        self.log.warn("block list {name} failed: {reason}", name="ads", reason="404")
        self.log.failure("x", Failure(ValueError("odd")))
        self.log.error("something else")
        self.assertEqual(
            [error.docRef for error in self.errors.entries()],
            ["blocklist-source-status", UNEXPECTED, ""],
        )
        self.assertEqual(self.errors.entries()[0].record()["doc_ref"], "blocklist-source-status")

    def test_oneLine(self) -> None:
        """
        What came from a packet can't begin a line of its own.
        """
        self.log.error("{name}", name="a\nb\x1b[31m")
        self.assertEqual(self.messages(), ["a\\nb\\x1b[31m"])

    def test_bounded(self) -> None:
        """
        Without a file the latest are kept.
        """
        for number in range(IN_MEMORY + 5):
            self.log.error("{number}", number=number)
        self.assertEqual(self.messages(), [str(n) for n in range(5, IN_MEMORY + 5)])

    def test_persist(self) -> None:
        """
        What there is and what comes is written; earlier errors come first.
        """
        lines: list[str] = []
        self.log.error("one")
        earlier = LoggedError("zero", "2023-11-14T22:00:00.000Z", "error")
        self.errors.persist([earlier], lines.append)
        self.log.error("two")
        self.assertEqual(self.messages(), ["zero", "one", "two"])
        self.assertEqual([json.loads(line)["message"] for line in lines], ["one", "two"])
        for number in range(ON_DISK + 5):
            self.log.error("{number}", number=number)
        self.assertEqual(len(self.messages()), ON_DISK)
        self.errors.forgo()
        self.log.error("last")
        self.assertEqual(len(lines), ON_DISK + 7)
        self.assertEqual(len(self.messages()), IN_MEMORY)

    def test_retention(self) -> None:
        """
        What is too old isn't given.
        """
        earlier = [
            LoggedError("old", "2023-11-01T00:00:00Z", "error"),
            LoggedError("young", "2023-11-14T00:00:00Z", "error"),
            LoggedError("odd", "yesterday", "error"),
        ]
        self.errors.persist(earlier, lambda line: None)
        self.errors.retention = DAY
        self.assertEqual(self.messages(), ["young"])

    def test_somebodyIsTold(self) -> None:
        """
        Who wants to know of errors is told of each.
        """
        seen: list[LoggedError] = []
        self.errors.seen = seen.append
        self.log.error("e")
        self.log.info("i")
        self.assertEqual([error.message for error in seen], ["e"])


class ErrorFileTests(SynchronousTestCase):
    """
    The file is readable for ever and never large.
    """

    def setUp(self) -> None:
        """
        A file that isn't there yet, in a folder that isn't either.
        """
        self.now = NOON
        self.path = Path(self.mktemp()) / "logs" / "errors.jsonl"
        self.file = ErrorFile(self.path, 7 * DAY, lambda: self.now)

    def messages(self) -> list[str]:
        """
        What the file holds.
        """
        return [json.loads(line)["message"] for line in self.path.read_text().splitlines()]

    def test_writtenAndRead(self) -> None:
        """
        What is written is there when it is read; only its owner may.
        """
        self.assertEqual(self.file.load(), [])
        self.file.write(lineAt("2023-11-14T12:00:00Z", "a") + lineAt("2023-11-14T12:00:01Z", "b"))
        self.file.flush()
        again = ErrorFile(self.path, 7 * DAY, lambda: self.now)
        self.assertEqual([error.message for error in again.load()], ["a", "b"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_oldLinesGo(self) -> None:
        """
        Lines that are too old, or none, go from the file when it is read, and
        at the first error of another day.
        """
        self.path.parent.mkdir(parents=True)
        self.path.write_text(
            lineAt("2023-11-01T12:00:00Z", "old")
            + "{broken\n"
            + lineAt("2023-11-10T12:00:00Z", "a")
        )
        self.assertEqual([error.message for error in self.file.load()], ["a"])
        self.assertEqual(self.messages(), ["a"])
        self.now += 5 * DAY
        self.file.write(lineAt("2023-11-19T22:00:00Z", "b"))
        self.assertEqual(self.messages(), ["b"])

    def test_numberIsBounded(self) -> None:
        """
        However many there are, few stay.
        """
        self.file.load()
        for number in range(3):
            text = "".join(lineAt("2023-11-14T12:00:00Z", str(number)) for _ in range(ON_DISK))
            self.file.write(text)
        self.assertEqual(self.messages(), ["2"] * ON_DISK)

    def test_hugeFile(self) -> None:
        """
        Of a file that is too large only the end is read.
        """
        self.patch(errorlog, "_MOST_OCTETS", 200)
        self.path.parent.mkdir(parents=True)
        self.path.write_text("".join(lineAt("2023-11-14T12:00:00Z", str(n)) for n in range(100)))
        found = [error.message for error in self.file.load()]
        self.assertEqual(found, ["98", "99"])
        self.assertEqual(self.messages(), found)

    def test_cantBeWritten(self) -> None:
        """
        A folder that can't be made is an error of the system's.
        """
        self.path.parent.parent.mkdir(parents=True)
        self.path.parent.write_text("a file")
        self.assertRaises(OSError, self.file.load)

    @settings(max_examples=100, deadline=None)
    @given(st.text() | st.from_regex(r'\{"message": .*\}'))
    def test_anyLineCanBeRead(self, line: str) -> None:
        """
        Whatever stands in the file, reading it doesn't fail.
        """
        error = LoggedError.fromLine(line)
        if error is not None:
            error.isSince(0.0)
