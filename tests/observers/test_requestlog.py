# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.requestlog}.
"""

from __future__ import annotations

import errno
from datetime import date
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from dnsguard.interfaces import IQueryObserver
from dnsguard.observers.logfile import DailyFile
from dnsguard.observers.requestlog import LogFormat, RequestLog
from tests.support.events import entryFor, eventOf
from tests.support.replaybatch import FakeReplayBatch


class FullDisk(DailyFile):
    """
    A file on a disk without room.
    """

    full = True

    def write(self, octets: bytes) -> None:
        """
        Fail while the disk is full.
        """
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(octets)


class RequestLogTests(SynchronousTestCase):
    """
    The log without its thread.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.file = FullDisk(Path(self.mktemp()), "dns", lambda: date(2026, 3, 10))
        self.file.full = False
        self.addCleanup(self.file.close)

    def requestLog(self, queueLimit: int = 10) -> RequestLog:
        """
        Make a log that no thread serves.
        """
        made = RequestLog(self.file, None, None, queueLimit=queueLimit, clock=self.clock.seconds)
        verifyObject(IQueryObserver, made)
        return made

    def lines(self) -> list[str]:
        """
        What is in the file.
        """
        return self.file.path.read_text("utf-8").splitlines()

    def test_bothRoads(self) -> None:
        """
        Queries answered and queries replayed are written in order.
        """
        log = self.requestLog()
        batch = FakeReplayBatch({1: entryFor("b.example.org")})
        batch.add(1, "192.0.2.2")
        batch.add(1, "192.0.2.3")
        log.queryAnswered(eventOf("a.example.org"))
        log.queriesReplayed(batch)
        batch.records.clear()
        log.queryAnswered(eventOf("c.example.org"))
        log.writeQueued()
        names = [line.split()[3] for line in self.lines()]
        self.assertEqual(
            names,
            [f"qname={letter}.example.org" for letter in "abbc"],
        )
        self.assertEqual(log.recorded, 4)

    def test_linesOfOthers(self) -> None:
        """
        Lines that another process made are written as they are, in their turn,
        and all of them or none.
        """
        log = self.requestLog(queueLimit=4)
        log.queryAnswered(eventOf("a.example.org"))
        self.assertTrue(log.take(b"first of another\nsecond\n"))
        self.assertFalse(log.take(b"one\ntoo many\n"))
        log.queryAnswered(eventOf("b.example.org"))
        log.writeQueued()
        lines = self.lines()
        self.assertEqual((lines[1:3], len(lines)), (["first of another", "second"], 4))
        self.assertEqual((log.recorded, log.counters()["buffer_used"]), (4, 0))
        self.file.full = True
        log.take(b"one\ntwo\n")
        log.writeQueued()
        self.assertEqual((log.recorded, log.dropped), (4, 2))

    def test_fullQueue(self) -> None:
        """
        What the queue has no room for is counted, one by one, and nothing else
        is lost.
        """
        log = self.requestLog(queueLimit=3)
        batch = FakeReplayBatch({1: entryFor()})
        for _ in range(5):
            batch.add(1, "192.0.2.2")
        log.queryAnswered(eventOf())
        log.queriesReplayed(batch)
        log.queryAnswered(eventOf())
        self.assertEqual(log.counters()["buffer_used"], 3)
        log.writeQueued()
        self.assertEqual(len(self.lines()), 3)
        self.assertEqual(
            log.counters(),
            {"buffer_size": 3, "buffer_used": 0, "dropped_events": 4, "total_recorded": 3},
        )

    def test_fullDisk(self) -> None:
        """
        While the disk is full lines are counted as lost and one log line says
        so; afterwards lines are written again.
        """
        log = self.requestLog()
        self.file.full = True
        with capturedLogs() as captured:
            for _ in range(3):
                log.queryAnswered(eventOf())
                log.writeQueued()
        self.assertEqual(len(captured), 1)
        self.file.full = False
        log.queryAnswered(eventOf())
        log.writeQueued()
        self.assertEqual((log.recorded, log.dropped, len(self.lines())), (1, 3, 1))

    def test_brokenBatch(self) -> None:
        """
        A batch of which no line can be made costs its own lines, which are
        counted, and later ones are written.
        """
        log = self.requestLog()
        batch = FakeReplayBatch({1: entryFor()})
        batch.add(1, "192.0.2.1", transport=7)
        batch.add(1, "192.0.2.1")
        log.queriesReplayed(batch)
        log._tick()
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        log.queryAnswered(eventOf())
        log._tick()
        self.assertEqual((log.recorded, log.dropped), (1, 2))
        self.assertEqual(log.counters()["buffer_used"], 0)

    def test_complainsAgainLater(self) -> None:
        """
        A disk that stays full is spoken of once a minute.
        """
        log = self.requestLog()
        self.file.full = True
        with capturedLogs() as captured:
            for _ in range(3):
                log.queryAnswered(eventOf())
                log.writeQueued()
                self.clock.advance(40)
        self.assertEqual(len(captured), 2)


class RequestLogServiceTests(TestCase):
    """
    The log with its thread.
    """

    async def test_stopWritesWhatIsQueued(self) -> None:
        """
        After the service has stopped all queued lines are in the file; it can
        start again.
        """
        pool = ThreadPool(0, 2, "requestlog-test")
        pool.start()
        self.addCleanup(pool.stop)
        file = DailyFile(Path(self.mktemp()), "dns", lambda: date(2026, 3, 10))
        log = RequestLog(file, reactor, pool, LogFormat.JSON)
        for expected in (100, 200):
            log.startService()
            for _ in range(100):
                log.queryAnswered(eventOf())
            await log.stopService()
            self.assertEqual(len(file.path.read_text("utf-8").splitlines()), expected)
        await log.stopService()
