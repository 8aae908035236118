# -*- test-case-name: tests.replay.test_storebounds -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Queries answered from the replay store, on their way to the observers.

A batch is its records; what else can be said of it is made for whoever asks.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping

from zope.interface import implementer

from dnsguard.interfaces import IReplayBatch
from dnsguard.replay.entry import ReplayedAnswer

__all__ = ["RECORD", "EntryFacts", "ReplayBatch"]

RECORD = struct.Struct("=qQIHBB16s")
"""One record; see L{IReplayBatch}."""

_WORDS = RECORD.size // 8


class EntryFacts:
    """
    The facts of the entries in a batch, looked up as they are asked for.
    """

    def __init__(self, factsOf: Callable[[int], ReplayedAnswer]) -> None:
        """
        @param factsOf: Gives an entry's facts by its number, or raises
            L{KeyError}.
        """
        self._factsOf = factsOf

    def __getitem__(self, number: int) -> ReplayedAnswer:
        return self._factsOf(number)


@implementer(IReplayBatch)
class ReplayBatch:
    """
    What one call of C{drain} took. It is part of no cycle: the store wants the
    octets of its records back as soon as nobody has it any more.

    @ivar records: See L{IReplayBatch}.
    @ivar entries: The facts behind each entry number.
    """

    __slots__ = ("_hits", "entries", "records")

    def __init__(
        self, records: bytes | memoryview, factsOf: Callable[[int], ReplayedAnswer]
    ) -> None:
        """
        @param factsOf: Gives the facts of an entry in C{records}.
        """
        self.records = memoryview(records)
        self.entries = EntryFacts(factsOf)
        self._hits: Mapping[int, int] | None = None

    @property
    def hits(self) -> Mapping[int, int]:
        """
        How often each entry number occurs.
        """
        if self._hits is None:
            # A record is five words, and the second is the number.
            words = self.records.cast("B").cast("Q")
            self._hits = Counter(words[1::_WORDS].tolist())
        return self._hits

    def __len__(self) -> int:
        return self.records.nbytes // RECORD.size
