# -*- test-case-name: tests.upstream.test_selection -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which upstream to ask next, judged by what each has done so far.

Pure arithmetic over L{Standing}s, with the time handed in: whoever sends and
waits tells a standing what happened, and asks a L{Selector} whom to ask. An
upstream that fails is left alone for a while, but a query is never refused
because all are: then the one that may come back first is asked.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence

from dnsguard.histogram import Histogram

__all__ = ["FailureKind", "Selector", "Standing", "Strategy"]

START_LATENCY = 0.05
LATENCY_FLOOR = 0.001
SMOOTHING = 0.2
EXPLORATION = 0.05
"""How often the weighted strategy asks another one than the fastest."""

PROBE_SECONDS = 2.0
"""How long the others wait for the one query that tries an upstream again."""

PLAIN_SECONDS = 900.0
"""How long a server is asked without EDNS after it showed not to know it."""


class Strategy(enum.Enum):
    """
    How upstreams share the queries. The values are the words of the config.
    """

    FAILOVER = "failover"
    LOAD_BALANCE = "load_balance"
    WEIGHTED = "weighted"
    PARALLEL = "parallel"


# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_LOAD_BALANCE, _WEIGHTED = Strategy.LOAD_BALANCE, Strategy.WEIGHTED


class FailureKind(enum.Enum):
    """
    Why an upstream gave no usable reply. The values are words for counters.
    """

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    MALFORMED = "malformed"
    OVERLOAD = "overload"


class Standing:
    """
    What one upstream has done, and how it is doing.

    @ivar backoff: Seconds it is left alone after a failure; 0: never.
    @ivar latency: Its smoothed time to a reply, in seconds.
    @ivar backoffUntil: When it may be asked again; 0 when it is well.
    @ivar lastReply: When it last said something to a question of ours.
    @ivar plainUntil: Until when it is asked without EDNS.
    @ivar queries: Queries handed to it.
    @ivar replies: Usable replies.
    @ivar refusals: Replies among them that say SERVFAIL, REFUSED or another
        error.
    @ivar failures: Exchanges without a usable reply, by kind.
    @ivar retransmissions: Datagrams sent again.
    @ivar late: Replies to exchanges given up before.
    @ivar mismatched: Datagrams that answer nothing asked: a wrong id or
        question; spoofed, most likely.
    @ivar malformed: Replies that are no sound message.
    @ivar caseChanged: Replies with the letters' case changed.
    @ivar truncated: Replies with TC, asked again over TCP.
    @ivar plain: Queries repeated without EDNS.
    @ivar reconnects: Queries repeated on a fresh connection.
    @ivar unsent: Datagrams that the socket's buffer had no room for.
    @ivar times: How long usable replies took.
    """

    __slots__ = (
        "backoff",
        "backoffUntil",
        "caseChanged",
        "failures",
        "lastReply",
        "late",
        "latency",
        "malformed",
        "mismatched",
        "plain",
        "plainUntil",
        "queries",
        "reconnects",
        "refusals",
        "replies",
        "retransmissions",
        "times",
        "truncated",
        "unsent",
    )

    def __init__(
        self, backoff: float = 30.0, latency: float = START_LATENCY, backoffUntil: float = 0.0
    ) -> None:
        self.backoff = backoff
        self.latency = latency
        self.backoffUntil = backoffUntil
        self.lastReply = -1.0
        self.plainUntil = 0.0
        self.queries = self.replies = self.refusals = 0
        self.failures = dict.fromkeys(FailureKind, 0)
        self.retransmissions = self.late = self.unsent = 0
        self.mismatched = self.malformed = self.caseChanged = 0
        self.truncated = self.plain = self.reconnects = 0
        self.times = Histogram()

    def replied(self, seconds: float, now: float) -> None:
        """
        Note a usable reply.

        @param seconds: How long it took.
        """
        self.replies += 1
        self.times.add(seconds)
        if seconds < LATENCY_FLOOR:
            seconds = LATENCY_FLOOR
        self.latency += SMOOTHING * (seconds - self.latency)
        self.lastReply = now
        self.backoffUntil = 0.0

    def failed(self, kind: FailureKind, asked: float, now: float) -> None:
        """
        Note an exchange without a usable reply.

        An upstream that has said anything since isn't down: what was asked is
        slow, a datagram was lost, or the reply was no good. If that counted,
        whoever runs a broken domain could have upstreams shut off by asking
        for it. Nor is it down when it is we who ask too much.

        @param asked: When it was asked.
        """
        self.failures[kind] += 1
        if kind is FailureKind.OVERLOAD or self.lastReply >= asked:
            return
        if self.backoff > 0:
            self.backoffUntil = now + self.backoff

    def usable(self, now: float) -> bool:
        """
        May it be asked?
        """
        return self.backoffUntil <= now


class Selector:
    """
    Picks one upstream after another for a query.

    Upstreams are named by their place in the sequence; those tried already by
    a set of bits.

    @ivar standings: How each upstream is doing.
    @ivar strategy: The strategy.
    """

    def __init__(
        self,
        strategy: Strategy,
        standings: Sequence[Standing],
        random: Callable[[], float] = random.random,
    ) -> None:
        """
        @param random: Gives numbers from 0 up to 1, for exploration.
        """
        self.strategy = strategy
        self.standings = tuple(standings)
        self._random = random
        self._turn = -1

    def pick(self, now: float, tried: int = 0, last: int = -1) -> int | None:
        """
        Say whom to ask.

        @param tried: The places tried, as bits.
        @param last: The place tried last, -1 at first.
        @return: A place not tried, or L{None} when all have been. One that is
            left alone only when no other is left: the one that may come back
            first.
        """
        strategy = self.strategy
        if strategy is _LOAD_BALANCE:
            place = self._inTurn(now, tried, last)
        elif strategy is _WEIGHTED:
            place = self._fastest(now, tried)
        else:
            place = self._inOrder(now, tried)
        if place is None:
            return self._soonest(tried)
        standing = self.standings[place]
        if standing.backoffUntil:
            # Its time is up, and nobody knows yet whether it is back: let one
            # query find out, and the others go elsewhere meanwhile.
            standing.backoffUntil = now + PROBE_SECONDS
        return place

    def everyUsable(self, now: float) -> list[int]:
        """
        Say whom to ask all at once: those that may be asked, or the one that
        may come back first.
        """
        usable = [at for at, standing in enumerate(self.standings) if standing.backoffUntil <= now]
        if usable:
            return usable
        soonest = self._soonest(0)
        return [] if soonest is None else [soonest]

    def _inOrder(self, now: float, tried: int) -> int | None:
        for place, standing in enumerate(self.standings):
            if standing.backoffUntil <= now and not tried >> place & 1:
                return place
        return None

    def _inTurn(self, now: float, tried: int, last: int) -> int | None:
        count = len(self.standings)
        if last < 0:
            self._turn = last = (self._turn + 1) % count if count else 0
            last -= 1
        for step in range(1, count + 1):
            place = (last + step) % count
            if self.standings[place].backoffUntil <= now and not tried >> place & 1:
                return place
        return None

    def _fastest(self, now: float, tried: int) -> int | None:
        usable = [
            place
            for place, standing in enumerate(self.standings)
            if standing.backoffUntil <= now and not tried >> place & 1
        ]
        if not usable:
            return None
        if not tried and len(usable) > 1 and self._random() < EXPLORATION:
            # Without this, one slow reply would cast out an upstream for good.
            return usable[int(self._random() * len(usable))]
        return min(usable, key=lambda place: self.standings[place].latency)

    def _soonest(self, tried: int) -> int | None:
        left = [place for place in range(len(self.standings)) if not tried >> place & 1]
        if not left:
            return None
        return min(left, key=lambda place: self.standings[place].backoffUntil)
