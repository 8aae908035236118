# -*- test-case-name: tests.observers.test_logfile -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A log file a day, rotated, compressed and removed in time.

Everything here blocks and belongs to one writer thread. A full disk never
leaves half a line behind: what a failed write left is cut off again, so that
the file goes on where it was good.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

__all__ = ["DailyFile"]

CHUNK = 1 << 18


class DailyFile:
    """
    Appends octets to C{<directory>/<prefix>-YYYY-MM-DD.log}.

    A file that reached its size becomes C{….log.1}, C{….log.2} and so on;
    files of other days and numbered ones are compressed to C{.gz}.
    """

    def __init__(
        self,
        directory: Path,
        prefix: str,
        today: Callable[[], date] = date.today,
        maxOctets: int = 0,
        retentionDays: int = 0,
        compress: bool = True,
    ) -> None:
        """
        @param directory: Made at the first write if it isn't there.
        @param prefix: What file names begin with; no slashes.
        @param today: Gives the local date.
        @param maxOctets: Rotate at this size; 0: never by size.
        @param retentionDays: Remove files of days longer ago than this; 0:
            keep all.
        @param compress: Compress the files no longer written to.
        @raise ValueError: The prefix can't be part of a file name.
        """
        if not prefix or "/" in prefix or "\0" in prefix or prefix.startswith("."):
            raise ValueError(f"log file prefix {prefix!r} is no file name")
        self._directory = directory
        self._prefix = prefix
        self._today = today
        self._maxOctets = maxOctets
        self._retentionDays = retentionDays
        self._compress = compress
        self._pattern = re.compile(
            re.escape(prefix) + r"-(\d{4}-\d\d-\d\d)\.log(?:\.(\d+))?(\.gz)?"
        )
        self._fd = -1
        self._day: date | None = None
        self._size = 0
        self._stopping = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def path(self) -> Path:
        """
        Today's file.
        """
        return self._directory / f"{self._prefix}-{self._today().isoformat()}.log"

    def write(self, octets: bytes) -> None:
        """
        Append whole lines.

        @raise OSError: Nothing of them is in the file.
        """
        self._open()
        view = memoryview(octets)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._cutBack()
            raise
        self._size += len(octets)
        if self._maxOctets and self._size >= self._maxOctets:
            # The lines are written; a directory that can't be changed only
            # means that the file grows on.
            with contextlib.suppress(OSError):
                self._rotate()

    def _open(self) -> None:
        """
        Have today's file open, also after somebody moved it away.
        """
        today = self._today()
        path = self.path
        if self._fd >= 0 and today == self._day and _isSame(self._fd, path):
            return
        newDay = today != self._day
        self._shut()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._fd).st_size
        self._day = today
        if newDay:
            self._tidyInBackground()

    def _cutBack(self) -> None:
        """
        Remove what a failed write left, or give the file up.
        """
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            # The next write opens the file afresh and takes its size as it is.
            self._shut()

    def _rotate(self) -> None:
        """
        Give today's file the next free number.
        """
        path = self.path
        taken = [int(number) for _, number, _ in self._files(path.name) if number]
        self._shut()
        self._day = None
        path.rename(path.with_name(f"{path.name}.{max(taken, default=0) + 1}"))

    def _files(self, start: str = "") -> list[tuple[Path, str, str]]:
        """
        Give this log's files with their number (or empty) and day.
        """
        found = []
        for path in self._directory.iterdir():
            match = self._pattern.fullmatch(path.name)
            if match and path.name.startswith(start):
                found.append((path, match[2] or "", match[1]))
        return found

    def _tidyInBackground(self) -> None:
        """
        Compress and remove old files while lines go on being written.
        """
        if self._keeper is None or not self._keeper.is_alive():
            self._keeper = threading.Thread(
                target=self.tidy, name=f"{self._prefix}-tidy", daemon=True
            )
            self._keeper.start()

    def tidy(self) -> None:
        """
        Remove the files whose time is over, and compress the others that
        aren't written to any more. A file that can't be is left for next time.
        """
        today = self._today()
        current = self.path
        oldest = (today - timedelta(days=self._retentionDays)).isoformat()
        for path, _, day in self._files():
            try:
                if self._retentionDays and day < oldest:
                    path.unlink()
                elif self._compress and path != current and path.suffix != ".gz":
                    self._compressFile(path)
            except OSError:
                continue

    def _compressFile(self, path: Path) -> None:
        """
        Put a compressed copy in the place of a file. At every moment one whole
        copy is there.
        """
        target = path.with_name(path.name + ".gz")
        partial = path.with_name(path.name + ".gz.part")
        try:
            with path.open("rb") as source, gzip.open(partial, "wb", 6) as sink:
                while chunk := source.read(CHUNK):
                    if self._stopping.is_set():
                        return
                    sink.write(chunk)
            shutil.copystat(path, partial)
            partial.rename(target)
            path.unlink()
        finally:
            partial.unlink(missing_ok=True)

    def _shut(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """
        Close the file, and end compressing after the chunk under way.
        """
        self._stopping.set()
        if self._keeper is not None:
            self._keeper.join()
        self._shut()
        self._day = None
        self._stopping.clear()


def _isSame(fd: int, path: Path) -> bool:
    """
    Is the open file still the one of that name?
    """
    try:
        named = path.stat()
    except OSError:
        return False
    opened = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
