# -*- test-case-name: tests.services.test_pyspy -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Profiles with the frames of compiled code, taken by C{py-spy} where it is
installed.

It looks at the process from without, so it needs the right to: root has it,
or whoever has C{CAP_SYS_PTRACE}. Each look halts the process for a moment.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from dnsguard.errors import DNSGuardError
from dnsguard.services.sampler import Frame, Profile, ProfileBusy

__all__ = ["NativeProfileFailed", "NativeSampler", "readFolded"]

RATE = 100
"""Looks in a second."""

_THREAD = re.compile(r"thread \((\w+)\)(?:: (.*))?")
_FRAME = re.compile(r"(.*) \((.*):(\d+)\)")
_MOST_OCTETS = 64 << 20


class NativeProfileFailed(DNSGuardError):
    """
    There is no such profile.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"no profile of compiled code: {reason}")


class NativeSampler:
    """
    Has profiles taken, one at a time.
    """

    def __init__(self, reactor: Any, program: str = "py-spy") -> None:
        """
        @param program: The program, or where it is.
        """
        self._reactor = reactor
        self._program = program
        self._busy = False

    def profile(self, seconds: int) -> Deferred[Profile]:
        """
        Take a profile.

        @return: Fails with L{NativeProfileFailed} or L{ProfileBusy}.
        """
        return Deferred.fromCoroutine(self._profile(seconds))

    async def _profile(self, seconds: int) -> Profile:
        program = shutil.which(self._program)
        if program is None:
            raise NativeProfileFailed(f"{self._program} isn't installed")
        if self._busy:
            raise ProfileBusy
        self._busy = True
        folder = tempfile.mkdtemp(prefix="dnsguard-profile-")
        try:
            output = Path(folder, "stacks")
            await self._record(program, seconds, str(output))
            pool = self._reactor.getThreadPool()
            return await deferToThreadPool(self._reactor, pool, _read, output, seconds)
        finally:
            self._busy = False
            shutil.rmtree(folder, ignore_errors=True)

    async def _record(self, program: str, seconds: int, output: str) -> None:
        arguments = ["record", "--native", "--threads", "--nolineno", "--format", "raw"]
        arguments += ["--rate", str(RATE), "--duration", str(seconds)]
        arguments += ["--output", output, "--pid", str(os.getpid())]
        running = getProcessOutputAndValue(
            program, arguments, env=dict(os.environ), reactor=self._reactor
        )
        _, errors, code = await running.addErrback(self._killed)
        if code:
            lines = errors.decode("utf-8", "replace").strip().splitlines()
            raise NativeProfileFailed(lines[0][:300] if lines else f"exit status {code}")

    def _killed(self, reason: Failure) -> NoReturn:
        # It fails with a tuple, which is no exception, when a signal ends the program.
        raise NativeProfileFailed(f"{self._program} was ended by a signal")


def _read(output: Path, seconds: int) -> Profile:
    """
    Read what was written. In a thread.
    """
    try:
        with output.open("r", encoding="utf-8", errors="replace") as file:
            return readFolded(file.read(_MOST_OCTETS), seconds)
    except OSError as error:
        raise NativeProfileFailed(str(error)) from None


def readFolded(text: str, seconds: float) -> Profile:
    """
    Read stacks as text: frames from the outermost to the innermost, separated
    by semicolons, and how often they were seen.
    """
    counts: Counter[tuple[Frame, ...]] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack and count.isdecimal():
            counts[tuple(map(_frameOf, stack.split(";")))] += int(count)
    return Profile(dict(counts), seconds, 1 / RATE)


def _frameOf(text: str) -> Frame:
    found = _THREAD.fullmatch(text)
    if found is not None:
        return Frame(found[2] or f"thread {found[1]}")
    found = _FRAME.fullmatch(text)
    if found is not None:
        return Frame(found[1], found[2], int(found[3]))
    name, _, file = text.partition(" (")
    return Frame(name, file.rstrip(")"))
