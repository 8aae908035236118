# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.names}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.kinds import ScalarKind
from dnsguard.config.names import MAX_PATTERN, Domain, Rule


class DomainTests(SynchronousTestCase):
    """
    Tests for L{Domain}.
    """

    def test_read(self) -> None:
        """
        Names come out in lower case, as A-labels, without final dot.
        """
        for text, name in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            (" example.org ", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("_dmarc.example.org", "_dmarc.example.org"),
            ("1.2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa"),
            ("com", "com"),
        ]:
            self.assertEqual(Domain().read(text), name)

    def test_refused(self) -> None:
        """
        What can't be a name is refused, with a reason.
        """
        for text in [
            "", ".", "..", "a..b", ".a", "a b", "a/b", "x" * 64, ".".join(["abcdefgh"] * 30),
            "*.example.org", "https://example.org", "a\tb", "\u2488com\u200b.", "a\"b",
        ]:  # fmt: skip
            error = self.assertRaises(ValueError, Domain().read, text)
            self.assertTrue(str(error), text)

    def test_wildcard(self) -> None:
        """
        Where it's allowed, one star may stand in front.
        """
        kind = Domain(wildcard=True)
        self.assertEqual(kind.read("*.Example.org"), "*.example.org")
        for text in ["*", "*.", "*.*.example.org", "a.*.example.org", "*a.example.org"]:
            self.assertRaises(ValueError, kind.read, text)


class RuleTests(SynchronousTestCase):
    """
    Tests for L{Rule}.
    """

    def test_domains(self) -> None:
        """
        A domain is a rule; a leading C{*.} says what is so already.
        """
        self.assertEqual(Rule().read("Ads.example."), "ads.example")
        self.assertEqual(Rule().read("*.ads.example"), "ads.example")

    def test_patterns(self) -> None:
        """
        C{/pattern/} is kept as it was written.
        """
        for text in ["/^ads[0-9]+\\./", "/a|b/", "/A/"]:
            self.assertEqual(Rule().read(text), text)

    def test_badPatterns(self) -> None:
        """
        Patterns that can't be searched for in linear time, or would match
        everything, or are endless, are refused with the reason.
        """
        for text, words in [
            # The reason is in the library's words.
            ("/(/", "not a regular expression: "),
            ("/(a)\\1/", "not a regular expression: "),
            ("/(?=a)/", "not a regular expression: "),
            ("//", "every name"),
            (f"/{'a' * (MAX_PATTERN + 1)}/", "2048"),
        ]:
            self.assertIn(words, str(self.assertRaises(ValueError, Rule().read, text)))

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from([Rule(), Domain(), Domain(wildcard=True)]), st.text(max_size=40))
    def test_anyText(self, kind: ScalarKind, text: str) -> None:
        """
        Any text is read or refused, and what was read is read again the same.
        """
        try:
            value = kind.read(text)
        except ValueError:
            return
        self.assertEqual(kind.read(value), value)
