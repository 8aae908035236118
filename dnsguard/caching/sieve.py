# -*- test-case-name: tests.caching.test_sieve -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A bounded mapping that evicts by SIEVE (Zhang et al., NSDI 2024).

Entries stand in a queue in the order they came. A hit only marks its entry; a
hand walks from the oldest entry to the newest one, takes marks away and evicts
the first entry without a mark, so that names asked for once go early and a hit
costs no relinking. The queue is bounded in entries and in octets. The compiled
twin, for the keys of answers, is L{dnsguard.caching._sieve}.

New entries come without a mark, as in the paper. When they come with one, a
name asked for once lives a whole round of the hand and pushes out others: over
Zipf-like names that costs hits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from dnsguard.caching.key import Key

try:
    from dnsguard.caching._sieve import CompiledSieve
except ImportError:  # Built where there was no compiler.
    CompiledSieve = None  # type: ignore[assignment,misc]

__all__ = ["CompiledSieve", "Sieve", "newSieve"]

K = TypeVar("K")
V = TypeVar("V")

STEPS = 1000
"""
Marks the hand takes away for one eviction at most; then it evicts where it
stands. So one insertion into a cache of millions, all of them hit since the
last round, takes microseconds too.
"""


EVICTIONS = 256
"""
Entries pushed out for one insertion at most. One large answer takes the room of
some dozens; only a cache that has been made smaller is over its bounds by more,
and comes down to them insertion by insertion.
"""


class _Node(Generic[K, V]):
    """
    One entry, its place in the queue and its mark.
    """

    __slots__ = ("key", "newer", "older", "size", "value", "visited")

    def __init__(self, key: K, value: V, size: int) -> None:
        self.key = key
        self.value = value
        self.size = size
        self.visited = False
        self.newer: _Node[K, V] | None = None
        self.older: _Node[K, V] | None = None


class Sieve(Generic[K, V]):
    """
    A mapping that holds at most so many entries and so many octets.

    All operations take constant time, L{clear} and L{keys} excepted.

    @ivar maxEntries: The most entries.
    @ivar maxBytes: The most octets, as the sizes given to L{put} add up.
    @ivar bytes: Octets held now.
    @ivar evictions: Entries pushed out so far.
    """

    def __init__(self, maxEntries: int, maxBytes: int) -> None:
        """
        @raise ValueError: A bound below 1.
        """
        self.resize(maxEntries, maxBytes)
        self.bytes = 0
        self.evictions = 0
        self._nodes: dict[K, _Node[K, V]] = {}
        self._newest: _Node[K, V] | None = None
        self._oldest: _Node[K, V] | None = None
        self._hand: _Node[K, V] | None = None

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: object) -> bool:
        return key in self._nodes

    def get(self, key: K) -> V | None:
        """
        Give the value for a key, and mark its entry; L{None} without one.
        """
        node = self._nodes.get(key)
        if node is None:
            return None
        node.visited = True
        return node.value

    def peek(self, key: K) -> V | None:
        """
        Give the value for a key without marking its entry.
        """
        node = self._nodes.get(key)
        return None if node is None else node.value

    def put(self, key: K, value: V, size: int, touch: bool = True) -> bool:
        """
        Keep a value. One for a key that is there takes its place and counts as
        a hit.

        @param size: How many octets it takes, 0 or more.
        @param touch: False: it doesn't count as a hit. Nobody asked for it.
        @return: False when it is larger than the whole cache; then it isn't
            kept, nor what was there for the key.
        """
        if size > self.maxBytes:
            self.discard(key)
            return False
        node = self._nodes.get(key)
        if node is not None:
            self.bytes += size - node.size
            node.value, node.size = value, size
            node.visited = node.visited or touch
            self._makeRoom(0, 0, node)
            return True
        self._makeRoom(1, size, None)
        node = self._nodes[key] = _Node(key, value, size)
        self.bytes += size
        node.older = self._newest
        if self._newest is None:
            self._oldest = node
        else:
            self._newest.newer = node
        self._newest = node
        return True

    def discard(self, key: K) -> bool:
        """
        Drop a key. That doesn't count as an eviction.

        @return: Was it there?
        """
        node = self._nodes.get(key)
        if node is None:
            return False
        self._remove(node)
        return True

    def clear(self) -> int:
        """
        Drop everything.

        @return: How many entries there were.
        """
        count = len(self._nodes)
        # Without this the nodes are garbage only the cycle collector finds.
        for node in self._nodes.values():
            node.older = node.newer = None
        self._nodes.clear()
        self._newest = self._oldest = self._hand = None
        self.bytes = 0
        return count

    def keys(self) -> list[K]:
        """
        Copy the keys of this moment.
        """
        return list(self._nodes)

    def slices(self, most: int) -> Iterator[list[K]]:
        """
        Give the keys, some at a time, in any order. Between two times anything
        may be done: what is there all the while is given, and what has come or
        gone may be.

        @param most: The most keys given at a time, 1 or more.
        """
        keys = self.keys()
        for start in range(0, len(keys), most):
            yield keys[start : start + most]

    def resize(self, maxEntries: int, maxBytes: int) -> None:
        """
        Set other bounds. What is over smaller ones goes with the next
        insertions.

        @raise ValueError: A bound below 1.
        """
        if maxEntries < 1 or maxBytes < 1:
            raise ValueError("a cache must have room for something")
        self.maxEntries = maxEntries
        self.maxBytes = maxBytes

    def _makeRoom(self, entries: int, size: int, spared: _Node[K, V] | None) -> None:
        """
        Evict until so many more entries and octets fit.
        """
        for _ in range(EVICTIONS):
            if (
                len(self._nodes) + entries <= self.maxEntries
                and self.bytes + size <= self.maxBytes
            ):
                return
            self._evict(spared)

    def _evict(self, spared: _Node[K, V] | None) -> None:
        """
        Let the hand walk to the next victim.

        @param spared: An entry that must not be the victim.
        """
        node = self._hand or self._oldest
        steps = STEPS
        while node is not None and (node is spared or (node.visited and steps > 0)):
            if node is not spared:
                node.visited = False
                steps -= 1
            node = node.newer or self._oldest
        if node is not None:
            self._hand = node
            self._remove(node)
            self.evictions += 1

    def _remove(self, node: _Node[K, V]) -> None:
        if self._hand is node:
            # None stands for the oldest: the hand wraps.
            self._hand = node.newer
        if node.newer is None:
            self._newest = node.older
        else:
            node.newer.older = node.older
        if node.older is None:
            self._oldest = node.newer
        else:
            node.older.newer = node.newer
        node.older = node.newer = None
        del self._nodes[node.key]
        self.bytes -= node.size


def newSieve(maxEntries: int, maxBytes: int) -> Sieve[Key, V]:
    """
    Make an empty L{Sieve} for the keys of answers: the compiled twin, which is
    for them alone, where there is one.
    """
    if CompiledSieve is not None:
        return CompiledSieve(maxEntries, maxBytes)
    return Sieve(maxEntries, maxBytes)
