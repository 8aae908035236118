# -*- test-case-name: tests.test_notes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What an observer has noted of the entries of the replay store.

Queries replayed come by the ten thousand and are of nearly as many entries. An
observer that keeps a small number for each entry, met once, needs no Python
object for an entry it has met: finding the number and counting by it is one pass
over the records, in C where C{_notes.pyx} is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["MOST_NOTED", "SKIP", "EntryNotes"]

SKIP = 0xFFFFFFFF
"""The note of entries whose queries don't count."""

MOST_NOTED = 1 << 24
"""Notes are less than this: counts are kept in an array by note."""

_TRANSPORT = 22
_OCTETS = 40
_WORDS = 5
"""Where the fields of a record are; see L{dnsguard.interfaces.IReplayBatch}."""


class EntryNotes:
    """
    A small number for each entry number, and counts by those. One thread.

    It grows with every entry met; whoever has it bounds it with L{clear}.
    """

    def __init__(self, note: Callable[[Any], int], apart: bool = False) -> None:
        """
        @param note: Gives the note of an entry met for the first time, of which
            it is given the L{dnsguard.replay.entry.ReplayedAnswer}: L{SKIP}, or
            from 0 to L{MOST_NOTED}, 1 excluded; better small.
        @param apart: Count queries by UDP and TCP apart?
        """
        self._note = note
        self._each = 2 if apart else 1
        # Where an entry's queries are counted; those that don't count, in front.
        self._places: dict[int, int] = {}
        self._counts = [0]

    def __len__(self) -> int:
        """
        How many entries have been met.
        """
        return len(self._places)

    def clear(self) -> None:
        """
        Forget all entries; what was counted stays.
        """
        self._places.clear()

    def find(self, number: int, entries: Mapping[int, Any]) -> int:
        """
        Give an entry's note.

        @param entries: The facts of an entry that wasn't met before.
        @raise ValueError: The note isn't one.
        """
        place = self._places.get(number)
        if place is None:
            place = self._learn(number, entries)
        return (place - 1) // self._each if place else SKIP

    def meet(self, batch: Any, most: int) -> int:
        """
        Note entries of a batch that weren't met before, and count nothing.

        @param batch: An L{dnsguard.interfaces.IReplayBatch}.
        @param most: Entries noted at most.
        @return: How many were. Fewer than C{most}: all in the batch are noted.
        """
        met = 0
        if batch.hits.keys() <= self._places.keys():
            return met
        for number in batch.hits:
            if number not in self._places:
                if met >= most:
                    break
                self._learn(number, batch.entries)
                met += 1
        return met

    def _learn(self, number: int, entries: Mapping[int, Any]) -> int:
        """
        Note an entry, and give its place.
        """
        note = self._note(entries[number])
        if note != SKIP and not 0 <= note < MOST_NOTED:
            raise ValueError(f"{note} is no note")
        place = self._places[number] = 0 if note == SKIP else 1 + self._each * note
        more = place + self._each - len(self._counts)
        if more > 0:
            self._counts += [0] * more
        return place

    def count(self, batch: Any) -> None:
        """
        Count the queries of a batch.

        @param batch: An L{dnsguard.interfaces.IReplayBatch}.
        """
        entries, places, counts = batch.entries, self._places, self._counts
        if self._each == 2:
            octets = memoryview(batch.records).cast("B")
            transports = bytes(octets[_TRANSPORT::_OCTETS])
            if transports.count(0) != len(transports):
                numbers = octets.cast("Q")[1::_WORDS].tolist()
                for number, transport in zip(numbers, transports, strict=True):
                    note = self.find(number, entries)
                    if note != SKIP:
                        counts[1 + 2 * note + (transport != 0)] += 1
                return
        for number, times in batch.hits.items():
            try:
                counts[places[number]] += times
            except KeyError:
                counts[self._learn(number, entries)] += times

    def take(self) -> list[int]:
        """
        Give what was counted since the last call.

        @return: A number of queries for each note from 0 on, or two, UDP and
            TCP; those behind the last one that isn't 0 may be left out.
        """
        taken = self._counts[1:]
        self._counts = [0] * len(self._counts)
        return taken
