# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the arithmetic of compiled sets.
"""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.setformat import encode, hashName, indexPlace, reversedText
from dnsguard.wire.names import fromText

KEY, MIX = 0x1234567890ABCDE, 0xF123456789ABCDEF

texts = st.text(".-_0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=30).map(str.encode)


class EncodeTests(SynchronousTestCase):
    """
    L{encode} and L{reversedText}.
    """

    def test_reversedText(self) -> None:
        """
        A name is read from its last letter to its first.
        """
        self.assertEqual(reversedText(fromText("ads.example.org")), b"gro.elpmaxe.sda")
        self.assertEqual(reversedText(b"\0"), b"")

    @given(texts, texts)
    @settings(max_examples=200, deadline=None)
    def test_order(self, one: bytes, other: bytes) -> None:
        """
        Encoded names are as different and in the same order as their letters,
        with C{.}, C{-} and C{_} before the others.
        """
        self.assertEqual(encode(one) == encode(other), one == other)
        order = bytes.maketrans(b".-_", b"\1\2\3")
        self.assertEqual(
            encode(one) < encode(other), one.translate(order) < other.translate(order)
        )

    @given(texts)
    @settings(max_examples=200, deadline=None)
    def test_form(self, text: bytes) -> None:
        """
        Three letters are two octets, and no pair is zero.
        """
        encoded = encode(text)
        self.assertEqual(len(encoded), (len(text) + 2) // 3 * 2)
        pairs = [encoded[at : at + 2] for at in range(0, len(encoded), 2)]
        self.assertNotIn(b"\0\0", pairs)
        self.assertTrue(encoded < b"\xfa")

    def test_otherLetters(self) -> None:
        """
        There are no other letters.
        """
        for text in [b"A", b"ab ", b"abc\0", b"\xc3\xbc"]:
            self.assertRaises(KeyError, encode, text)


class HashTests(SynchronousTestCase):
    """
    L{hashName} and L{indexPlace}.
    """

    def test_keyed(self) -> None:
        """
        The hash depends on the key, on the mix, and on every letter.
        """
        name = encode(b"moc.elpmaxe")
        hashes = {
            hashName(name, KEY, MIX),
            hashName(name, KEY + 1, MIX),
            hashName(name, KEY, MIX + 2),
            hashName(encode(b"moc.elpmaxf"), KEY, MIX),
            hashName(encode(b"noc.elpmaxe"), KEY, MIX),
            hashName(encode(b"moc.elpmax"), KEY, MIX),
        }
        self.assertEqual(len(hashes), 6)

    def test_spread(self) -> None:
        """
        Names that differ in one letter or number spread evenly.
        """
        rng = random.Random(4)
        for key in [rng.randrange(1 << 31, (1 << 61) - 1) for _ in range(5)]:
            counts = [0] * 100
            for number in range(5000):
                hashed = hashName(encode(b"moc.sda%d" % number), key, MIX)
                line, mark = indexPlace(hashed, 100, 8)
                counts[line] += 1
                self.assertTrue(0 < mark >> 8 < 1 << 24)
                self.assertEqual(mark & 0xFF, 0)
            self.assertTrue(max(counts) < 110, max(counts))

    def test_markIsNeverFree(self) -> None:
        """
        No entry looks like a free place.
        """
        self.assertEqual(indexPlace(0, 7, 22), (0, 1 << 22))
        self.assertEqual(indexPlace((1 << 64) - 1, 7, 22)[0], 6)
