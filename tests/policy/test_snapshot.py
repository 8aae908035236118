# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.snapshot}.
"""

from __future__ import annotations

import socket
from datetime import UTC

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.errors import PolicyError
from dnsguard.interfaces import IPolicies
from dnsguard.policy.asker import Asker
from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.clients import Clients, ClientSpec
from dnsguard.policy.group import GroupPlan, LayeredRules, RuleBook, RuleParts
from dnsguard.policy.localrecords import LocalRecords
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.schedule import Schedule, Window
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.policy.view import NO_RULES, Rules, View
from dnsguard.wire.names import fromText

from .rules import PlainRules, said

HOUR = 3600.0
EVENING = Schedule((Window(18 * 60, 20 * 60),), UTC)


def packed(text: str) -> bytes:
    """
    An IPv4 address as octets.
    """
    return socket.inet_aton(text)


def makePolicy(now: float = 0.0) -> Policy:
    """
    A policy with three groups: kids have a family time, guests have the global
    rules, the office has its own.
    """
    made: dict[tuple[RuleParts, ...], Rules] = {}

    def factory(layers: tuple[RuleParts, ...]) -> Rules:
        if layers not in made:
            made[layers] = LayeredRules(tuple(map(PlainRules, layers)))
        return made[layers]

    shared = RuleBook("global", sources=("ads",))
    kids = RuleBook("kids", familyDomains=("game.example.org",), familySchedule=EVENING)
    office = RuleBook("office", sources=("more",))
    plans = (
        GroupPlan.prepare(View(), (shared,), True, factory),
        GroupPlan.prepare(View(groupID="kids"), (kids, shared), True, factory),
        GroupPlan.prepare(View(groupID="guests"), (RuleBook("guests"), shared), True, factory),
        GroupPlan.prepare(View(groupID="office"), (office,), False, factory),
    )
    clients = Clients.build(
        [
            ClientSpec("192.0.2.1", "tablet", "kids"),
            ClientSpec("192.0.2.64/26", "", "guests"),
            ClientSpec("192.0.2.128/25", "", "office"),
        ],
        ["kids", "guests", "office"],
    )
    return Policy.make(plans, clients, now=now)


class ViewTests(SynchronousTestCase):
    """
    Who sees what.
    """

    def test_whoAsks(self) -> None:
        """
        A client is known by name and group, and sees its group's view.
        """
        policy = makePolicy(19 * HOUR)
        asker, view = policy.identify(packed("192.0.2.1"))
        self.assertEqual(asker, Asker("192.0.2.1", "tablet", "kids"))
        self.assertEqual(view.groupID, "kids")
        self.assertEqual(said(view.rules, "game.example.org"), "block kids family_time")
        asker, view = policy.identify(packed("198.51.100.1"))
        self.assertEqual(asker, Asker("198.51.100.1"))
        self.assertIs(view, policy.defaultView)

    def test_treatedAlike(self) -> None:
        """
        Groups that are treated alike at a time share a view; who asks still
        knows the group.
        """
        policy = makePolicy(9 * HOUR)
        self.assertEqual(len(policy.views), 2)
        for address in ("192.0.2.1", "192.0.2.65"):
            asker, view = policy.identify(packed(address))
            self.assertIs(view, policy.defaultView)
            self.assertNotEqual(asker.groupID, "")
        self.assertEqual(len(makePolicy(19 * HOUR).views), 3)

    def test_viewOfAGroup(self) -> None:
        """
        A group's view is found by its id, that of those in none by an empty
        one; another id is refused.
        """
        policy = makePolicy(19 * HOUR)
        self.assertEqual(policy.viewOf("kids").groupID, "kids")
        for groupID in ("", "default", "guests"):
            self.assertIs(policy.viewOf(groupID), policy.defaultView)
        problem = self.assertRaises(PolicyError, policy.viewOf, "offices")
        self.assertIn("did you mean 'office'?", str(problem))

    def test_numbers(self) -> None:
        """
        A view's number is its place in the policy.
        """
        for hour in (9, 19):
            policy = makePolicy(hour * HOUR)
            self.assertEqual(
                [view.number for view in policy.views], list(range(len(policy.views)))
            )

    def test_networks(self) -> None:
        """
        Each network is listed with the number of its view.
        """
        policy = makePolicy(9 * HOUR)
        self.assertEqual(
            list(policy.networks()),
            [
                (packed("192.0.2.1"), 32, 0),
                (packed("192.0.2.64"), 26, 0),
                (packed("192.0.2.128"), 25, 1),
            ],
        )


class TimeTests(SynchronousTestCase):
    """
    Tests for L{Policy.at} and L{Policy.nextChange}.
    """

    def test_sameWhenNothingChanges(self) -> None:
        """
        While nothing is different it is the same policy.
        """
        policy = makePolicy(9 * HOUR)
        self.assertIs(policy.at(10 * HOUR), policy)
        self.assertIsNot(policy.at(18 * HOUR), policy)

    def test_windowOpensAndCloses(self) -> None:
        """
        Family time comes and goes, and the next change is known.
        """
        policy = makePolicy(9 * HOUR)
        self.assertEqual(policy.nextChange(9 * HOUR), 18 * HOUR)
        evening = policy.at(18 * HOUR)
        self.assertEqual(evening.nextChange(18 * HOUR), 20 * HOUR)
        _, view = evening.identify(packed("192.0.2.1"))
        self.assertEqual(said(view.rules, "game.example.org"), "block kids family_time")
        night = evening.at(20 * HOUR)
        _, view = night.identify(packed("192.0.2.1"))
        self.assertEqual(said(view.rules, "game.example.org"), "-")

    def test_unchangedViewsAreHeld(self) -> None:
        """
        A view that goes on is held by the next policy; one that is over, or of
        another policy, isn't.
        """
        morning = makePolicy(9 * HOUR)
        evening = morning.at(18 * HOUR)
        self.assertTrue(evening.holds(morning.defaultView))
        kids = evening.views[1]
        self.assertTrue(evening.holds(kids))
        self.assertFalse(evening.at(20 * HOUR).holds(kids))
        self.assertFalse(Policy.of().holds(kids))
        self.assertFalse(makePolicy(9 * HOUR).holds(morning.defaultView))


class PauseTests(SynchronousTestCase):
    """
    Tests for pauses by hand.
    """

    def blocked(self, policy: Policy, address: str, name: str = "ads.example.org") -> bool:
        """
        Does somebody see a name blocked?
        """
        _, view = policy.identify(packed(address))
        return said(view.rules, name).startswith("block")

    def test_everybody(self) -> None:
        """
        A global pause is for all under global rules, not for a group with
        rules of its own, and ends by itself.
        """
        policy = makePolicy(9 * HOUR)
        paused = policy.paused(10 * HOUR, 9 * HOUR)
        for address in ("192.0.2.1", "192.0.2.65", "198.51.100.1"):
            self.assertTrue(self.blocked(policy, address))
            self.assertFalse(self.blocked(paused, address))
        self.assertTrue(self.blocked(paused, "192.0.2.129", "more.example.org"))
        self.assertEqual(paused.nextChange(9 * HOUR), 10 * HOUR)
        self.assertTrue(self.blocked(paused.at(10 * HOUR), "192.0.2.1"))

    def test_familyTimeHolds(self) -> None:
        """
        Family time holds through a pause.
        """
        paused = makePolicy(19 * HOUR).paused(20 * HOUR, 19 * HOUR)
        self.assertTrue(self.blocked(paused, "192.0.2.1", "game.example.org"))
        self.assertFalse(self.blocked(paused, "192.0.2.1"))

    def test_oneGroup(self) -> None:
        """
        A group's pause is for that group.
        """
        policy = makePolicy(9 * HOUR).paused(10 * HOUR, 9 * HOUR, "guests")
        self.assertFalse(self.blocked(policy, "192.0.2.65"))
        self.assertTrue(self.blocked(policy, "192.0.2.1"))
        self.assertTrue(self.blocked(policy, "198.51.100.1"))
        self.assertTrue(self.blocked(policy.resumed(9.5 * HOUR, "guests"), "192.0.2.65"))

    def test_takenOver(self) -> None:
        """
        A policy newly built takes over the pauses that go on.
        """
        old = makePolicy(9 * HOUR).paused(10 * HOUR, 9 * HOUR)
        new = makePolicy(9 * HOUR).at(9.5 * HOUR, {**old.pauses, "gone": 11 * HOUR})
        self.assertFalse(self.blocked(new, "198.51.100.1"))
        self.assertEqual(dict(new.pauses), {"": 10 * HOUR})
        late = makePolicy(9 * HOUR).at(10.5 * HOUR, old.pauses)
        self.assertTrue(self.blocked(late, "198.51.100.1"))

    def test_unknownGroup(self) -> None:
        """
        Pausing a group that isn't there is refused, naming the nearest.
        """
        policy = makePolicy()
        for pause in (
            lambda: policy.paused(5.0, 0.0, "kid"),
            lambda: policy.resumed(0.0, "kid"),
        ):
            problem = self.assertRaises(PolicyError, pause)
            self.assertIn("did you mean 'kids'?", str(problem))


class OfTests(SynchronousTestCase):
    """
    Tests for L{Policy.of}.
    """

    def test_nothing(self) -> None:
        """
        Without anything said, nothing is blocked, and special names are known.
        """
        view = Policy.of().defaultView
        self.assertIs(view.rules, NO_RULES)
        self.assertEqual(view.blockedResponse, BlockedResponse())
        self.assertIsNotNone(view.specialNames.find(fromText("x.onion"), 1))

    def test_blockedResponse(self) -> None:
        """
        How blocked names are answered is the same for all groups.
        """
        response = BlockedResponse(ttl=5)
        policy = Policy.of(blockedResponse=response, groups={"kids": None})
        self.assertEqual([view.blockedResponse for view in policy.views], [response])

    def test_groups(self) -> None:
        """
        Groups have rules of their own, and addresses lead to groups.
        """
        ads = PlainRules(RuleParts("ads", sources=("ads",)))
        more = PlainRules(RuleParts("made", sources=("more",)))
        policy = Policy.of(
            ads,
            records=[("nas.example.org", "A", "192.0.2.1")],
            groups={"kids": more, "free": None},
            clients={"192.0.2.0/28": "kids", "192.0.2.200": "free"},
        )
        for address, expected in [
            ("198.51.100.1", ("block ads list", "-")),
            ("192.0.2.3", ("-", "block made list")),
            ("192.0.2.200", ("-", "-")),
        ]:
            _, view = policy.identify(packed(address))
            names = ("ads.example.org", "more.example.org")
            self.assertEqual(tuple(said(view.rules, name) for name in names), expected)
            self.assertIn(fromText("nas.example.org"), view.records)

    def test_setOfNames(self) -> None:
        """
        A plain set of names blocks them.
        """
        try:
            from dnsguard.policy.domainset import (  # type: ignore[import-not-found,unused-ignore]
                DomainSet,
            )
        except ImportError:
            raise SkipTest("sets of names aren't there") from None
        rules = Policy.of(DomainSet.parse("ads.example.org")).defaultView.rules
        self.assertEqual(said(rules, "www.ads.example.org"), "block inline list")
        self.assertEqual(said(rules, "example.org"), "-")

    def test_problems(self) -> None:
        """
        What is wrong is told of with its place.
        """
        invalid = self.assertRaises(
            InvalidPolicy, Policy.of, records=[("a", "A", "x")], clients={"x": "y"}
        )
        self.assertEqual(invalid.problems[0].place, "records[0].value")
        invalid = self.assertRaises(InvalidPolicy, Policy.of, clients={"192.0.2.1": "y"})
        self.assertEqual(invalid.problems[0].place, "clients['192.0.2.1'].group_id")


class PoliciesTests(SynchronousTestCase):
    """
    Tests for L{Policies}.
    """

    def test_interface(self) -> None:
        """
        It is the place where policies are looked up.
        """
        verifyObject(IPolicies, Policies())

    def test_atFirstEverythingPasses(self) -> None:
        """
        The first policy passes everything, whoever asks.
        """
        _, view = Policies().current.identify(packed("192.0.2.1"))
        self.assertEqual(said(view.rules, "ads.example.org"), "-")
        self.assertIs(view.records, LocalRecords.NONE)

    def test_numbersGrow(self) -> None:
        """
        Each policy published has a higher number, also one published twice.
        """
        policies = Policies()
        numbers = [policies.current.generation]
        policy = makePolicy()
        for published in (policy, policy, policy.at(18 * HOUR)):
            policies.publish(published)
            numbers.append(policies.current.generation)
        self.assertEqual(numbers, [1, 2, 3, 4])

    def test_viewsStayThoseOfThePolicy(self) -> None:
        """
        Publishing numbers a policy and leaves its views as they are.
        """
        policies, policy = Policies(), makePolicy()
        policies.publish(policy)
        self.assertTrue(policies.current.holds(policy.defaultView))

    def test_subscribers(self) -> None:
        """
        Subscribers are told of each policy, after it is the current one, until
        they have had enough.
        """
        policies = Policies()
        told: list[bool] = []
        stop = policies.subscribe(lambda policy: told.append(policy is policies.current))
        policies.publish(makePolicy())
        stop()
        stop()
        policies.publish(makePolicy())
        self.assertEqual(told, [True])

    def test_brokenSubscriber(self) -> None:
        """
        A subscriber that breaks is counted and told of, and the others are
        told of the policy all the same.
        """
        failures: list[Exception] = []
        policies = Policies(failed=failures.append)
        told: list[int] = []

        def broken(policy: Policy) -> None:
            raise ValueError("broken")

        policies.subscribe(broken)
        policies.subscribe(lambda policy: told.append(policy.generation))
        policies.publish(makePolicy())
        self.assertEqual((told, policies.subscriberFailures), ([2], 1))
        self.assertEqual([str(failure) for failure in failures], ["broken"])

    def test_subscriberThatPublishes(self) -> None:
        """
        When a subscriber publishes in turn, the last policy all are told of is
        the current one.
        """
        policies = Policies()
        first: list[int] = []
        last: list[int] = []

        def again(policy: Policy) -> None:
            first.append(policy.generation)
            if policy.generation == 2:
                policies.publish(policy)

        policies.subscribe(again)
        policies.subscribe(lambda policy: last.append(policy.generation))
        policies.publish(makePolicy())
        self.assertEqual((first, last), ([2, 3], [2, 3]))
        self.assertEqual(policies.current.generation, 3)
