# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for one group's rules.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.policy.decision import RuleKind
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.ruleset import MAX_PATTERN, NameRules, RuleSet
from dnsguard.wire.names import fromText, toText


class NameRulesTests(SynchronousTestCase):
    """
    L{NameRules}.
    """

    def rules(self, *texts: str) -> NameRules:
        """
        A denylist without problems.
        """
        rules, problems = NameRules.compile([("blocklists.denylist", texts)])
        self.assertEqual(problems, ())
        return rules

    def found(self, rules: NameRules, name: str) -> tuple[str, str, str] | None:
        """
        The text and place of the rule for a name, and the name that matched.
        """
        found = rules.first(fromText(name))
        return found and (found[0].text, found[0].place, toText(found[1]))

    def test_domain(self) -> None:
        """
        A domain speaks of itself and all names below it.
        """
        rules = self.rules("x.example", "ads.example.org")
        expected = ("ads.example.org", "blocklists.denylist[1]", "ads.example.org")
        self.assertEqual(self.found(rules, "ads.example.org"), expected)
        self.assertEqual(self.found(rules, "a.b.ads.example.org"), expected)
        self.assertIsNone(self.found(rules, "bads.example.org"))
        self.assertIsNone(self.found(rules, "example.org"))
        self.assertIsNone(rules.first(b"\0"))

    def test_spellings(self) -> None:
        """
        C{*.}, capitals, a final dot, blanks and other scripts are understood;
        so is a top-level domain.
        """
        rules = self.rules("*.A.example", " B.example. ", "bücher.example", "zip")
        for name in ["a.example", "b.example", "xn--bcher-kva.example", "x.zip"]:
            self.assertIsNotNone(self.found(rules, name), name)

    def test_mostSpecificDomain(self) -> None:
        """
        The most specific domain is told, before any pattern; of equal ones the
        first.
        """
        rules = self.rules("/ads/", "example.org", "ads.example.org", "ADS.example.org")
        found = self.found(rules, "x.ads.example.org")
        self.assertEqual(found and found[1], "blocklists.denylist[2]")
        self.assertEqual(len(rules), 3)

    def test_pattern(self) -> None:
        """
        A pattern is searched for anywhere in the name, without its final dot.
        """
        rules = self.rules(r"/^ad[0-9]+\./", r"/tracker\.example$/")
        self.assertEqual(
            self.found(rules, "AD12.example"),
            (r"/^ad[0-9]+\./", "blocklists.denylist[0]", "ad12.example"),
        )
        self.assertIsNotNone(self.found(rules, "x.mytracker.example"))
        self.assertIsNone(self.found(rules, "x.ad12.example"))
        self.assertIsNone(self.found(rules, "tracker.example.org"))

    def test_allMatches(self) -> None:
        """
        All rules are told, domains from the most specific one, then patterns.
        """
        rules = self.rules("/zzz/", "/ads/", "example.org", "ads.example.org", "/example/")
        found = [rule.place[-3:] for rule, _ in rules.all(fromText("ads.example.org"))]
        self.assertEqual(found, ["[3]", "[2]", "[1]", "[4]"])

    def test_problems(self) -> None:
        """
        Each bad rule is a problem at its index, and the others hold.
        """
        rules, problems = NameRules.compile(
            [
                (
                    "blocklists.allowlist",
                    ["good.example", "a..b", "/(/", "//", "/" + "a" * 2049 + "/", "/(?=x)/", "/a/",
                     "192.0.2.1", "", "/x"],
                )
            ]
        )  # fmt: skip
        self.assertEqual(
            [str(problem).split(":")[0] for problem in problems],
            [f"blocklists.allowlist[{number}]" for number in (1, 2, 3, 4, 5, 7, 8, 9)],
        )
        # The rest is what the library says.
        self.assertRegex(str(problems[1]), r"\[2\]: /\(/: .")
        self.assertIn("empty pattern", str(problems[2]))
        self.assertIn(str(MAX_PATTERN), str(problems[3]))
        self.assertIsInstance(problems[0], PolicyError)
        self.assertIsNotNone(self.found(rules, "good.example"))
        self.assertIsNotNone(self.found(rules, "bar.com"))

    def test_onlyBadPatterns(self) -> None:
        """
        When no pattern is left, none is asked.
        """
        rules, problems = NameRules.compile([("x", ["/(/"])])
        self.assertEqual(len(problems), 1)
        self.assertIsNone(rules.first(fromText("a.example")))

    def test_hostilePattern(self) -> None:
        """
        A pattern that ruins backtracking engines is searched for in linear
        time.
        """
        rules = self.rules("/^(a+)+$/", "/(x|x)*y$/")
        name = fromText(".".join(["a" * 60] * 3 + ["b"]))
        for _ in range(200):
            self.assertIsNone(rules.first(name))

    def test_severalLists(self) -> None:
        """
        Rules of several places become one, and keep their places.
        """
        rules, _ = NameRules.compile([("one", ["a.example"]), ("two", ["a.example", "b.example"])])
        found = [self.found(rules, name) for name in ("a.example", "b.example")]
        self.assertEqual([each and each[1] for each in found], ["one[0]", "two[1]"])


class RuleSetTests(SynchronousTestCase):
    """
    L{RuleSet}.
    """

    def rules(self, **parts: Any) -> RuleSet:
        """
        A rule set without problems.
        """
        rules, problems = RuleSet.compile("blocklists", **parts)
        self.assertEqual(problems, ())
        return rules

    def decided(self, rules: RuleSet, name: str) -> tuple[bool, str] | None:
        """
        Whether a name is blocked and by which rule.
        """
        decision = rules.decide(fromText(name), 1)
        return None if decision is None else (decision.blocked, str(decision.attribution))

    def test_nothing(self) -> None:
        """
        Without rules nothing is decided.
        """
        self.assertIsNone(self.decided(RuleSet(), "example.org"))
        self.assertEqual(RuleSet().explain(fromText("example.org"), 1), [])

    def test_list(self) -> None:
        """
        A name in a list is blocked; the list, line and name are told.
        """
        rules = self.rules(lists=DomainSet.parse("x.example ads.example.org", "hagezi"))
        decision = rules.decide(fromText("a.ads.example.org"), 1)
        assert decision is not None
        self.assertEqual(
            self.decided(rules, "a.ads.example.org"), (True, "list hagezi:2 ads.example.org")
        )
        self.assertEqual(decision.attribution.kind, RuleKind.LIST)
        self.assertEqual(decision.attribution.name, fromText("ads.example.org"))
        self.assertIsNone(self.decided(rules, "example.org"))

    def test_order(self) -> None:
        """
        Family time, allowlist, denylist, lists: the first that speaks decides.
        """
        name = "example.org"
        rules = self.rules(lists=DomainSet.parse(name, "some list"))
        self.assertEqual(self.decided(rules, name), (True, "list some list:1 example.org"))
        rules = self.rules(lists=rules.lists, deny=[name])
        self.assertEqual(
            self.decided(rules, name), (True, "denylist blocklists.denylist[0] example.org")
        )
        rules = self.rules(lists=rules.lists, deny=[name], allow=[name])
        self.assertEqual(
            self.decided(rules, name), (False, "allowlist blocklists.allowlist[0] example.org")
        )
        rules = self.rules(lists=rules.lists, deny=[name], allow=[name], familyTime=[name])
        self.assertEqual(
            self.decided(rules, name),
            (True, "family_time blocklists.family_time.domains[0] example.org"),
        )

    def test_pause(self) -> None:
        """
        A pause leaves all alone but what family time blocks.
        """
        rules = self.rules(
            deny=["a.example"], familyTime=["b.example"], lists=DomainSet.parse("c.example")
        ).withPause(True)
        self.assertIsNone(self.decided(rules, "a.example"))
        self.assertIsNone(self.decided(rules, "c.example"))
        self.assertIsNotNone(self.decided(rules, "b.example"))
        self.assertIsNotNone(self.decided(rules.withPause(False), "a.example"))

    def test_allowedPartOfList(self) -> None:
        """
        Allowing a name below a listed one lets it and what is below it
        through, and nothing else.
        """
        rules = self.rules(allow=["good.example.org"], lists=DomainSet.parse("example.org"))
        self.assertEqual((self.decided(rules, "x.good.example.org") or ())[:1], (False,))
        self.assertEqual((self.decided(rules, "bad.example.org") or ())[:1], (True,))

    def test_changes(self) -> None:
        """
        Changing makes another rule set and leaves the one there was.
        """
        family, _ = NameRules.compile([("family", ["a.example"])])
        rules = self.rules(lists=DomainSet.parse("b.example"))
        self.assertIsNotNone(self.decided(rules.withFamilyTime(family), "a.example"))
        self.assertIsNone(self.decided(rules.withFamilyTime(family).withFamilyTime(), "a.example"))
        self.assertIsNone(self.decided(rules, "a.example"))
        self.assertIsNone(self.decided(rules.withLists(None), "b.example"))

    def test_explain(self) -> None:
        """
        All rules that speak of a name are told in their order, also while
        paused.
        """
        lists = DomainSet.build(
            [
                ("one", [(fromText("example.org"), 4)]),
                ("two", [(fromText("ads.example.org"), 1), (fromText("example.org"), 2)]),
            ]
        )
        rules = self.rules(
            allow=["/^ads/"], deny=["org"], familyTime=["example.org"], paused=True, lists=lists
        )
        self.assertEqual(
            [str(rule) for rule in rules.explain(fromText("ads.example.org"), 1)],
            [
                "family_time blocklists.family_time.domains[0] example.org",
                "allowlist blocklists.allowlist[0] /^ads/",
                "denylist blocklists.denylist[0] org",
                "list two:1 ads.example.org",
                "list one:4 example.org",
                "list two:2 example.org",
            ],
        )

    def test_selectedLists(self) -> None:
        """
        Only selected lists decide.
        """
        lists = DomainSet.build(
            [("one", [(fromText("a.example"), 1)]), ("two", [(fromText("b.example"), 1)])]
        )
        rules = self.rules(lists=lists.select(["two"]))
        self.assertIsNone(self.decided(rules, "a.example"))
        self.assertIsNotNone(self.decided(rules, "b.example"))

    def test_longRule(self) -> None:
        """
        The text of a rule is cut at 200 letters.
        """
        rules = self.rules(deny=["/" + "a|" * 500 + "b/"])
        decision = rules.decide(fromText("b.example"), 1)
        assert decision is not None
        self.assertEqual(len(decision.attribution.rule), 200)
