# -*- test-case-name: tests.control.test_audit -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Who changed what: a line for each change, in a file that doesn't grow forever.

Only the path is written down, never what came with it, which may be a secret.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.control.route import Caller, Role

__all__ = ["AuditLog"]

MAX_OCTETS = 1 << 20
"""Octets of the file, after which it is put aside; one older one is kept."""

MAX_WAITING = 1000
"""Lines that wait for the disk."""

MAX_SHOWN = 500
"""Lines kept in memory, to be shown."""

_UNHEARD = (401, 404, 405, 429)
"""Statuses of those who weren't listened to: anybody can make as many of them
as they like, and those who matter would be pushed out of the file."""


class AuditLog:
    """
    Writes down who changed what.

    @ivar recent: The last entries, oldest first.
    @ivar written: Lines in the file so far.
    @ivar lost: Lines that the disk didn't take.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        inThread: Callable[..., Deferred[Any]],
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        @param path: The file; the older one gets C{.1} behind it.
        @param inThread: Calls a function in a thread.
        """
        self.recent: deque[dict[str, Any]] = deque(maxlen=MAX_SHOWN)
        self.written = self.lost = 0
        self._path = path
        self._inThread = inThread
        self._now = now
        self._waiting: deque[str] = deque()
        self._writing: Deferred[None] | None = None

    def note(self, caller: Caller, method: str, path: str, status: int) -> None:
        """
        Note that something was done, or tried.
        """
        unknown = caller.role is Role.NOBODY and status >= 400
        if unknown or status in _UNHEARD:
            return
        when = self._now()
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
            "by": caller.name,
            "role": caller.role.word,
            "address": caller.address,
            "method": method,
            "path": path[:300],
            "status": status,
        }
        self.recent.append(entry)
        if len(self._waiting) >= MAX_WAITING:
            self.lost += 1
            return
        self._waiting.append(json.dumps(entry))
        if self._writing is None:
            self._writing = self._inThread(self._write)
            self._writing.addBoth(self._wrote)

    def _write(self) -> None:
        """
        Write what waits. In a thread, one at a time.
        """
        lines = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        octets = "".join(f"{line}\n" for line in lines).encode()
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size + len(octets) > MAX_OCTETS:
                os.replace(self._path, f"{self._path}.1")
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
                file.write(octets)
        except OSError:
            self.lost += len(lines)
            raise
        self.written += len(lines)

    def _wrote(self, result: Any) -> None:
        self._writing = None
        if isinstance(result, Failure):
            self.log.error(
                "the audit log can't be written: {reason}", reason=result.getErrorMessage()
            )
        elif self._waiting:
            self._writing = self._inThread(self._write)
            self._writing.addBoth(self._wrote)

    def flushed(self) -> Deferred[None]:
        """
        Wait until what was noted is in the file.
        """
        if self._writing is None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._writing.addCallback(lambda _: waiting.callback(None))
        return waiting
