# -*- test-case-name: tests.querystore.test_tail -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rows as they come, for somebody who watches.

A watcher is shown the blocks that leave the buffer, which is emptied each second
while anybody watches. Nothing is done for watchers who aren't there, and one who
is slow loses rows, not memory.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from dnsguard.querystore.block import Block
from dnsguard.querystore.filters import QueryFilter, predicate
from dnsguard.querystore.questions import timestamp
from dnsguard.querystore.rows import COLUMNS

__all__ = ["LiveTail", "Watcher"]

MAX_WATCHERS = 8
MAX_WAITING = 1_000
"""Rows that wait for one watcher."""

MAX_BLOCK = 500
"""Rows of one block that watchers are shown; a block of more shows its newest."""

_NAMES = [column.name for column in COLUMNS]


class Watcher:
    """
    One who watches.

    @ivar missed: Rows that didn't wait for it.
    """

    def __init__(self, tail: LiveTail, wanted: QueryFilter) -> None:
        self._tail = tail
        self._matches = predicate(wanted.terms())
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=MAX_WAITING)
        self.missed = 0

    def show(self, row: tuple[Any, ...]) -> None:
        """
        Keep a row if it is wanted.
        """
        if self._matches(row):
            self.missed += len(self._rows) == MAX_WAITING
            self._rows.append(row)

    def take(self) -> list[dict[str, Any]]:
        """
        Give the rows since the last time, as L{Recent
        <dnsguard.querystore.questions.Recent>} shapes them, the oldest first.
        """
        rows, self._rows = self._rows, deque(maxlen=MAX_WAITING)
        return [dict(zip(_NAMES, (timestamp(row[0]), *row[1:]), strict=True)) for row in rows]

    def leave(self) -> None:
        """
        Watch no more.
        """
        self._tail.watchers.discard(self)


class LiveTail:
    """
    All who watch.
    """

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()

    def __bool__(self) -> bool:
        return bool(self.watchers)

    def watch(self, wanted: QueryFilter) -> Watcher | None:
        """
        Begin to watch.

        @return: L{None} when too many do already.
        """
        if len(self.watchers) >= MAX_WATCHERS:
            return None
        watcher = Watcher(self, wanted)
        self.watchers.add(watcher)
        return watcher

    def offer(self, block: Block) -> None:
        """
        Show a block to all who watch.
        """
        if not self.watchers:
            return
        skipped = max(0, len(block) - MAX_BLOCK)
        for watcher in self.watchers:
            watcher.missed += skipped
        for row in block.newest(MAX_BLOCK).tuples():
            for watcher in self.watchers:
                watcher.show(row)
