# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.build}.
"""

from __future__ import annotations

import socket

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.build import (
    FamilyTimeSpec,
    GroupSpec,
    PolicySpec,
    RulesSpec,
    build,
    noRules,
)
from dnsguard.policy.clients import ClientSpec
from dnsguard.policy.group import RuleParts
from dnsguard.policy.hostsfile import parseHosts
from dnsguard.policy.localrecords import RecordSpec
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.safesearch import SafeSearchSpec
from dnsguard.policy.schedule import WindowSpec
from dnsguard.policy.snapshot import Policy
from dnsguard.policy.specialnames import SpecialNamesSpec
from dnsguard.policy.view import NO_RULES, Rules, View
from dnsguard.wire.names import fromText

from .rules import plainRules, said

HOUR = 3600.0
EVENING = (WindowSpec("18:00", "20:00"),)


def viewOf(policy: Policy, address: str) -> View:
    """
    What an address sees.
    """
    return policy.identify(socket.inet_aton(address))[1]


SPEC = PolicySpec(
    rules=RulesSpec(
        sources=("ads",),
        allow=("good.example.org",),
        familyTime=FamilyTimeSpec(EVENING, ("tiktok",), ("game.example.org",)),
    ),
    groups=(
        GroupSpec(
            "kids",
            rules=RulesSpec(deny=("good.example.org",), place="client_groups[0].blocklist"),
            safeSearch=SafeSearchSpec(True),
            place="client_groups[0]",
        ),
        GroupSpec("free", inheritsGlobal=False, cacheDisabled=True, place="client_groups[1]"),
        GroupSpec("guests", place="client_groups[2]"),
    ),
    clients=(
        ClientSpec("192.0.2.1", "tablet", "kids"),
        ClientSpec("192.0.2.2", "", "free"),
        ClientSpec("192.0.2.3", "", "guests"),
        ClientSpec("192.0.2.4", "", "default"),
    ),
    records=(RecordSpec("nas.example.org", "A", "192.0.2.9"),),
    recordTTL=60,
    timeZone="UTC",
)


class BuildTests(SynchronousTestCase):
    """
    Tests for L{build}.
    """

    def test_groups(self) -> None:
        """
        Each group gets what was written for it, the global rules below that
        where it inherits.
        """
        policy = build(SPEC, plainRules, now=9 * HOUR)
        for address, ads, good in [
            ("198.51.100.1", "block blocklists list", "allow blocklists allowlist"),
            (
                "192.0.2.1",
                "block blocklists list",
                "block client_groups[0].blocklist denylist",
            ),
            ("192.0.2.2", "-", "-"),
            ("192.0.2.3", "block blocklists list", "allow blocklists allowlist"),
            ("192.0.2.4", "block blocklists list", "allow blocklists allowlist"),
        ]:
            view = viewOf(policy, address)
            self.assertEqual(said(view.rules, "ads.example.org"), ads, address)
            self.assertEqual(said(view.rules, "good.example.org"), good, address)
            self.assertIn(fromText("nas.example.org"), view.records)
        self.assertIsNotNone(viewOf(policy, "192.0.2.1").safeSearch.find(fromText("bing.com")))
        self.assertIsNone(policy.defaultView.safeSearch.find(fromText("bing.com")))
        self.assertTrue(viewOf(policy, "192.0.2.2").cacheDisabled)

    def test_sharedViews(self) -> None:
        """
        A group that adds nothing shares the view of those in no group.
        """
        policy = build(SPEC, plainRules, now=9 * HOUR)
        self.assertIs(viewOf(policy, "192.0.2.3"), policy.defaultView)
        self.assertIs(viewOf(policy, "192.0.2.4"), policy.defaultView)
        self.assertEqual(len(policy.views), 3)

    def test_familyTime(self) -> None:
        """
        Family time blocks services and domains in its window, also while
        paused.
        """
        evening = build(SPEC, plainRules, now=19 * HOUR, pauses={"": 20 * HOUR})
        for name in ("www.tiktok.com", "game.example.org"):
            for address in ("198.51.100.1", "192.0.2.1"):
                self.assertEqual(
                    said(viewOf(evening, address).rules, name), "block blocklists family_time"
                )
        self.assertEqual(said(evening.defaultView.rules, "ads.example.org"), "-")
        self.assertEqual(evening.nextChange(19 * HOUR), 20 * HOUR)

    def test_globalPause(self) -> None:
        """
        A global pause is for the groups that inherit, and for no other.
        """
        own = RulesSpec(("more",), place="client_groups[1].blocklist")
        spec = attrs.evolve(
            SPEC, groups=(SPEC.groups[0], attrs.evolve(SPEC.groups[1], rules=own), SPEC.groups[2])
        )
        paused = build(spec, plainRules, now=9 * HOUR, pauses={"": 10 * HOUR})
        for groupID, name, expected in [
            ("", "ads.example.org", "-"),
            ("kids", "ads.example.org", "-"),
            ("free", "more.example.org", "block client_groups[1].blocklist list"),
        ]:
            self.assertEqual(said(paused.viewOf(groupID).rules, name), expected)

    def test_rulesAreMadeOnce(self) -> None:
        """
        Equal parts make one set of rules, and parts that say nothing make none.
        """
        made: list[RuleParts] = []

        def factory(parts: RuleParts) -> Rules:
            made.append(parts)
            return plainRules(parts)

        build(SPEC, factory, now=0)
        self.assertEqual(len(made), len(set(made)))
        self.assertTrue(all(parts.place for parts in made))
        made.clear()
        policy = build(PolicySpec(), factory, now=0)
        self.assertEqual(made, [])
        self.assertIs(policy.defaultView.rules, NO_RULES)

    def test_badRuleIsToldOfOnce(self) -> None:
        """
        A global rule that can't be read is one problem, however many groups
        and times it would hold for.
        """
        spec = attrs.evolve(SPEC, rules=attrs.evolve(SPEC.rules, deny=("bad",)))
        invalid = self.assertRaises(InvalidPolicy, build, spec, plainRules, now=0)
        self.assertEqual(
            [problem.place for problem in invalid.problems], ["blocklists.denylist[0]"]
        )

    def test_recordTTL(self) -> None:
        """
        Records without a TTL have the one that was set.
        """
        policy = build(SPEC, noRules, now=0)
        found = policy.defaultView.records.find(fromText("nas.example.org"), 1)
        assert found is not None
        self.assertEqual(found.answer[0].ttl, 60)

    def test_automaticPTR(self) -> None:
        """
        Local addresses point back, unless that is switched off.
        """
        reverse = fromText("9.2.0.192.in-addr.arpa")
        for spec, expected in [(SPEC, True), (attrs.evolve(SPEC, automaticPTR=False), False)]:
            view = build(spec, noRules, now=0).defaultView
            self.assertEqual(reverse in view.records, expected)

    def test_allProblemsAtOnce(self) -> None:
        """
        All that is wrong anywhere is told of in one go, with places.
        """
        spec = PolicySpec(
            rules=RulesSpec(
                deny=("ok.example.org", "bad"),
                familyTime=FamilyTimeSpec(
                    (WindowSpec("9", "10:00", place="blocklists.family_time"),),
                    ("tiktak",),
                    ("a..b",),
                ),
            ),
            groups=(
                GroupSpec("", place="client_groups[0]"),
                GroupSpec("a", place="client_groups[1]"),
                GroupSpec("a", place="client_groups[2]"),
                GroupSpec(
                    "b",
                    rules=RulesSpec(allow=("bad",), place="client_groups[3].blocklist"),
                    safeSearch=SafeSearchSpec(
                        True, (("goggle", True),), place="client_groups[3].safe_search"
                    ),
                    place="client_groups[3]",
                ),
            ),
            clients=(ClientSpec("nonsense", place="client_identification.clients[0]"),),
            records=(RecordSpec("a.example.org", "A", "x", place="local_records[0]"),),
            specialNames=SpecialNamesSpec((("onions", False),)),
            timeZone="Mars/Phobos",
        )
        invalid = self.assertRaises(InvalidPolicy, build, spec, plainRules, now=0)
        self.assertEqual(
            {problem.place for problem in invalid.problems},
            {
                "time_zone",
                "local_records[0].value",
                "special_names.onions",
                "blocklists.family_time.services[0]",
                "blocklists.family_time.domains[0]",
                "blocklists.family_time.start",
                "blocklists.denylist[1]",
                "client_groups[0].id",
                "client_groups[2].id",
                "client_groups[3].safe_search.goggle",
                "client_groups[3].blocklist.allowlist[0]",
                "client_identification.clients[0].ip",
            },
        )
        places = [problem.place for problem in invalid.problems]
        self.assertEqual(len(places), len(set(places)))


class AnythingTests(SynchronousTestCase):
    """
    Whatever is written, a policy or problems come out.
    """

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_policyOrProblems(self, data: st.DataObject) -> None:
        """
        Rubbish in any place is a problem with that place, never anything else.
        """
        some = st.text(max_size=12) | st.sampled_from(
            ["*.", "a.example", "192.0.2.1", "::1/64", "18:00", "A", "\\# 1 00", "ffff::/129"]
        )

        def draw() -> str:
            return data.draw(some)

        window = WindowSpec(draw(), draw(), (data.draw(st.integers(-1, 8)),), place="window")
        rules = RulesSpec(
            deny=("bad",),
            familyTime=FamilyTimeSpec((window,), (draw(),), (draw(),)),
            pause=(window,),
        )
        spec = PolicySpec(
            rules=rules,
            groups=(
                GroupSpec(draw(), rules=rules, safeSearch=SafeSearchSpec(True, youtube=draw())),
            ),
            clients=(ClientSpec(draw(), draw(), draw()),),
            records=(
                RecordSpec(draw(), draw(), draw(), data.draw(st.integers(-1, 2**32))),
                RecordSpec(draw(), "TXT", (draw(), draw())),
            ),
            importedRecords=parseHosts(f"{draw()} {draw()}\n{draw()}", "hosts").records,
            specialNames=SpecialNamesSpec(((draw(), False),), (draw(),)),
            timeZone=draw(),
        )
        invalid = self.assertRaises(InvalidPolicy, build, spec, plainRules, now=0)
        self.assertIn("blocklists.denylist[0]", [problem.place for problem in invalid.problems])
        for problem in invalid.problems:
            self.assertTrue(problem.place)
            self.assertTrue(problem.reason)
