# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.safesearch}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.safesearch import Engine, SafeSearch, SafeSearchSpec
from dnsguard.wire.names import fromText, toText

EXPECTED = {
    "forcesafesearch.google.com": [
        "google.com",
        "www.google.com",
        "www.google.de",
        "google.co.uk",
        "www.google.com.au",
        "www.google.co.in",
        "www.google.cat",
        "www.google.ws",
    ],
    "strict.bing.com": ["bing.com", "www.bing.com", "edgeservices.bing.com"],
    "safe.duckduckgo.com": ["duckduckgo.com", "www.duckduckgo.com", "start.duckduckgo.com"],
    "strict-safe-search.ecosia.org": ["www.ecosia.org"],
    "safesearch.pixabay.com": ["pixabay.com"],
    "forcesafe.search.brave.com": ["search.brave.com"],
    "restrict.youtube.com": [
        "www.youtube.com",
        "m.youtube.com",
        "youtubei.googleapis.com",
        "youtube.googleapis.com",
        "www.youtube-nocookie.com",
    ],
}


class SafeSearchTests(SynchronousTestCase):
    """
    Tests for L{SafeSearch}.
    """

    def test_table(self) -> None:
        """
        Each engine's names lead to its strict name.
        """
        search = SafeSearch.of(Engine)
        for target, names in EXPECTED.items():
            for name in names:
                rewrite = search.find(fromText(name))
                assert rewrite is not None, name
                self.assertEqual(toText(rewrite.target), target)

    def test_yandexHasAnAddress(self) -> None:
        """
        Yandex has no strict name but a strict address.
        """
        for name in ("yandex.ru", "www.yandex.com.tr", "ya.ru", "www.xn--d1acpjx3f.xn--p1ai"):
            rewrite = SafeSearch.of(Engine).find(fromText(name))
            assert rewrite is not None, name
            self.assertEqual(rewrite.target, b"")
            self.assertEqual(rewrite.addresses, (bytes([213, 180, 193, 56]),))

    def test_otherNames(self) -> None:
        """
        No other name is touched: not the strict names, nor other services of
        the same houses.
        """
        search = SafeSearch.of(Engine)
        for name in ("maps.google.com", "mail.yandex.ru", "example.org", *EXPECTED):
            self.assertIsNone(search.find(fromText(name)), name)

    def test_allCountriesOfGoogle(self) -> None:
        """
        All 194 country names of Google are known, bare and with www.
        """
        self.assertEqual(len(SafeSearch.of([Engine.GOOGLE])), 2 * 194)

    def test_strictNameOfYouTube(self) -> None:
        """
        YouTube is restricted strictly or moderately.
        """
        rewrite = SafeSearch.of([Engine.YOUTUBE], "moderate").find(fromText("m.youtube.com"))
        assert rewrite is not None
        self.assertEqual(toText(rewrite.target), "restrictmoderate.youtube.com")


class SpecTests(SynchronousTestCase):
    """
    Tests for L{SafeSearch.build}.
    """

    def engines(self, spec: SafeSearchSpec) -> set[Engine]:
        """
        The engines that a spec switches on.
        """
        search = SafeSearch.build(spec)
        names = {
            Engine.GOOGLE: "www.google.com",
            Engine.BING: "www.bing.com",
            Engine.DUCKDUCKGO: "duckduckgo.com",
            Engine.YOUTUBE: "www.youtube.com",
            Engine.ECOSIA: "www.ecosia.org",
            Engine.PIXABAY: "pixabay.com",
            Engine.YANDEX: "yandex.ru",
            Engine.BRAVE: "search.brave.com",
        }
        return {engine for engine, name in names.items() if search.find(fromText(name))}

    def test_switches(self) -> None:
        """
        Searches are on unless switched off, YouTube is off unless asked for.
        """
        every = set(Engine)
        self.assertEqual(self.engines(SafeSearchSpec()), set())
        self.assertEqual(self.engines(SafeSearchSpec(True)), every - {Engine.YOUTUBE})
        self.assertEqual(self.engines(SafeSearchSpec(True, (("youtube", True),))), every)
        self.assertEqual(self.engines(SafeSearchSpec(True, youtube="moderate")), every)
        self.assertEqual(
            self.engines(SafeSearchSpec(True, (("youtube", True),), "off")),
            every - {Engine.YOUTUBE},
        )
        self.assertEqual(
            self.engines(SafeSearchSpec(True, (("bing", False),))),
            every - {Engine.YOUTUBE, Engine.BING},
        )

    def test_problems(self) -> None:
        """
        Unknown engines and degrees of strictness are told of, also while all
        of it is off.
        """
        spec = SafeSearchSpec(False, (("gogle", True),), youtube="hard", place="safe_search")
        invalid = self.assertRaises(InvalidPolicy, SafeSearch.build, spec)
        self.assertEqual(
            [problem.place for problem in invalid.problems],
            ["safe_search.gogle", "safe_search.youtube"],
        )
        self.assertIn("did you mean 'google'?", str(invalid))
