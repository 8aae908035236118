# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for reading block lists.
"""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.listparser import (
    MAX_EXAMPLES,
    MAX_LINE,
    ListSummary,
    Rejection,
    looksLikePage,
    nameOf,
    parseLine,
    parseList,
)
from dnsguard.policy.setformat import Scope
from dnsguard.wire.names import MAX_NAME, fromText, labels, toText


def parsed(*chunks: bytes) -> tuple[list[tuple[str, int, int]], ListSummary]:
    """
    What a list of these octets gives.
    """
    found: list[tuple[str, int, int]] = []
    summary = parseList(chunks, lambda *entry: found.append((toText(entry[0]), *entry[1:])))
    return sorted(found, key=lambda entry: entry[1]), summary


class LineTests(SynchronousTestCase):
    """
    L{parseLine}.
    """

    def accepts(self, line: str | bytes, *expected: str, scope: int = Scope.SUBTREE) -> None:
        """
        The line gives these names and nothing is wrong with it, also when it
        comes in a list, where most lines take a shorter way.
        """
        line = line.encode("utf-8") if isinstance(line, str) else line
        wanted = [(fromText(name), scope) for name in expected]
        self.assertEqual(parseLine(line), (wanted, None), line)
        found, summary = parsed(line)
        self.assertEqual(found, [(name, 1, scope) for name in expected], line)
        self.assertEqual(summary.rejected, 0)

    def rejects(self, reason: Rejection, *lines: str | bytes) -> None:
        """
        Each line gives nothing but this reason.
        """
        for line in lines:
            line = line.encode("utf-8") if isinstance(line, str) else line
            self.assertEqual(parseLine(line), ([], reason), line)
            found, summary = parsed(line)
            self.assertEqual((found, summary.reasons), ([], {reason: 1}), line)

    def test_plain(self) -> None:
        """
        A domain alone on a line is one entry.
        """
        self.accepts("ads.example.org", "ads.example.org")
        self.accepts("  Ads.Example.ORG.\r", "ads.example.org")
        self.accepts("_dmarc.a-.-b.example.org", "_dmarc.a-.-b.example.org")
        self.accepts("xn--bcher-kva.example", "xn--bcher-kva.example")

    def test_hosts(self) -> None:
        """
        A hosts line gives all its names, whatever its address.
        """
        self.accepts("0.0.0.0 ads.example.org", "ads.example.org")
        self.accepts("127.0.0.1\tads.example.org", "ads.example.org")
        self.accepts(
            "0.0.0.0 a.example b.example\tc.example", "a.example", "b.example", "c.example"
        )
        for address in ["::", "::1", "192.0.2.7", "2001:db8::1", "fe80::1%lo0"]:
            self.accepts(f"{address} ads.example.org", "ads.example.org")

    def test_hostsOwnNames(self) -> None:
        """
        What a hosts file says of its own machine is neither listed nor wrong.
        """
        for line in [
            "127.0.0.1 localhost",
            "127.0.0.1 localhost.localdomain",
            "::1 ip6-localhost ip6-loopback",
            "255.255.255.255 broadcasthost",
            "0.0.0.0 0.0.0.0",
            "127.0.0.1 local",
            "localhost",
            "localhost.localdomain",
        ]:
            self.accepts(line)

    def test_hostsLineWithBadName(self) -> None:
        """
        A bad name on a hosts line doesn't take the good ones with it.
        """
        names, reason = parseLine(b"0.0.0.0 a.example b..example c.example")
        self.assertEqual(
            [name for name, _ in names], [fromText("a.example"), fromText("c.example")]
        )
        self.assertEqual(reason, Rejection.NOT_A_NAME)

    def test_wildcard(self) -> None:
        """
        C{*.domain} is the domain and all below it, a top-level one too.
        """
        self.accepts("*.ads.example.org", "ads.example.org")
        self.accepts("*.zip", "zip")

    def test_anchored(self) -> None:
        """
        C{||domain^} is the domain and all below it; with C{*.} only those.
        """
        self.accepts("||ads.example.org^", "ads.example.org")
        self.accepts("||ads.example.org^|", "ads.example.org")
        self.accepts("||ads.example.org", "ads.example.org")
        self.accepts("||zip^", "zip")
        self.accepts("||*.ads.example.org^", "ads.example.org", scope=Scope.BELOW)

    def test_comments(self) -> None:
        """
        Comments and blank lines are passed over; so is what stands behind a
        name.
        """
        for line in ["", "  ", "# a", "#a", "! a", "#", "[Adblock Plus 2.0]", "; a", "// a",
                     "########", "#*.example.org", "# a ## b", "## Heading"]:  # fmt: skip
            self.accepts(line)
        self.accepts("ads.example.org # why", "ads.example.org")
        self.accepts("ads.example.org ! why", "ads.example.org")
        self.accepts("0.0.0.0 ads.example.org#why", "ads.example.org")
        self.accepts("||ads.example.org^ # why", "ads.example.org")

    def test_unicode(self) -> None:
        """
        Names in other scripts become A-labels.
        """
        self.accepts("Bücher.example", "xn--bcher-kva.example")
        self.accepts("||bücher.example^", "xn--bcher-kva.example")
        self.accepts("0.0.0.0 bücher.example", "xn--bcher-kva.example")
        self.rejects(Rejection.NOT_A_NAME, "a\u2192b.example")
        self.rejects(Rejection.BINARY, b"b\xfccher.example")

    def test_wholeTopLevel(self) -> None:
        """
        A top-level domain must be named on purpose.
        """
        self.rejects(Rejection.TOP_LEVEL, "com", "0.0.0.0 com", "com.", "https://com/")

    def test_options(self) -> None:
        """
        An AdBlock rule with options isn't a rule for all cases.
        """
        self.rejects(
            Rejection.OPTIONS,
            "||example.org^$third-party",
            "||example.org^$important",
            "||example.org^$client=a",
            "||example.org^$badfilter",
            "example.org$script",
        )

    def test_exceptions(self) -> None:
        """
        An exception isn't a block.
        """
        self.rejects(Rejection.EXCEPTION, "@@||example.org^", "@@example.org", "@@/x/")

    def test_cosmetic(self) -> None:
        """
        Hiding parts of a page isn't blocking its site.
        """
        self.rejects(
            Rejection.COSMETIC,
            "example.org##.ad",
            "example.org#@#.ad",
            "example.org#?#div:has(.ad)",
            "example.org#$#body { }",
            "##.ad",
            "###banner",
            "#@#.ad",
        )

    def test_patterns(self) -> None:
        """
        Patterns that match more or other names than one domain are rejected.
        """
        self.rejects(
            Rejection.PATTERN,
            "|example.org^",
            "example.org^",
            "||example.*^",
            "||ad*.example.org^",
            "||example.",
            "ads*.example.org",
            "*",
            "*ads.example",
            "||*^",
            "example.org^ example.com^",
            "||example.org^#x",
        )
        self.rejects(Rejection.NOT_A_NAME, "||^", "*.", "||")

    def test_regexes(self) -> None:
        """
        Regular expressions are rejected.
        """
        self.rejects(
            Rejection.REGEX, "/ads[0-9]/", "/^ad/$client=x", "^ad(s|x)?[0-9]*", r"(^|\.)x\.y"
        )

    def test_pages(self) -> None:
        """
        The address of a page doesn't block its site; that of a site does.
        """
        self.rejects(
            Rejection.URL,
            "https://example.org/ads.js",
            "http://example.org:8080/",
            "http://example.org/x",
            "||example.org/ads^",
            "example.org/ads",
            "/ads.js",
        )
        self.rejects(Rejection.PATTERN, "http://example.org/#x")
        self.accepts("https://example.org/", "example.org")
        self.accepts("http://example.org", "example.org")

    def test_addresses(self) -> None:
        """
        An address isn't a name.
        """
        self.rejects(
            Rejection.ADDRESS, "192.0.2.1", "||192.0.2.1^", "0.0.0.0 192.0.2.1", "2001:db8::1"
        )

    def test_otherSyntaxes(self) -> None:
        """
        Lines of other programs' files are rejected.
        """
        self.rejects(Rejection.DNSMASQ, "address=/example.org/#", "server=/example.org/")
        self.rejects(
            Rejection.SEVERAL_WORDS, "example.org IN CNAME .", 'local-zone: "example.org." refuse'
        )

    def test_notNames(self) -> None:
        """
        What can't be a name is rejected: empty or long labels, long names,
        odd letters, a top label of digits.
        """
        self.rejects(
            Rejection.NOT_A_NAME,
            "a..example",
            ".example.org",
            "a" * 64 + ".example",
            "a." * 126 + "example",
            "a,b.example",
            "example.123",
            "<html>",
        )

    def test_binary(self) -> None:
        """
        Control octets make a line binary, wherever they stand.
        """
        self.rejects(Rejection.BINARY, b"a\0b.example", b"#x\0", b"\x7fELF", b"a\x08.example")

    def test_longLine(self) -> None:
        """
        A line over the limit is rejected, one at it isn't.
        """
        self.rejects(Rejection.TOO_LONG, b"a.example" + b" " * MAX_LINE)
        self.accepts(b"a.example".ljust(MAX_LINE), "a.example")

    def test_name(self) -> None:
        """
        L{nameOf} takes single labels, unlike a list.
        """
        self.assertEqual(nameOf(b"Org."), fromText("org"))
        self.assertEqual(nameOf(b""), Rejection.NOT_A_NAME)

    @given(st.binary(max_size=60) | st.text("az.*|^$#@!/:0 19é-", max_size=30).map(str.encode))
    @settings(max_examples=400, deadline=None)
    def test_anyLine(self, line: bytes) -> None:
        """
        Whatever a line holds, it gives well-formed names or a reason.
        """
        names, reason = parseLine(line)
        for name, scope in names:
            self.assertTrue(0 < len(name) <= MAX_NAME)
            self.assertEqual(fromText(toText(name)), name)
            self.assertTrue(all(0 < len(label) <= 63 for label in labels(name)))
            self.assertIn(scope, list(Scope))
        self.assertTrue(reason is None or isinstance(reason, Rejection))

    @given(st.from_regex(rb"(0\.0\.0\.0 |\*\.|\|\|)?[a-z0-9.-]{1,70}\^?\r?", fullmatch=True))
    @settings(max_examples=400, deadline=None)
    def test_shortWay(self, line: bytes) -> None:
        """
        The short way that most lines take gives what L{parseLine} gives.
        """
        names, reason = parseLine(line)
        found: list[tuple[bytes, int]] = []
        summary = parseList([line], lambda name, line, scope: found.append((name, scope)))
        self.assertEqual(found, names)
        self.assertEqual(list(summary.reasons), [] if reason is None else [reason])


class ListTests(SynchronousTestCase):
    """
    L{parseList}.
    """

    def test_lineNumbers(self) -> None:
        """
        Lines are counted from 1, comments and bad ones included, and with any
        line end.
        """
        found, summary = parsed(b"# x\r\na.example\r\n\n?\nb.example")
        self.assertEqual(found, [("a.example", 2, 0), ("b.example", 5, 0)])
        self.assertEqual((summary.lines, summary.entries, summary.rejected), (5, 2, 1))

    def test_anyCut(self) -> None:
        """
        Where the octets are cut makes no difference.
        """
        data = b"\xef\xbb\xbfa.example\n0.0.0.0 b.example c.example\n||d.example^$x\ne.example\n"
        whole = parsed(data)
        self.assertEqual(len(whole[0]), 4)
        for at in range(3, len(data)):
            self.assertEqual(parsed(data[:at], b"", data[at:]), whole)

    def test_byteOrderMark(self) -> None:
        """
        A byte order mark isn't part of the first name.
        """
        self.assertEqual(parsed(b"\xef\xbb\xbfa.example\n")[0], [("a.example", 1, 0)])

    def test_utf16(self) -> None:
        """
        A list in UTF-16 is all binary.
        """
        found, summary = parsed("a.example\nb.example\n".encode("utf-16"))
        self.assertEqual(found, [])
        self.assertEqual(list(summary.reasons), [Rejection.BINARY])

    def test_hugeLine(self) -> None:
        """
        An endless line is one rejected line, isn't kept, and the list goes on.
        """

        def chunks() -> list[bytes]:
            return [b"a.example\n", *[b"x" * 65536] * 200, b"\nb.example\n"]

        pieces = chunks()
        tracemalloc.start()
        try:
            found, summary = parsed(*pieces)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertEqual(found, [("a.example", 1, 0), ("b.example", 3, 0)])
        self.assertEqual(summary.reasons, {Rejection.TOO_LONG: 1})
        self.assertTrue(peak < 1 << 20, peak)

    def test_examples(self) -> None:
        """
        The first rejected lines are kept, shortened and safe to print.
        """
        _, summary = parsed(b"\x1b[31mred\n" + b"x" * 200 + b".?\n" + b"?\n" * 50)
        self.assertEqual(summary.rejected, 52)
        self.assertEqual(len(summary.examples), MAX_EXAMPLES)
        self.assertEqual(str(summary.examples[0]), "line 1: octets that are no text: \\x1b[31mred")
        self.assertEqual(len(summary.examples[1].text), 80)

    def test_empty(self) -> None:
        """
        An empty list is no error here.
        """
        self.assertEqual(parsed()[1].lines, 0)
        self.assertEqual(parsed(b"")[1].lines, 0)

    @given(st.lists(st.binary(max_size=300), max_size=6))
    @settings(max_examples=150, deadline=None)
    def test_anyOctets(self, chunks: list[bytes]) -> None:
        """
        Any octets are read to their end, each line once.
        """
        data = b"".join(chunks).removeprefix(b"\xef\xbb\xbf")
        summary = parsed(*chunks)[1]
        self.assertEqual(summary.lines, len(data.removesuffix(b"\n").split(b"\n")) if data else 0)


class PageTests(SynchronousTestCase):
    """
    L{looksLikePage}.
    """

    def test_pages(self) -> None:
        """
        HTML and XML documents are told from lists.
        """
        for text in [
            b"<!DOCTYPE html><html>",
            b"\n <html lang=en>",
            b"\xef\xbb\xbf<HTML>",
            b"<!-- x -->\n<!doctype HTML PUBLIC>",
            b"<?xml version='1.0'?>",
        ]:
            self.assertTrue(looksLikePage(text), text)
        for text in [b"", b"# <html>", b"a.example\n<html>", b"<htmlish"]:
            self.assertFalse(looksLikePage(text), text)
