# -*- test-case-name: tests.policy.test_domainset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Writing the pages and the index of a compiled set, in Python.

What stands where is described in L{dnsguard.policy.setformat}.
"""

from __future__ import annotations

import sys
from array import array

from dnsguard.policy.setformat import (
    ENTRIES_A_LINE,
    LARGEST_PAGE,
    MAX_SPILL,
    SMALLEST_PAGE,
    hashName,
    indexPlace,
)

__all__ = ["Pages", "pageSizeFor"]


def pageSizeFor(sources: int) -> int:
    """
    Give the size of pages that the longest of names fits on.

    @param sources: How many sources a name can come from: each in up to three
        scopes.
    """
    size = SMALLEST_PAGE
    while size < min(3 + 170 + 12 * sources, LARGEST_PAGE):
        size *= 2
    return size


class Pages:
    """
    Names written to pages, in order.

    @ivar octets: The finished pages.
    @ivar size: Octets in each.
    @ivar count: How many.
    @ivar names: The names, as they were added.
    @ivar numbers: For each of them, the number of its page.
    """

    def __init__(self, size: int) -> None:
        """
        @param size: Octets in a page.
        """
        self.size = size
        self.octets = bytearray()
        self.names: list[bytes] = []
        self.numbers = array("I")
        self._page = bytearray()
        self._last = b""

    @property
    def count(self) -> int:
        """
        How many pages are finished.
        """
        return len(self.octets) // self.size

    def add(self, encoded: bytes, places: list[int]) -> None:
        """
        Add the next name.
        """
        tail = places[-1].to_bytes(4, "little")
        if len(places) > 1:
            more = [(place | 0x80000000).to_bytes(4, "little") for place in places[:-1]]
            tail = b"".join(more) + tail
        shared = _shared(self._last, encoded) if self._page else 0
        entry = _entry(shared, encoded) + tail
        if len(self._page) + len(entry) > self.size:
            self.finish()
            entry = _entry(0, encoded) + tail
        self._page += entry
        self._last = encoded
        self.names.append(encoded)
        self.numbers.append(len(self.octets) // self.size)

    def finish(self) -> None:
        """
        End the page that is being written.
        """
        if self._page:
            self.octets += self._page.ljust(self.size, b"\0")
            self._page.clear()

    def index(self, key: int, mix: int, pageBits: int, lines: int) -> bytes | None:
        """
        Write the index.

        @return: L{None} if an entry would stand too far from its line.
        """
        hashes = sorted(
            [
                hashName(name, key, mix) << 32 | number
                for name, number in zip(self.names, self.numbers, strict=True)
            ]
        )
        index = array("I", bytes(64 * (lines + MAX_SPILL)))
        free = 0
        for hashed in hashes:
            line, mark = indexPlace(hashed >> 32, lines, pageBits)
            if free < line * ENTRIES_A_LINE:
                free = line * ENTRIES_A_LINE
            elif free >= (line + MAX_SPILL) * ENTRIES_A_LINE:
                return None
            index[free] = mark | hashed & 0xFFFFFFFF
            free += 1
        if sys.byteorder == "big":
            index.byteswap()
        return index.tobytes()


def _shared(one: bytes, other: bytes) -> int:
    count = 0
    least = min(len(one), len(other) - 1, 254)
    while count < least and one[count] == other[count]:
        count += 1
    return count


def _entry(shared: int, encoded: bytes) -> bytes:
    rest = len(encoded) - shared
    if shared < 15 and rest < 15:
        return _OCTETS[shared << 4 | rest] + encoded[shared:]
    head = bytearray((min(shared, 15) << 4 | min(rest, 15),))
    if shared >= 15:
        head.append(shared)
    if rest >= 15:
        head.append(rest)
    return bytes(head) + encoded[shared:]


_OCTETS = [bytes([octet]) for octet in range(256)]
