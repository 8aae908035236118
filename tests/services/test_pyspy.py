# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.pyspy}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from dnsguard.services.pyspy import NativeProfileFailed, NativeSampler, readFolded
from dnsguard.services.sampler import Frame, Profile, ProfileBusy


class FoldedTests(SynchronousTestCase):
    """
    Stacks as text are read.
    """

    def test_stacks(self) -> None:
        """
        Frames are read with their files, equal stacks are added up, and what
        is no stack is passed over.
        """
        profile = readFolded(
            "thread (77): MainThread;run (base.py:10);epoll_wait (libc.so.6:0) 3\n"
            "thread (77): MainThread;run (base.py:10);epoll_wait (libc.so.6:0) 2\n"
            "thread (78);0x7f2f78e4524a (libc.so.6) 1\n"
            "nonsense\n\nf x\n",
            1.0,
        )
        self.assertEqual(
            profile.stacks,
            {
                (
                    Frame("MainThread"),
                    Frame("run", "base.py", 10),
                    Frame("epoll_wait", "libc.so.6"),
                ): 5,
                (Frame("thread 78"), Frame("0x7f2f78e4524a", "libc.so.6")): 1,
            },
        )


class NativeSamplerTests(TestCase):
    """
    Another program takes the profile.
    """

    def program(self, text: str) -> str:
        """
        Make a program.
        """
        path = Path(self.mktemp()).absolute()
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o700)
        return str(path)

    async def profile(self, program: str) -> Profile:
        """
        Have it take a profile.
        """
        return await NativeSampler(reactor, program).profile(1)

    async def failure(self, program: str) -> str:
        """
        Say how it fails.
        """
        try:
            await self.profile(program)
        except NativeProfileFailed as error:
            return str(error)
        raise AssertionError("no failure")

    async def test_profile(self) -> None:
        """
        What the program writes is the profile; it is told whom to look at.
        """
        program = self.program(
            'while [ $# -gt 1 ]; do [ "$1" = --output ] && out="$2"; shift; done\n'
            'echo "main (1);pid $1 4" > "$out"\n'
        )
        profile = await self.profile(program)
        self.assertEqual(profile.stacks, {(Frame("main", "1"), Frame(f"pid {os.getpid()}")): 4})

    async def test_failures(self) -> None:
        """
        Why there is no profile is said in a line.
        """
        for text, reason in [
            ("echo Permission Denied >&2; echo more >&2; exit 1", "Permission Denied"),
            ("exit 3", "exit status 3"),
            ("exit 0", "No such file"),
            ("kill -9 $$", "was ended"),
        ]:
            self.assertIn(reason, await self.failure(self.program(text)), text)
        self.assertIn("isn't installed", await self.failure("no-such-program"))

    async def test_oneAtATime(self) -> None:
        """
        A second one is refused while the first is taken.
        """
        sampler = NativeSampler(reactor, self.program("sleep 0.2; exit 1"))
        first = sampler.profile(1)
        self.assertIsInstance(first, Deferred)
        await self.assertFailure(sampler.profile(1), ProfileBusy)
        await self.assertFailure(first, NativeProfileFailed)
