# -*- test-case-name: tests.querystore.test_filters -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Questions in ClickHouse's SQL.

The names of tables are checked by L{Tables}; all else that isn't ours is a typed
parameter.
"""

from __future__ import annotations

from collections.abc import Callable

from dnsguard.errors import StoreError
from dnsguard.querystore.clickhousetables import Tables
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
from dnsguard.querystore.rows import COLUMNS
from dnsguard.querystore.statements import Statement, Value

__all__ = ["statements"]

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
