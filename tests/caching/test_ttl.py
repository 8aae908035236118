# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.ttl}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.ttl import TTLPolicy, authTTL, hasData
from dnsguard.wire.layout import QR, TC
from tests.caching.messages import AAAA, ANY, CNAME, NS, RRSIG, A, message, record, soa


class AuthTTLTests(SynchronousTestCase):
    """
    Tests for L{authTTL}.
    """

    def test_leastOfTheAnswers(self) -> None:
        """
        An answer with data is true for the least TTL of its answer section,
        whatever the other sections say.
        """
        found = message([record(CNAME, 900), record(A, 60)], [record(NS, 5)], [record(A, 1)])
        self.assertEqual(authTTL(*found, 0, 300), 60)

    def test_nameErrorBySOA(self) -> None:
        """
        NXDOMAIN is true for the lesser of the SOA record's TTL and MINIMUM.
        """
        self.assertEqual(authTTL(*message([], [soa(900, 60)], rCode=3), 3, 300), 60)
        self.assertEqual(authTTL(*message([], [soa(40, 60)], rCode=3), 3, 300), 40)

    def test_noDataBySOA(self) -> None:
        """
        So is NODATA.
        """
        self.assertEqual(authTTL(*message([], [soa(900, 60)]), 0, 300), 60)
        self.assertEqual(authTTL(*message([], [soa(40, 60)]), 0, 300), 40)

    def test_negativeWithoutSOA(self) -> None:
        """
        A negative answer without SOA is true for the configured time.
        """
        self.assertEqual(authTTL(*message(rCode=3), 3, 300), 300)
        self.assertEqual(authTTL(*message([], [record(NS, 900)]), 0, 300), 300)

    def test_aliasToNothingIsNoData(self) -> None:
        """
        Aliases that lead to no data of the type make a negative answer, true
        no longer than the aliases are.
        """
        self.assertEqual(authTTL(*message([record(CNAME, 900)], [soa(900, 60)]), 0, 300), 60)
        self.assertEqual(authTTL(*message([record(CNAME, 20)], [soa(900, 60)]), 0, 300), 20)
        self.assertEqual(authTTL(*message([record(CNAME, 900)]), 0, 300), 300)

    def test_aliasToNoName(self) -> None:
        """
        Aliases that lead to NXDOMAIN hold no longer than their own TTLs.
        """
        found = message([record(CNAME, 20)], [soa(900, 60)], rCode=3)
        self.assertEqual(authTTL(*found, 3, 300), 20)

    def test_zeroStaysZero(self) -> None:
        """
        A TTL of 0, or one with the top bit set, is no time at all.
        """
        self.assertEqual(authTTL(*message([record(A, 0)]), 0, 300), 0)
        self.assertEqual(authTTL(*message([record(A, 0x80000001)]), 0, 300), 0)
        self.assertEqual(authTTL(*message([], [soa(900, 0)]), 0, 300), 0)

    def test_truncatedAnswerIsNeverTrue(self) -> None:
        """
        An answer with TC isn't to be kept.
        """
        self.assertEqual(authTTL(*message([record(A, 60)], flags=QR | TC), 0, 300), 0)


class HasDataTests(SynchronousTestCase):
    """
    Tests for L{hasData}.
    """

    def test_byType(self) -> None:
        """
        Only records of the type asked for are data; for ANY all are.
        """
        chain = [record(CNAME, 9), record(RRSIG, 9), record(A, 9)]
        for type, answers, expected in [
            (A, chain, True),
            (A, chain[:2], False),
            (AAAA, chain, False),
            (CNAME, chain[:1], True),
            (RRSIG, chain, True),
            (ANY, chain[:1], True),
            (ANY, [], False),
            (A, [], False),
        ]:
            found = hasData(*message(answers, [record(type, 9)], type=type))
            self.assertIs(found, expected, (type, len(answers)))


class TTLPolicyTests(SynchronousTestCase):
    """
    Tests for L{TTLPolicy}.
    """

    def test_clamps(self) -> None:
        """
        Short times are raised, long ones lowered.
        """
        policy = TTLPolicy(minTTL=300, maxTTL=3600)
        self.assertEqual([policy.storedTTL(ttl) for ttl in (1, 700, 86400)], [300, 700, 3600])

    def test_zeroIsNotStored(self) -> None:
        """
        What is true for no time isn't stored, whatever C{minTTL} is.
        """
        self.assertEqual(TTLPolicy(minTTL=300).storedTTL(0), 0)
        self.assertEqual(TTLPolicy(minTTL=300).storedTTL(-5), 0)

    def test_neverRaisedForHotKeysOrByWish(self) -> None:
        """
        The refresh of a hot key, or any answer with C{respectSourceTTL}, isn't
        kept longer than it is true; the upper bound holds all the same.
        """
        self.assertEqual(TTLPolicy().storedTTL(20, hot=True), 20)
        self.assertEqual(TTLPolicy().storedTTL(86400, hot=True), 3600)
        self.assertEqual(TTLPolicy(respectSourceTTL=True).storedTTL(20), 20)
        self.assertEqual(TTLPolicy(respectSourceTTL=True).storedTTL(86400), 3600)

    def test_retention(self) -> None:
        """
        What is no longer fresh is kept as long again within the grace, and at
        least while it may be served.
        """
        policy = TTLPolicy(grace=600, staleTTL=0)
        self.assertEqual([policy.retention(ttl) for ttl in (60, 3600)], [60, 600])
        self.assertEqual(TTLPolicy(grace=600, staleTTL=3600).retention(60), 3600)

    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(0, 1 << 31),
        st.integers(0, 5000),
        st.integers(1, 100000),
        st.booleans(),
        st.booleans(),
    )
    def test_bounds(self, ttl: int, least: int, most: int, hot: bool, respect: bool) -> None:
        """
        The stored TTL is 0 exactly if the answer's is, never above C{maxTTL},
        and changes nothing that lies between the bounds.
        """
        policy = TTLPolicy(minTTL=least, maxTTL=most, respectSourceTTL=respect)
        stored = policy.storedTTL(ttl, hot)
        self.assertEqual(stored == 0, ttl == 0)
        self.assertLessEqual(stored, most)
        if least <= ttl <= most:
            self.assertEqual(stored, ttl)
        if hot or respect:
            self.assertLessEqual(stored, ttl)
