# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.entry}.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.entry import CompiledEntry, Entry, restoreEntry
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import AD, QR, RA, RD, Layout, scan
from tests.caching.messages import ANY, CNAME, NS, WWW, A, facts, message, record, soa, ttls

POLICY = TTLPolicy(minTTL=0, maxTTL=3600, grace=600, staleTTL=0)


def make(found: tuple[bytes, Layout], policy: TTLPolicy = POLICY, **facts: object) -> Entry:
    """
    Make an entry that must be kept, at the time 1000.
    """
    entry = Entry.make(*found, found[1].rCode, 1000.0, policy, **facts)  # type: ignore[arg-type]
    assert entry is not None
    return entry


class EntryTests(SynchronousTestCase):
    """
    Tests for L{Entry}.
    """

    def test_times(self) -> None:
        """
        An entry is fresh for its stored TTL and kept for its retention beyond.
        """
        entry = make(message([record(A, 120)]))
        self.assertEqual((entry.storedTTL, entry.authTTL), (120, 120))
        self.assertEqual((entry.createdAt, entry.softExpiry, entry.expiry), (1000, 1120, 1240))
        self.assertEqual(entry.remaining(1100.0), 20.0)

    def test_remainingGoesBelowZero(self) -> None:
        """
        For how long it has been stale is told as it is.
        """
        self.assertEqual(make(message([record(A, 120)])).remaining(1190.0), -70.0)

    def test_notKept(self) -> None:
        """
        Failures, and answers that are true for no time, make no entry.
        """
        for found, rCode in [
            (message(rCode=2), 2),
            (message(rCode=5), 5),
            (message([record(A, 60)]), 16),
            (message([record(A, 0)]), 0),
        ]:
            self.assertIsNone(Entry.make(*found, rCode, 0.0, POLICY), rCode)

    def test_refreshKeepsTheKeysAge(self) -> None:
        """
        The age of the key outlives a refresh of its data.
        """
        entry = make(message([record(A, 120)]), createdAt=3.0)
        self.assertEqual((entry.createdAt, entry.softExpiry), (3.0, 1120.0))

    def test_hotRefreshIsNotRaised(self) -> None:
        """
        A hot key's refresh is stored for as long as it is true.
        """
        policy = TTLPolicy(minTTL=300)
        self.assertEqual(make(message([record(A, 20)]), policy).storedTTL, 300)
        self.assertEqual(make(message([record(A, 20)]), policy, hot=True).storedTTL, 20)

    def test_normalForm(self) -> None:
        """
        The message is kept without OPT record, with id 0 and flags of its own;
        its layout fits it.
        """
        found = message([record(A, 60)], edns=EDNS(dnssecOK=True), flags=QR)
        entry = make(found, authenticData=True)
        self.assertEqual(entry.layout, scan(entry.wire))
        self.assertEqual((entry.layout.id, entry.layout.flags), (0, QR | RD | RA | AD))
        self.assertEqual(entry.layout.counts, (1, 1, 0, 0))
        self.assertIsNone(entry.layout.opt)
        plain = message([record(A, 60)], id=0)
        self.assertIs(make(plain).wire, plain[0])

    def test_optInTheMiddle(self) -> None:
        """
        A message whose OPT record isn't the last isn't kept: names behind it
        may point over it.
        """
        found = message([record(A, 60)], [], [record(A, 60)], edns=EDNS(), optFirst=True)
        self.assertIsNone(Entry.make(*found, 0, 0.0, POLICY))

    def test_twoQuestions(self) -> None:
        """
        A message with two questions is no answer to one.
        """
        wire = bytearray(message([record(A, 60)])[0])
        wire[5] = 2
        wire[12:12] = wire[12 : 12 + len(WWW) + 4]
        self.assertIsNone(Entry.make(bytes(wire), scan(bytes(wire)), 0, 0.0, POLICY))

    def test_countsDown(self) -> None:
        """
        All records get the time the answer has left; a record beside the
        answer that expires earlier keeps doing so, down to 0.
        """
        found = message([record(A, 120), record(A, 120)], [record(NS, 900)], [record(A, 70)])
        entry = make(found)
        self.assertEqual(ttls(entry.wireWith(120)), [120, 120, 120, 70])
        self.assertEqual(ttls(entry.wireWith(100)), [100, 100, 100, 50])
        self.assertEqual(ttls(entry.wireWith(10)), [10, 10, 10, 0])
        self.assertEqual(ttls(entry.wireWith(30, stale=True)), [30, 30, 30, 30])

    def test_raisedAnswerShowsItsTime(self) -> None:
        """
        An answer kept longer than it is true shows how long it is kept.
        """
        entry = make(message([record(A, 20)], [record(NS, 5)]), TTLPolicy(minTTL=300))
        self.assertEqual(ttls(entry.wireWith(290)), [290, 290])

    def test_negativeAnswerCountsDown(self) -> None:
        """
        The SOA record of a negative answer gets the negative TTL.
        """
        entry = make(message([], [soa(900, 60)], rCode=3))
        self.assertEqual(ttls(entry.wireWith(60)), [60])

    def test_topBitIsZero(self) -> None:
        """
        A TTL with the top bit set counts as 0.
        """
        entry = make(message([record(A, 60)], [record(NS, 0xFFFFFFFF)]))
        self.assertEqual(ttls(entry.wireWith(50)), [50, 0])

    def test_sizeCountsOverhead(self) -> None:
        """
        An entry's size is its message's and what the objects around it take.
        """
        small, large = make(message([record(A, 60)])), make(message([record(A, 60)] * 20))
        self.assertEqual(large.size - small.size, len(large.wire) - len(small.wire))
        self.assertGreater(small.size, len(small.wire) + 500)

    def test_isFrozen(self) -> None:
        """
        Nothing on an entry changes.
        """
        entry = make(message([record(A, 60)]))
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            entry.storedTTL = 5  # type: ignore[misc]

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.integers(1, 5000), min_size=1, max_size=4),
        st.lists(st.integers(0, 5000), max_size=4),
        st.integers(0, 4000),
        st.integers(0, 1000),
    )
    def test_neverShowsMoreThanIsLeft(
        self, answers: list[int], others: list[int], age: int, least: int
    ) -> None:
        """
        At every age no record shows more than the answer has left, nor, unless
        the answer was raised, more than it has left itself.
        """
        policy = TTLPolicy(minTTL=least)
        entry = make(
            message([record(A, t) for t in answers], [record(NS, t) for t in others]), policy
        )
        left = max(entry.storedTTL - age, 0)
        shown = ttls(entry.wireWith(left))
        self.assertLessEqual(max(shown), left)
        if left and entry.storedTTL <= entry.authTTL:
            own = [max(ttl - age, 0) for ttl in [*answers, *others]]
            self.assertTrue(all(map(int.__le__, shown, own)), (shown, own))


@st.composite
def policies(draw: st.DrawFn) -> TTLPolicy:
    """
    Some bounds of an operator's.
    """
    return TTLPolicy(
        minTTL=draw(st.sampled_from([0, 60, 300])),
        maxTTL=draw(st.sampled_from([30, 3600])),
        negativeTTL=draw(st.sampled_from([0, 30])),
        respectSourceTTL=draw(st.booleans()),
        staleTTL=draw(st.sampled_from([0, 100])),
    )


@st.composite
def replies(draw: st.DrawFn) -> tuple[bytes, Layout]:
    """
    A reply with any records, an OPT record somewhere, or two questions.
    """
    lifetimes = st.sampled_from([0, 1, 20, 120, 5000, 0x7FFFFFFF, 0xFFFFFFFF])
    records = st.lists(st.builds(record, st.sampled_from([A, CNAME, NS]), lifetimes), max_size=3)
    negative = st.lists(st.builds(soa, lifetimes, lifetimes), max_size=1)
    return message(
        draw(records),
        draw(records) + draw(negative),
        draw(records),
        type=draw(st.sampled_from([A, CNAME, ANY])),
        id=draw(st.sampled_from([0, 7])),
        flags=draw(st.sampled_from([QR, QR | RD | RA, QR | 0x0200])),
        edns=draw(st.sampled_from([None, EDNS(), EDNS(dnssecOK=True, options=((10, b"abc"),))])),
        optFirst=draw(st.booleans()),
    )


class CompiledEntryTests(SynchronousTestCase):
    """
    Tests for L{dnsguard.caching._entry.CompiledEntry}.
    """

    if CompiledEntry is None:
        skip = "there are no compiled twins here"

    @settings(max_examples=300, deadline=None)
    @given(replies(), policies(), st.sampled_from([0, 2, 3]), st.booleans(), st.booleans())
    def test_likeTheOther(
        self, found: tuple[bytes, Layout], policy: TTLPolicy, rCode: int, hot: bool, vouched: bool
    ) -> None:
        """
        It is made of the same answers as one in Python, holds the same and
        shows the same at every age.
        """
        wire, layout = found
        told: dict[str, object] = {
            "createdAt": 3.5,
            "authenticData": vouched,
            "upstream": "192.0.2.1",
        }
        entry = Entry.make(wire, layout, rCode, 1000.0, policy, hot=hot, **told)  # type: ignore[arg-type]
        compiled = CompiledEntry.make(wire, rCode, 1000.0, policy, hot=hot, **told)
        if entry is None:
            self.assertIsNone(compiled)
        else:
            self.assertIsInstance(compiled, CompiledEntry)
            self.assertEqual(facts(compiled), facts(entry))
            self.assertEqual(compiled.remaining(1010.0), entry.remaining(1010.0))

    def test_longTimes(self) -> None:
        """
        Times that it has no room for are left to the other.
        """
        wire, layout = message([record(A, 60)])
        told: dict[str, Any] = {"createdAt": 0.0, "softExpiry": 9.0}
        for stored, auth in ((1 << 31, 1), (1, 1 << 31)):
            times = {"storedTTL": stored, "authTTL": auth}
            made = CompiledEntry.restore(wire, 0, POLICY, **times, **told)
            self.assertIs(made, NotImplemented)
            entry = restoreEntry(wire, layout, 0, POLICY, **times, **told)
            assert entry is not None
            self.assertEqual((entry.storedTTL, entry.authTTL), (stored, auth))

    def test_unusual(self) -> None:
        """
        What isn't one question's sound message is left to Python.
        """
        wire = bytearray(message([record(A, 60)])[0])
        wire[5] = 2
        for octets in (bytes(wire), b"", bytes(wire[:-1])):
            self.assertIs(CompiledEntry.make(octets, 0, 0.0, POLICY), NotImplemented)

    def test_isFrozen(self) -> None:
        """
        Nothing on an entry changes.
        """
        entry = CompiledEntry.make(message([record(A, 60)])[0], 0, 0.0, POLICY)
        with self.assertRaises(AttributeError):
            entry.storedTTL = 5
        self.assertLess(entry.size, len(entry.wire) + 1000)
