# -*- test-case-name: tests.upstream.test_wheel -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Deadlines for very many things, nearly all of which never come.

A query that is answered in a millisecond still needs a timer, in case it
isn't. A delayed call of the reactor for each costs more than the query; here a
timer is one C{append} and is never cancelled: what is done by the time its
slot comes round is skipped.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["Timed", "TimerWheel"]


class Timed(Protocol):
    """
    Something with a deadline.

    @ivar due: The deadline, in seconds of the clock; it may be put off later
        on, but not be brought forward.
    @ivar pending: Is it still waiting? If not, the wheel forgets it.
    """

    due: float

    @property
    def pending(self) -> bool: ...

    def timedOut(self, now: float) -> None:
        """
        Its deadline has passed. If it is pending afterwards, C{due} has been
        put off.
        """


class TimerWheel:
    """
    Calls L{Timed.timedOut} up to one tick after the deadline.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, tick: float = 0.05) -> None:
        """
        @param tick: The grain, in seconds.
        """
        self._clock = clock
        self._tick = tick
        self._rate = 1 / tick
        self._slots: dict[int, list[Timed]] = {}
        self._call: IDelayedCall | None = None

    def add(self, timed: Timed) -> None:
        """
        Watch over something until it isn't pending any more.
        """
        number = int(timed.due * self._rate) + 1
        slot = self._slots.get(number)
        if slot is None:
            self._slots[number] = [timed]
            if self._call is None:
                self._call = self._clock.callLater(self._tick, self._turn)
        else:
            slot.append(timed)

    def close(self) -> None:
        """
        Forget everything.
        """
        self._slots.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _turn(self) -> None:
        """
        Deal with all slots whose time has come.
        """
        self._call = None
        now = self._clock.seconds()
        current = int(now * self._rate)
        for number in sorted(number for number in self._slots if number <= current):
            for timed in self._slots.pop(number):
                if timed.pending and timed.due <= now:
                    self._expire(timed, now)
                if timed.pending:
                    self.add(timed)
        if self._slots and self._call is None:
            self._call = self._clock.callLater(self._tick, self._turn)

    def _expire(self, timed: Timed, now: float) -> None:
        """
        Tell one thing that its time is up; what goes wrong there must not
        cost the others their deadlines.
        """
        try:
            timed.timedOut(now)
        except Exception:
            self.log.failure("a deadline was handled badly")
