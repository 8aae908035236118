# -*- test-case-name: tests.replay -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the store in Python holds, within its bounds.

Replies go when the bounds say so, when their name is forgotten, or with the
policy that they were made under; then there may be very many, which are freed some
at a time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from dnsguard.replay.kept import Exact, KeptReply

__all__ = ["HeldReplies"]

_SECOND_CHANCES = 64


class HeldReplies:
    """
    Replies by their key, their name and the octets of requests.

    What the bounds push out is the oldest one not replayed since the hand of a
    clock last came by.
    """

    def __init__(self, maxEntries: int, maxBytes: int) -> None:
        self._maxEntries = maxEntries
        self._maxBytes = maxBytes
        self._entries: OrderedDict[bytes, KeptReply] = OrderedDict()
        self._names: dict[bytes, list[KeptReply]] = {}
        self._exact: dict[int, Exact] = {}
        self._life = 0
        self._dying: list[dict[Any, Any]] = []
        self._unswept: deque[KeptReply] = deque()
        self._bytes = 0
        self._evicted = self._expired = 0

    def _hold(self, entry: KeptReply) -> None:
        """
        Add an entry whose key isn't there.
        """
        self._entries[entry.key] = entry
        self._names.setdefault(entry.qname, []).append(entry)
        self._bytes += entry.cost

    def _alias(self, entry: KeptReply, request: bytes) -> None:
        """
        Let a request with its name in lower case find its entry at once.
        """
        entry.aliases.append(request)
        entry.exact[request] = entry

    def _remove(self, entry: KeptReply) -> None:
        """
        Take an entry away.
        """
        del self._entries[entry.key]
        for request in entry.aliases:
            if entry.exact.get(request) is entry:
                del entry.exact[request]
        same = self._names[entry.qname]
        same.remove(entry)
        if not same:
            del self._names[entry.qname]
        self._bytes -= entry.cost

    def _evict(self, spared: KeptReply, now: float) -> None:
        """
        Make the bounds hold, without touching the entry that was just stored.
        """
        chances = 0
        entries = self._entries
        while len(entries) > 1 and (
            len(entries) > self._maxEntries or self._bytes > self._maxBytes
        ):
            key = next(iter(entries))
            entry = entries[key]
            alive = now < entry.expires and entry.until >= self._life
            if entry is spared or (entry.visited and alive and chances < _SECOND_CHANCES):
                chances += 1
                entry.visited = False
                entries.move_to_end(key)
                continue
            self._evicted += 1
            self._remove(entry)

    def _bury(self, most: int) -> None:
        """
        Free some of what earlier policies left: all of it at once would stall.
        """
        while most and self._dying:
            if self._dying[-1]:
                self._dying[-1].popitem()
                most -= 1
            else:
                self._dying.pop()
        while most and self._unswept:
            entry = self._unswept.popleft()
            most -= 1
            if entry.until < self._life and self._entries.get(entry.key) is entry:
                self._expired += 1
                self._remove(entry)

    def _sweepLater(self) -> None:
        """
        Have L{_bury} look which entries don't hold any more.
        """
        self._unswept = deque(self._entries.values())

    def _clear(self) -> None:
        self._unswept.clear()
        self._dying += [self._entries, self._names, *self._exact.values()]
        self._entries = OrderedDict()
        self._names = {}
        self._exact = {}
        self._bytes = 0
