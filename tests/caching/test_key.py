# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.key}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.key import InvalidKey, Key, fromStoreText, keyOf, storeText
from dnsguard.policy.view import View
from dnsguard.query import Asker, ClientQuery
from dnsguard.wire.edns import EDNS
from dnsguard.wire.names import ROOT, fromText

WWW = fromText("www.example.org")

names = st.lists(st.binary(min_size=1, max_size=12), max_size=6).map(
    lambda parts: b"".join(bytes([len(part)]) + part for part in parts).lower() + b"\0"
)
tricky = st.lists(
    st.text(alphabet="a1:.\\{}* do0", min_size=1, max_size=6).map(str.encode), max_size=4
).map(lambda parts: b"".join(bytes([len(part)]) + part for part in parts) + b"\0")
numbers = st.integers(0, 0xFFFF)
keys = st.tuples(names | tricky, numbers, numbers, st.integers(0, 3))


class KeyTests(SynchronousTestCase):
    """
    Tests for L{keyOf}.
    """

    def test_tellsDNSSECVariantsApart(self) -> None:
        """
        Queries that differ in DO or CD have different keys; an OPT record
        without DO makes no difference.
        """
        do = EDNS(dnssecOK=True)
        variants = [
            ClientQuery(WWW),
            ClientQuery(WWW, edns=do),
            ClientQuery(WWW, checkingDisabled=True),
            ClientQuery(WWW, edns=do, checkingDisabled=True),
        ]
        self.assertEqual([keyOf(query)[3] for query in variants], [0, 1, 2, 3])
        self.assertEqual(keyOf(ClientQuery(WWW, edns=EDNS())), keyOf(variants[0]))

    def test_doesNotKnowWhoAsks(self) -> None:
        """
        Who asks, and under which policy, isn't part of the key.
        """
        asked = ClientQuery(WWW, asker=Asker("192.0.2.1"), view=View(3), wantsAD=True)
        self.assertEqual(keyOf(asked), keyOf(ClientQuery(WWW)))

    def test_tellsTypeAndClassApart(self) -> None:
        """
        Name, type and class are all part of the key.
        """
        self.assertEqual(keyOf(ClientQuery(WWW, 28, 3)), (WWW, 28, 3, 0))


class StoreTextTests(SynchronousTestCase):
    """
    Tests for L{storeText} and L{fromStoreText}.
    """

    def test_documentedForm(self) -> None:
        """
        Ordinary keys have the documented text.
        """
        for text, key in [
            ("dns:www.example.org:1:1", (WWW, 1, 1, 0)),
            ("dns::2:1", (ROOT, 2, 1, 0)),
            ("dns:_dns._udp.example.org:33:1", (fromText("_dns._udp.example.org"), 33, 1, 0)),
            ("dns:www.example.org:28:1:do", (WWW, 28, 1, 1)),
            ("dns:www.example.org:28:1:cd", (WWW, 28, 1, 2)),
            ("dns:www.example.org:28:1:do:cd", (WWW, 28, 1, 3)),
        ]:
            self.assertEqual(storeText(key), text)
            self.assertEqual(fromStoreText(text), key)

    def test_oddOctetsAreEscaped(self) -> None:
        """
        Colons, braces, dots inside labels and unprintable octets are escaped.
        """
        self.assertEqual(storeText((b"\x03a:b\0", 1, 1, 0)), "dns:a\\058b:1:1")
        self.assertEqual(storeText((b"\x03{a}\0", 1, 1, 0)), "dns:\\123a\\125:1:1")
        self.assertEqual(storeText((b"\x03a.b\0", 1, 1, 0)), "dns:a\\.b:1:1")
        self.assertEqual(storeText((b"\x02\0\xff\0", 1, 1, 0)), "dns:\\000\\255:1:1")

    @settings(max_examples=300, deadline=None)
    @given(keys)
    def test_readsWhatItWrites(self, key: Key) -> None:
        """
        Every key is read back from its text, hence no two share one; and the
        text is ASCII without a stray brace.
        """
        text = storeText(key)
        self.assertEqual(fromStoreText(text), key)
        self.assertTrue(text.isascii())
        self.assertNotIn("{", text)

    def test_otherTextIsRefused(self) -> None:
        """
        What L{storeText} would never write is no key.
        """
        for text in [
            "",
            "dns:",
            "dns:a:1",
            "dns:a:b:1:1",
            "dns:a:1:1:xx",
            "dns:a:1:1:cd:do",
            "dns:a:65536:1",
            "dns:a:01:1",
            "dns:A:1:1",
            "dns:a.:1:1",
            "dns:a..b:1:1",
            "dns:.:1:1",
            "dns:\\1:1:1",
            "dns:ä:1:1",
            "dnsmeta:hit:dns:a:1:1",
        ]:
            with self.assertRaises(InvalidKey, msg=text):
                fromStoreText(text)
