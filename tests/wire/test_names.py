# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.wire.names}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.names import (
    ROOT,
    InvalidName,
    fromText,
    isAtOrBelow,
    labels,
    lower,
    parent,
    parents,
    toText,
)

LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=3)


def join(parts: list[bytes]) -> bytes:
    """
    The wire form of these labels.
    """
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


class TextTests(SynchronousTestCase):
    """
    Tests for L{toText} and L{fromText}.
    """

    @settings(max_examples=200, deadline=None)
    @given(LABELS)
    def test_roundTrip(self, parts: list[bytes]) -> None:
        """
        The text of a name, whatever octets it holds, is the text of that name
        only.
        """
        name = lower(join(parts))
        self.assertEqual(fromText(toText(name)), name)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=80))
    def test_anyText(self, text: str) -> None:
        """
        Any text is either a name that stays itself or L{InvalidName}.
        """
        try:
            name = fromText(text)
        except InvalidName:
            return
        self.assertEqual(fromText(toText(name)), name)

    def test_dotInALabel(self) -> None:
        """
        A dot inside a label isn't the dot between labels.
        """
        self.assertEqual(toText(b"\x03a.b\x03org\0"), "a\\.b.org")
        self.assertEqual(fromText("a\\.b.org."), b"\x03a.b\x03org\0")

    def test_root(self) -> None:
        """
        The root is a dot, or nothing.
        """
        self.assertEqual(toText(ROOT), ".")
        self.assertEqual((fromText("."), fromText("")), (ROOT, ROOT))

    def test_longest(self) -> None:
        """
        A name may have 255 octets on the wire and not one more.
        """
        longest = ".".join(["a" * 63] * 3 + ["b" * 61])
        self.assertEqual(len(fromText(longest)), 255)
        self.assertRaises(InvalidName, fromText, longest + "b")

    def test_refused(self) -> None:
        """
        Empty and long labels, bad escapes and letters outside ASCII are
        refused in one line that names the text.
        """
        for text in ("a..b", ".a", "..", "a" * 64, "a\\25", "a\\256", "a\\", "b\xfccher"):
            reason = str(self.assertRaises(InvalidName, fromText, text))
            self.assertIn(repr(text), reason)
            self.assertNotIn("\n", reason)


class WalkTests(SynchronousTestCase):
    """
    Tests for walking from a name to its parents.
    """

    def test_parents(self) -> None:
        """
        The parents go from the name itself to its top-level domain.
        """
        name = fromText("www.example.org")
        self.assertEqual(
            [toText(each) for each in parents(name)], ["www.example.org", "example.org", "org"]
        )
        self.assertEqual(toText(parent(name)), "example.org")
        self.assertEqual(list(parents(ROOT)), [])

    @settings(max_examples=200, deadline=None)
    @given(LABELS, LABELS)
    def test_isAtOrBelow(self, left: list[bytes], right: list[bytes]) -> None:
        """
        A name is at or below another one exactly if its last labels are the
        other's.
        """
        under = len(right) <= len(left) and left[len(left) - len(right) :] == right
        self.assertEqual(isAtOrBelow(join(left), join(right)), under)

    def test_labelBoundary(self) -> None:
        """
        Octets that end alike don't make a name a descendant.
        """
        self.assertFalse(isAtOrBelow(fromText("badexample.org"), fromText("example.org")))
        self.assertFalse(isAtOrBelow(b"\x05a\x03org\0", b"\x03org\0"))
        self.assertTrue(isAtOrBelow(fromText("example.org"), ROOT))

    @settings(max_examples=100, deadline=None)
    @given(LABELS)
    def test_labels(self, parts: list[bytes]) -> None:
        """
        The labels are what the name was joined from.
        """
        self.assertEqual(labels(join(parts)), parts)
