# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.keys}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.key import Key, storeText
from dnsguard.redis.keys import Names, answerName, answerPatterns, readAnswerName
from dnsguard.wire.names import ROOT, fromText
from tests.caching.test_key import keys
from tests.redis.entries import keyFor

usual = st.tuples(
    st.lists(st.text(alphabet="az09-_", min_size=1, max_size=63), max_size=3).map(
        lambda labels: fromText(".".join(labels)) if labels else ROOT
    ),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 3),
)


class NameTests(SynchronousTestCase):
    """
    What things are called.
    """

    def test_answers(self) -> None:
        """
        An answer's name is the documented one, and is read back.
        """
        for key, name in [
            (keyFor(), b"dns:www.example.org:1:1"),
            (keyFor(flags=3), b"dns:www.example.org:1:1:do:cd"),
            ((ROOT, 2, 1, 0), b"dns::2:1"),
            ((b"\x03a{b\x03org\x00", 1, 1, 0), b"dns:a\\123b.org:1:1"),
            ((b"\x03_-9\x00", 65535, 10, 1), b"dns:_-9:65535:10:do"),
        ]:
            self.assertEqual(answerName(key), name)
            self.assertEqual(readAnswerName(name), key)

    @settings(max_examples=300, deadline=None)
    @given(keys | usual)
    def test_compiled(self, key: Key) -> None:
        """
        Compiled or not, it is the same name.
        """
        self.assertEqual(answerName(key), storeText(key).encode("ascii"))

    def test_strangers(self) -> None:
        """
        What isn't an answer's name is nobody's.
        """
        for name in (b"", b"dns:", b"dns:A.example:1:1", b"dns:a:1", b"sess:1", b"dns:\xff:1:1"):
            self.assertIsNone(readAnswerName(name))

    def test_documented(self) -> None:
        """
        The other names are the documented ones.
        """
        names = Names()
        self.assertEqual(names.index, b"dnsmeta:expiry:index")
        self.assertEqual(names.lock(b"dns:a:1:1"), b"dnsmeta:refresh:dns:a:1:1")
        self.assertEqual(names.hits(b"dns:a:1:1"), b"dnsmeta:hit:dns:a:1:1")
        self.assertEqual(names.sweepHits(b"dns:a:1:1"), b"dnsmeta:hit:sweep:dns:a:1:1")
        self.assertEqual(names.task("sweep"), b"dnsmeta:task:sweep")
        self.assertEqual(names.patterns, (b"dns:*", b"dnsmeta:*"))

    def test_cluster(self) -> None:
        """
        In a cluster all metadata share a slot.
        """
        names = Names(cluster=True)
        for name in (names.index, names.clearings, names.lock(b"x"), names.hits(b"x")):
            self.assertTrue(name.startswith(b"{dnsmeta}:"))
        self.assertEqual(names.patterns[1], b"{dnsmeta}:*")

    def test_patterns(self) -> None:
        """
        Patterns find a name, or those below it, and letters that mean
        something in a pattern don't.
        """
        name = fromText("example.org")
        self.assertEqual(answerPatterns(name, False), (b"dns:example.org:*",))
        self.assertEqual(
            answerPatterns(name, True), (b"dns:example.org:*", b"dns:*.example.org:*")
        )
        self.assertEqual(answerPatterns(ROOT, False), (b"dns::*",))
        self.assertEqual(answerPatterns(ROOT, True), (b"dns:*",))
        self.assertEqual(answerPatterns(b"\x03*[a\x00", False), (b"dns:\\*\\[a:*",))
