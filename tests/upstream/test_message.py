# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.message}.
"""

from __future__ import annotations

import secrets

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.upstream.message import CHANCE, Entropy, compose, pythonCompose, queryParts
from dnsguard.wire.layout import Layout, scan
from tests.support.upstreams import QNAME, QUESTION, TAIL

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


class ComposeTests(SynchronousTestCase):
    """
    Tests for L{compose} and L{queryParts}.
    """

    def compose(self, dnssecOK: bool, checkingDisabled: bool, edns: bool) -> Layout:
        """
        The layout of a query.
        """
        header, opt = queryParts(dnssecOK, checkingDisabled, edns)
        octets = b"\0\1\2\3\4" + b"\xff" * len(QNAME)
        lot, id, sent, message = compose(octets, 0, QNAME, TAIL, True, header, opt)
        self.assertEqual((lot, id), (0x000102, b"\3\4"))
        self.assertEqual(sent, b"\3WWW\7EXAMPLE\3ORG\0" + TAIL)
        self.assertEqual((message[:2], message[12 : 12 + len(sent)]), (id, sent))
        return scan(message)

    def test_query(self) -> None:
        """
        A query asks for recursion and says that it knows AD; its OPT record
        has a payload size of 1232, DO as asked, and no options.
        """
        layout = self.compose(True, True, True)
        self.assertEqual((layout.name, layout.type, layout.cls), (QNAME, 1, 1))
        assert layout.edns is not None
        self.assertEqual((layout.flags, layout.edns.dnssecOK), (0x0130, True))
        self.assertEqual((layout.edns.payloadSize, layout.edns.options), (1232, ()))
        layout = self.compose(False, False, True)
        assert layout.edns is not None
        self.assertEqual((layout.flags, layout.edns.dnssecOK), (0x0120, False))

    def test_plain(self) -> None:
        """
        A plain query has neither OPT record nor AD.
        """
        layout = self.compose(True, True, False)
        self.assertEqual((layout.flags, layout.counts), (0x0110, (1, 0, 0, 0)))

    def test_tooFewOctets(self) -> None:
        """
        Nothing is left to less than chance.
        """
        octets = b"x" * (CHANCE + len(QNAME) - 1)
        for each in (compose, pythonCompose):
            for start in (-1, 0, 1, len(octets), len(octets) + 1):
                self.assertRaises(ValueError, each, octets, start, QNAME, TAIL, True, b"", b"")

    def test_mixingMixes(self) -> None:
        """
        Each letter takes both cases, and nothing else changes.
        """
        for each in (compose, pythonCompose):
            mixed = [
                each(secrets.token_bytes(CHANCE + len(QNAME)), 0, QNAME, TAIL, True, b"", b"")[2]
                for _ in range(200)
            ]
            for at, octet in enumerate(QUESTION):
                seen = {sent[at] for sent in mixed}
                self.assertEqual(len(seen), 2 if 0x61 <= octet <= 0x7A else 1)
                self.assertLessEqual({chr(got).lower() for got in seen}, {chr(octet)})

    @settings(max_examples=300, deadline=None)
    @given(
        names,
        st.binary(min_size=CHANCE + 255 + 50, max_size=CHANCE + 255 + 50),
        st.integers(0, 50),
        st.binary(min_size=4, max_size=4),
        st.booleans(),
        st.binary(max_size=12),
        st.binary(max_size=12),
    )
    def test_same(
        self,
        name: bytes,
        octets: bytes,
        start: int,
        tail: bytes,
        mix: bool,
        header: bytes,
        opt: bytes,
    ) -> None:
        """
        Compiled or not, the same comes out, and only ASCII letters of the
        name change, in case alone.
        """
        lot, id, sent, message = compose(octets, start, name, tail, mix, header, opt)
        self.assertEqual(
            (lot, id, sent, message), pythonCompose(octets, start, name, tail, mix, header, opt)
        )
        self.assertEqual(id, octets[start + 3 : start + 5])
        self.assertEqual((sent[: len(name)].lower(), sent[len(name) :]), (name, tail))
        self.assertEqual(message, id + header + sent + opt)
        if not mix:
            self.assertEqual(sent, name + tail)
