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
from collections.abc import Callable, Iterable, Iterator
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

_RECORD = struct.Struct("=qQIHBB16s")
_FAMILY = 23
_TRANSPORTS = ("udp", "tcp")


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
        another one.
    @ivar groups: The groups of such clients. Without either: of all.
    @ivar names: Names in wire form, lower-cased: they and all below them are;
        none: all.
    """

    events: frozenset[TraceEvent] = frozenset()
    clients: tuple[Network, ...] = ()
    groups: frozenset[str] = frozenset()
    names: frozenset[bytes] = frozenset()

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
        return any(contains(network, address) for network in self.clients)


@implementer(IQueryObserver)
class Tracer:
    """
    Logs what is to be traced.

    Of upstreams and refreshes nobody knows for which client they are asked:
    when clients are named and no names, they aren't traced.

    @ivar rule: What is traced.
    @ivar written: Lines written.
    @ivar suppressed: Lines left out because there were too many.
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
        self.rule = TraceRule(
            frozenset(events), outermost(clients), frozenset(groups), frozenset(names)
        )
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
        """
        rule = self.rule
        entries = batch.entries
        numbers = {number for number in batch.hits if rule.matches(entries[number].qname)}
        if not numbers:
            return
        for number, took, transport, family, address in self._records(batch):
            if number not in numbers:
                continue
            facts = entries[number]
            shown = ipaddress.ip_address(address[: 4 if family == 4 else 16])
            told = self._query(
                qname=toText(facts.qname),
                qtype=typeName(facts.type),
                client=str(shown),
                transport=_TRANSPORTS[transport],
                outcome=facts.outcome.value,
                rcode=rCodeName(facts.rCode),
                duration_ms=round(took / 1e6, 3),
                upstream="",
                group=facts.groupID,
                error="",
            )
            if not told and not rule.personal and not rule.names:
                # What is left of the batch would be looked at for nothing.
                self.suppressed += len(batch) - 1
                return

    def _records(self, batch: IReplayBatch) -> Iterator[tuple[int, int, int, int, bytes]]:
        """
        Give number, nanoseconds, transport, family and address of the records
        of the clients that count.
        """
        rule, entries = self.rule, batch.entries
        records = bytes(batch.records)
        if rule.clients and not rule.groups:
            for network in rule.clients:
                yield from _within(network, records)
            return
        for _, number, took, _, transport, family, address in _RECORD.iter_unpack(records):
            if rule.groups:
                packed = address[: 4 if family == 4 else 16]
                if not rule.concerns(packed, entries[number].groupID):
                    continue
            yield number, took, transport, family, address

    def _query(self, **fields: Any) -> bool:
        return self._tell(
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

    def _tell(self, event: TraceEvent, format: str, **fields: Any) -> bool:
        """
        Log a line, unless there were too many in this second.
        """
        second = int(self._now())
        if second != self._second:
            self._second, self._left = second, LINES_PER_SECOND
        if not self._left:
            self.suppressed += 1
            return False
        self._left -= 1
        self.written += 1
        self.log.debug(format, traced=event.value, **fields)
        return True


def _within(network: Network, records: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """
    Give what L{Tracer._records} does for the clients of one network: by a search
    in C, as there may be tens of thousands of records.
    """
    packed, length = network
    wanted = bytes([4 if len(packed) == 4 else 6]) + packed[: length // 8]
    at = records.find(wanted)
    while at >= 0:
        start, off = divmod(at - _FAMILY, _RECORD.size)
        if not off and start >= 0:
            _, number, took, _, transport, family, address = _RECORD.unpack_from(
                records, start * _RECORD.size
            )
            if contains(network, address[: len(packed)]):
                yield number, took, transport, family, address
        at = records.find(wanted, at + 1)


def _packed(address: str) -> bytes:
    """
    Pack an address; empty for somebody who has none.
    """
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return b""
