# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.policyclock}.
"""

from __future__ import annotations

from twisted.application.service import IService, MultiService
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.policy.build import FamilyTimeSpec, PolicySpec, RulesSpec, build
from dnsguard.policy.schedule import WindowSpec
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.policy.view import Rules
from dnsguard.services.policyclock import LONGEST_SLEEP, PolicyClockService

HOUR = 3600.0


class SomeRules:
    """
    Rules unlike all others.
    """

    def decide(self, qname: bytes, type: int) -> None:
        """
        Say nothing.
        """
        return None


def eveningPolicy(now: float, zone: str = "UTC") -> Policy:
    """
    A policy that is another one between 18:00 and 20:00.
    """
    windows = (WindowSpec("18:00", "20:00"),)
    rules = RulesSpec(familyTime=FamilyTimeSpec(windows, domains=("game.example.org",)))

    def factory(parts: object) -> Rules:
        return SomeRules()

    return build(PolicySpec(rules=rules, timeZone=zone), factory, now=now)


class PolicyClockTests(SynchronousTestCase):
    """
    Tests for L{PolicyClockService}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.wall = 17.5 * HOUR
        self.policies = Policies(eveningPolicy(self.wall))
        self.service = PolicyClockService(self.policies, self.clock, lambda: self.wall)
        self.addCleanup(self.service.stopService)

    def goOn(self, seconds: float, step: float = 10.0) -> None:
        """
        Let both clocks go on.
        """
        while seconds > 0:
            self.wall += min(step, seconds)
            self.clock.advance(min(step, seconds))
            seconds -= step

    def test_service(self) -> None:
        """
        It is a service with a name.
        """
        verifyObject(IService, self.service)
        parent = MultiService()
        self.service.setServiceParent(parent)
        self.assertIs(parent.getServiceNamed("policyclock"), self.service)

    def test_windowOpensAndCloses(self) -> None:
        """
        At each edge, and only there, the policy of the hour is published.
        """
        self.service.startService()
        self.assertEqual(self.policies.current.generation, 1)
        self.goOn(0.5 * HOUR - 10)
        self.assertEqual(self.policies.current.generation, 1)
        self.goOn(10)
        self.assertEqual(self.policies.current.generation, 2)
        self.assertIsInstance(self.policies.current.defaultView.rules, SomeRules)
        self.goOn(2 * HOUR)
        self.assertEqual(self.policies.current.generation, 3)
        self.assertEqual(self.service.changes, 2)

    def test_exactly(self) -> None:
        """
        It wakes when the window opens, not some seconds later.
        """
        self.wall = 18 * HOUR - 1.5
        self.service.startService()
        self.wall += 1.5
        self.clock.advance(1.5)
        self.assertEqual(self.policies.current.generation, 2)

    def test_startingInTheWindow(self) -> None:
        """
        Started within a window, it publishes at once.
        """
        self.wall = 19 * HOUR
        self.service.startService()
        self.assertEqual(self.policies.current.generation, 2)

    def test_clockIsSet(self) -> None:
        """
        A clock that is set, forth or back, is noticed soon.
        """
        self.service.startService()
        self.wall = 19 * HOUR
        self.clock.advance(LONGEST_SLEEP)
        self.assertEqual(self.policies.current.generation, 2)
        self.wall = 10 * HOUR
        self.clock.advance(LONGEST_SLEEP)
        self.assertEqual(self.policies.current.generation, 3)

    def test_pauseEnds(self) -> None:
        """
        A pause published by somebody ends by itself.
        """
        self.policies.publish(eveningPolicy(19 * HOUR).at(9 * HOUR))
        self.wall = 9 * HOUR
        self.service.startService()
        paused = self.policies.current.paused(self.wall + 60, self.wall)
        self.policies.publish(paused)
        self.assertTrue(self.policies.current.pauses)
        self.goOn(60)
        self.assertEqual(dict(self.policies.current.pauses), {})

    def test_policyOfAnotherHour(self) -> None:
        """
        A policy that somebody made for another hour is put right as it is
        published, and one sleep is enough.
        """
        self.service.startService()
        self.policies.publish(eveningPolicy(19 * HOUR))
        self.assertNotIsInstance(self.policies.current.defaultView.rules, SomeRules)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_failureIsNotTheEnd(self) -> None:
        """
        If the hour's policy can't be found, it is logged and tried again.
        """

        def broken() -> float:
            raise OSError("no clock")

        service = PolicyClockService(self.policies, self.clock, broken)
        service.startService()
        self.assertEqual(service.failures, 1)
        self.clock.advance(LONGEST_SLEEP)
        self.assertEqual(service.failures, 2)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)
        service.stopService()

    def test_stop(self) -> None:
        """
        Stopped, it sleeps no more, nor is it woken by policies.
        """
        self.service.startService()
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.policies.publish(eveningPolicy(19 * HOUR))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.service.changes, 0)

    def test_stoppedByASubscriber(self) -> None:
        """
        Stopped while it publishes, it doesn't fall asleep again.
        """
        self.wall = 19 * HOUR
        self.policies.subscribe(lambda policy: self.service.stopService())
        self.service.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_summerTime(self) -> None:
        """
        A window moves along with the clock on the wall.
        """
        # 29 March 2026, the clocks in Berlin go forward at 01:00 UTC.
        midnight = 1774742400.0
        self.wall = midnight
        self.policies = Policies(eveningPolicy(self.wall, "Europe/Berlin"))
        service = PolicyClockService(self.policies, self.clock, lambda: self.wall)
        service.startService()
        self.goOn(16 * HOUR - 60, 30)
        self.assertEqual(self.policies.current.generation, 1)
        self.goOn(60)
        self.assertEqual(self.policies.current.generation, 2)
        service.stopService()
