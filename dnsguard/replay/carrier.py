# -*- test-case-name: tests.replay.test_carrier -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Carries finished replies over to the next policy, where that leaves them as they
are.

Most policies change what is said of a few names. Were all replies dead with each of
them, every name in use would have to go through the chain at once, while queries
come in at the rate of replays. So before a policy is published, replies are gone
through bit by bit; then it is published by one store as ever. Whoever publishes
without that, such as somebody who pauses blocking, doesn't wait, and lets all die.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from dnsguard.interfaces import IPolicies, IReplayStore
from dnsguard.policy.likeness import Likeness
from dnsguard.policy.snapshot import Policy
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.replay.lives import Judge, Kept

__all__ = ["MOST_SECONDS", "ReplyCarrier"]

MOST_SECONDS = 0.5
"""How long a policy is kept waiting; what hasn't been looked at by then dies."""

TURN_SECONDS = 0.001
"""How long replies are looked at in one go."""

PAUSE_SECONDS = 0.001
"""
How long there is then for everybody else: a listener's thread, too, when it has its
core together with the reactor, waits for one that never rests.
"""

_AT_ONCE = 32
"""Replies looked at between two looks at the clock."""

_TURN_MOST = 2048
"""Replies looked at in one turn, however little time they take."""


class ReplyCarrier:
    """
    Lets a store's replies live on under policies that don't change them.

    To be subscribed to the policies in the store's stead, see L{adopt}.

    @ivar prepared: How many policies replies were gone through for.
    @ivar whole: How many of those left all of them as they were.
    @ivar late: For how many there was no time to go through all.
    @ivar failures: How often that failed: all died then.
    """

    log = Logger()

    def __init__(
        self,
        replay: IReplayStore,
        policies: IPolicies,
        reactor: Any,
        inThread: Callable[..., Any] = maybeDeferred,
    ) -> None:
        """
        @param reactor: Provides C{IReactorTime}; the clock of the server.
        @param inThread: Calls a callable beside the reactor; gives a Deferred
            of its result.
        """
        self.prepared = self.whole = self.late = self.failures = 0
        self._replay = replay
        self._policies = policies
        self._reactor = reactor
        self._inThread = inThread
        self._policy = policies.current
        self._ready: tuple[Policy, Kept] | None = None

    async def prepare(self, policy: Policy, seconds: float = MOST_SECONDS) -> None:
        """
        Get replies ready for a policy, which is to be published next, at once,
        and as it is. Never fails. One at a time, as whoever changes a server
        sees to it anyway.

        @param seconds: How long that may take.
        """
        self._ready = None
        try:
            await self._prepare(policy, seconds)
        except Exception:
            self._ready = None
            self.failures += 1
            self.log.failure("finished replies can't be carried over to new rules")

    async def _prepare(self, policy: Policy, seconds: float) -> None:
        before = self._policy
        likeness: Likeness = await self._inThread(Likeness.of, before, policy)
        if self._policy is not before:
            return
        self.prepared += 1
        if likeness.isWhole:
            self.whole += 1
            self._ready = policy, Kept.ALL
            return
        if not any(likeness.views):
            return
        self._replay.beginCarrying(self._judge(likeness))
        until = self._reactor.seconds() + seconds
        while not self._lookOn():
            if self._reactor.seconds() >= until:
                self.late += 1
                break
            await deferLater(self._reactor, PAUSE_SECONDS)
            if self._policy is not before:
                # There was another policy, and all is dead.
                return
        self._ready = policy, Kept.CARRIED

    def _lookOn(self) -> bool:
        """
        Look at some replies.

        @return: Have all been looked at?
        """
        now = self._reactor.seconds()
        until = now + TURN_SECONDS
        for _ in range(_TURN_MOST // _AT_ONCE):
            if self._replay.carryOn(_AT_ONCE, now):
                return True
            if self._reactor.seconds() >= until:
                break
        return False

    def _judge(self, likeness: Likeness) -> Judge:
        """
        Make what says whether a reply stays as it is.
        """
        holds = likeness.holds

        def judge(facts: ReplayedAnswer) -> ReplayedAnswer | None:
            why = facts.attribution
            try:
                same, later = holds(facts.viewNumber, facts.qname, facts.type, why)
            except Exception:
                # Rules that break do so again when the name is asked for.
                self.failures += 1
                return None
            if not same:
                return None
            return facts if later is why or later is None else facts.attributedTo(later)

        return judge

    def adopt(self, policy: Policy) -> None:
        """
        Have the store turn to a policy, with the replies that are ready for it.
        To be subscribed to the policies.
        """
        kept = Kept.NOTHING
        ready, self._ready = self._ready, None
        # By its views: all else that it is made of concerns no reply.
        if ready is not None and ready[0].views is policy.views:
            kept = ready[1]
        self._policy = policy
        self._replay.adopt(policy, kept)
