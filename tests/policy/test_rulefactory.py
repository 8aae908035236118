# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.rulefactory}.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.build import FamilyTimeSpec, GroupSpec, PolicySpec, RulesSpec, build
from dnsguard.policy.group import RuleParts
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.schedule import WindowSpec
from dnsguard.wire.names import fromText

from .rules import said, table

HOUR = 3600.0


class RuleSetFactoryTests(SynchronousTestCase):
    """
    Tests for L{RuleSetFactory}.
    """

    if find_spec("dnsguard.policy.ruleset") is None:
        skip = "rule sets aren't there"

    def setUp(self) -> None:
        from dnsguard.policy.domainset import (  # type: ignore[import-not-found,unused-ignore]
            DomainSet,
        )

        lists = DomainSet.build(
            [
                ("pro", [(fromText("ads.example.org"), 1)]),
                ("kids", [(fromText("games.example.org"), 2)]),
            ]
        )
        from dnsguard.policy.rulefactory import RuleSetFactory

        self.factory: Any = RuleSetFactory(lists)

    def test_parts(self) -> None:
        """
        Each part blocks or allows what it says, and only the lists that count
        do.
        """
        parts = RuleParts(
            "blocklists",
            ("pro",),
            allow=("good.ads.example.org",),
            deny=("/^bad[0-9]/",),
            familyTime=("late.example.org",),
        )
        self.assertEqual(
            table(
                self.factory(parts),
                [
                    "x.ads.example.org",
                    "good.ads.example.org",
                    "bad1.example.org",
                    "late.example.org",
                    "games.example.org",
                ],
            ),
            {
                "x.ads.example.org": "block pro list",
                "good.ads.example.org": "allow blocklists.allowlist[0] allowlist",
                "bad1.example.org": "block blocklists.denylist[0] denylist",
                "late.example.org": "block blocklists.family_time.domains[0] family_time",
                "games.example.org": "-",
            },
        )

    def test_sharing(self) -> None:
        """
        What is the same in several rule sets is compiled once.
        """
        parts = RuleParts("blocklists", ("pro",), deny=("/bad/",))
        paused = RuleParts("blocklists", ("pro",), deny=("/bad/",), paused=True)
        one, two = self.factory(parts), self.factory(paused)
        self.assertIs(one.deny, two.deny)
        self.assertIs(one.lists, two.lists)

    def test_badRules(self) -> None:
        """
        Rules that can't be read are told of, all of a list at once.
        """
        parts = RuleParts("blocklists", deny=("/(/", "ok.example.org", "a b"))
        invalid = self.assertRaises(InvalidPolicy, self.factory, parts)
        self.assertEqual(
            [problem.place for problem in invalid.problems],
            ["blocklists.denylist[0]", "blocklists.denylist[2]"],
        )

    def test_wholePolicy(self) -> None:
        """
        A policy of real rule sets has groups, times and pauses.
        """
        spec = PolicySpec(
            rules=RulesSpec(
                ("pro",),
                familyTime=FamilyTimeSpec((WindowSpec("18:00", "20:00"),), ("tiktok",)),
            ),
            groups=(
                GroupSpec(
                    "kids",
                    rules=RulesSpec(
                        ("kids",), allow=("ads.example.org",), place="client_groups[0].blocklist"
                    ),
                ),
            ),
            timeZone="UTC",
        )
        policy = build(spec, self.factory, now=19 * HOUR)
        everybody, kids = (view.rules for view in policy.views)
        self.assertEqual(said(everybody, "ads.example.org"), "block pro list")
        self.assertEqual(
            said(kids, "ads.example.org"),
            "allow client_groups[0].blocklist.allowlist[0] allowlist",
        )
        self.assertEqual(said(kids, "games.example.org"), "block kids list")
        for rules in (everybody, kids):
            self.assertTrue(said(rules, "www.tiktok.com").endswith("family_time"))
        paused = policy.paused(21 * HOUR, 20.5 * HOUR)
        self.assertEqual(said(paused.views[1].rules, "games.example.org"), "-")
        self.assertEqual(said(paused.views[0].rules, "www.tiktok.com"), "-")
