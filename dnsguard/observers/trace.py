# -*- test-case-name: tests.observers.test_trace -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Log lines about single queries, for as long as somebody wants to see them.

Nothing is logged for each query in normal times. A trace is switched on while
the server runs, for everything or for a few clients, groups or names, and costs
nothing while it is off: whoever asks L{Tracer.wants} asks once, when it
changes. Its lines are at level debug and are written whatever the level is,
but only so many a second.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import chain
from time import monotonic
from typing import Any

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from dnsguard.interfaces import IQueryObserver, IReplayBatch
from dnsguard.observers.event import QueryEvent
from dnsguard.policy.clients import Network, contains, outermost
from dnsguard.policy.snapshot import DEFAULT_GROUP
from dnsguard.wire.mnemonics import rCodeName, typeName
from dnsguard.wire.names import isAtOrBelow, toText

__all__ = ["LINES_PER_SECOND", "TraceEvent", "TraceRule", "Tracer"]

LINES_PER_SECOND = 200
"""The most lines of traces; those beyond are counted."""

LINES_PER_BATCH = 40
"""The most of them about one batch of replayed queries, as each takes a while."""

MOST_LOOKED_AT = 500
"""Replayed queries of one batch that are looked at one by one."""

MOST_SEARCHED = 2
"""Networks whose clients are searched for; of more, each query is looked at."""

_RECORD = struct.Struct("=qQIHBB16s")
_WORDS, _NUMBER, _FAMILY = _RECORD.size // 8, 1, 23
_TRANSPORTS = ("udp", "tcp")


def _order(network: Network) -> tuple[int, bytes]:
    """
    Sort networks so that the last one not behind an address is the only one that
    it may be in.
    """
    return len(network[0]), network[0]


class TraceEvent(enum.Enum):
    """
    What can be traced. The values are the words of the configuration.
    """

    REFRESH_UPSTREAM = "refresh_upstream"
    QUERY_RESOLUTION = "query_resolution"
    UPSTREAM_EXCHANGE = "upstream_exchange"


@attrs.frozen
class TraceRule:
    """
    What is traced.

    @ivar events: What of it; nothing by default.
    @ivar clients: The networks of the clients whose queries are, none in
        another one, in the order of L{_order}.
    @ivar groups: The groups of such clients. Without either: of all.
    @ivar names: Names in wire form, lower-cased: they and all below them are;
        none: all.
    """

    events: frozenset[TraceEvent] = frozenset()
    clients: tuple[Network, ...] = ()
    groups: frozenset[str] = frozenset()
    names: frozenset[bytes] = frozenset()

    @classmethod
    def of(
        cls,
        events: Iterable[TraceEvent],
        clients: Iterable[Network] = (),
        names: Iterable[bytes] = (),
        groups: Iterable[str] = (),
    ) -> TraceRule:
        """
        Make a rule of anything, in any order.
        """
        networks = tuple(sorted(outermost(clients), key=_order))
        return cls(frozenset(events), networks, frozenset(groups), frozenset(names))

    @property
    def personal(self) -> bool:
        """
        Does it matter who asks?
        """
        return bool(self.clients or self.groups)

    def matches(self, qname: bytes) -> bool:
        """
        Is a name one of those?
        """
        return not self.names or any(isAtOrBelow(qname, name) for name in self.names)

    def concerns(self, address: bytes, groupID: str) -> bool:
        """
        Is a client one of those?

        @param address: Its address, packed; empty for somebody who has none.
        """
        if not self.personal or (groupID or DEFAULT_GROUP) in self.groups:
            return True
        place = bisect_right(self.clients, (len(address), address), key=_order)
        return place > 0 and contains(self.clients[place - 1], address)


@implementer(IQueryObserver)
class Tracer:
    """
    Logs what is to be traced.

    Of upstreams and refreshes nobody knows for which client they are asked:
    when clients are named and no names, they aren't traced.

    @ivar rule: What is traced.
    @ivar written: Lines written.
    @ivar suppressed: Lines left out because there were too many.
    @ivar unseen: Replayed queries that nobody looked at, as there were too many,
        so that it isn't known whether there would have been a line.
    """

    log = Logger()

    def __init__(
        self,
        changed: Callable[[], object] = lambda: None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """
        @param changed: Called when something else is to be traced, for those
            who tell this only what it wants to know.
        @param now: Seconds of any clock.
        """
        self.rule = TraceRule()
        self.written = 0
        self.suppressed = 0
        self.unseen = 0
        self._changed = changed
        self._now = now
        self._second = 0
        self._left = 0

    def trace(
        self,
        events: Iterable[TraceEvent],
        clients: Iterable[Network] = (),
        names: Iterable[bytes] = (),
        groups: Iterable[str] = (),
    ) -> None:
        """
        Trace this from now on, and nothing else.

        @param clients: Networks, each host one of its own.
        @param names: Names in wire form, lower-cased.
        @param groups: Ids of groups; whoever is in none is in C{default}.
        """
        self.rule = TraceRule.of(events, clients, names, groups)
        words = sorted(event.value for event in self.rule.events)
        self.log.info("tracing {events}", events=", ".join(words) or "nothing")
        self._changed()

    def wants(self, event: TraceEvent) -> bool:
        """
        Is anything of this kind traced?
        """
        rule = self.rule
        if event is not TraceEvent.QUERY_RESOLUTION and rule.personal and not rule.names:
            return False
        return event in rule.events

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        Log a query. See L{IQueryObserver}.
        """
        query, answer = event.query, event.answer
        rule = self.rule
        asker = query.asker
        if not rule.matches(query.qname):
            return
        if rule.personal and not rule.concerns(_packed(asker.address), asker.groupID):
            return
        self._query(
            qname=query.text,
            qtype=typeName(query.type),
            client=asker.address or "?",
            transport=query.transport.value,
            outcome=answer.outcome.value,
            rcode=rCodeName(answer.rCode),
            duration_ms=round(event.duration * 1000, 3),
            upstream=answer.upstream,
            group=asker.groupID,
            error=event.error,
        )

    def queriesReplayed(self, batch: IReplayBatch) -> None:
        """
        Log queries replayed. See L{IQueryObserver}.

        A batch may be eight thousand queries: which of them may be meant is found
        out by searching, and only so many of those are looked at one by one.
        """
        entries, records = batch.entries, bytes(batch.records)
        places, exact = self._places(batch, records)
        told = 0
        for looked, place in enumerate(places):
            if looked == MOST_LOOKED_AT or told == LINES_PER_BATCH or not self._hasRoom():
                if exact:
                    self.suppressed += len(places) - looked
                else:
                    self.unseen += len(places) - looked
                return
            record = _RECORD.unpack_from(records, place * _RECORD.size)
            _, number, took, _, transport, family, address = record
            facts, packed = entries[number], address[: 4 if family == 4 else 16]
            if not exact and not self.rule.concerns(packed, facts.groupID):
                continue
            told += 1
            self._query(
                qname=toText(facts.qname),
                qtype=typeName(facts.type),
                client=str(ipaddress.ip_address(packed)),
                transport=_TRANSPORTS[transport],
                outcome=facts.outcome.value,
                rcode=rCodeName(facts.rCode),
                duration_ms=round(took / 1e6, 3),
                upstream="",
                group=facts.groupID,
                error="",
            )

    def _places(self, batch: IReplayBatch, records: bytes) -> tuple[Sequence[int], bool]:
        """
        Give the places of records that may have to be logged, and whether they
        all have to, or who asked is still to be looked at.
        """
        rule, entries = self.rule, batch.entries
        wanted = {number for number in batch.hits if rule.matches(entries[number].qname)}
        if rule.groups and not rule.clients:
            # All that are answered from one entry are of the same group.
            wanted = {number for number in wanted if rule.concerns(b"", entries[number].groupID)}
        numbers = memoryview(records).cast("Q")[_NUMBER::_WORDS].tolist()
        if rule.clients and not rule.groups and len(rule.clients) <= MOST_SEARCHED:
            return self._searched(records, numbers, wanted), True
        if len(wanted) == len(batch.hits):
            return range(len(numbers)), not rule.clients
        return [
            place for place, number in enumerate(numbers) if number in wanted
        ], not rule.clients

    def _searched(self, records: bytes, numbers: Sequence[int], wanted: Set[int]) -> list[int]:
        """
        Give the places of the wanted records of all networks' clients. Those behind
        the place where a search was given up nobody has seen.
        """
        found = [list(_within(each, records)) for each in self.rule.clients]
        places = [place for place in chain.from_iterable(found) if numbers[place] in wanted]
        ends = [each[-1] for each in found if len(each) == MOST_LOOKED_AT]
        if ends:
            end = min(ends)
            behind = sum(map(wanted.__contains__, numbers[end + 1 :]))
            self.unseen += behind - sum(place > end for place in places)
        return places

    def _query(self, **fields: Any) -> None:
        self._tell(
            TraceEvent.QUERY_RESOLUTION,
            "query {qname} {qtype} from {client} by {transport}: {outcome}, {rcode},"
            " {duration_ms} ms",
            **fields,
        )

    def exchanged(
        self, qname: bytes, type: int, upstream: str, result: str, seconds: float, attempt: int
    ) -> None:
        """
        Log what became of asking an upstream.

        @param result: What: a response code, why it failed, or why it wasn't
            asked.
        @param attempt: Which upstream in a row it is, from 1.
        """
        if self.rule.matches(qname):
            self._tell(
                TraceEvent.UPSTREAM_EXCHANGE,
                "upstream {upstream} for {qname} {qtype}: {result}, {elapsed_ms} ms,"
                " attempt {attempt}",
                upstream=upstream,
                qname=toText(qname),
                qtype=typeName(type),
                result=result,
                elapsed_ms=round(seconds * 1000, 3),
                attempt=attempt,
            )

    def refreshed(self, qname: bytes, type: int, result: str) -> None:
        """
        Log what becomes of a refresh.

        @param result: What: asked, a response code, or why it failed.
        """
        if self.rule.matches(qname):
            self._tell(
                TraceEvent.REFRESH_UPSTREAM,
                "refresh of {qname} {qtype}: {result}",
                qname=toText(qname),
                qtype=typeName(type),
                result=result,
            )

    def _tell(self, event: TraceEvent, format: str, **fields: Any) -> None:
        """
        Log a line, unless there were too many in this second.
        """
        if not self._hasRoom():
            self.suppressed += 1
            return
        self._left -= 1
        self.written += 1
        self.log.debug(format, traced=event.value, **fields)

    def _hasRoom(self) -> bool:
        """
        May another line be written in this second?
        """
        second = int(self._now())
        if second != self._second:
            self._second, self._left = second, LINES_PER_SECOND
        return self._left > 0


def _within(network: Network, records: bytes) -> Iterator[int]:
    """
    Give the places of the records of one network's clients, so many at most as
    are looked at: by a search in C, as there may be thousands.
    """
    packed, length = network
    wanted = bytes([4 if len(packed) == 4 else 6]) + packed[: length // 8]
    at = records.find(wanted)
    found = 0
    while at >= 0 and found < MOST_LOOKED_AT:
        place, off = divmod(at - _FAMILY, _RECORD.size)
        start = at + 1
        if not off and place >= 0:
            if contains(network, records[start : start + len(packed)]):
                found += 1
                yield place
            start = (place + 1) * _RECORD.size
        at = records.find(wanted, start)


def _packed(address: str) -> bytes:
    """
    Pack an address; empty for somebody who has none.
    """
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return b""
