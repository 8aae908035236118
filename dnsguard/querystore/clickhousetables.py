# -*- test-case-name: tests.querystore.test_filters -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
ClickHouse's tables: the statements that make them and keep them in shape.

Names of databases, tables and clusters come from the operator and can't be
parameters: they must be plain identifiers. What is asked of the tables is in
L{dnsguard.querystore.clickhousesql}.
"""

from __future__ import annotations

import re

import attrs

from dnsguard.errors import StoreError
from dnsguard.querystore.rows import COLUMNS, Kind
from dnsguard.querystore.statements import Statement, Value

__all__ = ["SCHEMA_VERSION", "Tables", "identifier"]

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
