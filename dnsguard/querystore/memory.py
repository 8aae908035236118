# -*- test-case-name: tests.querystore.test_memory -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The last queries, in memory: for the smallest devices, and where no other
engine can be installed.

Rows stay in the blocks they came in, 32 octets each and their texts once a
block. A question reads through all of them, in a thread; this is also the
plainest statement of what each question means.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from dnsguard.errors import StoreError
from dnsguard.interfaces import IQueryStore
from dnsguard.querystore.block import Block
from dnsguard.querystore.filters import QueryFilter, predicate
from dnsguard.querystore.questions import (
    OPTION_COLUMNS,
    Discovery,
    FilterOptions,
    Latency,
    Question,
    Recent,
    Results,
    Shape,
    Summary,
    TimeSeries,
    Top,
    Upstreams,
)
from dnsguard.querystore.rows import COLUMNS

__all__ = ["MemoryStore"]

KNOWN_BLOCKS = 1000
"""Ids of blocks that are remembered, so that none is stored twice."""

_AT = {column.name: index for index, column in enumerate(COLUMNS)}
_OUTCOME, _DURATION, _UPSTREAM = _AT["outcome"], _AT["duration_ms"], _AT["upstream_address"]


@implementer(IQueryStore)
class MemoryStore:
    """
    Keeps a bounded number of the newest rows.
    """

    name = "memory"

    def __init__(
        self,
        reactor: Any,
        pool: Any,
        now: Callable[[], float],
        maxRows: int = 100_000,
        retention: float = 0.0,
    ) -> None:
        """
        @param reactor: Provides
            L{IReactorThreads<twisted.internet.interfaces.IReactorThreads>}.
        @param pool: The thread pool in which questions are answered.
        @param now: Seconds since the epoch.
        @param maxRows: Rows kept; whole blocks go, the oldest first.
        @param retention: Seconds that rows are kept; 0: no matter how old.
        """
        self._reactor = reactor
        self._pool = pool
        self._now = now
        self._maxRows = maxRows
        self._retention = retention
        self._blocks: deque[Block] = deque()
        self._known: deque[bytes] = deque(maxlen=KNOWN_BLOCKS)
        self._rows = 0

    def start(self) -> Deferred[None]:
        """
        Be ready at once.
        """
        return succeed(None)

    def insert(self, block: Block) -> Deferred[None]:
        """
        Keep a block, and let others go for it.
        """
        if block.id not in self._known:
            self._known.append(block.id)
            self._blocks.append(block)
            self._rows += len(block)
            while self._rows > self._maxRows and len(self._blocks) > 1:
                self._rows -= len(self._blocks.popleft())
        return succeed(None)

    def isStarved(self) -> Deferred[bool]:
        """
        Keeping a block costs nothing.
        """
        return succeed(False)

    def ask(self, question: Question) -> Deferred[Shape]:
        """
        Read through all rows, in a thread.
        """
        blocks = tuple(self._blocks)
        return deferToThreadPool(
            self._reactor, self._pool, lambda: question.shape(answer(question, blocks))
        )

    def maintain(self) -> Deferred[None]:
        """
        Let blocks go whose rows are all too old.
        """
        if self._retention:
            oldest = int((self._now() - self._retention) * 1000)
            while self._blocks and _newest(self._blocks[0]) < oldest:
                self._rows -= len(self._blocks.popleft())
        return succeed(None)

    def clear(self) -> Deferred[None]:
        """
        Let all blocks go.
        """
        self._blocks.clear()
        self._rows = 0
        return succeed(None)

    def counters(self) -> dict[str, int]:
        """
        Give the number of rows kept and what they take.
        """
        return {
            "stored_rows": self._rows,
            "stored_octets": sum(
                len(block.rows) + sum(map(len, block.facts)) + sum(map(len, block.clients))
                for block in self._blocks
            ),
        }

    def close(self) -> Deferred[None]:
        """
        Keep everything until the process ends.
        """
        return succeed(None)


def _newest(block: Block) -> int:
    """
    Give the newest row's time in milliseconds.
    """
    return max(record[0] for record in block.records())


def _matching(blocks: Iterable[Block], wanted: QueryFilter) -> Iterator[tuple[Any, ...]]:
    """
    Walk over the rows a filter lets through.
    """
    matches = predicate(wanted.terms())
    for block in blocks:
        yield from filter(matches, block.tuples())


def answer(question: Question, blocks: tuple[Block, ...]) -> Results:
    """
    Find what a question's C{shape} takes.

    @raise StoreError: The question is of no sort known here.
    """
    if isinstance(question, Recent):
        return _recent(question, blocks)
    if isinstance(question, Top):
        rows = _matching(blocks, question.effectiveFilter)
        return [_ranking(rows, question.column, question.limit, False)]
    rows = _matching(blocks, question.filter)
    if isinstance(question, Summary):
        return [_ranking(rows, "outcome", None, True)]
    if isinstance(question, Latency):
        return [[_latency([row[_DURATION] for row in rows])]]
    if isinstance(question, TimeSeries):
        return _series(question, rows)
    if isinstance(question, Upstreams):
        return [_upstreams(rows)]
    if isinstance(question, Discovery):
        return [_ranking(rows, "client_ip", question.limit, False)]
    if isinstance(question, FilterOptions):
        found = list(rows)
        return [_ranking(found, column, question.limit, False) for column in OPTION_COLUMNS]
    raise StoreError("memory", f"no answer to a {type(question).__name__}")


def _recent(question: Recent, blocks: tuple[Block, ...]) -> Results:
    """
    Sort all rows; equal ones by time, the newest first.
    """
    rows = sorted(_matching(blocks, question.filter), key=lambda row: row[0], reverse=True)
    if question.sortBy != "ts" or not question.descending:
        at = _AT[question.sortBy]
        rows.sort(key=lambda row: row[at], reverse=question.descending)
    return [rows[question.offset : question.offset + question.pageSize], [(len(rows),)]]


def _ranking(
    rows: Iterable[tuple[Any, ...]], column: str, limit: int | None, empty: bool
) -> list[tuple[str, int]]:
    """
    Count a column's values, the commonest first.

    @param empty: Does the empty text count?
    """
    at = _AT[column]
    counts = Counter(row[at] for row in rows)
    if not empty:
        del counts[""]
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


def _latency(times: list[float]) -> tuple[float, ...]:
    """
    Give count, mean, least, most and three percentiles.
    """
    if not times:
        return (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    times.sort()
    return (
        len(times),
        sum(times) / len(times),
        times[0],
        times[-1],
        *(_quantile(times, share) for share in (0.5, 0.95, 0.99)),
    )


def _quantile(times: list[float], share: float) -> float:
    """
    Give a quantile of sorted numbers, interpolated between its neighbours.
    """
    place = (len(times) - 1) * share
    below = int(place)
    above = min(below + 1, len(times) - 1)
    return times[below] + (times[above] - times[below]) * (place - below)


def _series(question: TimeSeries, rows: Iterable[tuple[Any, ...]]) -> Results:
    """
    Count and time by buckets.
    """
    width = question.bucket * 1000
    times: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        times.setdefault((row[0] // width, row[_OUTCOME]), []).append(row[_DURATION])
    whole: dict[int, list[float]] = {}
    for (bucket, _), taken in times.items():
        whole.setdefault(bucket, []).extend(taken)
    return [
        [
            (bucket, outcome, len(taken), sum(taken))
            for (bucket, outcome), taken in sorted(times.items())
        ],
        [(bucket, *_latency(taken)[4:]) for bucket, taken in whole.items()],
    ]


def _upstreams(rows: Iterable[tuple[Any, ...]]) -> list[tuple[str, int, float]]:
    """
    Count and time by upstream.
    """
    times: dict[str, list[float]] = {}
    for row in rows:
        if row[_UPSTREAM]:
            times.setdefault(row[_UPSTREAM], []).append(row[_DURATION])
    found = [(name, len(taken), sum(taken) / len(taken)) for name, taken in times.items()]
    return sorted(found, key=lambda item: (-item[1], item[0]))
