# -*- test-case-name: tests.querystore.test_pace -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
When rows had better wait, though the store would take them.

An engine on this machine wants a core, and so do those who answer. On a machine that
is busy all the time it gets a share of one, however low its priority, for a small part
of the rows that come: those are answers not given. So it is asked whether it waits for a
core before it is given much to do; while it does rows go to the spool, which takes a
hundredth of the work. With half of the spool full it works whatever that costs.
"""

from __future__ import annotations

from typing import Any

from dnsguard.errors import StoreError
from dnsguard.querystore.spool import Spool

__all__ = ["Pace"]

MANY = 5_000
"""Rows that may cost an engine some hundredths of a second; for fewer nobody asks."""

FIRST_REST = 4.0
LONGEST_REST = 16.0
"""Seconds that an engine is left alone which waits for a core. After them it may be
given one block, and if that finds no core to spare either the next rest is longer."""


class Pace:
    """
    Says whether a store may be given rows now.

    @ivar rests: How often they had to wait.
    @ivar since: When the question was asked that is open, or L{None}.
    """

    def __init__(self, store: Any, spool: Spool | None, reactor: Any) -> None:
        """
        @param store: An L{dnsguard.interfaces.IQueryStore}.
        @param spool: Where rows wait meanwhile; L{None}: nowhere, so they don't.
        @param reactor: Provides L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>}.
        """
        self._store = store
        self._spool = spool
        self._reactor = reactor
        self._rest = self._until = 0.0
        self._hurried = self._rested = False
        self.rests = 0
        self.since: float | None = None

    @property
    def isResting(self) -> bool:
        """
        Shall the store be left alone for now?
        """
        return not self._mayNotWait and bool(self._reactor.seconds() < self._until)

    @property
    def _mayNotWait(self) -> bool:
        """
        Must rows be stored at any price?
        """
        spool = self._spool
        return self._hurried or spool is None or spool.isHalfFull

    def hurry(self) -> None:
        """
        Have rows stored from now on, whatever it costs.
        """
        self._hurried = True

    async def allows(self, rows: int) -> bool:
        """
        May rows be given to the store?

        @param rows: How many there are to be stored, in all.
        """
        if rows >= MANY and not self._mayNotWait and await self._isStarved():
            self.rests += 1
            self._rest = min(LONGEST_REST, max(FIRST_REST, self._rest * 2))
            self._until = self._reactor.seconds() + self._rest
            self._rested = True
            return False
        if not self._rested:
            self._rest = 0.0
        self._rested = False
        self._until = 0.0
        return True

    async def _isStarved(self) -> bool:
        """
        Ask the store.
        """
        self.since = self._reactor.seconds()
        try:
            return bool(await self._store.isStarved())
        except StoreError:
            # What is amiss the insert will say.
            return False
        finally:
            self.since = None
