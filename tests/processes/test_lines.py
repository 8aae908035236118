# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.lines}: a request log whose lines another process
writes.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as globalReactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from dnsguard.errors import HelperError
from dnsguard.observers.requestlog import RequestLog
from dnsguard.processes.lines import RemoteFile
from tests.support.events import eventOf

reactor: Any = globalReactor


class RemoteFileTests(TestCase):
    """
    Tests for L{RemoteFile}.
    """

    def setUp(self) -> None:
        self.taken: list[bytes] = []
        self.answer: Deferred[bool] = succeed(True)
        self.file = RemoteFile(self.hand, reactor)

    def hand(self, octets: bytes) -> Deferred[bool]:
        """
        Take lines, if that is the answer.
        """
        self.taken.append(octets)
        return self.answer

    async def test_writes(self) -> None:
        """
        Lines are handed over, and the thread waits until they are taken.
        """
        self.answer = Deferred()
        writing = deferToThread(self.file.write, b"one\ntwo\n")
        reactor.callLater(0.01, lambda: self.answer.callback(True))
        await writing
        self.assertEqual(self.taken, [b"one\ntwo\n"])
        self.file.close()

    async def test_refused(self) -> None:
        """
        Lines that aren't taken are refused as by a disk.
        """
        for answer in (succeed(False), fail(HelperError("gone"))):
            self.answer = answer
            with self.assertRaises(OSError):
                await deferToThread(self.file.write, b"one\n")

    async def test_log(self) -> None:
        """
        A request log hands over what is queued when it is stopped; lines that
        aren't taken are counted as lost.
        """
        for answer, written, lost in [(True, 3, 0), (False, 0, 3)]:
            self.answer = succeed(answer)
            log = RequestLog(self.file, reactor, reactor.getThreadPool())
            log.startService()
            for _ in range(3):
                log.queryAnswered(eventOf())
            await log.stopService()
            self.assertEqual((log.recorded, log.dropped), (written, lost))
        self.assertEqual(b"".join(self.taken).count(b"\n"), 6)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
