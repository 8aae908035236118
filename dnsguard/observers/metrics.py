# -*- test-case-name: tests.observers.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Counts every query answered, and how long it took.

It only counts; somebody else reads the numbers and publishes them. Labels are
bounded: a client can ask for any type there is, so those that hardly anybody
asks for are counted together.

Queries replayed come by the ten thousand. They are counted exactly: what is
counted under is looked up once for each entry and noted, and the rest is one pass
over the records. Their durations are sampled, L{FEW_SAMPLES} to L{SAMPLES} a batch,
and each sample stands for its share of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from zope.interface import classImplements

from dnsguard.answer import Outcome
from dnsguard.histogram import Histogram
from dnsguard.interfaces import IEntryObserver, IReplayBatch
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Transport
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.mnemonics import RCODES, TYPES

if TYPE_CHECKING:
    from dnsguard.notes import EntryNotes
else:
    try:
        from dnsguard._notes import EntryNotes
    except ImportError:
        from dnsguard.notes import EntryNotes

__all__ = ["OTHER", "QueryKey", "QueryMetrics", "Series"]

OTHER = "other"
"""The label of what is too rare to have one."""

_COMMON = (1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 43, 48, 52, 64, 65, 255, 257)
_TYPES = {number: TYPES[number] for number in _COMMON}

SAMPLES = 64
"""Durations looked at in a batch of replayed queries, at most."""

FEW_SAMPLES = 16
"""Durations looked at in any batch of more: one in L{THIN} is enough beyond."""

THIN = 32
"""Of so many queries in a batch, one is looked at: batches come often then."""

_REMEMBERED = 200_000
"""Entries whose labels are noted."""

_WORDS = 5
_HALF_WORDS = 10
_TOOK = 4
"""Where the fields of a record are; see L{IReplayBatch}."""

_TRANSPORTS = (Transport.UDP, Transport.TCP)


class QueryKey(NamedTuple):
    """
    What queries are counted by.

    @ivar qtype: The type's name, or L{OTHER}.
    @ivar rCode: The response code's name, or L{OTHER}.
    """

    outcome: Outcome
    transport: Transport
    qtype: str
    rCode: str


class Series:
    """
    The queries of one key.

    @ivar key: The key.
    @ivar place: Its number.
    @ivar chained: How many went through the chain.
    """

    __slots__ = ("chained", "key", "place")

    def __init__(self, key: QueryKey, place: int) -> None:
        self.key = key
        self.place = place
        self.chained = 0


class QueryMetrics:
    """
    The counters of queries.

    There are at most as many series as outcomes, transports, named types and
    response codes make; and of these only those that occurred.

    @ivar durations: The durations by outcome.
    """

    def __init__(self) -> None:
        self.durations = {outcome: Histogram() for outcome in Outcome}
        self._series: dict[QueryKey, Series] = {}
        # By the numbers of types and codes, as events bring them.
        self._known: dict[tuple[Outcome, Transport, int, int], Series] = {}
        self._replayed: list[int] = []
        # What notes stand for: all of a key but the transport.
        self._kinds: list[tuple[Outcome, int, int]] = []
        self._kindOf: dict[tuple[Outcome, str, str], int] = {}
        self._notes = EntryNotes(self._note, apart=True)
        self._owed = dict.fromkeys(Outcome, 0)
        self._batches = 0

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        Count a query. See L{IQueryObserver}.
        """
        query, answer = event.query, event.answer
        outcome = answer.outcome
        key = (outcome, query.transport, query.type, answer.rCode)
        series = self._known.get(key)
        if series is None:
            series = self._find(*key)
        series.chained += 1
        self.durations[outcome].add(event.duration)

    def meet(self, batch: IReplayBatch, most: int) -> int:
        """
        Note what entries are counted under. See L{IEntryObserver}.
        """
        if len(self._notes) > _REMEMBERED:
            self._notes.clear()
        met: int = self._notes.meet(batch, most)
        return met

    def queriesReplayed(self, batch: IReplayBatch) -> None:
        """
        Count queries replayed. See L{IQueryObserver}.
        """
        if len(self._notes) > _REMEMBERED + len(batch):
            self._notes.clear()
        self._notes.count(batch)
        for at, count in enumerate(self._notes.take()):
            if count:
                outcome, type, rCode = self._kinds[at // 2]
                series = self._find(outcome, _TRANSPORTS[at % 2], type, rCode)
                self._replayed[series.place] += count
                self._owed[outcome] += count
        self._sample(batch, memoryview(batch.records).cast("B"))

    def _note(self, facts: ReplayedAnswer) -> int:
        """
        Give the number of what an entry's queries are counted under.
        """
        outcome, type, rCode = facts.outcome, facts.type, facts.rCode
        key = (outcome, _TYPES.get(type, OTHER), RCODES.get(rCode, OTHER))
        kind = self._kindOf.get(key)
        if kind is None:
            kind = self._kindOf[key] = len(self._kinds)
            self._kinds.append((outcome, type, rCode))
        return kind

    def _sample(self, batch: IReplayBatch, octets: memoryview) -> None:
        """
        Look at some durations, and let them stand for all.

        An outcome so rare that none of its queries is looked at gets its
        durations with a later batch.
        """
        size = len(batch)
        step = max(-(-size // SAMPLES), min(THIN, -(-size // FEW_SAMPLES))) or 1
        self._batches += 1
        first = self._batches % step
        numbers = octets.cast("Q")[1 + first * _WORDS :: step * _WORDS].tolist()
        took = octets.cast("I")[_TOOK + first * _HALF_WORDS :: step * _HALF_WORDS].tolist()
        found: dict[Outcome, list[int]] = {}
        for number, nanoseconds in zip(numbers, took, strict=True):
            found.setdefault(batch.entries[number].outcome, []).append(nanoseconds)
        for outcome, samples in found.items():
            each, rest = divmod(self._owed[outcome], len(samples))
            self._owed[outcome] = 0
            add = self.durations[outcome].add
            for at, nanoseconds in enumerate(samples):
                add(nanoseconds / 1e9, each + (at < rest))

    def _find(self, outcome: Outcome, transport: Transport, type: int, rCode: int) -> Series:
        """
        Find the series, or begin it. Only numbers that have names are
        remembered: a client can make up others.
        """
        key = QueryKey(outcome, transport, _TYPES.get(type, OTHER), RCODES.get(rCode, OTHER))
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(key, len(self._replayed))
            self._replayed.append(0)
        if type in _TYPES and rCode in RCODES:
            self._known[outcome, transport, type, rCode] = series
        return series

    def queries(self) -> Iterator[tuple[QueryKey, int, int]]:
        """
        Give each key with how many went through the chain and how many were
        replayed.
        """
        for series in tuple(self._series.values()):
            yield series.key, series.chained, self._replayed[series.place]

    def total(self, *outcomes: Any) -> int:
        """
        Say how many queries there were with one of these outcomes.
        """
        return sum(
            chained + replayed
            for key, chained, replayed in self.queries()
            if key.outcome in outcomes
        )

    @property
    def replayed(self) -> int:
        """
        How many queries were replayed.
        """
        return sum(self._replayed)


# Not as a decorator: a compiled class takes none.
classImplements(QueryMetrics, IEntryObserver)
