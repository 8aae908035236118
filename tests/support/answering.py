# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Doubles for what a server works with: those who answer, who watch, who keep
replies, and who know the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import common, dns
from zope.interface import implementer

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerer, IPolicies, IQueryObserver, IReplayStore
from dnsguard.observers.event import QueryEvent
from dnsguard.policy.view import View
from dnsguard.query import Asker, ClientQuery, Transport
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.server.address import unpack

__all__ = [
    "Answers",
    "FakePolicies",
    "FakePolicy",
    "FakeReplay",
    "Observer",
    "RecordingDoor",
    "addressAnswer",
]


def addressAnswer(query: ClientQuery, count: int = 1, **facts: Any) -> Answer:
    """
    A records for the name asked for.
    """
    name = query.name.name
    records = [
        dns.RRHeader(name, dns.A, dns.IN, 300, dns.Record_A(f"192.0.2.{number % 256}", 300))
        for number in range(count)
    ]
    facts.setdefault("outcome", Outcome.LOCAL)
    return Answer.fromRecords(records, **facts)


@implementer(IAnswerer)
class Answers(common.ResolverBase):
    """
    Answers with what a callable makes of each query, and remembers them all.
    """

    def __init__(self, make: Callable[[ClientQuery], Any] = addressAnswer) -> None:
        super().__init__()
        self.make = make
        self.asked: list[ClientQuery] = []

    def answer(self, query: ClientQuery) -> Answer | Deferred[Answer | None] | None:
        """
        Answer one query.
        """
        self.asked.append(query)
        made: Answer | Deferred[Answer | None] | None = self.make(query)
        return made


@implementer(IQueryObserver)
class Observer:
    """
    Keeps the events it is told.
    """

    def __init__(self) -> None:
        self.events: list[QueryEvent] = []

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        Keep one.
        """
        self.events.append(event)

    def queriesReplayed(self, batch: object) -> None:
        """
        The server tells nobody of these.
        """
        raise AssertionError("the server replays nothing")


class FakePolicy:
    """
    A policy under which every client is in its own group.
    """

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.generation = number + 100
        self.defaultView = View(number)

    def identify(self, address: bytes) -> tuple[Asker, View]:
        """
        Who that is, and what it sees.
        """
        text = unpack(address)
        return Asker(text, f"name of {text}", text), View(self.number, text)


@implementer(IPolicies)
class FakePolicies:
    """
    A place for a policy.
    """

    def __init__(self) -> None:
        self.current: Any = FakePolicy()

    def publish(self, policy: Any) -> None:
        """
        Make it the current one.
        """
        self.current = policy

    def subscribe(self, subscriber: Callable[[Any], object]) -> Callable[[], None]:
        """
        Nobody needs to.
        """
        raise NotImplementedError


@implementer(IReplayStore)
class FakeReplay:
    """
    Keeps replies for the very same requests, and forgets none.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.kept: dict[bytes, tuple[bytes, ReplayedAnswer, float, float]] = {}
        self.lookups: list[tuple[bytes, bytes, float]] = []

    def lookup(
        self, datagram: bytes, address: bytes, now: float, stream: bool = False
    ) -> bytes | None:
        """
        Find one.
        """
        self.lookups.append((datagram, address, now))
        found = self.kept.get(datagram)
        return None if found is None else found[0]

    def lookupAll(
        self, datagrams: Sequence[bytes], addresses: Sequence[bytes], now: float
    ) -> tuple[list[bytes], list[int]]:
        """
        Find many.
        """
        found = [
            self.lookup(datagram, address, now)
            for datagram, address in zip(datagrams, addresses, strict=True)
        ]
        missed = [place for place, each in enumerate(found) if each is None]
        return [each for each in found if each is not None], missed

    def lookupStream(
        self, octets: bytes | bytearray, start: int, address: bytes, now: float, most: int
    ) -> tuple[int, bytes, int]:
        """
        Find those at the beginning.
        """
        replies, count = b"", 0
        while len(replies) < most:
            end = start + 2 + int.from_bytes(octets[start : start + 2], "big")
            if len(octets) < max(end, start + 2):
                break
            reply = self.lookup(bytes(octets[start + 2 : end]), address, now, True)
            if reply is None:
                break
            replies += len(reply).to_bytes(2, "big") + reply
            start, count = end, count + 1
        return start, replies, count

    def remember(
        self, datagram: bytes, reply: bytes, facts: ReplayedAnswer, seconds: float, now: float
    ) -> None:
        """
        Keep one.
        """
        self.kept[datagram] = (reply, facts, seconds, now)

    def beginCarrying(self, judge: Any) -> None:
        """
        No test needs it.
        """
        raise NotImplementedError

    def carryOn(self, most: int, now: float) -> bool:
        """
        No test needs it.
        """
        raise NotImplementedError

    def adopt(self, policy: Any, kept: Any = None) -> None:
        """
        No test needs it.
        """
        raise NotImplementedError

    def forget(self, qname: bytes | None) -> None:
        """
        No test needs it.
        """
        raise NotImplementedError

    def drain(self) -> Any:
        """
        No test needs it.
        """
        raise NotImplementedError


class RecordingDoor:
    """
    A server that answers nothing by itself: tests do, with L{answers}.
    """

    def __init__(self, drop: bytes | None = None) -> None:
        """
        @param drop: Drop requests that begin so.
        """
        self.requests: list[bytes] = []
        self.addresses: list[bytes] = []
        self.transports: list[Transport] = []
        self.answers: list[Callable[[bytes], bool]] = []
        self._drop = drop
        self.immediate = False

    def requestReceived(
        self,
        request: bytes,
        address: bytes,
        transport: Transport,
        respond: Callable[[bytes], bool],
    ) -> bool:
        """
        Keep one request.
        """
        if self._drop is not None and request.startswith(self._drop):
            return False
        self.requests.append(request)
        self.addresses.append(address)
        self.transports.append(transport)
        if self.immediate:
            respond(b"reply to " + request[:2])
        else:
            self.answers.append(respond)
        return True
