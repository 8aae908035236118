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

from twisted.logger import Logger
from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IUpstream
from dnsguard.upstream.attempt import Attempt
from dnsguard.upstream.reply import Reply
from dnsguard.upstream.selection import Selector, Strategy
from dnsguard.upstream.waiter import Receiver, Waiter
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.mnemonics import rCodeName

__all__ = ["Exchange", "Group", "Trace"]

Trace = Callable[[bytes, int, str, str, float, int], object]
"""
Is told of each upstream asked: the question's name and type, the upstream's
name, what became of it, how many seconds it took and which in a row it was.
"""

PATIENCE = 2.5
"""The longest wait for one upstream, in seconds, while there are others: those
who ask give up after about five."""

VALIDATION_FAILED = frozenset([1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 25, 27])
"""Extended errors that blame DNSSEC (RFC 8914 §4)."""

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_PARALLEL, _UPSTREAM = Strategy.PARALLEL, Outcome.UPSTREAM

OTHER = 0
NO_REACHABLE_AUTHORITY = 22
NETWORK_ERROR = 23


class Group:
    """
    Upstreams that share the queries for some names.

    @ivar upstreams: The upstreams.
    @ivar selector: Picks among them by place.
    """

    __slots__ = ("selector", "upstreams")

    def __init__(self, upstreams: tuple[IUpstream, ...], selector: Selector) -> None:
        self.upstreams = upstreams
        self.selector = selector

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
    @ivar waiters: Those who are to be told the L{Answer}.
    @ivar answer: The L{Answer}, when it is over and had one.
    """

    log = Logger()

    __slots__ = (
        "_attempts",
        "_ended",
        "_fallback",
        "_last",
        "_over",
        "_reason",
        "_trace",
        "_tried",
        "answer",
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
        trace: Trace | None = None,
    ) -> None:
        """
        @param ended: Called before the waiters are told, or when there are
            none left.
        @param trace: Is told what goes on, if somebody wants to know.
        """
        self.question = question
        self.qname, self.tail, self.dnssecOK, self.checkingDisabled = question
        self.group = group
        self.deadline = deadline
        self.waiters: list[Waiter] = []
        self.answer: Answer | None = None
        self._ended = ended
        self._trace = trace
        self._attempts: list[Attempt] = []
        self._tried = 0
        self._last = -1
        self._fallback: tuple[Reply, str] | None = None
        self._reason = ""
        self._over = False

    def join(self, receive: Receiver) -> Waiter:
        """
        Wait for the answer of an exchange that isn't over.

        @param receive: Is told the answer.
        """
        waiter = Waiter(self, receive)
        self.waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """
        Stop waiting: the question is given up when nobody is left.
        """
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            if not self.waiters:
                self._ended(self)
                self.abandon()

    def start(self, now: float) -> None:
        """
        Ask the first upstream, or all.
        """
        selector = self.group.selector
        if selector.strategy is not _PARALLEL:
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
        if self._trace is not None:
            self._tell(attempt.place, rCodeName(code), now - attempt.asked)
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
        if self._trace is not None:
            self._tell(attempt.place, f"failed: {reason}", now - attempt.asked)
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
        if self._trace is not None:
            self._tellSkipped(place, now)
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

    def _tell(self, place: int, result: str, seconds: float) -> None:
        """
        Tell who traces what became of asking an upstream.
        """
        assert self._trace is not None
        self._trace(
            self.qname,
            int.from_bytes(self.tail[:2], "big"),
            self.group.upstreams[place].name,
            result,
            seconds,
            self._tried.bit_count(),
        )

    def _tellSkipped(self, chosen: int, now: float) -> None:
        """
        Tell who traces which upstreams aren't asked because they are in backoff.
        """
        for place, standing in enumerate(self.group.selector.standings):
            if place != chosen and not self._tried >> place & 1 and not standing.usable(now):
                self._tell(place, "skipped: left alone after a failure", 0.0)

    def giveUp(self) -> None:
        """
        End it with what there is: all have been asked, or the time is up.
        """
        if self._fallback is not None:
            reply, upstream = self._fallback
            self._finish(_answer(reply, upstream))
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
        self.answer = answer
        self._ended(self)
        if self._attempts:
            self.abandon()
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            try:
                waiter.tell(answer)
            except Exception:
                # The others are to be told all the same.
                self.log.failure("an answer was handled badly")


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
    extendedError = None if reply.edns is None else reply.extendedError
    if code == dns.OK or code == dns.ENAME:
        return Answer(
            rCode=code,
            outcome=_UPSTREAM,
            wire=reply.wire,
            layout=reply.layout,
            upstream=upstream,
            authenticData=reply.authenticData,
            extendedError=extendedError,
            cacheSeconds=_lifetime(reply),
        )
    if code > _LAST_PLAIN_CODE:
        # BADVERS, BADCOOKIE and the like are about what passed between the
        # upstream and us; a client would take them to be about its own query.
        extendedError = extendedError or ExtendedError(OTHER, f"upstream answered rcode {code}")
        code = dns.ESERVER
    return Answer.fromWire(
        reply.wire,
        reply.layout,
        outcome=_OUTCOMES.get(code, Outcome.UPSTREAM),
        rCode=code,
        upstream=upstream,
        extendedError=extendedError,
        final=False,
    )


_LAST_PLAIN_CODE = 15
"""Codes above it take an OPT or TSIG record to be said (RFC 6895 §2.3)."""

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
