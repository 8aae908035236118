# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the arithmetic of compiled sets.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.setformat import linePlace, suffixHashes
from dnsguard.wire.names import fromText

KEY, MIX = 0x1234567890ABCDE, 0xF123456789ABCDEF


def hashOf(text: str, key: int = KEY, mix: int = MIX) -> int:
    """
    Hash a name.
    """
    name = fromText(text)
    starts = []
    at = 0
    while name[at]:
        starts.append(at)
        at += name[at] + 1
    return list(suffixHashes(name, starts, key, mix))[-1]


class HashTests(SynchronousTestCase):
    """
    L{suffixHashes} and L{linePlace}.
    """

    def test_keyed(self) -> None:
        """
        The hash depends on the key, on the mix, and on every letter.
        """
        hashes = {
            hashOf("example.org"),
            hashOf("example.org", KEY + 1),
            hashOf("example.org", KEY, MIX + 2),
            hashOf("fxample.org"),
            hashOf("example.orh"),
            hashOf("exampl.eorg"),
            hashOf("xample.org"),
            hashOf("a-label-of-more-than-eight-letters.example.org"),
            hashOf("a-label-of-more-than-eight-letterz.example.org"),
        }
        self.assertEqual(len(hashes), 9)

    def test_suffixes(self) -> None:
        """
        A parent's hash is what it has by itself, whatever stands before it.
        """
        found = list(suffixHashes(fromText("a.b.example"), [0, 2, 4], KEY, MIX))
        self.assertEqual(found, [hashOf("example"), hashOf("b.example"), hashOf("a.b.example")])

    def test_spread(self) -> None:
        """
        Names that differ in one letter or number spread evenly over lines, and
        over tags.
        """
        rng = random.Random(4)
        for _ in range(5):
            key, mix = rng.getrandbits(64), rng.getrandbits(64) | 1
            counts, tags = [0] * 100, [0] * 256
            for number in range(5000):
                line, tag = linePlace(hashOf(f"ads{number}.example.org", key, mix), 100)
                counts[line] += 1
                tags[tag] += 1
            self.assertTrue(max(counts) < 110, max(counts))
            self.assertTrue(max(tags) < 60, max(tags))

    def test_ends(self) -> None:
        """
        The least and the greatest hash stand on the first and the last line.
        """
        self.assertEqual(linePlace(0, 7), (0, 0))
        self.assertEqual(linePlace((1 << 64) - 1, 7), (6, 255))
