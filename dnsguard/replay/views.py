# -*- test-case-name: tests.replay.test_views -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which client sees which policy view, as sorted ranges of addresses.

The store must find a client's view for each packet. Networks that lie within
each other are flattened once per policy into ranges that don't, so that the
longest match is one binary search, in Python as in C.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import attrs

__all__ = ["MAPPED", "NOBODY", "Network", "Ranges", "ViewMap"]

Network = tuple[bytes, int, int]
"""Packed network address, prefix length in bits, view number."""

NOBODY = -1
"""The view number of clients that are never answered from the store."""

MAPPED = bytes(10) + b"\xff\xff"
"""What the 16 octets of an IPv4-mapped IPv6 address start with (RFC 4291 §2.5.5.2)."""


@attrs.frozen
class Ranges:
    """
    The addresses of one family, each in exactly one range.

    @ivar starts: The first address of each range, packed, ascending, the first
        of them all zeros.
    @ivar numbers: The view number of each range.
    """

    starts: tuple[bytes, ...]
    numbers: tuple[int, ...]

    def find(self, address: bytes) -> int:
        """
        Find the view number for a packed address of this family.
        """
        return self.numbers[bisect_right(self.starts, address) - 1]

    @classmethod
    def of(cls, networks: Iterable[Network], size: int, default: int) -> Ranges:
        """
        Flatten networks. Of two that are equal the later one holds.

        @param networks: In any order; bits behind the prefix don't count.
        @param size: Octets of an address.
        @param default: The view number for addresses in no network.
        """
        bits = size * 8
        spans = []
        for packed, length, number in networks:
            hosts = bits - length
            first = int.from_bytes(packed, "big") >> hosts << hosts
            spans.append((first, length, first + (1 << hosts), number))
        spans.sort(key=lambda span: span[:2])
        marks: dict[int, int] = {0: default}
        within: list[tuple[int, int]] = [(1 << bits, default)]
        for first, _, behind, number in spans:
            _leave(within, first, marks)
            within.append((behind, number))
            marks[first] = number
        _leave(within, 1 << bits, marks)
        marks.pop(1 << bits, None)
        starts: list[bytes] = []
        numbers: list[int] = []
        for first in sorted(marks):
            if not numbers or numbers[-1] != marks[first]:
                starts.append(first.to_bytes(size, "big"))
                numbers.append(marks[first])
        return cls(tuple(starts), tuple(numbers))


def _leave(within: list[tuple[int, int]], at: int, marks: dict[int, int]) -> None:
    """
    Note where the networks end that end at or before C{at}: what surrounds
    them begins again.
    """
    while len(within) > 1 and within[-1][0] <= at:
        behind, _ = within.pop()
        marks[behind] = within[-1][1]


@attrs.frozen
class ViewMap:
    """
    The view numbers of all addresses.
    """

    v4: Ranges
    v6: Ranges

    @classmethod
    def of(cls, networks: Iterable[Network], default: int) -> ViewMap:
        """
        Make the map of one policy.

        @param networks: Of both families.
        @param default: The view number of everybody else.
        @raise ValueError: An address isn't 4 or 16 octets, or a prefix is
            longer than its address.
        """
        v4: list[Network] = []
        v6: list[Network] = []
        for packed, length, number in networks:
            if len(packed) not in (4, 16) or not 0 <= length <= len(packed) * 8:
                raise ValueError(f"no network: {packed.hex()}/{length}")
            if len(packed) == 4:
                v4.append((packed, length, number))
            elif length >= 96 and packed.startswith(MAPPED):
                v4.append((packed[12:], length - 96, number))
            else:
                v6.append((packed, length, number))
        return cls(Ranges.of(v4, 4, default), Ranges.of(v6, 16, default))

    def find(self, address: bytes) -> int:
        """
        Find a client's view number.

        @param address: Packed, 4 or 16 octets; IPv4-mapped counts as IPv4.
        """
        if len(address) == 4:
            return self.v4.find(address)
        if address.startswith(MAPPED):
            return self.v4.find(address[12:])
        return self.v6.find(address)
