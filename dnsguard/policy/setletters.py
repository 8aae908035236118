# -*- test-case-name: tests.policy.test_setletters -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The bits that letters of names take in a compiled set.

Names of block lists are far from random: after C{moc} mostly comes a dot. A
letter's code depends on the letter before and on how often it follows that, so
a name of twenty letters takes ten octets. They are only ever written: a name is
compared by writing the one asked for in the same way.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence

__all__ = ["CODES", "LETTERS", "SYMBOLS", "codeLengths", "codesOf", "encode", "symbolsOf"]

LETTERS = 40
"""Symbols there are: 0 stands before the first letter."""

MAX_CODE = 8
"""Bits in the longest code."""

_ALPHABET = b".-_0123456789abcdefghijklmnopqrstuvwxyz"
CODES = {letter: code for code, letter in enumerate(_ALPHABET, 1)}
"""The symbol of each letter."""

SYMBOLS = bytes(CODES.get(letter, 0) for letter in range(256))
"""What C{bytes.translate} needs for that: 0 for what is no letter."""


def symbolsOf(qname: bytes, start: int = 0) -> bytes:
    """
    Give the symbols of a wire name's letters, from the last to the first: an
    octet each, 0 for one that no name in a set has.

    @param start: Where the name starts.
    """
    parts = []
    at = start
    while length := qname[at]:
        at += length + 1
        label = qname[at - length : at]
        # A dot inside a label doesn't end it.
        parts.append(label.replace(b".", b"\0") if b"." in label else label)
    return b".".join(parts)[::-1].translate(SYMBOLS)


def codeLengths(counts: Sequence[int]) -> bytes:
    """
    Make prefix codes.

    @param counts: For each symbol before, how often each symbol follows it.
    @return: The bits of each, in the same order: 0 for what never follows.
    """
    lengths = bytearray()
    for before in range(0, len(counts), LETTERS):
        lengths += _huffman(counts[before : before + LETTERS])
    return bytes(lengths)


def _huffman(counts: Sequence[int]) -> bytes:
    """
    Make one prefix code, with a code of ones left over that fills up octets.
    """
    used = {symbol: count for symbol, count in enumerate(counts) if count}
    lengths = bytearray(len(counts))
    while used:
        # The rarest of all is nobody's, and so gets one of the longest codes.
        heap = [(0, LETTERS, [LETTERS])]
        heap += [(count, symbol, [symbol]) for symbol, count in used.items()]
        heapq.heapify(heap)
        depths = dict.fromkeys([LETTERS, *used], 0)
        while len(heap) > 1:
            one, other = heapq.heappop(heap), heapq.heappop(heap)
            for symbol in one[2] + other[2]:
                depths[symbol] += 1
            heapq.heappush(heap, (one[0] + other[0], min(one[1], other[1]), one[2] + other[2]))
        if max(depths.values()) <= MAX_CODE:
            for symbol in used:
                lengths[symbol] = depths[symbol]
            break
        used = {symbol: count >> 1 | 1 for symbol, count in used.items()}
    return bytes(lengths)


def codesOf(lengths: bytes) -> array[int]:
    """
    Give the codes that have these lengths.

    @param lengths: What L{codeLengths} gave.
    @return: For each, its bits above four that say how many: 0 for none.
    @raise ValueError: There are no such codes.
    """
    codes = array("H", bytes(2 * LETTERS * LETTERS))
    if len(lengths) != len(codes):
        raise ValueError("so many letters there aren't")
    for before in range(0, len(codes), LETTERS):
        row = lengths[before : before + LETTERS]
        code = last = 0
        for length, symbol in sorted((size, symbol) for symbol, size in enumerate(row) if size):
            code <<= length - last
            if length > MAX_CODE or symbol == 0 or code + 1 >= 1 << length:
                raise ValueError("no prefix code")
            codes[before + symbol] = code << 4 | length
            code += 1
            last = length
    return codes


def encode(symbols: bytes, codes: Sequence[int]) -> bytes | None:
    """
    Give the form in which a name stands in the file.

    @param symbols: What L{symbolsOf} gives.
    @param codes: What L{codesOf} gives.
    @return: L{None} if no name in the file has such letters in a row.
    """
    value = size = before = 0
    for symbol in symbols:
        code = codes[before * LETTERS + symbol]
        length = code & 15
        if not length:
            return None
        value = value << length | code >> 4
        size += length
        before = symbol
    fill = -size % 8
    return (((value + 1) << fill) - 1).to_bytes((size + fill) // 8, "big")
