# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.clients}.
"""

from __future__ import annotations

from dnsguard.config.sections.clients import ClientConfig
from dnsguard.config.sections.filtering import SafeSearchConfig, YouTubeMode
from tests.config.sections.cases import SectionCase


class ClientTests(SectionCase):
    """
    Tests for C{client_identification}.
    """

    def test_read(self) -> None:
        """
        Addresses and networks are canonical.
        """
        identification = self.config(
            "client_groups: [{id: kids}]\n"
            "client_identification:\n"
            "  enabled: true\n"
            "  clients:\n"
            "  - {ip: 192.0.2.1, name: tablet, group_id: kids}\n"
            "  - {ip: '2001:DB8:0::/64', group_id: default}\n"
        ).clientIdentification
        self.assertTrue(identification.enabled)
        self.assertEqual(
            identification.clients,
            (
                ClientConfig(ip="192.0.2.1", name="tablet", groupID="kids"),
                ClientConfig(ip="2001:db8::/64", groupID="default"),
            ),
        )

    def test_refused(self) -> None:
        """
        What is no address or network, stands twice, or is in a group that
        isn't there, is refused.
        """
        for text, path in [
            ("[{name: a}]", ""),
            ("[{ip: here}]", "[0].ip"),
            ("[{ip: 192.0.2.1/33}]", "[0].ip"),
            ("[{ip: 192.0.2.1/24}]", "[0].ip"),
            ("[{ip: '::1'}, {ip: '0:0::1'}]", "[1].ip"),
            ("[{ip: 192.0.2.1, group_id: none}]", "[0].group_id"),
            ("[{ip: 192.0.2.1, group_id: 'a b'}]", "[0].group_id"),
        ]:
            paths = self.paths(f"client_identification: {{clients: {text}}}")
            self.assertTrue(
                paths[0].startswith("client_identification.clients" + path), (text, paths)
            )

    def test_hostBits(self) -> None:
        """
        A network that isn't one is told with the one that may be meant.
        """
        message = self.messages("client_identification: {clients: [{ip: 192.0.2.77/24}]}")[0]
        self.assertIn("did you mean 192.0.2.0/24?", message)


class GroupTests(SectionCase):
    """
    Tests for C{client_groups}.
    """

    def test_read(self) -> None:
        """
        A group needs but an id; its own rules are read like the global ones.
        """
        plain, kids = self.config(
            "client_groups:\n"
            "- {id: plain}\n"
            "- id: kids\n"
            "  name: Children\n"
            "  disable_cache: true\n"
            "  safe_search: {enabled: true, bing: false}\n"
            "  blocklist:\n"
            "    inherit_global: false\n"
            "    sources: [lists/kids.txt]\n"
            "    denylist: [games.example]\n"
            "    family_time: {start: 20:00, end: 07:00, domains: [Play.example]}\n"
        ).clientGroups
        self.assertEqual((plain.name, plain.disableCache), ("plain", False))
        self.assertTrue(plain.blocklist.inheritGlobal)
        self.assertEqual((kids.name, kids.disableCache), ("Children", True))
        self.assertFalse(kids.blocklist.inheritGlobal)
        self.assertEqual(kids.blocklist.denylist, ("games.example",))
        assert kids.blocklist.familyTime is not None
        self.assertEqual(kids.blocklist.familyTime.domains, ("play.example",))

    def test_safeSearchOver(self) -> None:
        """
        What a group doesn't set is as for everybody.
        """
        base = SafeSearchConfig(enabled=True, google=False, youtube=YouTubeMode.STRICT)
        plain, other = self.config(
            "client_groups: [{id: a}, {id: b, safe_search: {google: true, youtube: off}}]"
        ).clientGroups
        self.assertEqual(plain.safeSearch.over(base), base)
        self.assertEqual(
            other.safeSearch.over(base),
            SafeSearchConfig(enabled=True, google=True, youtube=YouTubeMode.OFF),
        )

    def test_refused(self) -> None:
        """
        Groups need ids of their own, and their rules are checked, also those
        that don't count at the moment.
        """
        for text, path in [
            ("[{name: a}]", "client_groups[0]"),
            ("[{id: a}, {id: a}]", "client_groups[1].id"),
            ("[{id: 'a b'}]", "client_groups[0].id"),
            (
                "[{id: a, blocklist: {scheduled_pause: {start: x, end: '01:00'}}}]",
                "client_groups[0].blocklist.scheduled_pause.start",
            ),
            ("[{id: a, safe_search: {bing: perhaps}}]", "client_groups[0].safe_search.bing"),
        ]:
            self.assertEqual(self.paths(f"client_groups: {text}"), [path])

    def test_sharedSources(self) -> None:
        """
        A list may be used by several groups; one name for two lists is
        refused.
        """
        text = (
            "blocklists: {sources: [{name: a, url: a.txt}]}\n"
            "client_groups: [{id: x, blocklist: {sources: [{name: a, url: %s}]}}]\n"
        )
        self.config(text % "a.txt")
        self.assertEqual(
            self.paths(text % "b.txt"), ["client_groups[0].blocklist.sources[0].name"]
        )
