# -*- test-case-name: tests.observers.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Counts every query answered, and how long it took.

It only counts; somebody else reads the numbers and publishes them. Labels are
bounded: a client can ask for any type there is, so those that hardly anybody
asks for are counted together.

Queries replayed come by the thousand. They are counted by entry, exactly: what
is counted under is looked up once for each entry, and each later batch costs
an addition for each entry in it. Their durations are sampled, L{SAMPLES} a
batch, and each sample stands for its share of the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from zope.interface import classImplements

from dnsguard.answer import Outcome
from dnsguard.histogram import Histogram
from dnsguard.interfaces import IQueryObserver, IReplayBatch
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Transport
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.mnemonics import RCODES, TYPES

__all__ = ["OTHER", "QueryKey", "QueryMetrics", "Series"]

OTHER = "other"
"""The label of what is too rare to have one."""

_COMMON = (1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 43, 48, 52, 64, 65, 255, 257)
_TYPES = {number: TYPES[number] for number in _COMMON}

SAMPLES = 64
"""Durations looked at in a batch of replayed queries."""

_REMEMBERED = 200_000
"""Entries whose series are remembered."""

_WORDS = 5
_HALF_WORDS = 10
_TOOK = 4
_OCTETS = 40
_TRANSPORT = 22
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
        self._places: dict[int, int] = {}
        self._outcomes: list[Outcome] = []
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

    def queriesReplayed(self, batch: IReplayBatch) -> None:
        """
        Count queries replayed. See L{IQueryObserver}.
        """
        octets = memoryview(batch.records).cast("B")
        if bytes(octets[_TRANSPORT::_OCTETS]).count(0) == len(batch):
            counts = self._countEntries(batch)
        else:
            counts = self._countRecords(batch, octets)
        for place, count in enumerate(counts):
            self._replayed[place] += count
            self._owed[self._outcomes[place]] += count
        self._sample(batch, octets)

    def _countEntries(self, batch: IReplayBatch) -> list[int]:
        """
        Count a batch that came over UDP, by series.
        """
        places = self._places
        if len(places) > _REMEMBERED:
            places.clear()
        counts = [0] * len(self._replayed)
        for number, times in batch.hits.items():
            try:
                counts[places[number]] += times
            except KeyError:
                place = places[number] = self._placeOf(batch.entries[number], Transport.UDP)
                counts += [0] * (len(self._replayed) - len(counts))
                counts[place] += times
        return counts

    def _countRecords(self, batch: IReplayBatch, octets: memoryview) -> list[int]:
        """
        Count a batch with queries that came over TCP among them, by series.
        """
        numbers = octets.cast("Q")[1::_WORDS].tolist()
        transports = bytes(octets[_TRANSPORT::_OCTETS])
        counts = Counter[int]()
        for (number, transport), times in Counter(zip(numbers, transports, strict=True)).items():
            counts[self._placeOf(batch.entries[number], _TRANSPORTS[transport])] += times
        return [counts[place] for place in range(len(self._replayed))]

    def _placeOf(self, facts: ReplayedAnswer, transport: Transport) -> int:
        return self._find(facts.outcome, transport, facts.type, facts.rCode).place

    def _sample(self, batch: IReplayBatch, octets: memoryview) -> None:
        """
        Look at some durations, and let them stand for all.

        An outcome so rare that none of its queries is looked at gets its
        durations with a later batch.
        """
        step = -(-len(batch) // SAMPLES) or 1
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
            self._outcomes.append(outcome)
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
classImplements(QueryMetrics, IQueryObserver)
