# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.message}.
"""

from __future__ import annotations

import secrets

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.upstream.message import Entropy, mixCase, query
from dnsguard.wire.layout import scan
from tests.support.upstreams import QNAME, QUESTION

names = st.lists(st.binary(min_size=1, max_size=20), max_size=6).map(
    lambda labels: b"".join(bytes([len(label)]) + label for label in labels).lower() + b"\0"
)


class EntropyTests(SynchronousTestCase):
    """
    Tests for L{Entropy}.
    """

    def test_takesWhatIsAsked(self) -> None:
        """
        Octets are never given twice, also where a batch ends.
        """
        entropy = Entropy(batch=32)
        taken = [entropy.take(20) for _ in range(50)]
        self.assertEqual({len(each) for each in taken}, {20})
        self.assertEqual(len(set(taken)), 50)

    @settings(max_examples=200, deadline=None)
    @given(names, st.integers(0))
    def test_mixingKeepsTheName(self, name: bytes, chance: int) -> None:
        """
        Only ASCII letters change, and only in case.
        """
        self.assertEqual(mixCase(name, chance).lower(), name)

    def test_mixingMixes(self) -> None:
        """
        Each letter takes both cases.
        """
        mixed = [mixCase(QNAME, secrets.randbits(8 * len(QNAME))) for _ in range(200)]
        for at, octet in enumerate(QNAME):
            seen = {each[at] for each in mixed}
            self.assertEqual(len(seen), 2 if 0x61 <= octet <= 0x7A else 1)


class QueryTests(SynchronousTestCase):
    """
    Tests for L{query}.
    """

    def test_query(self) -> None:
        """
        A query asks for recursion and says that it knows AD; its OPT record
        has a payload size of 1232, DO as asked, and no options.
        """
        layout = scan(query(b"\1\2", QUESTION, dnssecOK=True, checkingDisabled=True, edns=True))
        self.assertEqual((layout.id, layout.flags), (0x0102, 0x0130))
        self.assertEqual((layout.name, layout.type, layout.cls), (QNAME, 1, 1))
        assert layout.edns is not None
        self.assertTrue(layout.edns.dnssecOK)
        self.assertEqual(layout.edns.payloadSize, 1232)
        self.assertEqual(layout.edns.options, ())
        layout = scan(query(b"\1\2", QUESTION, dnssecOK=False, checkingDisabled=False, edns=True))
        assert layout.edns is not None
        self.assertEqual((layout.flags, layout.edns.dnssecOK), (0x0120, False))

    def test_plain(self) -> None:
        """
        A plain query has neither OPT record nor AD.
        """
        layout = scan(query(b"\1\2", QUESTION, dnssecOK=True, checkingDisabled=True, edns=False))
        self.assertEqual((layout.flags, layout.counts), (0x0110, (1, 0, 0, 0)))
