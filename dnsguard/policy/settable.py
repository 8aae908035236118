# -*- test-case-name: tests.policy.test_domainset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Looking names up in a compiled set, in Python.

The compiled twin is C{_settable.pyx}: same constructor, same methods, same
answers, some thirty times as fast. L{dnsguard.policy.domainset} chooses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from dnsguard.policy.setformat import (
    ENTRIES_A_LINE,
    LINE_SIZE,
    MAX_SPILL,
    Header,
    Scope,
    linePlace,
    suffixHashes,
)
from dnsguard.policy.setletters import encode, symbolsOf

__all__ = ["Place", "Table"]

Place = tuple[int, int, int]
"""
The number of the source, its line, and where in the name asked for the
matching name starts.
"""


class Table:
    """
    A mapped set of names, and which of its sources count.

    @ivar header: The set's header.
    """

    def __init__(self, buffer: Any, header: Header, selected: bytes) -> None:
        """
        @param buffer: The whole file, C{bytes} or C{mmap}; stays referenced.
        @param header: Its header.
        @param selected: An octet for each source, zero if it doesn't count.
        """
        self.header = header
        self._buffer = buffer
        self._selected = selected
        self._bases = [source.base for source in header.sources]

    def lookup(self, qname: bytes) -> Place | None:
        """
        Find the most specific entry that speaks of a name.

        @param qname: The name, lower-cased, in wire form.
        @return: Of several sources that have the same entry, the first.
        """
        for start, hashed in self._suffixes(qname):
            for place in self._places(qname, start, hashed):
                return place
        return None

    def matches(self, qname: bytes) -> list[Place]:
        """
        Find all entries that speak of a name, most specific first.
        """
        return [
            place
            for start, hashed in self._suffixes(qname)
            for place in self._places(qname, start, hashed)
        ]

    def _suffixes(self, qname: bytes) -> list[tuple[int, int]]:
        """
        Where the name and each of its parents start in it, and their hashes,
        as far as the set could have them; longest first.
        """
        header = self.header
        if not header.names:
            return []
        starts = []
        at = 0
        size = len(qname)
        while at < size and (length := qname[at]):
            starts.append(at)
            at += length + 1
        if at != size - 1 or size > 255:
            return []
        starts = starts[-header.mostLabels :]
        hashes = list(suffixHashes(qname, starts, header.key, header.mix))[::-1]
        return list(zip(starts, hashes, strict=True))[: len(starts) - header.leastLabels + 1]

    def _places(self, qname: bytes, start: int, hashed: int) -> list[Place]:
        """
        Find the places a name came from.

        @param start: Where it starts in the name asked for: 0 for that itself.
        """
        header = self.header
        line, tag = linePlace(hashed, header.lines)
        last = min(line + MAX_SPILL + 1, header.storedLines)
        wanted = None
        while line < last:
            at = header.linesOffset + line * LINE_SIZE
            octets = self._buffer[at : at + LINE_SIZE]
            tags, sizes = octets[4 : 4 + ENTRIES_A_LINE], octets[4 + ENTRIES_A_LINE :]
            number = tags.find(tag)
            while number >= 0:
                if wanted is None:
                    wanted = encode(symbolsOf(qname, start), header.codes)
                if wanted is None:
                    return []
                if sizes[number] == len(wanted):
                    first = int.from_bytes(octets[:4], "little")
                    at = header.namesOffset + first + sum(sizes[:number]) + 4 * number
                    end = at + len(wanted)
                    if end + 4 <= header.placesOffset and self._buffer[at:end] == wanted:
                        return self._selectedPlaces(end, start)
                number = tags.find(tag, number + 1)
            if not sizes[-1]:
                break
            line += 1
        return []

    def _selectedPlaces(self, at: int, start: int) -> list[Place]:
        """
        Read a name's places.
        """
        other = Scope.BELOW if start == 0 else Scope.EXACT
        found = []
        for value in self._values(at):
            if (value >> 29) & 3 != other:
                line = value & 0x1FFFFFFF
                source = bisect_right(self._bases, line) - 1
                if source >= 0 and self._selected[source]:
                    found.append((source, line - self._bases[source], start))
        return found

    def _values(self, at: int) -> Iterator[int]:
        """
        Read the one value behind a name, or those it leads to.
        """
        value = int.from_bytes(self._buffer[at : at + 4], "little")
        if value < 1 << 31:
            yield value
            return
        at = self.header.placesOffset + 4 * (value & 0x7FFFFFFF)
        while at + 4 <= self.header.size:
            value = int.from_bytes(self._buffer[at : at + 4], "little")
            yield value & 0x7FFFFFFF
            if value < 1 << 31:
                break
            at += 4
