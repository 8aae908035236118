# -*- test-case-name: tests.querystore.test_filters -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
ClickHouse's SQL.

Names of databases, tables and clusters come from the operator and can't be
parameters: they must be plain identifiers. All else that isn't ours is a typed
parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from dnsguard.errors import StoreError
from dnsguard.querystore.filters import Operator, QueryFilter, Term
from dnsguard.querystore.questions import (
    MAX_BUCKETS,
    OPTION_COLUMNS,
    Discovery,
    FilterOptions,
    Latency,
    Question,
    Recent,
    Summary,
    TimeSeries,
    Top,
    Upstreams,
)
from dnsguard.querystore.rows import COLUMNS, Kind
from dnsguard.querystore.statements import Statement, Value

__all__ = ["SCHEMA_VERSION", "Tables", "identifier", "statements"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_PARTITION = re.compile(r"[A-Za-z0-9_-]{1,64}")

_TYPES = {
    Kind.TIME: "DateTime64(3, 'UTC')",
    Kind.TEXT: "String",
    Kind.WORD: "LowCardinality(String)",
    Kind.NUMBER: "Float64",
}

SCHEMA_VERSION = 1
"""The version of the schema below. A later one adds its columns to L{COLUMNS}:
what a table lacks of them is added to it."""

MAX_HOURS = 24 * 365 * 20
"""The longest retention. ClickHouse reckons when rows expire in 32 bits: later
than 2106 is long ago, and rows would go at once."""

KEPT_TOKENS = 10_000
"""Blocks that a server remembers, so as to store none twice."""


def identifier(text: str, place: str) -> str:
    """
    Let a plain identifier through.

    @param place: What it names, for the error.
    @raise StoreError: It is something else.
    """
    if not _IDENTIFIER.fullmatch(text):
        raise StoreError(
            "clickhouse",
            f"{place} {text[:80]!r}: letters, digits and underscores only, no digit first",
        )
    return text


@attrs.frozen
class Tables:
    """
    Where rows are, and the statements that make and keep it so.

    @ivar database: The database.
    @ivar table: The table that is written to and read from.
    @ivar retentionHours: Hours that rows are kept; 0: for ever.
    @ivar cluster: The name of a cluster whose servers share the rows, or
        empty. C{table} then spreads rows over tables C{<table>_local}.
    """

    database: str
    table: str
    retentionHours: int = attrs.field(
        default=168, validator=[attrs.validators.ge(0), attrs.validators.le(MAX_HOURS)]
    )
    cluster: str = ""

    def __attrs_post_init__(self) -> None:
        identifier(self.database, "database")
        identifier(self.table, "table")
        if self.cluster:
            identifier(self.cluster, "cluster")

    @property
    def local(self) -> str:
        """
        The table that holds the rows of one server.
        """
        return f"{self.table}_local" if self.cluster else self.table

    @property
    def _everywhere(self) -> str:
        return f" ON CLUSTER {self.cluster}" if self.cluster else ""

    @property
    def _comment(self) -> str:
        return f"dnsguard schema {SCHEMA_VERSION}"

    @property
    def _ttl(self) -> str:
        return f"toStartOfHour(ts) + toIntervalHour({self.retentionHours})"

    def create(self) -> list[Statement]:
        """
        Make what isn't there.
        """
        columns = ", ".join(f"`{column.name}` {_TYPES[column.kind]}" for column in COLUMNS)
        engine = "MergeTree"
        if self.cluster:
            path = f"/clickhouse/tables/{{shard}}/{self.database}/{self.local}"
            engine = f"ReplicatedMergeTree('{path}', '{{replica}}')"
        window = "replicated" if self.cluster else "non_replicated"
        ttl = f" TTL {self._ttl}" if self.retentionHours else ""
        made = [
            f"CREATE DATABASE IF NOT EXISTS {self.database}{self._everywhere}",
            (
                f"CREATE TABLE IF NOT EXISTS {self.database}.{self.local}{self._everywhere}"
                f" ({columns}) ENGINE = {engine} PARTITION BY toStartOfHour(ts)"
                f" ORDER BY (ts, qname){ttl} SETTINGS ttl_only_drop_parts = 1,"
                f" {window}_deduplication_window = {KEPT_TOKENS} COMMENT '{self._comment}'"
            ),
        ]
        if self.cluster:
            # Rows of a block sent again must go where they went before.
            made.append(
                f"CREATE TABLE IF NOT EXISTS {self.database}.{self.table}{self._everywhere}"
                f" ({columns}) ENGINE = Distributed({self.cluster}, {self.database},"
                f" {self.local}, cityHash64(qname))"
            )
        return [Statement(text) for text in made]

    def inspect(self) -> list[Statement]:
        """
        Ask for the local table's comment and definition, and for its columns'
        names and types.
        """
        where = "database = {database:String} AND table = {table:String}"
        names: dict[str, Value] = {"database": self.database, "table": self.local}
        return [
            Statement(
                "SELECT comment, create_table_query FROM system.tables"
                " WHERE database = {database:String} AND name = {table:String}",
                names,
            ),
            Statement(f"SELECT name, type FROM system.columns WHERE {where}", names),
        ]

    def migrate(self, comment: str, definition: str, columns: dict[str, str]) -> list[Statement]:
        """
        Say what must change in a table, given what L{inspect} found.

        @raise StoreError: It is another program's, or a newer one's.
        """
        found = re.fullmatch(r"dnsguard schema (\d{1,6})", comment)
        if found and int(found[1]) > SCHEMA_VERSION:
            raise StoreError(
                "clickhouse",
                f"{self.database}.{self.local} has schema {found[1]};"
                f" this program knows {SCHEMA_VERSION}",
            )
        changes = []
        for column in COLUMNS:
            wanted = _TYPES[column.kind]
            there = columns.get(column.name)
            if there is None:
                changes.append(f"ADD COLUMN IF NOT EXISTS `{column.name}` {wanted}")
            elif there != wanted:
                raise StoreError(
                    "clickhouse",
                    f"{self.database}.{self.local}: column {column.name} is {there},"
                    f" not {wanted}; rename that table or use another one",
                )
        if self.retentionHours:
            if f"toIntervalHour({self.retentionHours})" not in definition:
                changes.append(f"MODIFY TTL {self._ttl}")
        elif " TTL " in definition:
            changes.append("REMOVE TTL")
        if comment != self._comment:
            changes.append(f"MODIFY COMMENT '{self._comment}'")
        tables = [self.local]
        if self.cluster and any(change.startswith("ADD") for change in changes):
            tables.append(self.table)
        return [
            Statement(f"ALTER TABLE {self.database}.{table}{self._everywhere} {change}")
            for table in tables
            for change in changes
            if table == self.local or change.startswith("ADD")
        ]

    def partitions(self) -> Statement:
        """
        Ask for partitions' ids, octets and rows, the oldest first.
        """
        return Statement(
            "SELECT partition_id, sum(bytes_on_disk), sum(rows) FROM system.parts"
            " WHERE database = {database:String} AND table = {table:String} AND active"
            " GROUP BY partition_id ORDER BY min(min_time), partition_id",
            {"database": self.database, "table": self.local},
        )

    def dropPartition(self, partition: str) -> Statement:
        """
        Let a partition go, by the id the server gave it.
        """
        if not _PARTITION.fullmatch(partition):
            raise StoreError("clickhouse", f"odd partition id {partition[:80]!r}")
        return Statement(
            f"ALTER TABLE {self.database}.{self.local} DROP PARTITION ID '{partition}'"
        )

    def clear(self) -> Statement:
        """
        Let all rows go.
        """
        return Statement(f"TRUNCATE TABLE {self.database}.{self.local}{self._everywhere}")


_ANY_CASE = "positionCaseInsensitiveUTF8"


class _Where:
    """
    Turns terms into a condition and parameters.
    """

    def __init__(self, wanted: QueryFilter) -> None:
        self.parameters: dict[str, Value] = {}
        conditions = [self._condition(term) for term in wanted.terms()]
        self.text = " AND ".join(conditions) or "1"

    def _parameter(self, value: Value, type: str) -> str:
        """
        Note a parameter and give the place for it.
        """
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{type}}}"

    def _condition(self, term: Term) -> str:
        """
        Say one term.
        """
        column = f"`{term.columns[0]}`"
        if term.operator is Operator.IN and isinstance(term.value, tuple):
            return f"has({self._parameter(list(term.value), 'Array(String)')}, {column})"
        assert not isinstance(term.value, tuple)
        if term.operator is Operator.CONTAINS:
            place = self._parameter(term.value, "String")
            found = (
                f"{_ANY_CASE if name != 'qname' else 'position'}(`{name}`, {place}) > 0"
                for name in term.columns
            )
            return "(" + " OR ".join(found) + ")"
        if term.columns == ("ts",):
            place = f"fromUnixTimestamp64Milli({self._parameter(term.value, 'Int64')}, 'UTC')"
        else:
            place = self._parameter(float(term.value), "Float64")
        sign = {Operator.FROM: ">=", Operator.BELOW: "<", Operator.UP_TO: "<="}[term.operator]
        return f"{column} {sign} {place}"


def statements(question: Question, tables: Tables) -> list[Statement]:
    """
    Give the statements whose results a question's C{shape} takes.

    @raise StoreError: The question is of no sort known here.
    """
    try:
        make = _MAKERS[type(question)]
    except KeyError:
        raise StoreError("clickhouse", f"no answer to a {type(question).__name__}") from None
    return make(question, f"{tables.database}.{tables.table}")


# Of a sample of 8192, so that memory is bounded; exact when there are fewer.
_PERCENTILES = ", ".join(
    f"arrayElement(quantiles(0.5, 0.95, 0.99)(duration_ms), {place})" for place in (1, 2, 3)
)


def _recent(question: Recent, table: str) -> list[Statement]:
    where = _Where(question.filter)
    direction = "DESC" if question.descending else "ASC"
    columns = ", ".join(
        "toUnixTimestamp64Milli(ts)" if column.name == "ts" else f"`{column.name}`"
        for column in COLUMNS
    )
    # There is no row number to part equal rows by; these come close.
    order = f"`{question.sortBy}` {direction}, ts DESC, qname, client_ip, qtype, duration_ms"
    page: dict[str, Value] = {"limit": question.pageSize, "offset": question.offset}
    return [
        Statement(
            f"SELECT {columns} FROM {table} WHERE {where.text} ORDER BY {order}"
            " LIMIT {limit:UInt64} OFFSET {offset:UInt64}",
            where.parameters | page,
        ),
        Statement(f"SELECT count() FROM {table} WHERE {where.text}", where.parameters),
    ]


def _summary(question: Summary, table: str) -> list[Statement]:
    where = _Where(question.filter)
    return [
        Statement(
            f"SELECT outcome, count() AS c FROM {table} WHERE {where.text}"
            " GROUP BY outcome ORDER BY c DESC, outcome",
            where.parameters,
        )
    ]


def _latency(question: Latency, table: str) -> list[Statement]:
    where = _Where(question.filter)
    return [
        Statement(
            "SELECT count(), avg(duration_ms), min(duration_ms), max(duration_ms),"
            f" {_PERCENTILES} FROM {table} WHERE {where.text}",
            where.parameters,
        )
    ]


def _series(question: TimeSeries, table: str) -> list[Statement]:
    where = _Where(question.filter)
    parameters = where.parameters | {"width": question.bucket * 1000, "most": MAX_BUCKETS}
    bucket = "intDiv(toUnixTimestamp64Milli(ts), {width:Int64})"
    return [
        Statement(
            f"SELECT {bucket} AS b, outcome, count(), sum(duration_ms) FROM {table}"
            f" WHERE {where.text} GROUP BY b, outcome ORDER BY b, outcome"
            " LIMIT {most:UInt64}",
            parameters,
        ),
        Statement(
            f"SELECT {bucket} AS b, {_PERCENTILES} FROM {table}"
            f" WHERE {where.text} GROUP BY b ORDER BY b LIMIT {{most:UInt64}}",
            parameters,
        ),
    ]


def _upstreams(question: Upstreams, table: str) -> list[Statement]:
    where = _Where(question.filter)
    return [
        Statement(
            f"SELECT upstream_address, count() AS c, avg(duration_ms) FROM {table}"
            f" WHERE {where.text} AND upstream_address != ''"
            " GROUP BY upstream_address ORDER BY c DESC, upstream_address",
            where.parameters,
        )
    ]


def _ranking(column: str, wanted: QueryFilter, limit: int, table: str) -> Statement:
    """
    Count a column's values but the empty one, the commonest first.
    """
    where = _Where(wanted)
    return Statement(
        f"SELECT `{column}`, count() AS c FROM {table} WHERE {where.text} AND `{column}` != ''"
        f" GROUP BY `{column}` ORDER BY c DESC, `{column}` LIMIT {{limit:UInt64}}",
        where.parameters | {"limit": limit},
    )


def _top(question: Top, table: str) -> list[Statement]:
    return [_ranking(question.column, question.effectiveFilter, question.limit, table)]


def _options(question: FilterOptions, table: str) -> list[Statement]:
    return [_ranking(name, question.filter, question.limit, table) for name in OPTION_COLUMNS]


_MAKERS: dict[type[Question], Callable[..., list[Statement]]] = {
    Recent: _recent,
    Summary: _summary,
    Latency: _latency,
    TimeSeries: _series,
    Upstreams: _upstreams,
    Top: _top,
    FilterOptions: _options,
    Discovery: lambda question, table: [
        _ranking("client_ip", question.filter, question.limit, table)
    ],
}
