# -*- test-case-name: tests.replay.test_storecarry -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The lives of a store of finished replies: one for each policy that changes
answers.

An entry holds for the life that it was made in, and for a later one when somebody
has found beforehand that the policy which begins that leaves the entry's reply as
it is. The number of a life that was prepared for and never began is used by no
other: what was marked for it is dead. This is the part of that which the store
in Python has for itself.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dnsguard.replay.entry import ReplayedAnswer
    from dnsguard.replay.kept import KeptReply

__all__ = ["Judge", "Kept", "Lives"]

Judge = Callable[["ReplayedAnswer"], "ReplayedAnswer | None"]
"""
Gives the facts that a reply has under a policy which leaves it as it is, the same
ones as a rule; L{None}: it doesn't. Touches no store.
"""


class Kept(enum.Enum):
    """
    Which entries another policy leaves as they are.
    """

    NOTHING = "nothing"
    """None, for all that is known."""

    CARRIED = "carried"
    """Those that were carried over to it, see C{beginCarrying}."""

    ALL = "all"
    """All: it has the same views under the same numbers."""


class Lives:
    """
    The lives of a store.

    @ivar current: The number of the present one.
    @ivar carried: How many entries were carried over.
    @ivar ended: How many were there at the end of a life and weren't.
    """

    def __init__(self, change: Callable[[KeptReply, ReplayedAnswer], None]) -> None:
        """
        @param change: Gives an entry other facts, under another number.
        """
        self._change = change
        self.current = self.carried = self.ended = 0
        self._ratified = 0
        # While there is a judge, the number of the life to come.
        self._last = 0
        self._judge: Judge | None = None
        self._waiting: deque[KeptReply] = deque()
        self._unasked: deque[KeptReply] = deque()

    def begin(self, judge: Judge, entries: Iterable[KeptReply]) -> None:
        """
        Begin to prepare another life.
        """
        self._last += 1
        self._judge = judge
        self._ratified = 0
        self._waiting = deque(entries)
        self._unasked = deque()

    def goOn(self, most: int, now: float) -> bool:
        """
        Judge some more entries; those that weren't asked for come last.

        @return: Have all been judged?
        """
        judge = self._judge
        if judge is None:
            return True
        for _ in range(most):
            if self._waiting:
                entry = self._waiting.popleft()
                if not entry.visited:
                    self._unasked.append(entry)
                    continue
            elif self._unasked:
                entry = self._unasked.popleft()
            else:
                return True
            # Neither dead, nor found to hold already.
            held = self.current <= entry.until != self._last
            if held and now < entry.expires:
                facts = judge(entry.facts)
                if facts is not None:
                    if facts is not entry.facts:
                        self._change(entry, facts)
                    entry.until = self._last
                    self._ratified += 1
        return not self._waiting and not self._unasked

    def of(self, facts: ReplayedAnswer) -> tuple[ReplayedAnswer, int]:
        """
        Say for how long something made now holds, and with which facts.
        """
        later = None if self._judge is None else self._judge(facts)
        if later is None:
            return facts, self.current
        self._ratified += 1
        return later, self._last

    def turn(self, kept: Kept, held: int) -> bool:
        """
        Begin another life, if it is one.

        @param held: How many entries there are.
        @return: Is nothing left of the one before?
        """
        carried = 0
        if kept is Kept.ALL:
            carried = held
        elif kept is Kept.CARRIED and self._judge is not None:
            self.current = self._last
            carried = min(self._ratified, held)
        else:
            self._last += 1
            self.current = self._last
        self.carried += carried
        self.ended += held - carried
        self._judge = None
        self._waiting = self._unasked = deque()
        return not carried
