# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.errorlog}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.logger import Logger, LogPublisher, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.observers.errorlog import ErrorFile, ErrorLog
from dnsguard.services.errorlog import ErrorLogService
from tests.support.threads import PromptPool, PromptReactor


class Reactor(PromptReactor):
    """
    A reactor whose threads are prompt.
    """

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self._pool = pool

    def getThreadPool(self) -> Any:
        """
        Give the pool.
        """
        return self._pool


class TardyPool(PromptPool):
    """
    A pool that does its work when it is told to.
    """

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def callInThreadWithCallback(self, *arguments: Any, **named: Any) -> None:
        """
        Put something off.
        """
        prompt = super().callInThreadWithCallback
        self.work.append(lambda: prompt(*arguments, **named))


class ErrorLogServiceTests(SynchronousTestCase):
    """
    Errors outlive the process.
    """

    def setUp(self) -> None:
        """
        A service that keeps the errors of a publisher in a file.
        """
        self.publisher = LogPublisher()
        self.log = Logger(namespace="dnsguard.test", observer=self.publisher)
        self.path = Path(self.mktemp()) / "errors.jsonl"

    def service(self, pool: Any = None, **settings: Any) -> ErrorLogService:
        """
        Make the service.
        """
        settings.setdefault("file", ErrorFile(self.path))
        return ErrorLogService(
            ErrorLog(),
            Reactor(PromptPool() if pool is None else pool),
            publisher=self.publisher,
            **settings,
        )

    def written(self, path: Path | None = None) -> list[str]:
        """
        The messages in the file.
        """
        lines = (path or self.path).read_text().splitlines()
        return [json.loads(line)["message"] for line in lines]

    def test_nextRun(self) -> None:
        """
        What one run has written down, the next one knows.
        """
        first = self.service()
        first.startService()
        self.log.error("one")
        self.successResultOf(first.stopService())
        self.assertEqual(self.written(), ["one"])
        self.log.error("nobody listens")
        second = self.service()
        second.startService()
        self.log.warn("two")
        self.assertEqual([error.message for error in second.errors.entries()], ["one", "two"])
        self.successResultOf(second.stopService())
        self.assertEqual(self.written(), ["one", "two"])
        self.assertEqual(second.dropped, 0)

    def test_beforeTheFileIsRead(self) -> None:
        """
        Errors that come while the file is read are written after it, in order.
        """
        self.path.parent.mkdir()
        pool = TardyPool()
        service = self.service(pool)
        service.startService()
        self.log.error("early")
        self.assertFalse(self.path.exists())
        pool.work.pop()()
        self.log.error("late")
        self.successResultOf(service.stopService())
        self.assertEqual(self.written(), ["early", "late"])

    def test_stoppedWhileReading(self) -> None:
        """
        A service that is stopped before its file was read writes all the same.
        """
        pool = TardyPool()
        service = self.service(pool)
        service.startService()
        self.log.error("early")
        stopped = service.stopService()
        self.assertNoResult(stopped)
        pool.work.pop()()
        self.successResultOf(stopped)
        self.assertEqual(self.written(), ["early"])

    def test_diskRefuses(self) -> None:
        """
        Without a file errors are kept in memory, and why is one of them.
        """
        self.path.parent.write_text("a file, no folder")
        service = self.service()
        with capturedLogs() as events:
            service.startService()
        self.assertEqual([event["log_level"].name for event in events], ["warn"])
        self.log.error("one")
        self.assertEqual([error.message for error in service.errors.entries()], ["one"])
        self.successResultOf(service.stopService())

    def test_memoryOnly(self) -> None:
        """
        Without a file nothing is written.
        """
        service = self.service(file=None)
        service.startService()
        self.log.error("one")
        self.successResultOf(service.stopService())
        self.assertFalse(self.path.exists())
        self.assertEqual(len(service.errors.entries()), 1)

    def test_anotherFile(self) -> None:
        """
        Another file is written from the moment it is told, and none when that
        is told; a change of retention alone changes nothing else.
        """
        service = self.service()
        service.startService()
        self.log.error("one")
        other = self.path.with_name("other.jsonl")
        service.keepIn(ErrorFile(other, 5.0e9))
        self.log.error("two")
        service.keepIn(ErrorFile(other, 4.0e9))
        self.assertEqual(service.errors.retention, 4.0e9)
        self.log.error("three")
        service.keepIn(None)
        self.log.error("four")
        self.assertEqual(self.written(), ["one"])
        self.assertEqual(self.written(other), ["one", "two", "three"])
        self.successResultOf(service.stopService())
