# -*- test-case-name: tests.upstream.test_exchange -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One upstream being asked one question: what passes between an exchange, which
wants a reply, and the transports, which know how to get one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dnsguard.upstream.reply import Reply
from dnsguard.upstream.selection import FailureKind, Standing

if TYPE_CHECKING:
    from dnsguard.upstream.exchange import Exchange

__all__ = ["Attempt", "Carrier"]


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

    @ivar exchange: What for; L{None} when it is over.
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
        self.id = self.sent = self.message = b""
        self.via: Any = None

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
        self.exchange = None  # type: ignore[assignment]
        exchange.replied(self, reply, now)

    def fail(self, kind: FailureKind, reason: str, now: float) -> None:
        """
        There won't be a usable reply. Called by the carrier, which has let go
        of the attempt.
        """
        self.carrier = None
        self.standing.failed(kind, self.asked, now)
        exchange = self.exchange
        self.exchange = None  # type: ignore[assignment]
        exchange.failed(self, reason, now)

    def abandon(self) -> None:
        """
        Nobody wants the reply any more.
        """
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            carrier.abandon(self)
