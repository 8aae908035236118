# -*- test-case-name: tests.policy.test_domainset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Writing the lines, names and places of a compiled set, in Python.

What stands where is described in L{dnsguard.policy.setformat}.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter

from dnsguard.policy.setformat import (
    ENTRIES_A_LINE,
    LINE_SIZE,
    MAX_SPILL,
    linePlace,
    suffixHashes,
)
from dnsguard.policy.setletters import LETTERS, SYMBOLS, codeLengths, encode

__all__ = ["Lines"]

_ANOTHER = 1 << 31


class Lines:
    """
    Names on their way into a file.
    """

    def __init__(self) -> None:
        self._names: list[bytes] = []
        self._places: list[list[int]] = []
        self._pairs: Counter[tuple[int, int]] = Counter()

    def __len__(self) -> int:
        """
        How many names there are.
        """
        return len(self._names)

    def add(self, text: bytes, places: list[int]) -> None:
        """
        Add a name.

        @param text: Its labels joined by dots, from last letter to first.
        @param places: Where it came from, scopes in bits 29 and 30.
        """
        symbols = text.translate(SYMBOLS)
        self._pairs.update(zip(b"\0" + symbols, symbols, strict=False))
        self._names.append(text)
        self._places.append(places)

    def codeLengths(self) -> bytes:
        """
        Make the codes that fit the names best, and give their lengths.
        """
        counts = [0] * (LETTERS * LETTERS)
        for (before, symbol), count in self._pairs.items():
            counts[before * LETTERS + symbol] = count
        return codeLengths(counts)

    def write(
        self, key: int, mix: int, lines: int, codes: array[int]
    ) -> tuple[bytes, bytes, bytes] | None:
        """
        Write everything.

        @return: The lines, the names and the places; L{None} if a name would
            stand too far from its line.
        """
        order = sorted((_hash(text, key, mix), number) for number, text in enumerate(self._names))
        found = bytearray(LINE_SIZE * (lines + MAX_SPILL))
        names = bytearray()
        several = array("I")
        free = 0
        for hashed, number in order:
            line, tag = linePlace(hashed, lines)
            if free < line * ENTRIES_A_LINE:
                free = line * ENTRIES_A_LINE
            elif free >= (line + MAX_SPILL) * ENTRIES_A_LINE:
                return None
            line, entry = divmod(free, ENTRIES_A_LINE)
            at = line * LINE_SIZE
            if not entry:
                # What is too much for four octets is refused when all is put together.
                found[at : at + 4] = (len(names) & 0xFFFFFFFF).to_bytes(4, "little")
            letters = encode(self._names[number].translate(SYMBOLS), codes)
            assert letters is not None, "codes made from other names"
            found[at + 4 + entry] = tag
            found[at + 4 + ENTRIES_A_LINE + entry] = len(letters)
            names += letters + self._place(number, several).to_bytes(4, "little")
            free += 1
        if sys.byteorder == "big":
            several.byteswap()
        # Numbers among the places are read where they stand: at even addresses.
        return bytes(found), bytes(names.ljust(-(-len(names) // 4) * 4, b"\0")), several.tobytes()

    def _place(self, number: int, several: array[int]) -> int:
        """
        Give what stands behind a name.
        """
        places = self._places[number]
        if len(places) == 1:
            return places[0]
        first = len(several)
        several.extend([place | _ANOTHER for place in places[:-1]])
        several.append(places[-1])
        return first | _ANOTHER


def _hash(text: bytes, key: int, mix: int) -> int:
    """
    Hash a name that is written from its last letter to its first.
    """
    name = b""
    starts = []
    for label in reversed(text.split(b".")):
        starts.append(len(name))
        name += bytes((len(label),)) + label[::-1]
    return list(suffixHashes(name, starts, key, mix))[-1]
