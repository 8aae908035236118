# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.applog}.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.observers.applog import ApplicationLog, LineWriter, jsonLine, textLine

WAIT = 30.0
"""How long a thread may take, in seconds, before a test gives up on it."""


class Unprintable:
    """
    Something that can't be put into words.
    """

    def __str__(self) -> str:
        raise RuntimeError("no words")


class StuckStream(io.StringIO):
    """
    A stream whose writes wait until they are let go.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        """
        Wait, then write.
        """
        self.entered.set()
        self.released.wait(WAIT)
        return super().write(text)


class BrokenStream(io.StringIO):
    """
    A stream that can't be written to.
    """

    def write(self, text: str) -> int:
        """
        Fail as a full disk does.
        """
        raise OSError(28, "No space left on device")


class ApplicationLogTests(SynchronousTestCase):
    """
    Tests for L{ApplicationLog}.
    """

    def setUp(self) -> None:
        """
        Make a log into memory.
        """
        self.stream = io.StringIO()
        self.observer = ApplicationLog(LineWriter(self.stream))
        self.log = Logger(namespace="dnsguard.test", observer=self.observer)

    def lines(self) -> list[str]:
        """
        What was written.
        """
        return self.stream.getvalue().splitlines()

    def test_interface(self) -> None:
        """
        It is a log observer.
        """
        verifyObject(ILogObserver, self.observer)

    def test_text(self) -> None:
        """
        A line of text has time, level, source and message.
        """
        event = {
            "log_time": 1764000000.1239,
            "log_level": LogLevel.warn,
            "log_namespace": "dnsguard.x",
            "log_format": "list {name} failed",
            "name": "ads",
        }
        self.assertEqual(
            textLine(event), "2025-11-24T16:00:00.123Z warning [dnsguard.x] list ads failed"
        )

    def test_levels(self) -> None:
        """
        What is less serious than the level isn't written; the level may be
        changed at any time.
        """
        for method in (self.log.debug, self.log.info, self.log.warn, self.log.error):
            method("one")
        self.assertEqual(len(self.lines()), 3)
        for level, count in [("debug", 5), ("info", 4), ("warning", 3), ("error", 2)]:
            self.stream.truncate(self.stream.seek(0))
            self.observer.configure("text", level)
            for method in (
                self.log.debug,
                self.log.info,
                self.log.warn,
                self.log.error,
                self.log.critical,
            ):
                method("one")
            self.assertEqual(len(self.lines()), count, level)

    def test_othersInformation(self) -> None:
        """
        Other libraries' information is debugging; their warnings aren't, and
        neither is what is printed.
        """
        for namespace, method, written in [
            ("twisted.internet.udp.Port", "info", False),
            ("log_legacy", "info", False),
            ("twisted.internet", "warn", True),
            ("stdout", "info", True),
            ("dnsguard.server", "info", True),
        ]:
            self.stream.truncate(self.stream.seek(0))
            getattr(Logger(namespace=namespace, observer=self.observer), method)("x")
            self.assertEqual(len(self.lines()), int(written), namespace)

    def test_oneLine(self) -> None:
        """
        Control characters are made visible: nobody outside can begin a line
        of the log, or colour a terminal.
        """
        self.log.warn("name {name}", name="a\nb\r\x1b[31m\u2028\x00")
        self.assertEqual(len(self.lines()), 1)
        self.assertIn("name a\\nb\\r\\x1b[31m\\u2028\\x00", self.lines()[0])

    def test_failure(self) -> None:
        """
        A failure's message is on the line, its traceback below, indented.
        """
        try:
            raise ValueError("odd\nvalue")
        except ValueError:
            self.log.failure("it broke")
        first, *rest = self.lines()
        self.assertTrue(first.endswith("it broke: ValueError: odd\\nvalue"), first)
        self.assertTrue(rest)
        for line in rest:
            self.assertTrue(line.startswith("    "), line)

    def test_json(self) -> None:
        """
        A line of JSON has time, level, message and the event's own fields.
        """
        self.observer.configure("json", "info")
        self.log.error("list {name} failed", name="a\nb", count=3, share=float("nan"), none=None)
        (line,) = self.lines()
        record = json.loads(line, parse_constant=self.fail)
        self.assertTrue(record.pop("time").endswith("Z"))
        self.assertEqual(
            record,
            {
                "level": "error",
                "msg": "list a\nb failed",
                "logger": "dnsguard.test",
                "name": "a\nb",
                "count": 3,
                "share": "nan",
                "none": None,
            },
        )

    def test_jsonPage(self) -> None:
        """
        A warning or error that is explained somewhere says where.
        """
        format = "block list {name} failed: {reason}"
        event = {"log_format": format, "name": "ads", "reason": "404", "log_level": LogLevel.warn}
        self.assertEqual(json.loads(jsonLine(event))["doc_ref"], "blocklist-source-status")
        self.assertNotIn("doc_ref", json.loads(jsonLine({**event, "log_level": LogLevel.info})))

    def test_jsonFailure(self) -> None:
        """
        A failure's traceback is a field.
        """
        event = {"log_failure": Failure(ValueError("odd")), "log_level": LogLevel.critical}
        record = json.loads(jsonLine(event))
        self.assertEqual((record["level"], record["msg"]), ("error", "ValueError: odd"))
        self.assertIn("ValueError: odd", record["traceback"])

    def test_hostileEvents(self) -> None:
        """
        Whatever is in an event, a line comes out.
        """
        for event in [
            {},
            {"log_format": "{missing} {x}", "x": Unprintable()},
            {"log_format": "{x}", "x": Unprintable(), "log_level": LogLevel.error},
            {"log_format": None, "msg": "mine", "time": 5},
            {"log_format": "{x}", "x": "y" * 1_000_000},
            {"message": ("legacy",), "isError": 1, "log_format": "{message}", "why": "x"},
        ]:
            for line in (textLine(event), jsonLine(event)):
                self.assertEqual(len(line.splitlines()), 1)
                self.assertTrue(len(line) < 20_000)


class LineWriterTests(SynchronousTestCase):
    """
    Tests for L{LineWriter}.
    """

    def test_all(self) -> None:
        """
        Every line is written once and in order: before the thread starts,
        while it runs, and after it has stopped.
        """
        stream = io.StringIO()
        writer = LineWriter(stream)
        writer.write("before")
        writer.start()
        for number in range(5000):
            writer.write(str(number))
        writer.stop(WAIT)
        writer.write("after")
        self.assertEqual(
            stream.getvalue().splitlines(), ["before", *map(str, range(5000)), "after"]
        )
        self.assertEqual(writer.dropped, 0)

    def test_stuck(self) -> None:
        """
        When nobody takes the lines, those over the limit are dropped and
        counted, and nobody waits. Later the log itself says so.
        """
        stream = StuckStream()
        writer = LineWriter(stream, limit=10)
        writer.start()
        writer.write("first")
        self.assertTrue(stream.entered.wait(WAIT))
        for number in range(15):
            writer.write(str(number))
        self.assertEqual(writer.dropped, 5)
        writer.stop(timeout=0)
        writer.write("still not waiting")
        stream.released.set()
        writer.stop(WAIT)
        lines = stream.getvalue().splitlines()
        self.assertEqual(lines[:11], ["first", *map(str, range(10))])
        self.assertTrue(any("log lines dropped" in line for line in lines), lines)

    def test_broken(self) -> None:
        """
        A disk that is full is counted, and hurts nobody.
        """
        writer = LineWriter(BrokenStream())
        writer.write("x")
        writer.start()
        writer.write("y")
        writer.stop(WAIT)
        self.assertEqual(writer.failed, 2)

    def test_closed(self) -> None:
        """
        A stream that was closed is like one that is broken.
        """
        stream = io.StringIO()
        stream.close()
        writer = LineWriter(stream)
        writer.write("x")
        self.assertEqual(writer.failed, 1)

    def test_crash(self) -> None:
        """
        The last lines of a process that ends without stopping anything are
        written.
        """
        program = (
            "import sys\n"
            "from dnsguard.observers.applog import LineWriter\n"
            "writer = LineWriter(sys.stdout)\n"
            "writer.start()\n"
            "for number in range(1000): writer.write(str(number))\n"
            "raise SystemExit(3)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.stdout.splitlines(), [str(number) for number in range(1000)])

    def test_restart(self) -> None:
        """
        It may be started and stopped again.
        """
        stream = io.StringIO()
        writer = LineWriter(stream)
        for word in ("one", "two"):
            writer.start()
            writer.start()
            writer.write(word)
            writer.stop(WAIT)
            writer.stop(WAIT)
        self.assertEqual(stream.getvalue(), "one\ntwo\n")
