# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.audit}.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control import audit
from dnsguard.control.audit import AuditLog
from dnsguard.control.route import Caller, Role

ME = Caller("me", Role.ADMIN, "192.0.2.1")


class AuditTests(SynchronousTestCase):
    """
    Tests for L{AuditLog}.
    """

    def setUp(self) -> None:
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "control" / "a.jsonl"
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def prompt(self) -> AuditLog:
        """
        A log whose threads do at once what they are given.
        """
        return AuditLog(self.path, maybeDeferred, lambda: 0.0)

    def slow(self) -> AuditLog:
        """
        A log whose threads wait for L{work}.
        """

        def later(function: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            self.waiting.append((done, function))
            return done

        return AuditLog(self.path, later, lambda: 0.0)

    def work(self) -> None:
        """
        Do what waits for a thread.
        """
        waiting, self.waiting = self.waiting, []
        for done, function in waiting:
            maybeDeferred(function).chainDeferred(done)

    def lines(self) -> list[Any]:
        """
        What is in the file.
        """
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def test_noted(self) -> None:
        """
        Who did what when, from where, and how it ended; for the owner's eyes.
        """
        self.prompt().note(ME, "PATCH", "/api/v1/config", 200)
        self.assertEqual(
            self.lines(),
            [
                {
                    "time": "1970-01-01T00:00:00Z",
                    "by": "me",
                    "role": "admin",
                    "address": "192.0.2.1",
                    "method": "PATCH",
                    "path": "/api/v1/config",
                    "status": 200,
                }
            ],
        )
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_unheard(self) -> None:
        """
        Those who weren't let in can't fill the disk.
        """
        log = self.prompt()
        for status in (401, 404, 405, 429):
            log.note(ME, "POST", "/x", status)
        for status in (400, 403, 413, 415):
            log.note(Caller("", Role.NOBODY, "192.0.2.1"), "POST", "/x", status)
        self.assertFalse(self.path.exists())
        self.assertEqual(list(log.recent), [])

    def test_inOrder(self) -> None:
        """
        What comes while the disk is busy is written next, in order.
        """
        log = self.slow()
        for number in range(5):
            log.note(ME, "POST", f"/{number}", 200)
        self.work()
        log.note(ME, "POST", "/5", 200)
        self.work()
        self.assertEqual([line["path"] for line in self.lines()], [f"/{n}" for n in range(6)])
        self.assertEqual((log.written, log.lost), (6, 0))

    def test_flushed(self) -> None:
        """
        One can wait for what was noted to be in the file.
        """
        log = self.slow()
        self.successResultOf(log.flushed())
        log.note(ME, "POST", "/x", 200)
        flushed = log.flushed()
        self.assertNoResult(flushed)
        self.work()
        self.successResultOf(flushed)

    def test_diskTooSlow(self) -> None:
        """
        What the disk doesn't take is counted, and not kept.
        """
        log = self.slow()
        for _ in range(audit.MAX_WAITING + 7):
            log.note(ME, "POST", "/x", 200)
        self.assertEqual(log.lost, 7)
        self.assertEqual(len(log.recent), audit.MAX_SHOWN)

    def test_diskFull(self) -> None:
        """
        That the file can't be written is logged, and breaks nothing.
        """
        self.path.parent.mkdir()
        self.path.mkdir()
        log = self.prompt()
        log.note(ME, "POST", "/x", 200)
        log.note(ME, "POST", "/y", 200)
        self.assertEqual((log.written, log.lost), (0, 2))

    def test_bounded(self) -> None:
        """
        The file is begun anew when it is large; one older one is kept.
        """
        self.patch(audit, "MAX_OCTETS", 1000)
        log = self.prompt()
        for number in range(50):
            log.note(ME, "POST", f"/{number}", 200)
        older = self.path.with_name("a.jsonl.1")
        sizes = [path.stat().st_size for path in (self.path, older)]
        self.assertLessEqual(max(sizes), 1000)
        self.assertEqual(self.lines()[-1]["path"], "/49")
        self.assertEqual(len(list(self.path.parent.iterdir())), 2)
