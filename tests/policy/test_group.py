# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.group}.
"""

from __future__ import annotations

from datetime import UTC

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.decision import Attribution, Decision, RuleKind
from dnsguard.policy.group import GroupPlan, LayeredRules, RuleBook, RuleParts, layersOf
from dnsguard.policy.schedule import Schedule, Window
from dnsguard.policy.view import NO_RULES, Rules, View

from .rules import plainRules, said

EVENING = Schedule((Window(18 * 60, 20 * 60),), UTC)
NOON = Schedule((Window(12 * 60, 13 * 60),), UTC)
HOUR = 3600

GLOBAL = RuleBook(
    "global",
    sources=("ads",),
    allow=("good.example.org", "kidsdenied.example.org"),
    deny=("bad.example.org", "kidsallowed.example.org"),
    familyDomains=("game.example.org", "kidsgame.example.org"),
    familySchedule=EVENING,
    pauseSchedule=NOON,
)
KIDS = RuleBook(
    "kids",
    sources=("more",),
    allow=("kidsallowed.example.org", "kidsgame.example.org", "both.example.org"),
    deny=("kidsdenied.example.org",),
    familyDomains=("video.example.org", "kidsallowed.example.org"),
    familySchedule=EVENING,
)


def factory(layers: tuple[RuleParts, ...]) -> Rules:
    """
    Plain rules, layer on layer.
    """
    return LayeredRules(tuple(map(plainRules, layers)))


def saidAt(books: tuple[RuleBook, ...], name: str, hour: float, paused: bool = False) -> str:
    """
    What a group's rules say of a name at some hour of the day.
    """
    plan = GroupPlan.prepare(View(), books, True, factory)
    return said(plan.variants[plan.state(hour * HOUR, paused)], name)


class LayerTests(SynchronousTestCase):
    """
    The order of the module's description.
    """

    def test_inheriting(self) -> None:
        """
        The group's word beats the global one, explicit words beat lists, and
        family time beats all but what the group allows.
        """
        both = (KIDS, GLOBAL)
        for name, hour, expected in [
            ("ads.example.org", 9, "block global list"),
            ("more.example.org", 9, "block global list"),
            ("both.example.org", 9, "allow kids allowlist"),
            ("good.example.org", 9, "allow global allowlist"),
            ("bad.example.org", 9, "block global denylist"),
            ("kidsallowed.example.org", 9, "allow kids allowlist"),
            ("kidsdenied.example.org", 9, "block kids denylist"),
            ("game.example.org", 9, "-"),
            ("game.example.org", 19, "block global family_time"),
            ("kidsgame.example.org", 19, "allow kids allowlist"),
            ("video.example.org", 19, "block kids family_time"),
            ("kidsallowed.example.org", 19, "block kids family_time"),
            ("other.example.org", 19, "-"),
        ]:
            self.assertEqual(saidAt(both, name, hour), expected, (name, hour))

    def test_pauses(self) -> None:
        """
        A pause, by hand or by the clock, of either book, lifts all but family
        time.
        """
        both = (KIDS, GLOBAL)
        for name in ("ads.example.org", "bad.example.org", "kidsdenied.example.org"):
            self.assertEqual(saidAt(both, name, 12.5), "-")
            self.assertEqual(saidAt(both, name, 9, paused=True), "-")
        for name, expected in [
            ("video.example.org", "block kids family_time"),
            ("game.example.org", "block global family_time"),
            ("kidsgame.example.org", "allow kids allowlist"),
        ]:
            self.assertEqual(saidAt(both, name, 19, paused=True), expected)
        own = attrs.evolve(KIDS, pauseSchedule=NOON)
        plain = attrs.evolve(GLOBAL, pauseSchedule=Schedule())
        self.assertEqual(saidAt((own, plain), "ads.example.org", 12.5), "-")

    def test_oneBook(self) -> None:
        """
        A group with one book knows nothing of others.
        """
        for name, expected in [
            ("ads.example.org", "-"),
            ("more.example.org", "block kids list"),
            ("kidsdenied.example.org", "block kids denylist"),
            ("game.example.org", "-"),
        ]:
            self.assertEqual(saidAt((KIDS,), name, 19), expected)

    def test_nothingOfItsOwn(self) -> None:
        """
        A group that adds nothing has exactly the global rules.
        """
        for family in (False, True):
            for paused in (False, True):
                self.assertEqual(
                    layersOf((RuleBook("kids"), GLOBAL), (False, family, paused)),
                    layersOf((GLOBAL,), (family, paused)),
                )


class Explaining:
    """
    Rules that can say which of them speak of a name.
    """

    def __init__(self, source: str) -> None:
        self.attribution = Attribution(RuleKind.LIST, source, "*")

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Block everything.
        """
        return Decision(True, self.attribution)

    def explain(self, qname: bytes, type: int) -> list[Attribution]:
        """
        Give the one rule.
        """
        return [self.attribution]


class ExplainTests(SynchronousTestCase):
    """
    Tests for L{LayeredRules.explain}.
    """

    def test_allLayers(self) -> None:
        """
        All rules that speak of a name are told of, the deciding one first.
        """
        layers = (Explaining("one"), plainRules(RuleParts("x")), NO_RULES, Explaining("two"))
        rules = LayeredRules(layers)
        self.assertEqual([why.source for why in rules.explain(b"\0", 1)], ["one", "two"])


class PlanTests(SynchronousTestCase):
    """
    Tests for L{GroupPlan}.
    """

    def test_onlyStatesThatOccur(self) -> None:
        """
        Rules are made for the states that can occur, and no others.
        """
        plain = RuleBook("global", sources=("ads",))
        plan = GroupPlan.prepare(View(), (RuleBook("kids"), plain), True, factory)
        self.assertEqual(set(plan.variants), {(False, False, False), (False, False, True)})
        plan = GroupPlan.prepare(View(), (KIDS, GLOBAL), True, factory)
        self.assertEqual(len(plan.variants), 8)
        for half in (
            attrs.evolve(KIDS, familyDomains=()),
            attrs.evolve(KIDS, familySchedule=Schedule()),
        ):
            plan = GroupPlan.prepare(View(), (half,), True, factory)
            self.assertEqual(set(plan.variants), {(False, False), (False, True)})

    def test_everyMomentHasItsRules(self) -> None:
        """
        There are rules for each state that any hour brings about.
        """
        for books in [(KIDS, GLOBAL), (KIDS,), (RuleBook("x"), GLOBAL)]:
            plan = GroupPlan.prepare(View(), books, True, factory)
            for hour in range(24):
                for paused in (False, True):
                    self.assertIn(plan.state(hour * HOUR, paused), plan.variants)

    def test_nextChange(self) -> None:
        """
        The next change is that of the window that changes first.
        """
        plan = GroupPlan.prepare(View(), (KIDS, GLOBAL), True, factory)
        self.assertEqual(plan.nextChange(9 * HOUR), 12 * HOUR)
        self.assertEqual(plan.nextChange(12 * HOUR), 13 * HOUR)
        self.assertEqual(plan.nextChange(14 * HOUR), 18 * HOUR)
        self.assertIsNone(GroupPlan.fixed(View()).nextChange(0))

    def test_fixed(self) -> None:
        """
        Fixed rules are lifted by a pause only.
        """
        rules = plainRules(RuleParts("x"))
        plan = GroupPlan.fixed(View(rules=rules))
        self.assertIs(plan.variants[plan.state(0, False)], rules)
        self.assertIs(plan.variants[plan.state(0, True)], NO_RULES)
