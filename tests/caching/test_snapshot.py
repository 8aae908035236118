# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.snapshot}.
"""

from __future__ import annotations

from hashlib import blake2b

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.entry import Entry
from dnsguard.caching.key import Key
from dnsguard.caching.snapshot import (
    InvalidSnapshot,
    Saved,
    readClearings,
    readSnapshot,
    writeSnapshot,
)
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.wire.names import fromText
from tests.caching.messages import A, message, record

POLICY = TTLPolicy(minTTL=0, maxTTL=3600, grace=600, staleTTL=600)
EPOCH = 1_700_000_000.0


def saved(name: str, now: float = 0.0, ttl: int = 100, hits: float = 0.0) -> Saved:
    """
    An entry kept at some time.
    """
    qname = fromText(name)
    wire, layout = message([record(A, ttl, owner=qname)], qname=qname)
    entry = Entry.make(wire, layout, 0, now, POLICY)
    assert entry is not None
    return Saved((qname, A, 1, 0), entry, hits)


def keys(octets: bytes, now: float = 0.0, epoch: float = EPOCH) -> list[Key]:
    """
    The keys in a snapshot.
    """
    return [each.key for each in readSnapshot(octets, now, epoch, POLICY)]


class SnapshotTests(SynchronousTestCase):
    """
    Tests for L{writeSnapshot} and L{readSnapshot}.
    """

    def setUp(self) -> None:
        self.three = [saved(f"host{number}.example.org", hits=number) for number in range(3)]
        self.octets = b"".join(writeSnapshot(self.three, EPOCH, 100_000))

    def test_roundTrip(self) -> None:
        """
        What was written is read, with the times it had, whatever the clocks of
        the two processes began with.
        """
        # The other process's clock shows 1,000 when this one's showed 40.
        found = list(readSnapshot(self.octets, 1000.0, EPOCH - 960, POLICY))
        self.assertEqual([each.key for each in found], [each.key for each in self.three])
        self.assertEqual([each.hits for each in found], [0.0, 1.0, 2.0])
        entry = found[0].entry
        self.assertEqual(entry.wire, self.three[0].entry.wire)
        self.assertAlmostEqual(entry.remaining(1000.0), 60.0, places=3)
        self.assertEqual((entry.storedTTL, entry.authTTL), (100, 100))

    def test_expiredStaysForStale(self) -> None:
        """
        What has expired is read as long as it may be served stale.
        """
        (first, *_) = readSnapshot(self.octets, 650.0, EPOCH, POLICY)
        self.assertAlmostEqual(first.entry.remaining(650.0), -550.0, places=3)
        self.assertEqual(keys(self.octets, 699.0), [each.key for each in self.three])
        self.assertEqual(keys(self.octets, 701.0), [])

    def test_clockSetBack(self) -> None:
        """
        An entry from the future has just expired: how old it is can't be
        known.
        """
        (first, *_) = readSnapshot(self.octets, 0.0, EPOCH - 10_000, POLICY)
        self.assertEqual(first.entry.remaining(0.0), 0.0)
        self.assertEqual(first.entry.expiry, 600.0)

    def test_bounded(self) -> None:
        """
        What is over the bound is left out, the last ones first.
        """
        octets = b"".join(writeSnapshot(self.three, EPOCH, len(self.octets) - 1))
        self.assertEqual(keys(octets), [each.key for each in self.three[:2]])
        self.assertLess(len(octets), len(self.octets))

    def test_clearings(self) -> None:
        """
        Which clearing was the last is read as it was written, if it was.
        """
        for number in (None, 0, 7, 2**62):
            octets = b"".join(writeSnapshot(self.three, EPOCH, 100_000, number))
            self.assertEqual(readClearings(octets), number)
            self.assertEqual(len(keys(octets)), 3)

    def test_firstVersion(self) -> None:
        """
        A snapshot of the first version is read, too: it lacks that number.
        """
        body = b"dnsguard cache 1\n" + self.octets[len(b"dnsguard cache 2\n") + 8 : -32]
        octets = body + blake2b(body, digest_size=32).digest()
        self.assertIsNone(readClearings(octets))
        self.assertEqual(keys(octets), [each.key for each in self.three])

    def test_inParts(self) -> None:
        """
        A large one comes in parts, and is one all the same.
        """
        many = [saved(f"host{number}.example.org") for number in range(2500)]
        parts = list(writeSnapshot(many, EPOCH, 10_000_000))
        self.assertEqual(len(parts), 4)
        self.assertEqual(len(keys(b"".join(parts))), 2500)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_damage(self, data: st.DataObject) -> None:
        """
        Whatever is changed, cut off or added is noticed.
        """
        at = data.draw(st.integers(0, len(self.octets) - 1))
        changed = bytearray(self.octets)
        changed[at] ^= data.draw(st.integers(1, 255))
        for octets in (bytes(changed), self.octets[:at], self.octets + b"\0"):
            self.assertRaises(InvalidSnapshot, keys, octets)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_liesWithAGoodDigest(self, data: st.DataObject) -> None:
        """
        A file of somebody who can compute digests gives fewer entries, never
        an exception.
        """
        changed = bytearray(self.octets[:-32])
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(len(b"dnsguard cache 1\n"), len(changed) - 1))
            changed[at] = data.draw(st.integers(0, 255))
        octets = bytes(changed) + blake2b(bytes(changed), digest_size=32).digest()
        self.assertLessEqual(len(keys(octets)), 3)
