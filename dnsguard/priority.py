# -*- test-case-name: tests.test_priority -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Who goes first where there are fewer cores than there is work.

Queries are answered in microseconds by a thread that does nothing else. What makes
them wait is others that work for milliseconds: the reactor, which counts what was
answered; threads that encode what is to be stored; processes that store it, or
compile lists. All those step back: they get less of a busy core, and such as have
time ask for long turns, which come seldom. The thread that answers asks for short
ones, and so has its turn as soon as it wants it, in the midst of another one's.

None of that needs a privilege, but what has stepped back can't come forward again
without one. So a thread that stays in front starts those that are to be there
(L{Forefront}).

Turns are Linux's since 6.12, which calls them slices. An older system takes the
wish and doesn't heed it; one that refuses leaves everything as it was.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

try:
    from dnsguard._turns import setTurns
except ImportError:  # Built where there was no compiler.
    setTurns = None  # type: ignore[assignment]

__all__ = [
    "BEHIND",
    "HINDMOST",
    "LATER",
    "Forefront",
    "PatientThread",
    "comeForward",
    "keepForefront",
    "setTurns",
    "startAhead",
    "stepBack",
    "stepBackThread",
]

BEHIND = 5
"""How far behind those that answer the reactor is: with no core idle, it has a quarter."""

LATER = 10
"""How far behind what somebody waits for is: with no core idle, a tenth of one is left."""

HINDMOST = 19
"""How far behind what nobody waits for is: with no core idle, a seventieth of one is left."""

SHORT = 100_000
"""Nanoseconds of a turn of the thread that answers: no system gives shorter ones."""

LONG = 100_000_000
"""Nanoseconds of a turn of those that have time: no system gives longer ones."""

NICEST = 19

_BEGAN = os.getpriority(os.PRIO_PROCESS, 0) if sys.platform == "linux" else 0
"""Where the process was before anybody stepped back."""

SetTurns = Callable[[int], int]
_Wish = tuple[threading.Thread, "SimpleQueue[Exception | None]"]


def comeForward(setTurns: SetTurns | None = setTurns) -> int:
    """
    Let the calling thread have its turns at once, and short ones.

    @param setTurns: See L{dnsguard._turns.setTurns}; L{None} where that wasn't
        built.
    @return: The nanoseconds they have now; 0 where the system knows of no turns.
    """
    return setTurns(SHORT) if setTurns is not None else 0


def stepBack(niceness: int, system: Any = os, setTurns: SetTurns | None = setTurns) -> bool:
    """
    Let all others go first, the server above all, which may have been given a
    priority that processes inherit. For a process that has one thread yet.

    @param niceness: How far behind, unless it is that far already.
    @param system: The module C{os}, or its like.
    @param setTurns: See L{comeForward}.
    @return: Does the system know that it has stepped back?
    """
    try:
        now = system.getpriority(system.PRIO_PROCESS, 0)
        system.setpriority(system.PRIO_PROCESS, 0, max(now, niceness))
        if hasattr(system, "SCHED_BATCH"):
            # When woken it doesn't interrupt others, either.
            system.sched_setscheduler(0, system.SCHED_BATCH, system.sched_param(0))
    except OSError:
        return False
    if setTurns is not None:
        setTurns(LONG)
    return True


def stepBackThread(
    niceness: int, system: Any = os, platform: str = sys.platform, began: int = _BEGAN
) -> bool:
    """
    Let all others go first: the calling thread. Linux, as elsewhere a priority
    is the whole process's.

    @param niceness: How far behind the process's beginning, unless it is
        further behind already.
    @param system: The module C{os}, or its like.
    @param began: Where the process began.
    @return: Does the system know that it has stepped back?
    """
    if platform != "linux":
        return False
    thread = threading.get_native_id()
    try:
        now = system.getpriority(system.PRIO_PROCESS, thread)
        system.setpriority(system.PRIO_PROCESS, thread, max(now, min(NICEST, began + niceness)))
    except OSError:
        return False
    return True


class PatientThread(threading.Thread):
    """
    A thread for work that has time.
    """

    def run(self) -> None:
        """
        Step back, then work.
        """
        if stepBackThread(LATER) and setTurns is not None:
            setTurns(LONG)
        super().run()


class Forefront:
    """
    A thread that stays where the process began, and starts others there. The
    one that wants the first of them steps back.
    """

    def __init__(self, stepBackThread: Callable[[int], bool] = stepBackThread) -> None:
        """
        Start that thread.

        @param stepBackThread: L{stepBackThread}, or its like.
        """
        self._stepBackThread = stepBackThread
        self._first = True
        self._wanted: SimpleQueue[_Wish] = SimpleQueue()
        threading.Thread(target=self._run, name="dnsguard forefront", daemon=True).start()

    def start(self, thread: threading.Thread) -> None:
        """
        Start a thread in front. Called by one thread, the reactor's.

        @raise RuntimeError: The system has no thread left.
        """
        if self._first:
            self._first = False
            self._stepBackThread(BEHIND)
        begun: SimpleQueue[Exception | None] = SimpleQueue()
        self._wanted.put((thread, begun))
        problem = begun.get()
        if problem is not None:
            raise problem

    def _run(self) -> None:
        while True:
            thread, begun = self._wanted.get()
            try:
                thread.start()
            except Exception as problem:
                # Whatever it is: who waits for it mustn't do so for ever.
                begun.put(problem)
            else:
                begun.put(None)


_wanted = False
_forefront: Forefront | None = None


def keepForefront() -> None:
    """
    Have those that answer go ahead of the reactor in this process from now on.
    Not for a process that starts others which are to be its equals: they would
    begin behind.
    """
    global _wanted
    _wanted = True


def startAhead(thread: threading.Thread) -> None:
    """
    Start a thread that answers, ahead of all others where that is wanted. In the
    process that stays: not before it becomes a daemon.
    """
    global _forefront
    if not _wanted:
        thread.start()
        return
    if _forefront is None:
        _forefront = Forefront()
    _forefront.start(thread)
