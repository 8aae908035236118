# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A store of answers in memory, that several instances share, and that goes away
when it is told to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from dnsguard.caching.candidate import Candidate, Clearing, Standing
from dnsguard.caching.entry import Entry
from dnsguard.caching.key import Key
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore
from dnsguard.wire.names import isAtOrBelow

__all__ = ["FakeAnswerStore", "SharedAnswers"]


class SharedAnswers:
    """
    What all instances see.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.entries: dict[Key, Entry] = {}
        self.index: dict[Key, float] = {}
        self.clearings = 0
        self.locks: dict[Key, tuple[bytes, float]] = {}
        self.claims: dict[str, float] = {}
        self.hits: dict[Key, int] = {}
        self.sweepHits: dict[Key, int] = {}
        self.instances: list[FakeAnswerStore] = []
        self.commands = 0


@implementer(IAnswerStore)
class FakeAnswerStore:
    """
    One instance's view of it.

    @ivar available: See L{IAnswerStore}.
    @ivar resumed: The clearings that what was restored had seen.
    @ivar broken: Does everything fail, though it is believed to be there?
    """

    def __init__(self, shared: SharedAnswers) -> None:
        self.shared = shared
        self.available = True
        self.broken = False
        self.listeners: list[Callable[[Clearing], None]] = []
        self.resumed: list[int | None] = []
        self._number = 0
        shared.instances.append(self)

    def _give(self, value: Any) -> Deferred[Any]:
        self.shared.commands += 1
        if self.broken or not self.available:
            return fail(StoreError("shared", "away"))
        return succeed(value)

    def get(self, key: Key) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        return self._give(self.shared.entries.get(key))

    def peek(self, key: Key) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        return self.get(key)

    def put(self, key: Key, entry: Entry) -> None:
        """See L{IAnswerStore}."""
        if self.available and not self.broken:
            self.shared.entries[key] = entry
            self.shared.index[key] = entry.softExpiry

    def lock(self, key: Key, seconds: float) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        now = self.shared.clock.seconds()
        held = self.shared.locks.get(key)
        if held is not None and now < held[1]:
            return self._give(None)
        self._number += 1
        token = b"%d-%d" % (id(self), self._number)
        given = self._give(token)
        if self.available and not self.broken:
            self.shared.locks[key] = (token, now + seconds)
        return given

    def unlock(self, key: Key, token: bytes) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        held = self.shared.locks.get(key)
        ours = held is not None and held[0] == token
        if ours and self.available and not self.broken:
            del self.shared.locks[key]
        return self._give(ours)

    def claim(self, task: str, seconds: float) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        now = self.shared.clock.seconds()
        free = self.shared.claims.get(task, now) <= now
        if free:
            self.shared.claims[task] = now + seconds
        return self._give(free)

    def addHits(self, hits: Mapping[Key, int], window: float) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        for key, count in hits.items():
            self.shared.hits[key] = self.shared.hits.get(key, 0) + count
        return self._give(None)

    def addSweepHits(self, hits: Mapping[Key, int], window: float) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        for key, count in hits.items():
            self.shared.sweepHits[key] = self.shared.sweepHits.get(key, 0) + count
        return self._give(None)

    def expiryCandidates(self, until: float, limit: int) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        found = sorted((at, key) for key, at in self.shared.index.items() if at <= until)
        return self._give([Candidate(key, at) for at, key in found[:limit]])

    def freshest(self, limit: int) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        found = sorted(((at, key) for key, at in self.shared.index.items()), reverse=True)
        return self._give([Candidate(key, at) for at, key in found[:limit]])

    def candidateChecks(self, keys: Sequence[Key]) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        shared = self.shared
        return self._give(
            [
                Standing(
                    key in shared.entries,
                    shared.entries[key].createdAt if key in shared.entries else None,
                    shared.hits.get(key, 0),
                    shared.sweepHits.get(key, 0),
                )
                for key in keys
            ]
        )

    def reconcile(self, sample: int) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        gone = [key for key in self.shared.index if key not in self.shared.entries][:sample]
        return self.dropCandidates(gone)

    def dropCandidates(self, keys: Sequence[Key]) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        return self._give(sum(self.shared.index.pop(key, None) is not None for key in keys))

    def count(self) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        return self._give(len(self.shared.entries))

    def deleteKeys(self, keys: Sequence[Key]) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        for key in keys:
            self.shared.index.pop(key, None)
        return self._give(sum(self.shared.entries.pop(key, None) is not None for key in keys))

    def evictBeyond(self, maxKeys: int) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        over = len(self.shared.entries) - maxKeys
        found = sorted(
            self.shared.entries,
            key=lambda key: (self.shared.hits.get(key, 0), self.shared.entries[key].createdAt),
        )
        return self.deleteKeys(found[: max(over, 0)])

    def clear(self) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        return self._forget(list(self.shared.entries), Clearing())

    def forget(self, qname: bytes, below: bool = False) -> Deferred[Any]:
        """See L{IAnswerStore}."""
        found = [
            key
            for key in self.shared.entries
            if key[0] == qname or (below and isAtOrBelow(key[0], qname))
        ]
        return self._forget(found, Clearing(qname, below))

    def _forget(self, keys: Sequence[Key], clearing: Clearing) -> Deferred[Any]:
        gone = self.deleteKeys(keys)
        if self.available and not self.broken:
            for instance in self.shared.instances:
                if instance is not self:
                    for listener in instance.listeners:
                        listener(clearing)
        return gone

    def subscribe(self, listener: Callable[[Clearing], None]) -> Callable[[], None]:
        """See L{IAnswerStore}."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    @property
    def clearings(self) -> int:
        """See L{IAnswerStore}."""
        return self.shared.clearings

    def resume(self, clearings: int | None) -> None:
        """See L{IAnswerStore}."""
        self.resumed.append(clearings)

    def counters(self) -> dict[str, int]:
        """See L{IAnswerStore}."""
        return {"commands": self.shared.commands}
