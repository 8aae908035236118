# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.filtering}.
"""

from __future__ import annotations

from dnsguard.config.sections.filtering import YouTubeMode
from tests.config.sections.cases import SectionCase


class BlocklistsTests(SectionCase):
    """
    Tests for C{blocklists}.
    """

    def test_read(self) -> None:
        """
        Sources, own rules, windows and limits are read.
        """
        lists = self.config(
            "blocklists:\n"
            "  sources:\n"
            "  - {name: a, url: 'https://lists.example/a.txt'}\n"
            "  - /etc/dnsguard/own.txt\n"
            "  - file:///srv/b.txt\n"
            "  - lists/c.txt\n"
            "  allowlist: [Good.example, '/^cdn[0-9]+\\./']\n"
            "  denylist: ['*.bad.example']\n"
            "  scheduled_pause: {start: 22:00, end: 06:30, days: [5, 6]}\n"
            "  family_time: {start: '17:00', end: 24:00, services: [TikTok]}\n"
            "  health_check: {}\n"
            "  max_size: 10MB\n"
            "  request_timeout: 15s\n"
        ).blocklists
        self.assertEqual(
            [source.name for source in lists.sources],
            ["a", "/etc/dnsguard/own.txt", "file:///srv/b.txt", "lists/c.txt"],
        )
        self.assertEqual(lists.allowlist, ("good.example", "/^cdn[0-9]+\\./"))
        self.assertEqual(lists.denylist, ("bad.example",))
        assert lists.scheduledPause is not None
        self.assertEqual(
            (lists.scheduledPause.start, lists.scheduledPause.end), ("22:00", "06:30")
        )
        self.assertEqual(lists.scheduledPause.days, (5, 6))
        self.assertTrue(lists.scheduledPause.enabled)
        assert lists.familyTime is not None
        self.assertEqual(lists.familyTime.end, "24:00")
        self.assertEqual(lists.familyTime.services, ("tiktok",))
        assert lists.healthCheck is not None
        self.assertTrue(lists.healthCheck.failOnAny)
        self.assertEqual((lists.maxSize, lists.requestTimeout), (10 << 20, 15.0))

    def test_names(self) -> None:
        """
        A list without a name is called by its URL, but for what may be secret.
        """
        lists = self.config(
            "blocklists: {sources: ['https://u:p@lists.example/a.txt?token=t#x', 'a?b.txt']}"
        ).blocklists
        self.assertEqual(
            [source.name for source in lists.sources], ["https://lists.example/a.txt", "a"]
        )
        self.assertEqual(lists.sources[0].url, "https://u:p@lists.example/a.txt?token=t#x")

    def test_absent(self) -> None:
        """
        What isn't there is L{None}, not switched off.
        """
        lists = self.config("").blocklists
        self.assertIsNone(lists.scheduledPause)
        self.assertIsNone(lists.familyTime)
        self.assertIsNone(lists.healthCheck)

    def test_refused(self) -> None:
        """
        Sources of unknown kinds or twice the same, and windows that can't be,
        are refused.
        """
        for text, path in [
            ("sources: ['ftp://lists.example/a']", "blocklists.sources[0].url"),
            ("sources: ['https://[::1/a']", "blocklists.sources[0].url"),
            ("sources: ['https://lists.example:x/a']", "blocklists.sources[0].url"),
            ("sources: ['https://:80/a']", "blocklists.sources[0].url"),
            ("sources: [{name: a}]", "blocklists.sources[0]"),
            ("sources: [a.txt, a.txt]", "blocklists.sources[1]"),
            ("sources: [{name: x, url: a}, {name: x, url: b}]", "blocklists.sources[1]"),
            ("refresh_interval: 1s", "blocklists.refresh_interval"),
            ("scheduled_pause: {start: '9:00', end: '10:00'}", "blocklists.scheduled_pause.start"),
            (
                "scheduled_pause: {start: '24:00', end: '10:00'}",
                "blocklists.scheduled_pause.start",
            ),
            ("scheduled_pause: {start: '10:00', end: '10:60'}", "blocklists.scheduled_pause.end"),
            ("scheduled_pause: {start: '10:00', end: '10:00'}", "blocklists.scheduled_pause.end"),
            ("scheduled_pause: {start: '10:00'}", "blocklists.scheduled_pause"),
            (
                "scheduled_pause: {start: '10:00', end: '11:00', days: [7]}",
                "blocklists.scheduled_pause.days[0]",
            ),
            ("family_time: {start: '10:00', end: '11:00'}", "blocklists.family_time.services"),
        ]:
            self.assertIn(path, self.paths(f"blocklists: {{{text}}}"), text)


class SafeSearchTests(SectionCase):
    """
    Tests for C{safe_search}.
    """

    def test_read(self) -> None:
        """
        Engines are on unless switched off; YouTube is off unless switched on.
        """
        search = self.config("safe_search: {enabled: true, bing: false}").safeSearch
        self.assertTrue(search.enabled)
        self.assertEqual(dict(search.switches)["bing"], False)
        self.assertEqual(dict(search.switches)["google"], True)
        self.assertIs(search.youtube, YouTubeMode.OFF)

    def test_youTube(self) -> None:
        """
        YouTube's mode is a word, or YAML's yes and no.
        """
        for text, mode in [
            ("strict", YouTubeMode.STRICT),
            ("moderate", YouTubeMode.MODERATE),
            ("off", YouTubeMode.OFF),
            ("false", YouTubeMode.OFF),
            ("true", YouTubeMode.STRICT),
        ]:
            self.assertIs(
                self.config(f"safe_search: {{youtube: {text}}}").safeSearch.youtube, mode
            )
