# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.priority}.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import dnsguard
from dnsguard import priority
from dnsguard.priority import (
    BEHIND,
    HINDMOST,
    LATER,
    LONG,
    SHORT,
    Forefront,
    PatientThread,
    comeForward,
    keepForefront,
    setTurns,
    startAhead,
    stepBack,
    stepBackThread,
)

LINUX = sys.platform == "linux"


def _priority() -> int:
    """
    How far behind the calling thread is.
    """
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id() if LINUX else 0)


def _behind(now: int, niceness: int) -> int:
    """
    Where a thread is that has stepped back.
    """
    return max(now, min(priority.NICEST, priority._BEGAN + niceness)) if LINUX else now


class FakeSystem:
    """
    Notes what it is asked for.

    @ivar refused: The calls that fail.
    """

    SCHED_BATCH = 3
    PRIO_PROCESS = 0

    def __init__(self, refused: tuple[str, ...] = ()) -> None:
        self.refused = refused
        self.calls: list[tuple[Any, ...]] = []
        self.priority = 0

    def _note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name in self.refused:
            raise PermissionError(1, "no")

    def sched_param(self, priority: int) -> int:
        return priority

    def sched_setscheduler(self, process: int, policy: int, parameter: int) -> None:
        self._note("sched_setscheduler", process, policy, parameter)

    def getpriority(self, which: int, who: int) -> int:
        self._note("getpriority")
        return self.priority

    def setpriority(self, which: int, who: int, priority: int) -> None:
        self._note("setpriority", which, who, priority)


class Elsewhere(FakeSystem):
    """
    A system without the policy.
    """

    SCHED_BATCH = property()


class StepBackTests(SynchronousTestCase):
    """
    Tests for L{stepBack}.
    """

    def test_process(self) -> None:
        """
        The process is as nice as asked for, interrupts nobody, and wants long
        turns.
        """
        system, turns = FakeSystem(), list[int]()
        self.assertTrue(stepBack(LATER, system, turns.append))  # type: ignore[arg-type]
        self.assertEqual(
            system.calls[1:], [("setpriority", 0, 0, LATER), ("sched_setscheduler", 0, 3, 0)]
        )
        self.assertEqual(turns, [LONG])

    def test_furtherBehind(self) -> None:
        """
        A process that is further behind stays there.
        """
        system = FakeSystem()
        system.priority = 19
        stepBack(LATER, system, None)
        self.assertEqual(system.calls[1], ("setpriority", 0, 0, 19))

    def test_withoutPolicy(self) -> None:
        """
        Where there is no such policy, it is only nice.
        """
        system = Elsewhere()
        self.assertTrue(stepBack(LATER, system, None))
        self.assertEqual(system.calls[1:], [("setpriority", 0, 0, LATER)])

    def test_refused(self) -> None:
        """
        A system that refuses is left alone.
        """
        for refused in ("getpriority", "setpriority", "sched_setscheduler"):
            self.assertFalse(stepBack(LATER, FakeSystem((refused,)), None))

    def test_forReal(self) -> None:
        """
        The system says so, too.
        """
        text = (
            "import os; from dnsguard.priority import HINDMOST, stepBack; stepBack(HINDMOST);"
            "print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))"
        )
        done = subprocess.run(
            [sys.executable, "-c", text],
            cwd=Path(dnsguard.__file__).parent.parent,
            capture_output=True,
            check=True,
        )
        before = os.getpriority(os.PRIO_PROCESS, 0)
        self.assertEqual(
            done.stdout.split(),
            [b"%d" % max(before, HINDMOST), b"%d" % os.SCHED_BATCH],
        )

    if not LINUX:
        test_forReal.skip = "Linux has it"  # type: ignore[attr-defined]


class StepBackThreadTests(SynchronousTestCase):
    """
    Tests for L{stepBackThread} and L{PatientThread}.
    """

    def test_thread(self) -> None:
        """
        The calling thread, and no other, is as far behind where the process
        began as asked for, unless it is further behind already; nobody is
        further behind than there is room for.
        """
        for before, began, after in ((0, 0, 10), (5, 0, 10), (15, 0, 15), (12, 12, 19)):
            system = FakeSystem()
            system.priority = before
            self.assertTrue(stepBackThread(LATER, system, "linux", began))
            self.assertEqual(
                system.calls[1:], [("setpriority", 0, threading.get_native_id(), after)]
            )

    def test_elsewhere(self) -> None:
        """
        Where a thread has no priority of its own, nothing is done.
        """
        system = FakeSystem()
        self.assertFalse(stepBackThread(LATER, system, "freebsd14"))
        self.assertEqual(system.calls, [])

    def test_refused(self) -> None:
        """
        A system that refuses is left alone.
        """
        for refused in ("getpriority", "setpriority"):
            self.assertFalse(stepBackThread(LATER, FakeSystem((refused,)), "linux"))

    def test_patientThread(self) -> None:
        """
        A patient thread has stepped back when it does its work; the one that
        started it hasn't.
        """
        before = _priority()
        found: list[int] = []
        thread = PatientThread(target=lambda: found.append(_priority()))
        thread.start()
        thread.join()
        self.assertEqual(found, [_behind(before, LATER)])
        self.assertEqual(_priority(), before)


class ForefrontTests(SynchronousTestCase):
    """
    Tests for L{Forefront} and L{startAhead}.
    """

    def setUp(self) -> None:
        self.found: list[int] = []

    def thread(self) -> threading.Thread:
        """
        A thread that notes its priority.
        """
        return threading.Thread(target=lambda: self.found.append(_priority()))

    def test_ahead(self) -> None:
        """
        The thread that wants another one to be ahead steps back itself, once;
        those that are started for it do not.
        """
        before = _priority()
        after: list[int] = []

        def reactor() -> None:
            forefront = Forefront()
            for _ in range(2):
                thread = self.thread()
                forefront.start(thread)
                thread.join()
                after.append(_priority())

        main = threading.Thread(target=reactor)
        main.start()
        main.join()
        self.assertEqual(self.found, [before, before])
        self.assertEqual(after, [_behind(before, BEHIND)] * 2)

    def test_oneStep(self) -> None:
        """
        However many are started, one step back is enough.
        """
        steps: list[int] = []
        forefront = Forefront(steps.append)  # type: ignore[arg-type]
        for _ in range(2):
            thread = self.thread()
            forefront.start(thread)
            thread.join()
        self.assertEqual(steps, [BEHIND])

    def test_noThreadLeft(self) -> None:
        """
        That a thread can't be started is told to the one who wants it, and the
        next one is started.
        """
        forefront = Forefront(lambda niceness: True)
        thread = self.thread()
        forefront.start(thread)
        thread.join()
        self.assertRaises(RuntimeError, forefront.start, thread)
        another = self.thread()
        forefront.start(another)
        another.join()
        self.assertEqual(len(self.found), 2)

    def test_anyProblem(self) -> None:
        """
        Whatever keeps a thread from being started is told, and the next one
        is started.
        """

        class Unstartable(threading.Thread):
            def start(self) -> None:
                raise MemoryError

        found: list[BaseException] = []

        def reactor() -> None:
            forefront = Forefront(lambda niceness: True)
            try:
                forefront.start(Unstartable())
            except MemoryError as problem:
                found.append(problem)
            another = self.thread()
            forefront.start(another)
            another.join()

        main = threading.Thread(target=reactor, daemon=True)
        main.start()
        main.join(60)
        self.assertEqual((len(found), len(self.found)), (1, 1))

    def test_unwanted(self) -> None:
        """
        In a process that doesn't want it, a thread is just started.
        """
        self.patch(priority, "_wanted", False)
        before = _priority()
        thread = self.thread()
        startAhead(thread)
        thread.join()
        self.assertEqual((self.found, _priority()), ([before], before))

    def test_wanted(self) -> None:
        """
        In a process that wants it, threads are started in front; nothing is
        begun before there is one, as the process may fork until then.
        """
        self.patch(priority, "_wanted", False)
        self.patch(priority, "_forefront", None)
        keepForefront()
        self.assertIsNone(priority._forefront)
        after: list[int] = []

        def reactor() -> None:
            thread = self.thread()
            startAhead(thread)
            thread.join()
            after.append(_priority())

        before = _priority()
        main = threading.Thread(target=reactor)
        main.start()
        main.join()
        self.assertIsInstance(priority._forefront, Forefront)
        self.assertEqual(self.found, [before])
        self.assertEqual(after, [_behind(before, BEHIND)])


class SetTurnsTests(SynchronousTestCase):
    """
    Tests for L{setTurns} and L{comeForward}.
    """

    def test_unbuilt(self) -> None:
        """
        Without a compiler nothing is asked for.
        """
        self.assertEqual(comeForward(None), 0)

    def test_short(self) -> None:
        """
        The shortest turns are asked for.
        """
        self.assertEqual(comeForward(lambda nanoseconds: nanoseconds), SHORT)

    def test_forReal(self) -> None:
        """
        The system gives what it is asked for, if it knows of turns, and to the
        calling thread alone.
        """
        found: list[int] = []

        def ask() -> None:
            assert setTurns is not None
            found.append(setTurns(SHORT))
            # The least there is, and back to what all have.
            found.append(setTurns(1))
            found.append(setTurns(0))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        if found[0] == 0:
            self.assertEqual(found, [0, 0, 0])
        else:
            self.assertEqual(found[:2], [SHORT, SHORT])
            self.assertGreater(found[2], SHORT)

    if find_spec("dnsguard._turns") is None:
        test_forReal.skip = "not compiled"  # type: ignore[attr-defined]
