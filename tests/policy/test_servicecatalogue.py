# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.servicecatalogue}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.problems import Problems
from dnsguard.policy.servicecatalogue import SERVICES, domainsOf
from dnsguard.wire.names import fromText, isAtOrBelow

DOCUMENTED = {
    "tiktok": "tiktok.com tiktokv.com tiktokcdn.com tiktokcdn-us.com byteoversea.com "
    "musically.com snssdk.com amemv.com tiktokapi.com",
    "roblox": "roblox.com rbxcdn.com roblox.cn rbx.com",
    "youtube": "youtube.com googlevideo.com ytimg.com youtube-nocookie.com youtubei.com "
    "youtubeeducation.com",
    "instagram": "instagram.com cdninstagram.com instagramstatic.com",
    "netflix": "netflix.com nflxvideo.net nflxext.com nflxso.net nflximg.net netflixdnstest.com",
    "facebook": "facebook.com fbcdn.net fb.com fbcdn.com",
    "snapchat": "snapchat.com sc-cdn.net snap-dev.net",
    "twitter": "twitter.com x.com twimg.com t.co pscp.tv periscope.tv",
    "discord": "discord.com discordapp.com discord.gg discord.media",
    "twitch": "twitch.tv ttvnw.net jtvnw.net twitchcdn.net",
    "reddit": "reddit.com redditmedia.com redd.it redditstatic.com",
    "pinterest": "pinterest.com pinimg.com",
    "whatsapp": "whatsapp.com whatsapp.net",
    "telegram": "telegram.org t.me telegra.ph",
    "linkedin": "linkedin.com licdn.com",
    "spotify": "spotify.com scdn.co spotifycdn.com",
    "fortnite": "fortnite.com epicgames.com epicgames.dev epicgamesstore.com",
}


class CatalogueTests(SynchronousTestCase):
    """
    Tests for L{SERVICES}.
    """

    def test_documentedServices(self) -> None:
        """
        The seventeen documented services have all their documented domains.
        """
        for service, domains in DOCUMENTED.items():
            self.assertLessEqual(set(domains.split()), set(SERVICES[service]), service)

    def test_namesAreNames(self) -> None:
        """
        All domains are domain names below a top-level one, each once a service.
        """
        for service, domains in SERVICES.items():
            self.assertTrue(domains, service)
            self.assertEqual(len(domains), len(set(domains)), service)
            for domain in domains:
                fromText(domain)
                self.assertIn(".", domain)
                self.assertEqual(domain, domain.lower())

    def test_nobodyElsesHouse(self) -> None:
        """
        No service takes a domain that many others live in.
        """
        shared = [
            fromText(name)
            for name in [
                "google.com",
                "googleapis.com",
                "akamaized.net",
                "cloudfront.net",
                "amazonaws.com",
                "fastly.net",
                "microsoft.com",
                "apple.com",
                "amazon.com",
            ]
        ]
        for service, domains in SERVICES.items():
            for domain in domains:
                for name in shared:
                    self.assertFalse(isAtOrBelow(name, fromText(domain)), (service, domain))


class DomainsOfTests(SynchronousTestCase):
    """
    Tests for L{domainsOf}.
    """

    def test_eachOnce(self) -> None:
        """
        Domains that two services share are given once.
        """
        problems = Problems()
        domains = domainsOf(["fortnite", "epic_games"], "services", problems)
        self.assertEqual(len(domains), len(set(domains)))
        self.assertIn("unrealengine.com", domains)
        self.assertEqual(len(problems), 0)

    def test_unknownServices(self) -> None:
        """
        Unknown ids are told of, with the nearest known one.
        """
        problems = Problems()
        domainsOf(["tiktok", "tiktak", "zzz"], "family_time.services", problems)
        self.assertEqual(
            [(problem.place, problem.reason) for problem in problems],
            [
                (
                    "family_time.services[1]",
                    "no such service: 'tiktak'; did you mean 'tiktok'?",
                ),
                ("family_time.services[2]", "no such service: 'zzz'"),
            ],
        )
