# -*- test-case-name: tests.upstream.test_exchange -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One question on its way round the upstreams, until there is an answer.

An L{Exchange} is asked on behalf of everybody who has the same question at the
time. It hands an L{Attempt} to one upstream after another, or to all at once,
and ends with the first good reply, or else with the best of the bad ones.
Nothing here is a Deferred but what the askers hold: at tens of thousands of
questions a second, plain calls are what is affordable.

Which replies end it:

  - NOERROR and NXDOMAIN are good.
  - SERVFAIL, REFUSED and other errors let the next upstream be tried, and the
    first of them is given if no other reply is better: a server that refuses
    to speak for a name, or can't reach that name's servers, says nothing of
    what the next one can do. The upstream isn't held to be down.
  - SERVFAIL with an extended error that says DNSSEC validation failed is
    final. To ask on would be to go and look for a server that doesn't validate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IUpstream
from dnsguard.upstream.message import Reply
from dnsguard.upstream.selection import FailureKind, Selector, Standing, Strategy
from dnsguard.wire.edns import ExtendedError

__all__ = ["Attempt", "Carrier", "Exchange", "Group"]

PATIENCE = 2.5
"""The longest wait for one upstream, in seconds, while there are others: those
who ask give up after about five."""

VALIDATION_FAILED = frozenset([1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 25, 27])
"""Extended errors that blame DNSSEC (RFC 8914 §4)."""

NO_REACHABLE_AUTHORITY = 22
NETWORK_ERROR = 23


class Carrier(Protocol):
    """
    A transport that an attempt is under way on.
    """

    def attemptTimedOut(self, attempt: Attempt, now: float) -> None:
        """
        The attempt's C{due} has passed: send again, or fail it.
        """

    def abandon(self, attempt: Attempt) -> None:
        """
        Nobody wants the reply any more.
        """


class Attempt:
    """
    One upstream being asked.

    @ivar exchange: What for; gone when it is over.
    @ivar place: The upstream's place in the group.
    @ivar asked: When, in seconds of the clock.
    @ivar deadline: When to give up.
    @ivar due: When to do something about it; see L{dnsguard.upstream.wheel}.
    @ivar carrier: The transport it is on, or L{None} when it is over.
    @ivar plain: Is it asked without EDNS?
    @ivar id: Its message id, of use to the carrier; so are the others below.
    @ivar sent: The question in the letter case sent.
    @ivar message: The whole query.
    @ivar sends: How often it was sent.
    @ivar via: The connection or port.
    """

    __slots__ = (
        "asked",
        "carrier",
        "deadline",
        "due",
        "exchange",
        "id",
        "message",
        "place",
        "plain",
        "sends",
        "sent",
        "standing",
        "via",
    )

    def __init__(
        self, exchange: Exchange, place: int, standing: Standing, asked: float, deadline: float
    ) -> None:
        self.exchange = exchange
        self.place = place
        self.standing = standing
        self.asked = asked
        self.deadline = self.due = deadline
        self.carrier: Carrier | None = None
        self.plain = False
        self.sends = 0

    # What only carriers set, once it is sent.
    id: bytes
    sent: bytes
    message: bytes
    via: Any

    @property
    def pending(self) -> bool:
        """
        Is it still under way?
        """
        return self.carrier is not None

    def timedOut(self, now: float) -> None:
        """
        Let the carrier send again or give up.
        """
        if self.carrier is not None:
            self.carrier.attemptTimedOut(self, now)

    def succeed(self, reply: Reply, now: float) -> None:
        """
        The upstream has replied. Called by the carrier, which has let go of
        the attempt.
        """
        self.carrier = None
        self.standing.replied(now - self.asked, now)
        exchange = self.exchange
        # The wheel holds on to the attempt for a while. It needn't hold on to
        # the exchange: thousands of dead ones are work for the collector.
        del self.exchange
        exchange.replied(self, reply, now)

    def fail(self, kind: FailureKind, reason: str, now: float) -> None:
        """
        There won't be a usable reply. Called by the carrier, which has let go
        of the attempt.
        """
        self.carrier = None
        self.standing.failed(kind, self.asked, now)
        exchange = self.exchange
        del self.exchange
        exchange.failed(self, reason, now)

    def abandon(self) -> None:
        """
        Nobody wants the reply any more.
        """
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            carrier.abandon(self)


@attrs.frozen(eq=False)
class Group:
    """
    Upstreams that share the queries for some names.

    @ivar upstreams: The upstreams.
    @ivar selector: Picks among them by place.
    """

    upstreams: tuple[IUpstream, ...]
    selector: Selector

    @classmethod
    def of(cls, strategy: Strategy, upstreams: Sequence[IUpstream]) -> Group:
        """
        Group upstreams under a strategy.
        """
        return cls(
            tuple(upstreams), Selector(strategy, [upstream.standing for upstream in upstreams])
        )


class Exchange:
    """
    One question, those who wait for its answer, and how far it has got.

    @ivar question: The four that follow, which tell equal questions.
    @ivar qname: The name, lower-cased, in wire form.
    @ivar tail: Type and class, four octets.
    @ivar dnssecOK: Ask with DO?
    @ivar checkingDisabled: Ask with CD?
    @ivar group: Whom to ask.
    @ivar deadline: When to give up altogether.
    @ivar waiters: What to fire with the L{Answer}.
    """

    __slots__ = (
        "_attempts",
        "_ended",
        "_fallback",
        "_last",
        "_over",
        "_reason",
        "_tried",
        "checkingDisabled",
        "deadline",
        "dnssecOK",
        "group",
        "qname",
        "question",
        "tail",
        "waiters",
    )

    def __init__(
        self,
        question: tuple[bytes, bytes, bool, bool],
        group: Group,
        ended: Callable[[Exchange], None],
        deadline: float,
    ) -> None:
        """
        @param ended: Called before the waiters are told, or when there are
            none left.
        """
        self.question = question
        self.qname, self.tail, self.dnssecOK, self.checkingDisabled = question
        self.group = group
        self.deadline = deadline
        self.waiters: list[Deferred[Answer | None]] = []
        self._ended = ended
        self._attempts: list[Attempt] = []
        self._tried = 0
        self._last = -1
        self._fallback: tuple[Reply, str] | None = None
        self._reason = ""
        self._over = False

    def join(self) -> Deferred[Answer | None]:
        """
        Wait for the answer.

        @return: A Deferred that may be cancelled: the question is given up
            when nobody is left who waits for it.
        """
        waiter: Deferred[Answer | None] = Deferred(self._leave)
        self.waiters.append(waiter)
        return waiter

    def start(self, now: float) -> None:
        """
        Ask the first upstream, or all.
        """
        selector = self.group.selector
        if selector.strategy is not Strategy.PARALLEL:
            self._askNext(now)
            return
        attempts = [
            self._attempt(place, now, self.deadline) for place in selector.everyUsable(now)
        ]
        if not attempts:
            self.giveUp()
        for attempt in attempts:
            if not self._over:
                self.group.upstreams[attempt.place].send(attempt)

    def replied(self, attempt: Attempt, reply: Reply, now: float) -> None:
        """
        An upstream has replied.
        """
        self._attempts.remove(attempt)
        upstream = self.group.upstreams[attempt.place].name
        code = reply.rCode
        if code == dns.OK or code == dns.ENAME:
            self._finish(_answer(reply, upstream))
            return
        attempt.standing.refusals += 1
        if _isVerdict(reply):
            self._finish(_answer(reply, upstream))
            return
        if self._fallback is None:
            self._fallback = reply, upstream
        self._goOn(now)

    def failed(self, attempt: Attempt, reason: str, now: float) -> None:
        """
        An upstream has given no usable reply.
        """
        self._attempts.remove(attempt)
        self._reason = f"{self.group.upstreams[attempt.place].name}: {reason}"
        self._goOn(now)

    def abandon(self) -> None:
        """
        Stop asking.
        """
        self._over = True
        attempts, self._attempts = self._attempts, []
        for attempt in attempts:
            attempt.abandon()

    def _goOn(self, now: float) -> None:
        """
        Ask another one, unless another one is being asked.
        """
        if not self._attempts and not self._over:
            self._askNext(now)

    def _askNext(self, now: float) -> None:
        """
        Ask an upstream that wasn't asked yet.
        """
        remaining = self.deadline - now
        place = self.group.selector.pick(now, self._tried, self._last) if remaining > 0 else None
        if place is None:
            self.giveUp()
            return
        self._last = place
        left = len(self.group.upstreams) - self._tried.bit_count()
        if left > 1:
            remaining = min(remaining / left, PATIENCE)
        self.group.upstreams[place].send(self._attempt(place, now, now + remaining))

    def _attempt(self, place: int, now: float, deadline: float) -> Attempt:
        """
        Note that an upstream is going to be asked.
        """
        attempt = Attempt(self, place, self.group.selector.standings[place], now, deadline)
        self._tried |= 1 << place
        self._attempts.append(attempt)
        return attempt

    def giveUp(self) -> None:
        """
        End it with what there is: all have been asked, or the time is up.
        """
        if self._fallback is not None:
            self._finish(_answer(*self._fallback))
            return
        reason = self._reason or "no reply in time"
        # RFC 8914 §4.23-4.24: nobody was reached, or somebody failed on the way.
        code = NETWORK_ERROR if self._reason else NO_REACHABLE_AUTHORITY
        self._finish(
            Answer.failure(
                dns.ESERVER,
                Outcome.UPSTREAM_ERROR,
                extendedError=ExtendedError(code, reason),
                final=False,
            )
        )

    def _finish(self, answer: Answer) -> None:
        """
        Tell everybody who waits.
        """
        self._over = True
        self._ended(self)
        if self._attempts:
            self.abandon()
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            # One told before may have cancelled this one.
            if not waiter.called:
                waiter.callback(answer)

    def _leave(self, waiter: Deferred[Answer | None]) -> None:
        """
        One of those who wait has given up.
        """
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            if not self.waiters:
                self._ended(self)
                self.abandon()


def _isVerdict(reply: Reply) -> bool:
    """
    Does a failure say that the data is bogus, so that nobody else is asked?
    """
    if reply.rCode != dns.ESERVER or reply.edns is None:
        return False
    error = reply.extendedError
    return error is not None and error.code in VALIDATION_FAILED


def _answer(reply: Reply, upstream: str) -> Answer:
    """
    Make the answer of a reply.
    """
    code = reply.rCode
    if code == dns.OK or code == dns.ENAME:
        return Answer(
            rCode=code,
            outcome=Outcome.UPSTREAM,
            wire=reply.wire,
            layout=reply.layout,
            upstream=upstream,
            authenticData=reply.authenticData,
            extendedError=None if reply.edns is None else reply.extendedError,
            cacheSeconds=_lifetime(reply),
        )
    return Answer.fromWire(
        reply.wire,
        reply.layout,
        outcome=_OUTCOMES.get(code, Outcome.UPSTREAM),
        rCode=code,
        upstream=upstream,
        extendedError=reply.extendedError,
        final=False,
    )


_OUTCOMES = {dns.ESERVER: Outcome.SERVFAIL, dns.EREFUSED: Outcome.REFUSED}


def _lifetime(reply: Reply) -> int:
    """
    How long a reply stays true by its own TTLs, in seconds.

    A negative one without SOA isn't to be kept at all (RFC 2308 §5).
    """
    layout = reply.layout
    positive = layout.leastTTL
    negative = layout.negativeTTL
    if positive is None or reply.rCode == dns.ENAME:
        if negative is None:
            return 0
        return negative if positive is None else min(positive, negative)
    if negative is not None:
        # An alias to a name that lacks the type asked for: the SOA record
        # says how long that part holds (RFC 2308 §2.2.1).
        return min(positive, negative)
    return positive
