# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.wire.edns}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.edns import EDE_OPTION, EDNS, ExtendedError, InvalidOPT

OPTIONS = st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=40)), max_size=5)
RECORDS = st.builds(
    EDNS,
    st.integers(0, 255),
    st.integers(0, 65535),
    st.booleans(),
    st.integers(0, 255),
    OPTIONS.map(tuple),
)


class EDNSTests(SynchronousTestCase):
    """
    Tests for L{EDNS}.
    """

    @settings(max_examples=200, deadline=None)
    @given(RECORDS, st.binary(max_size=20))
    def test_roundTrip(self, edns: EDNS, before: bytes) -> None:
        """
        What is written is read again, wherever in a message it stands.
        """
        octets = edns.encode()
        self.assertEqual(EDNS.decode(before + octets, len(before), len(before + octets)), edns)

    @settings(max_examples=300, deadline=None)
    @given(RECORDS, st.data())
    def test_cutShort(self, edns: EDNS, data: st.DataObject) -> None:
        """
        A record cut anywhere is L{InvalidOPT}.
        """
        octets = edns.encode()
        cut = data.draw(st.integers(0, len(octets) - 1))
        self.assertRaises(InvalidOPT, EDNS.decode, octets[:cut], 0, cut)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=60))
    def test_anyData(self, data: bytes) -> None:
        """
        Any option data is either options that fill it, or L{InvalidOPT}.
        """
        octets = b"\0\0\x29\x04\xd0\0\0\0\0" + len(data).to_bytes(2, "big") + data
        try:
            edns = EDNS.decode(octets, 0, len(octets))
        except InvalidOPT:
            return
        self.assertEqual(edns.encode(), octets)

    def test_owner(self) -> None:
        """
        An OPT record belongs to the root (RFC 6891 §6.1.2).
        """
        octets = b"\x01a" + EDNS().encode()
        self.assertRaises(InvalidOPT, EDNS.decode, octets, 0, len(octets))

    def test_reservedFlags(self) -> None:
        """
        Flags besides DO are read over and written clear (RFC 6891 §6.1.4).
        """
        edns = EDNS.decode(b"\0\0\x29\x04\xd0\0\0\xff\xff\0\0", 0, 11)
        self.assertEqual(edns.encode(), b"\0\0\x29\x04\xd0\0\0\x80\0\0\0")


class ExtendedErrorTests(SynchronousTestCase):
    """
    Tests for L{ExtendedError}.
    """

    def test_option(self) -> None:
        """
        The option is the code and the text in UTF-8 (RFC 8914 §2).
        """
        self.assertEqual(ExtendedError(15, "é").option(), (EDE_OPTION, b"\0\x0f\xc3\xa9"))
