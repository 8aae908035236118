# -*- test-case-name: tests.processes.test_events -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a helper logs, logged by the main process: there is one application log,
and one list of errors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, eventAsJSON, eventFromJSON
from zope.interface import implementer

from dnsguard.observers.applog import LEVELS, RANKS, TRACED, levelOf

__all__ = ["EventCourier", "eventsIn"]

MOST_WAITING = 1000
"""Events that wait; of more the newest are dropped."""

MOST_AT_ONCE = 100

MOST_OCTETS = 100_000
"""What an event may take; a larger one is dropped."""


@implementer(ILogObserver)
class EventCourier:
    """
    Hands log events over.

    @ivar dropped: Events that couldn't be.
    """

    def __init__(self, hand: Callable[[bytes], Deferred[Any]], reactor: Any, level: str) -> None:
        """
        @param hand: Hands events over, in the reactor's thread.
        @param reactor: Provides L{IReactorFromThreads
            <twisted.internet.interfaces.IReactorFromThreads>}.
        @param level: See L{setLevel}.
        """
        self.dropped = 0
        self._hand = hand
        self._reactor = reactor
        self._waiting: deque[str] = deque()
        self._handing = False
        self.setLevel(level)

    def setLevel(self, level: str) -> None:
        """
        Hand over what is at least as serious as this.
        """
        self._least = RANKS[LEVELS[level]]

    def __call__(self, event: LogEvent) -> None:
        """
        Take one event. Any thread.
        """
        if RANKS.get(levelOf(event), 0) < self._least and TRACED not in event:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
            return
        try:
            line = eventAsJSON(_plain(event))
        except Exception:  # Whatever stands in an event: the log can't fail.
            self.dropped += 1
            return
        if len(line) > MOST_OCTETS:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._reactor.callFromThread(self._look)

    def _look(self) -> None:
        if self._handing or not self._waiting:
            return
        lines: list[str] = []
        while self._waiting and len(lines) < MOST_AT_ONCE:
            lines.append(self._waiting.popleft())
        self._handing = True
        handing = self._hand("\n".join(lines).encode("utf-8", "replace"))
        # Where the main process has gone there is nobody to tell.
        handing.addErrback(self._lost, len(lines))
        handing.addCallback(self._handed)

    def _lost(self, _: Any, count: int) -> None:
        self.dropped += count

    def _handed(self, _: Any) -> None:
        self._handing = False
        self._look()


def _plain(event: LogEvent) -> LogEvent:
    """
    Have words take the place of what only this process can say in words.
    """
    failure = event.get("log_failure")
    if failure is None:
        return event
    told = copy(failure)
    told.value = failure.getErrorMessage()
    return {**event, "log_failure": told}


def eventsIn(octets: bytes, number: int) -> list[LogEvent]:
    """
    Read what was handed over.

    @param number: Which helper said so; it is noted in the events.
    """
    events = []
    for line in octets.decode("utf-8").split("\n"):
        event = eventFromJSON(line)
        event["helper"] = number
        events.append(event)
    return events
