# -*- test-case-name: tests.policy.test_domainset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Looking names up in a compiled set, in Python.

The compiled twin is C{_settable.pyx}: same constructor, same methods, same
answers, some thirty times as fast. L{dnsguard.policy.domainset} chooses.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from dnsguard.policy.setformat import (
    ENTRIES_A_LINE,
    MAX_SPILL,
    Header,
    Scope,
    encode,
    hashName,
    indexPlace,
)

__all__ = ["Place", "Table"]

Place = tuple[int, int, int]
"""
The number of the source, its line, and where in the name asked for the
matching name starts.
"""

_LINE = struct.Struct(f"<{ENTRIES_A_LINE}I")

_LABEL = re.compile(rb"[a-z0-9_-]+").fullmatch


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
        for start, encoded in self._suffixes(qname):
            for place in self._places(encoded, start):
                return place
        return None

    def matches(self, qname: bytes) -> list[Place]:
        """
        Find all entries that speak of a name, most specific first.
        """
        return [
            place
            for start, encoded in self._suffixes(qname)
            for place in self._places(encoded, start)
        ]

    def _suffixes(self, qname: bytes) -> list[tuple[int, bytes]]:
        """
        Where the name and each of its parents start in it, and the form in
        which each would stand on a page; longest first.
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
        if at != size - 1:
            return []
        found = []
        text = b""
        for depth, start in enumerate(reversed(starts), 1):
            label = qname[start + 1 : start + 1 + qname[start]]
            if depth > header.mostLabels or not _LABEL(label):
                break
            text = text + b"." + label[::-1] if text else label[::-1]
            if depth >= header.leastLabels:
                found.append((start, encode(text)))
        found.reverse()
        return found

    def _places(self, encoded: bytes, start: int) -> list[Place]:
        """
        Find the places a name came from.

        @param start: Where it starts in the name asked for: 0 for that itself.
        """
        header = self.header
        hashed = hashName(encoded, header.key, header.mix)
        line, mark = indexPlace(hashed, header.indexLines, header.pageBits)
        limit = mark | (1 << header.pageBits) - 1
        last = min(line + MAX_SPILL + 1, header.storedLines)
        while line < last:
            entries = _LINE.unpack_from(self._buffer, header.indexOffset + line * _LINE.size)
            for entry in entries:
                if mark <= entry <= limit:
                    found = self._onPage(entry - mark, encoded, start)
                    if found is not None:
                        return found
            if not entries[-1]:
                break
            line += 1
        return []

    def _onPage(self, page: int, encoded: bytes, start: int) -> list[Place] | None:
        """
        Look for a name on one page.

        @return: Its selected places, L{None} if it isn't there.
        """
        header = self.header
        if page >= header.pages:
            return None
        at = header.pagesOffset + page * header.pageSize
        # Zeros behind: an entry that runs over a damaged page's end reads them.
        octets = self._buffer[at : at + header.pageSize] + bytes(520)
        size = header.pageSize
        matched = at = 0
        while at < size and (head := octets[at]):
            at += 1
            shared, rest = head >> 4, head & 15
            if shared == 15:
                shared = octets[at]
                at += 1
            if rest == 15:
                rest = octets[at]
                at += 1
            if shared < matched:
                return None
            end = at + rest
            if shared == matched:
                piece = octets[at:end]
                wanted = encoded[matched:]
                if piece == wanted:
                    return self._selectedPlaces(octets, end, start)
                if piece > wanted:
                    return None
                matched += _common(piece, wanted)
            at = end
            while octets[at + 3] & 0x80 and at < size:
                at += 4
            at += 4
        return None

    def _selectedPlaces(self, octets: bytes, at: int, start: int) -> list[Place]:
        """
        Read an entry's places.
        """
        other = Scope.BELOW if start == 0 else Scope.EXACT
        found = []
        while at + 4 <= len(octets):
            value = int.from_bytes(octets[at : at + 4], "little")
            at += 4
            if (value >> 29) & 3 != other:
                line = value & 0x1FFFFFFF
                source = self._sourceOf(line)
                if source >= 0 and self._selected[source]:
                    found.append((source, line - self._bases[source], start))
            if not value >> 31:
                break
        return found

    def _sourceOf(self, line: int) -> int:
        """
        Which source a line, counted through all of them, belongs to.
        """
        low, high = 0, len(self._bases)
        while low < high:
            middle = (low + high) // 2
            if self._bases[middle] <= line:
                low = middle + 1
            else:
                high = middle
        return low - 1


def _common(one: bytes, other: bytes) -> int:
    """
    Count the octets that two strings begin with alike.
    """
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
