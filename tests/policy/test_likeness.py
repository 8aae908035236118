# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.likeness} and L{dnsguard.policy.sameness}.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.build import FamilyTimeSpec, GroupSpec, PolicySpec, RulesSpec, build
from dnsguard.policy.clients import ClientSpec
from dnsguard.policy.decision import Decision, RuleKind
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.likeness import Likeness
from dnsguard.policy.localrecords import RecordSpec
from dnsguard.policy.rulefactory import RuleSetFactory
from dnsguard.policy.safesearch import SafeSearchSpec
from dnsguard.policy.sameness import isSame
from dnsguard.policy.schedule import WindowSpec
from dnsguard.policy.snapshot import Policy
from dnsguard.policy.specialnames import SpecialNamesSpec
from dnsguard.policy.view import NO_RULES, NoRules
from dnsguard.wire.names import fromText

_A = 1
NAMES = ["a.example", "b.example", "sub.a.example", "c.example", "www.example.org"]


def lists(*names: str, line: int = 1) -> DomainSet:
    """
    Make a set of one list.
    """
    return DomainSet.build([("ads", [(fromText(n), i) for i, n in enumerate(names, line)])])


ADS = lists("a.example", "b.example")

SPEC = PolicySpec(
    rules=RulesSpec(sources=("ads",), allow=("c.example",), deny=("/track/", "d.example")),
    groups=(
        GroupSpec("kids", rules=RulesSpec(deny=("games.example",), place="kids")),
        GroupSpec("guests", inheritsGlobal=False, cacheDisabled=True),
    ),
    clients=(ClientSpec("192.0.2.1", "tablet", "kids", "clients[0]"),),
    records=(RecordSpec("nas.example.org", "A", "192.0.2.7", 50, "records[0]"),),
    safeSearch=SafeSearchSpec(enabled=True),
)


def make(spec: PolicySpec = SPEC, domains: DomainSet = ADS, **pauses: float) -> Policy:
    """
    Make a policy.
    """
    return build(spec, RuleSetFactory(domains), now=0.0, pauses=pauses)


class LikenessTests(SynchronousTestCase):
    """
    Tests for L{Likeness}.
    """

    def assertHolds(self, likeness: Likeness, number: int, **expected: bool) -> None:
        """
        Check of which names what is said is the same.
        """
        found = {
            name: likeness.holds(number, fromText(f"{name}.example"), _A, None)[0]
            for name in expected
        }
        self.assertEqual(found, expected)

    def test_madeAnew(self) -> None:
        """
        A policy that is made of the same once more is the same.
        """
        likeness = Likeness.of(make(), make())
        self.assertEqual((likeness.views, likeness.isWhole), ((True, True, True), True))
        self.assertHolds(likeness, 0, a=True, z=True)
        self.assertHolds(likeness, 3, a=False)
        self.assertHolds(likeness, -1, a=False)
        self.assertEqual(likeness.holds(None, fromText("a.example"), _A, None), (False, None))

    def test_everythingElse(self) -> None:
        """
        Of a view that differs by anything but rules nothing is known to be the
        same.
        """
        first = SPEC.groups[0]
        for other in [
            attrs.evolve(SPEC, records=()),
            attrs.evolve(SPEC, records=(attrs.evolve(SPEC.records[0], ttl=51),)),
            attrs.evolve(SPEC, safeSearch=SafeSearchSpec(enabled=False)),
            attrs.evolve(SPEC, safeSearch=SafeSearchSpec(True, youtube="moderate")),
            attrs.evolve(SPEC, specialNames=SpecialNamesSpec((("onion", False),))),
            attrs.evolve(SPEC, specialNames=SpecialNamesSpec(routed=("home.arpa",))),
            attrs.evolve(SPEC, blockedResponse=BlockedResponse.parse(("nodata",), 3600)),
            attrs.evolve(SPEC, blockedResponse=BlockedResponse.parse(("nxdomain",), 60)),
        ]:
            likeness = Likeness.of(make(), make(other))
            self.assertEqual(likeness.views, (False, False, False))
            self.assertFalse(likeness.isWhole)
        renamed = attrs.evolve(SPEC, groups=(attrs.evolve(first, id="teens"), SPEC.groups[1]))
        renamed = attrs.evolve(renamed, clients=())
        self.assertEqual(Likeness.of(make(), make(renamed)).views, (True, False, True))
        uncached = (attrs.evolve(first, cacheDisabled=True), SPEC.groups[1])
        self.assertEqual(
            Likeness.of(make(), make(attrs.evolve(SPEC, groups=uncached))).views,
            (True, False, True),
        )

    def test_clients(self) -> None:
        """
        Who is in which group is nothing that views differ by.
        """
        self.assertTrue(Likeness.of(make(), make(attrs.evolve(SPEC, clients=()))).isWhole)

    def test_numbers(self) -> None:
        """
        A view is compared with that of its number, whatever their groups were
        called, and one that there wasn't is like none.
        """
        swapped = attrs.evolve(SPEC, groups=SPEC.groups[::-1])
        self.assertEqual(Likeness.of(make(), make(swapped)).views, (True, False, False))
        fewer = attrs.evolve(SPEC, groups=SPEC.groups[:1])
        for one, other in [(make(), make(fewer)), (make(fewer), make())]:
            likeness = Likeness.of(one, other)
            self.assertEqual((likeness.views, likeness.isWhole), ((True, True), False))
            self.assertEqual(likeness.holds(2, fromText("a.example"), _A, None), (False, None))

    def test_otherLists(self) -> None:
        """
        With other lists, names are the same that no list has, or the same list in
        the same line.
        """
        likeness = Likeness.of(make(), make(domains=lists("a.example", "x.example")))
        for number in (0, 1):
            self.assertHolds(likeness, number, a=True, b=False, x=False, z=True, c=True)
        self.assertTrue(likeness.views[2])

    def test_movedInTheList(self) -> None:
        """
        What a list has in another line is the same, decided by that line from then
        on; not so what another list has, or another entry.
        """
        name = fromText("sub.a.example")
        first = make()
        why = first.views[0].rules.decide(name, _A)
        assert why is not None
        for domains, line in [
            (lists("a.example", "b.example", line=2), 2),
            (lists("a.example"), 1),
            (lists("a.example", "sub.a.example"), 0),
            (lists("z.example"), 0),
            (DomainSet.build([("more", [(fromText("a.example"), 1)])]), 0),
        ]:
            likeness = Likeness.of(first, make(domains=domains))
            same, later = likeness.holds(0, name, _A, why.attribution)
            self.assertEqual(same, line > 0)
            self.assertEqual(later, why.attribution._replace(line=line) if line else None)
            # Something before the rules had decided.
            special = why.attribution._replace(source="special_names")
            for before in (None, special):
                expected = (True, before) if line else (False, None)
                self.assertEqual(likeness.holds(0, name, _A, before), expected)

    def test_ownRules(self) -> None:
        """
        A rule of the operator's counts, its place among others as well.
        """
        for rules, expected in [
            (attrs.evolve(SPEC.rules, allow=()), {"c": False, "a": True, "z": True}),
            (attrs.evolve(SPEC.rules, allow=("a.example", "c.example")), {"c": False, "a": False}),
            (attrs.evolve(SPEC.rules, deny=("/track/",)), {"d": False, "track": True, "z": True}),
            (attrs.evolve(SPEC.rules, deny=("/rack/",)), {"d": False, "track": False}),
        ]:
            likeness = Likeness.of(make(), make(attrs.evolve(SPEC, rules=rules)))
            self.assertHolds(likeness, 0, **expected)

    def test_pause(self) -> None:
        """
        A pause changes what is blocked; those it isn't for see no change.
        """
        likeness = Likeness.of(make(), make(kids=60.0))
        self.assertHolds(likeness, 1, a=False, games=False, z=True)
        self.assertTrue(likeness.views[0])

    def test_familyTime(self) -> None:
        """
        Family time that begins changes what it blocks.
        """
        always = WindowSpec("00:00", "24:00", (), "family")
        spec = attrs.evolve(
            SPEC,
            rules=attrs.evolve(
                SPEC.rules, familyTime=FamilyTimeSpec((always,), (), ("f.example",))
            ),
        )
        likeness = Likeness.of(make(), make(spec))
        self.assertHolds(likeness, 0, f=False, a=True, z=True)

    def test_unknownRules(self) -> None:
        """
        Rules of whoever's making are asked of each name, if they aren't the very
        same.
        """

        class Own(NoRules):
            pass

        rules = Own()
        self.assertTrue(isSame(rules, rules))
        self.assertFalse(isSame(rules, Own()))
        self.assertFalse(isSame(NO_RULES, rules))
        likeness = Likeness.of(Policy.of(rules), Policy.of(Own()))
        self.assertFalse(likeness.isWhole)
        self.assertHolds(likeness, 0, a=True)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_whatHoldsIsSame(self, data: st.DataObject) -> None:
        """
        Whatever two policies are made of: of a name that holds, both decide the
        same, view by view; and one that doesn't is of a view that isn't the same.
        """
        rules = st.builds(
            RulesSpec,
            sources=st.sampled_from([(), ("ads",), ("ads", "more")]),
            allow=st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple),
            deny=st.lists(st.sampled_from([*NAMES, "/b/"]), max_size=2, unique=True).map(tuple),
        )
        domains = st.lists(st.sampled_from(NAMES), max_size=4, unique=True)

        def policy() -> Policy:
            built = DomainSet.build(
                [
                    (source, [(fromText(name), n) for n, name in enumerate(data.draw(domains), 1)])
                    for source in ("ads", "more")
                ]
            )
            groups = (GroupSpec("kids", data.draw(st.booleans()), data.draw(rules)),)
            return make(PolicySpec(rules=data.draw(rules), groups=groups), built)

        before, after = policy(), policy()
        likeness = Likeness.of(before, after)
        for number in range(len(before.views)):
            for name in map(fromText, NAMES):
                said: Any = [
                    policy.views[number].rules.decide(name, _A)
                    if number < len(policy.views)
                    else "no view"
                    for policy in (before, after)
                ]
                why = said[0].attribution if isinstance(said[0], Decision) else None
                same, later = likeness.holds(number, name, _A, why)
                if same and why is not None and why.kind is RuleKind.LIST:
                    moved = why._replace(line=said[1].attribution.line)
                    self.assertEqual((said[1].attribution, later), (moved, moved))
                elif same:
                    self.assertEqual(said[0], said[1])
                else:
                    self.assertNotEqual(likeness.views[number : number + 1], (True,))
