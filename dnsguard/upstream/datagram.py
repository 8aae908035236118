# -*- test-case-name: tests.upstream.test_datagram -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
An upstream that is asked over UDP, and over TCP where UDP won't do.

A datagram is believed only if it came from the upstream's address to the port
the query left from, with its id, and with the question in the very letter case
it was sent in; anything else is counted and the wait goes on, since a forger
must not be able to end it (RFC 5452 §9), nor to try very often. A datagram that does match and still
is no good, because it was truncated, mangled or had its letters changed, is
settled over TCP, where none of that can happen.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import classImplements

from dnsguard.interfaces import IUpstream
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.attempt import Attempt
from dnsguard.upstream.message import CHANCE, Entropy, compose, queryParts
from dnsguard.upstream.ports import Port, PortPool
from dnsguard.upstream.reply import MalformedReply, readReply
from dnsguard.upstream.selection import PLAIN_SECONDS, FailureKind, Standing
from dnsguard.upstream.stream import ConnectionPool
from dnsguard.upstream.wheel import TimerWheel

__all__ = ["DatagramUpstream"]

FIRST_WAIT = (0.3, 1.0)
"""The least and the most seconds until a query is sent again."""

LONGEST_WAIT = 2.0
"""The most seconds between two sendings later on: when an upstream is back,
those who have waited since before, and those who joined them, hear of it."""

FOLDING_SECONDS = 3600.0
"""How long letter case isn't mixed for a server that doesn't keep it."""

FOLDING_STRIKES = 3
"""Replies in a row with changed letters that show it."""

GUESSES = 16
"""Wrong datagrams on one port after which what waits there goes over TCP."""

_ONE_QUESTION = b"\0\1"


class DatagramUpstream:
    """
    One server, asked over UDP.

    @ivar inFlight: Queries that wait for a datagram.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        address: UpstreamAddress,
        *,
        clock: IReactorTime,
        ports: PortPool,
        connections: ConnectionPool,
        wheel: TimerWheel,
        entropy: Entropy,
        standing: Standing,
        mixCase: bool = True,
        maxInFlight: int = 8192,
    ) -> None:
        """
        @param connections: Where to go when UDP won't do.
        @param wheel: The timers, shared among upstreams.
        @param mixCase: Mix the letter case of questions?
        @param maxInFlight: How many queries may wait at a time; those beyond
            fail at once.
        """
        self.name = name
        self.address = address
        self.standing = standing
        self.inFlight = 0
        self._clock = clock
        self._seconds = clock.seconds
        self._ports = ports
        self._connections = connections
        self._wheel = wheel
        self._entropy = entropy
        self._mixCase = mixCase
        self._maxInFlight = maxInFlight
        self._foldsUntil = 0.0
        self._strikes = 0
        self._retired = False
        self._closed = False
        ports.reader = self

    @property
    def ports(self) -> PortPool:
        """
        The sockets it is asked from.
        """
        return self._ports

    def send(self, attempt: Attempt) -> None:
        """
        Send the first datagram of an attempt.
        """
        self.standing.queries += 1
        now = attempt.asked
        if self._closed:
            attempt.fail(FailureKind.CLOSED, "shut down", now)
            return
        if self.inFlight >= self._maxInFlight:
            attempt.fail(FailureKind.OVERLOAD, "too many queries under way", now)
            return
        if now < self.standing.plainUntil:
            attempt.plain = True
        wait = 3 * self.standing.latency
        least, most = FIRST_WAIT
        wait = least if wait < least else most if wait > most else wait
        attempt.due = min(now + wait, attempt.deadline)
        self._transmit(attempt, now)
        if attempt.carrier is not None:
            self._wheel.add(attempt)

    def _transmit(self, attempt: Attempt, now: float) -> None:
        """
        Send a new datagram from a port drawn for it.
        """
        exchange = attempt.exchange
        name = exchange.qname
        entropy = self._entropy
        header, opt = queryParts(exchange.dnssecOK, exchange.checkingDisabled, not attempt.plain)
        start = entropy.draw(CHANCE + len(name))
        lot, id, sent, message = compose(
            entropy.octets,
            start,
            name,
            exchange.tail,
            self._mixCase and now >= self._foldsUntil,
            header,
            opt,
        )
        try:
            port = self._ports.draw(lot)
        except OSError as error:
            attempt.fail(FailureKind.UNREACHABLE, error.strerror or str(error), now)
            return
        waiting = port.waiting
        while id in waiting:
            id = entropy.take(2)
            message = id + message[2:]
        attempt.id = id
        attempt.via = port
        attempt.sent = sent
        attempt.message = message
        attempt.sends += 1
        attempt.carrier = self
        waiting[id] = attempt
        self.inFlight += 1
        try:
            self._ports.post(port, message)
        except OSError as error:
            self.sendFailed(port, message, error)

    def datagramReceived(self, port: Port, datagram: bytes) -> None:
        """
        Find out what a datagram answers.
        """
        attempt = port.waiting.get(datagram[:2])
        if attempt is None:
            self._unexpected(port, datagram)
            return
        if (
            not datagram.startswith(attempt.sent, 12)
            or not datagram.startswith(_ONE_QUESTION, 4)
            or datagram[2] & 0xF8 != 0x80
        ):
            self._mismatched(attempt, datagram)
            return
        if self._strikes:
            self._strikes = 0
        if datagram[2] & 2:
            self.standing.truncated += 1
            self._overStream(attempt)
            return
        try:
            reply = readReply(datagram, attempt.exchange.qname + attempt.exchange.tail)
        except MalformedReply:
            self.standing.malformed += 1
            self._overStream(attempt)
            return
        now = self._seconds()
        if reply.rCode and not attempt.plain and reply.lacksEDNS:
            if reply.edns is None:
                self.standing.plainUntil = now + PLAIN_SECONDS
            self._askPlain(attempt)
            return
        # What was sent twice may be answered twice.
        self._release(attempt, late=attempt.sends > 1)
        attempt.succeed(reply, now)
        if self._retired:
            self._closeIfIdle()

    def portFailed(self, port: Port, error: OSError) -> None:
        """
        The network says that the upstream can't be reached: so it is for all
        that wait on this port.
        """
        now = self._seconds()
        reason = error.strerror or str(error)
        for attempt in list(port.waiting.values()):
            if attempt.carrier is self:
                self._release(attempt)
                attempt.fail(FailureKind.UNREACHABLE, reason, now)
        if self._retired:
            self._closeIfIdle()

    def sendFailed(self, port: Port, message: bytes, error: OSError) -> None:
        """
        A datagram couldn't be sent, or one sent before couldn't be delivered.
        """
        if isinstance(error, BlockingIOError):
            # The socket's buffer is full; it will be sent again in its time.
            self.standing.unsent += 1
            return
        try:
            # The error may be about a datagram sent from here before.
            port.send(message)
        except OSError as again:
            self.portFailed(port, again)

    def attemptTimedOut(self, attempt: Attempt, now: float) -> None:
        """
        Send the datagram again, or give up.
        """
        if now >= attempt.deadline:
            seconds = now - attempt.asked
            self._release(attempt, late=True)
            attempt.fail(FailureKind.TIMEOUT, f"no reply within {seconds:.3g} s", now)
            if self._retired:
                self._closeIfIdle()
            return
        attempt.sends += 1
        self.standing.retransmissions += 1
        waited = now - attempt.asked
        attempt.due = min(now + min(2 * waited, LONGEST_WAIT), attempt.deadline)
        try:
            attempt.via.send(attempt.message)
        except OSError as error:
            self.sendFailed(attempt.via, attempt.message, error)

    def abandon(self, attempt: Attempt) -> None:
        """
        Stop waiting for a datagram.
        """
        self._release(attempt, late=True)
        if self._retired:
            self._closeIfIdle()

    def retire(self) -> None:
        """
        Close once nothing is under way any more.
        """
        self._retired = True
        self._connections.retire()
        self._closeIfIdle()

    def close(self) -> Deferred[None]:
        """
        Close all ports and connections.
        """
        self._closed = True
        now = self._seconds()
        for port in list(self._ports.ports.values()):
            for attempt in list(port.waiting.values()):
                if attempt.carrier is self:
                    self._release(attempt)
                    attempt.fail(FailureKind.CLOSED, "shut down", now)
        self._ports.close()
        return self._connections.close()

    def _closeIfIdle(self) -> None:
        if not self.inFlight:
            self._ports.close()

    def _release(self, attempt: Attempt, late: bool = False) -> None:
        """
        Forget that an attempt waits for a datagram.
        """
        if late:
            attempt.via.giveUp(attempt.id)
        else:
            del attempt.via.waiting[attempt.id]
        self.inFlight -= 1

    def _overStream(self, attempt: Attempt) -> None:
        """
        Ask again over TCP.
        """
        self.standing.lastReply = self._seconds()
        self._release(attempt)
        self._connections.carry(attempt)
        if self._retired:
            self._closeIfIdle()

    def _askPlain(self, attempt: Attempt) -> None:
        """
        Ask again without EDNS, of a server that doesn't know it.
        """
        self.standing.plain += 1
        self._release(attempt)
        attempt.plain = True
        self._transmit(attempt, self._seconds())

    def _unexpected(self, port: Port, datagram: bytes) -> None:
        """
        Count a datagram with an id that nothing waits for.
        """
        if datagram[:2] in port.late:
            port.late.discard(datagram[:2])
            self.standing.late += 1
        elif len(datagram) < 12:
            self.standing.malformed += 1
        else:
            self._guessed(port)

    def _guessed(self, port: Port) -> None:
        """
        Count a datagram that came to the right port from the right address
        and was wrong still. Whoever sends many has found the port and is
        going through ids: what waits there is settled over TCP.
        """
        self.standing.mismatched += 1
        port.guesses += 1
        if port.guesses >= GUESSES:
            port.guesses = 0
            for attempt in list(port.waiting.values()):
                if attempt.carrier is self:
                    self._overStream(attempt)

    def _mismatched(self, attempt: Attempt, datagram: bytes) -> None:
        """
        See what is wrong with a datagram that has the right id only.
        """
        if len(datagram) < 12 or datagram[2] & 0xF8 != 0x80:
            self.standing.malformed += 1
            return
        if len(datagram) == 12 and datagram[3] & 15 in (1, 4) and not attempt.plain:
            # Some servers answer an OPT record with a bare header. As that
            # can't be verified, it holds for this one question only.
            self._askPlain(attempt)
            return
        sent = attempt.sent
        if (
            datagram[4:6] == _ONE_QUESTION
            and datagram[12 : 12 + len(sent) - 4].lower() == attempt.exchange.qname
            and datagram[8 + len(sent) : 12 + len(sent)] == sent[-4:]
        ):
            self._caseChanged(attempt)
            return
        self._guessed(attempt.via)

    def _caseChanged(self, attempt: Attempt) -> None:
        """
        Settle over TCP what came back with other letters than were sent.
        """
        self.standing.caseChanged += 1
        self._strikes += 1
        if self._strikes == FOLDING_STRIKES:
            self._strikes = 0
            self._foldsUntil = self._seconds() + FOLDING_SECONDS
            self.log.info(
                "upstream {name} doesn't keep letter case; not mixed for {seconds:.0f} s",
                name=self.name,
                seconds=FOLDING_SECONDS,
            )
        self._overStream(attempt)


# Not as a decorator: none stands on a class that becomes an extension type.
classImplements(DatagramUpstream, IUpstream)
