# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the codes of letters in compiled sets.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.setletters import LETTERS, codeLengths, codesOf, encode, symbolsOf
from dnsguard.wire.names import fromText

symbols = st.lists(st.integers(1, 39), min_size=1, max_size=30).map(bytes)


def lengthsFor(names: list[bytes]) -> bytes:
    """
    The lengths of the codes that fit some names.
    """
    pairs: Counter[tuple[int, int]] = Counter()
    for name in names:
        pairs.update(zip(b"\0" + name, name, strict=False))
    return codeLengths([pairs[divmod(at, LETTERS)] for at in range(LETTERS * LETTERS)])


class SymbolTests(SynchronousTestCase):
    """
    L{symbolsOf}.
    """

    def test_order(self) -> None:
        """
        A name is read from its last letter to its first.
        """
        self.assertEqual(symbolsOf(fromText("ads.b")), bytes([15, 1, 32, 17, 14]))
        self.assertEqual(symbolsOf(fromText("ads.b"), 4), bytes([15]))
        self.assertEqual(symbolsOf(b"\0"), b"")

    def test_otherLetters(self) -> None:
        """
        Other letters are zero, and so is a dot inside a label.
        """
        for label in [b"A", b" ", b".", b"\0", b"\xc3"]:
            self.assertEqual(symbolsOf(b"\3x" + label + b"y\0"), bytes([38, 0, 37]))


class CodeTests(SynchronousTestCase):
    """
    L{codeLengths}, L{codesOf} and L{encode}.
    """

    @given(st.lists(symbols, min_size=1, max_size=12, unique=True))
    @settings(max_examples=150, deadline=None)
    def test_different(self, names: list[bytes]) -> None:
        """
        Names that the codes were made for are written, each differently.
        """
        codes = codesOf(lengthsFor(names))
        written = [encode(name, codes) for name in names]
        self.assertNotIn(None, written)
        self.assertEqual(len(set(written)), len(names))

    @given(st.lists(symbols, min_size=1, max_size=6), symbols)
    @settings(max_examples=150, deadline=None)
    def test_neverAnothers(self, names: list[bytes], other: bytes) -> None:
        """
        A name the codes weren't made for is no other name's octets.
        """
        codes = codesOf(lengthsFor(names))
        written = encode(other, codes)
        if written is not None and other not in names:
            self.assertNotIn(written, [encode(name, codes) for name in names])

    def test_unknownPair(self) -> None:
        """
        Letters that follow each other in no name can't be written.
        """
        codes = codesOf(lengthsFor([bytes([5, 6]), bytes([6, 5])]))
        self.assertIsNone(encode(bytes([5, 5]), codes))
        self.assertIsNone(encode(bytes([5, 0, 6]), codes))

    def test_short(self) -> None:
        """
        What follows often takes few bits, what follows rarely no more than eight.
        """
        counts = [0] * (LETTERS * LETTERS)
        for symbol in range(1, LETTERS):
            counts[symbol] = 1 << symbol
        lengths = codeLengths(counts)
        self.assertEqual(lengths[39], 2)
        self.assertEqual(max(lengths), 8)
        codesOf(lengths)

    def test_impossible(self) -> None:
        """
        Lengths that no code has, or that leave none over, are refused.
        """
        for row in [bytes([0, 1, 1]), bytes([0, 9]), bytes([1]), bytes([0, 1, 2, 2])]:
            lengths = row.ljust(LETTERS * LETTERS, b"\0")
            self.assertRaises(ValueError, codesOf, lengths)
        self.assertRaises(ValueError, codesOf, b"")
