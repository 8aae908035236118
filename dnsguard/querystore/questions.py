# -*- test-case-name: tests.querystore.test_filters -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What can be asked of a query store, and what the answers look like.

An engine's part is to give plain tuples; the shape people and the API see is
made of them here, so that all engines answer alike.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import attrs

from dnsguard.querystore.filters import EVERYTHING, QueryFilter
from dnsguard.querystore.rows import COLUMNS

__all__ = [
    "MAX_BUCKETS",
    "MAX_PAGE",
    "OPTION_COLUMNS",
    "SORTABLE",
    "Discovery",
    "FilterOptions",
    "Latency",
    "Question",
    "Recent",
    "Results",
    "Shape",
    "Subject",
    "Summary",
    "TimeSeries",
    "Top",
    "Upstreams",
    "clientView",
    "timestamp",
]

Results: TypeAlias = Sequence[Sequence[Sequence[Any]]]
"""For each of a question's parts the rows an engine found."""

Shape: TypeAlias = dict[str, Any]
"""What JSON can hold."""

SORTABLE = (
    "ts",
    "duration_ms",
    "qname",
    "qtype",
    "qclass",
    "outcome",
    "rcode",
    "client_ip",
    "client_name",
    "protocol",
    "upstream_address",
    "list",
)
"""The columns rows can be sorted by."""

OPTION_COLUMNS = ("outcome", "rcode", "qtype", "protocol", "client_ip", "qname")
"""The columns whose commonest values are offered for filtering."""

MAX_PAGE = 10_000
"""Rows in one page."""

MAX_LIMIT = 1_000
"""Values in one ranking."""

MAX_BUCKETS = 20_000
"""Points in one series."""

COUNTED = (
    "cached",
    "local",
    "stale",
    "upstream",
    "blocked",
    "safe_search",
    "servfail",
    "servfail_backoff",
    "refused",
    "upstream_error",
    "invalid",
)
"""The outcomes a series counts one by one."""

_FOLDED = {"local_cname_upstream": "local"}
"""Outcomes that a series counts with others."""


def timestamp(milliseconds: int) -> str:
    """
    Give a time as RFC 3339 has it, UTC.
    """
    second, thousandths = divmod(int(milliseconds), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{thousandths:03d}Z"


def _rounded(value: float | None) -> float:
    return 0.0 if value is None or value != value else round(value, 3)


def _within(low: int, high: int) -> Any:
    return [attrs.validators.ge(low), attrs.validators.le(high)]


@attrs.frozen
class Recent:
    """
    Rows, sorted, by pages.

    @ivar sortBy: One of L{SORTABLE}.
    @ivar page: From 1.
    """

    filter: QueryFilter = EVERYTHING
    sortBy: str = attrs.field(default="ts", validator=attrs.validators.in_(SORTABLE))
    descending: bool = True
    page: int = attrs.field(default=1, validator=_within(1, 1_000_000))
    pageSize: int = attrs.field(default=50, validator=_within(1, MAX_PAGE))

    @property
    def offset(self) -> int:
        """
        Rows before the page.
        """
        return (self.page - 1) * self.pageSize

    def shape(self, results: Results) -> Shape:
        """
        Of the page's rows, all columns with C{ts} in milliseconds, and the
        number of all rows.
        """
        names = [column.name for column in COLUMNS]
        rows, ((total,),) = results
        return {
            "rows": [dict(zip(names, (timestamp(row[0]), *row[1:]), strict=True)) for row in rows],
            "total": total,
            "page": self.page,
            "pageSize": self.pageSize,
            "sortBy": self.sortBy,
            "sortDir": "desc" if self.descending else "asc",
        }


@attrs.frozen
class Summary:
    """
    How many queries ended how.
    """

    filter: QueryFilter = EVERYTHING

    def shape(self, results: Results) -> Shape:
        """
        Of outcomes and counts.
        """
        (rows,) = results
        return {
            "total": sum(count for _, count in rows),
            "statuses": [{"outcome": outcome, "count": count} for outcome, count in rows],
        }


@attrs.frozen
class Latency:
    """
    How long queries took.
    """

    filter: QueryFilter = EVERYTHING

    def shape(self, results: Results) -> Shape:
        """
        Of one row: count, mean, least, most, and the 50th, 95th and 99th
        percentile in milliseconds.
        """
        (((count, *times),),) = results
        names = ("avgMs", "minMs", "maxMs", "p50Ms", "p95Ms", "p99Ms")
        return {"count": count} | dict(zip(names, map(_rounded, times), strict=True))


@attrs.frozen
class TimeSeries:
    """
    How many queries ended how, and how long they took, over time.

    @ivar bucket: Seconds that a point stands for.
    """

    filter: QueryFilter = EVERYTHING
    bucket: int = attrs.field(default=60, validator=_within(1, 86_400 * 31))

    def shape(self, results: Results) -> Shape:
        """
        Of rows of bucket number, outcome, count, sum of milliseconds, by
        bucket; and rows of bucket number, 50th, 95th, 99th percentile.
        """
        counts, percentiles = results
        buckets: dict[int, dict[str, Any]] = {}
        times: dict[int, float] = {}
        for number, outcome, count, spent in counts:
            bucket = buckets.get(number)
            if bucket is None:
                bucket = buckets[number] = {
                    "ts": timestamp(number * self.bucket * 1000),
                    "total": 0,
                    **dict.fromkeys(COUNTED, 0),
                }
            bucket["total"] += count
            times[number] = times.get(number, 0.0) + spent
            word = _FOLDED.get(outcome, outcome)
            if word in bucket:
                bucket[word] += count
        known = {number: shares for number, *shares in percentiles}
        return {
            "bucketSeconds": self.bucket,
            "buckets": list(buckets.values()),
            "latencyBuckets": [
                {
                    "ts": bucket["ts"],
                    "count": bucket["total"],
                    "avgMs": _rounded(times[number] / bucket["total"]),
                    # A bucket may have no row in the sample of a large store.
                    **dict.fromkeys(("p50Ms", "p95Ms", "p99Ms")),
                    **dict(
                        zip(
                            ("p50Ms", "p95Ms", "p99Ms"),
                            map(_rounded, known.get(number, ())),
                            strict=False,
                        )
                    ),
                }
                for number, bucket in buckets.items()
            ],
        }


@attrs.frozen
class Upstreams:
    """
    Which upstreams answered, and how fast.
    """

    filter: QueryFilter = EVERYTHING

    def shape(self, results: Results) -> Shape:
        """
        Of rows of address, count, mean milliseconds.
        """
        (rows,) = results
        return {
            "total": sum(row[1] for row in rows),
            "upstreams": [
                {"address": address, "count": count, "avgMs": _rounded(mean)}
                for address, count, mean in rows
            ],
        }


@attrs.frozen
class FilterOptions:
    """
    The commonest values of L{OPTION_COLUMNS}.
    """

    filter: QueryFilter = EVERYTHING
    limit: int = attrs.field(default=10, validator=_within(1, MAX_LIMIT))

    def shape(self, results: Results) -> Shape:
        """
        Of rows of value and count for each of the columns.
        """
        return {
            "options": {
                column: [{"value": value, "count": count} for value, count in rows]
                for column, rows in zip(OPTION_COLUMNS, results, strict=True)
            }
        }


class Subject(enum.Enum):
    """
    What can be ranked. The values are the words of the API.
    """

    DOMAINS = "domains"
    BLOCKED = "blocked"
    CLIENTS = "clients"
    UPSTREAMS = "upstreams"
    LISTS = "lists"
    RULES = "rules"
    GROUPS = "groups"
    INSTANCES = "instances"


@attrs.frozen
class Top:
    """
    A ranking by number of queries; empty values don't take part.
    """

    subject: Subject
    filter: QueryFilter = EVERYTHING
    limit: int = attrs.field(default=10, validator=_within(1, MAX_LIMIT))

    _COLUMNS: ClassVar[dict[Subject, str]] = {
        Subject.DOMAINS: "qname",
        Subject.BLOCKED: "qname",
        Subject.CLIENTS: "client_ip",
        Subject.UPSTREAMS: "upstream_address",
        Subject.LISTS: "list",
        Subject.RULES: "rule",
        Subject.GROUPS: "client_group",
        Subject.INSTANCES: "instance",
    }

    @property
    def column(self) -> str:
        """
        The column that is ranked.
        """
        return self._COLUMNS[self.subject]

    @property
    def effectiveFilter(self) -> QueryFilter:
        """
        The filter, with what the subject itself asks for.
        """
        if self.subject is Subject.BLOCKED:
            return attrs.evolve(self.filter, outcomes=("blocked",))
        return self.filter

    def shape(self, results: Results) -> Shape:
        """
        Of rows of value and count.
        """
        (rows,) = results
        return {
            "subject": self.subject.value,
            "top": [{"value": value, "count": count} for value, count in rows],
        }


@attrs.frozen
class Discovery:
    """
    Which clients ask, by number of queries.
    """

    filter: QueryFilter = EVERYTHING
    limit: int = attrs.field(default=200, validator=_within(1, MAX_LIMIT))

    def shape(self, results: Results) -> Shape:
        """
        Of rows of address and count.
        """
        (rows,) = results
        return {"discovered": [{"ip": ip, "query_count": count} for ip, count in rows]}


Question: TypeAlias = (
    Recent | Summary | Latency | TimeSeries | Upstreams | FilterOptions | Top | Discovery
)


def clientView(wanted: QueryFilter, address: str) -> dict[str, Question]:
    """
    Give the questions that make up the view of one client.

    @param wanted: Which rows, but for whose.
    @param address: The client's address, as stored.
    """
    own = attrs.evolve(wanted, clientIP=address)
    return {
        "summary": Summary(own),
        "latency": Latency(own),
        "series": TimeSeries(own, 3600),
        "domains": Top(Subject.DOMAINS, own),
        "blocked": Top(Subject.BLOCKED, own),
        "lists": Top(Subject.LISTS, own),
    }
