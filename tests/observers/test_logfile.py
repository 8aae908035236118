# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.logfile}.
"""

from __future__ import annotations

import errno
import gzip
import os
from datetime import date, timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.observers.logfile import DailyFile

TODAY = date(2026, 3, 10)


class DailyFileTests(SynchronousTestCase):
    """
    One file a day.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()) / "logs"
        self.day = TODAY

    def file(self, maxOctets: int = 0, retentionDays: int = 0, compress: bool = True) -> DailyFile:
        """
        Make a file under the test's calendar.
        """
        made = DailyFile(
            self.directory, "dns", lambda: self.day, maxOctets, retentionDays, compress
        )
        self.addCleanup(made.close)
        return made

    def names(self) -> list[str]:
        """
        What is in the directory.
        """
        return sorted(path.name for path in self.directory.iterdir())

    def test_appends(self) -> None:
        """
        Lines are appended, over restarts too, to a file others may read.
        """
        first = self.file()
        first.write(b"a\n")
        first.close()
        self.file().write(b"b\n")
        path = self.directory / "dns-2026-03-10.log"
        self.assertEqual(path.read_bytes(), b"a\nb\n")
        self.assertEqual(path.stat().st_mode & 0o777 & ~0o022, 0o644)

    def test_newDay(self) -> None:
        """
        At midnight a new file begins and the old one is compressed.
        """
        made = self.file()
        made.write(b"a\n")
        self.day += timedelta(days=1)
        made.write(b"b\n")
        made.close()
        made.tidy()
        self.assertEqual(self.names(), ["dns-2026-03-10.log.gz", "dns-2026-03-11.log"])
        with gzip.open(self.directory / "dns-2026-03-10.log.gz") as old:
            self.assertEqual(old.read(), b"a\n")

    def test_size(self) -> None:
        """
        A file that is full gets a number, and none is written over.
        """
        made = self.file(maxOctets=4, compress=False)
        for line in (b"aaa\n", b"bbb\n", b"c\n"):
            made.write(line)
        self.assertEqual(
            self.names(),
            ["dns-2026-03-10.log", "dns-2026-03-10.log.1", "dns-2026-03-10.log.2"],
        )
        self.assertEqual((self.directory / "dns-2026-03-10.log.2").read_bytes(), b"bbb\n")

    def test_numbersGoOnBehindCompressedFiles(self) -> None:
        """
        The number of a compressed file isn't given again.
        """
        made = self.file(maxOctets=4)
        made.write(b"aaa\n")
        made.close()
        made.tidy()
        made.write(b"bbb\n")
        made.close()
        made.tidy()
        self.assertEqual(self.names(), ["dns-2026-03-10.log.1.gz", "dns-2026-03-10.log.2.gz"])

    def test_retention(self) -> None:
        """
        Files of days past their time go; strangers' files stay.
        """
        self.directory.mkdir(parents=True)
        for name in (
            "dns-2026-03-07.log.gz",
            "dns-2026-03-08.log.gz",
            "dns-2026-03-07.log.3",
            "other-2020-01-01.log",
            "dns-2020-01-01.logx",
        ):
            (self.directory / name).touch()
        self.file(retentionDays=2, compress=False).tidy()
        self.assertEqual(
            self.names(), ["dns-2020-01-01.logx", "dns-2026-03-08.log.gz", "other-2020-01-01.log"]
        )

    def test_movedAway(self) -> None:
        """
        After another program has moved the file away a new one is begun.
        """
        made = self.file()
        made.write(b"a\n")
        made.path.rename(self.directory / "elsewhere")
        made.write(b"b\n")
        self.assertEqual(made.path.read_bytes(), b"b\n")

    def test_halfALineIsCutOff(self) -> None:
        """
        A write that stops half way leaves nothing behind, and the next one
        goes on where the file was good.
        """
        made = self.file()
        made.write(b"good\n")
        write, calls = os.write, []

        def short(fd: int, octets: memoryview) -> int:
            calls.append(len(octets))
            if len(calls) == 1:
                return write(fd, octets[:3])
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "write", short)
        self.assertRaises(OSError, made.write, b"lost\n")
        self.patch(os, "write", write)
        made.write(b"again\n")
        self.assertEqual(made.path.read_bytes(), b"good\nagain\n")

    def test_interruptedCompression(self) -> None:
        """
        Ending while a file is compressed leaves the file as it was.
        """
        made = self.file()
        self.directory.mkdir(parents=True)
        old = self.directory / "dns-2026-03-09.log"
        old.write_bytes(b"x" * 10)
        made._stopping.set()
        made.tidy()
        self.assertEqual(self.names(), ["dns-2026-03-09.log"])

    def test_prefixStaysInTheDirectory(self) -> None:
        """
        A prefix that leads elsewhere is refused.
        """
        for bad in ("", "../x", "a/b", ".hidden"):
            self.assertRaises(ValueError, DailyFile, self.directory, bad)
