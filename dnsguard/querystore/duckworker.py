# -*- test-case-name: tests.querystore.test_duckfile -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The embedded engine's process.

DuckDB in a process of its own can stall, swell or crash without a query for a
name noticing. It reads frames from standard input and answers each on standard
output; the end of its input is the end of it, so it never outlives the server.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from dnsguard.errors import StoreError
from dnsguard.priority import HINDMOST, stepBack
from dnsguard.querystore.block import Block, BrokenBlock
from dnsguard.querystore.duckfile import DuckFile, FileLost
from dnsguard.querystore.frames import FrameReader, frame
from dnsguard.querystore.statements import Statement

__all__ = ["Worker", "main"]

READ = 1 << 20


TRIAL = 0.002
"""Seconds of work that show whether there is a core to be had."""

SHARE = 3
"""How many times the work the waiting for a core may be, ..."""

STARVED = 0.02
"""... unless it is shorter than this, in seconds: anybody may have to wait for a moment."""

SCHEDULING = Path("/proc/self/schedstat")
"""Nanoseconds that this thread ran and that it waited for a core, then the number of
times; Linux alone has it."""


CoreTime: TypeAlias = tuple[float, float]


def coreTime(path: Path = SCHEDULING) -> CoreTime:
    """
    Give the seconds that this thread has run and has waited for a core in its life;
    zeros where nobody counts them.
    """
    try:
        ran, waited = path.read_bytes().split()[:2]
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0


def _work() -> None:
    """
    Need a core, for no other reason than to see whether there is one.
    """
    end = time.thread_time() + TRIAL
    while time.thread_time() < end:
        pass


def _isWaiting(before: CoreTime, after: CoreTime, least: float) -> bool:
    """
    Was the time between mostly one of waiting?
    """
    ran, waited = after[0] - before[0], after[1] - before[1]
    return waited > least and waited > SHARE * ran


class Worker:
    """
    Does what frames ask for.

    @ivar useless: Nothing more can be done with the file as it is open.
    """

    def __init__(
        self,
        file: DuckFile,
        coreTime: Callable[[], CoreTime] = coreTime,
        work: Callable[[], None] = _work,
    ) -> None:
        """
        @param coreTime: Gives the seconds that this thread has run and has waited for a
            core.
        @param work: Does a little work.
        """
        self._file = file
        self._work = work
        self._coreTime = coreTime
        self._before = coreTime()
        self.useless = False
        self._operations: dict[str, Callable[[dict[str, Any], bytes], Any]] = {
            "insert": lambda fields, payload: file.insert(Block.decode(payload)),
            "query": self._query,
            "maintain": lambda fields, payload: file.maintain(),
            "clear": lambda fields, payload: file.clear(),
            "counters": lambda fields, payload: file.counters(),
            "starved": lambda fields, payload: self._isStarved(),
        }

    def _query(self, fields: dict[str, Any], payload: bytes) -> list[list[list[Any]]]:
        """
        Run several statements that read.
        """
        return [
            self._file.query(Statement(text, parameters))
            for text, parameters in fields["statements"]
        ]

    def _isStarved(self) -> bool:
        """
        Has it mostly waited for a core since it was last asked, or does it now? With
        nothing done in between, the former is until this question could be read.
        """
        before, began = self._before, self._coreTime()
        self._work()
        now = self._before = self._coreTime()
        return _isWaiting(before, began, STARVED) or _isWaiting(began, now, 0.0)

    def handle(self, fields: dict[str, Any], payload: bytes) -> bytes:
        """
        Do one thing and give the frame that says how it went.
        """
        reply: dict[str, Any] = {"id": fields["id"]}
        try:
            reply["result"] = self._operations[fields["op"]](fields, payload)
        except StoreError as reason:
            reply["error"] = reason.reason
            self.useless = isinstance(reason, FileLost)
        except BrokenBlock as reason:
            reply["error"] = str(reason)
        except MemoryError:
            reply["error"] = "out of memory"
        return frame(reply)


def serve(worker: Worker, source: int, sink: BinaryIO) -> None:
    """
    Answer frames until their source ends, or there is no sense in going on: then
    the server will start this process anew.
    """
    reader = FrameReader()
    while octets := os.read(source, READ):
        for fields, payload in reader.feed(octets):
            sink.write(worker.handle(fields, payload))
            sink.flush()
            if worker.useless:
                return


def main(arguments: list[str]) -> int:
    """
    Open the file, say how that went, and serve.

    @param arguments: The path, and L{DuckFile}'s other parameters as JSON.
    """
    # Both are meant for the server, which ends this process by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Rows can wait, and do in the spool.
    stepBack(HINDMOST)
    sink = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not end up between frames.
    os.dup2(2, 1)
    path, settings = arguments
    try:
        file = DuckFile(Path(path), **json.loads(settings))
    except StoreError as reason:
        sink.write(frame({"id": 0, "error": reason.reason}))
        sink.flush()
        return 1
    sink.write(frame({"id": 0, "result": None}))
    sink.flush()
    try:
        serve(Worker(file), 0, sink)
    except BrokenPipeError:
        return 0
    finally:
        file.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
