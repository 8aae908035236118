# -*- test-case-name: tests.services.test_policyclock -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The clock that changes the policy when a window opens or closes, or a pause is
over.

It sleeps until the next change, but never long: a clock that is set, a laptop
that was closed and a summer time rule that nobody foresaw are all noticed at
the next look. A look costs next to nothing when nothing has changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from dnsguard.interfaces import IPolicies
from dnsguard.policy.snapshot import Policy

__all__ = ["PolicyClockService"]

LONGEST_SLEEP = 30.0
"""Seconds after which the wall clock is looked at in any case."""

SHORTEST_SLEEP = 0.05
"""Seconds below which there is no use in waiting exactly."""


class PolicyClockService(Service):
    """
    Publishes the policy that holds now, whenever that is another one.

    @ivar changes: How many policies it has published.
    @ivar failures: How often finding out what holds now failed.
    """

    log = Logger()

    def __init__(
        self,
        policies: IPolicies,
        clock: IReactorTime,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        @param policies: Where the policy is published.
        @param clock: What to sleep by.
        @param now: The wall clock, in seconds since the epoch.
        """
        self.setName("policyclock")
        self.changes = 0
        self.failures = 0
        self._policies = policies
        self._clock = clock
        self._now = now
        self._sleep: IDelayedCall | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def startService(self) -> None:
        """
        Publish what holds now, and go on doing so.
        """
        super().startService()
        self._unsubscribe = self._policies.subscribe(self._published)
        self._look()

    def stopService(self) -> None:
        """
        Leave the policy as it is.
        """
        super().stopService()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._wake()

    def _wake(self) -> None:
        if self._sleep is not None and self._sleep.active():
            self._sleep.cancel()
        self._sleep = None

    def _published(self, policy: Policy) -> None:
        """
        Somebody has published a policy: its times are others.
        """
        self._look()

    def _look(self) -> None:
        """
        Publish the policy that holds now, if it is another one, and sleep.
        """
        self._wake()
        seconds = LONGEST_SLEEP
        try:
            now = self._now()
            current = self._policies.current
            policy = current.at(now)
            change = policy.nextChange(now)
            if change is not None:
                seconds = min(LONGEST_SLEEP, max(SHORTEST_SLEEP, change - now))
        except Exception:
            self.failures += 1
            self.log.failure("the policy of this hour can't be found; trying again")
        else:
            if policy is not current:
                self.changes += 1
                self.log.info("the rules change with the time of day, or a pause is over")
                # Those told of it include this service, which then looks again
                # and sleeps.
                self._policies.publish(policy)
        if self._sleep is None and self.running:
            self._sleep = self._clock.callLater(seconds, self._look)
