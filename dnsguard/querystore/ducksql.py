# -*- test-case-name: tests.querystore.test_duckfile -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The embedded engine's SQL.

Names asked for are kept once, in a table of their own, and rows refer to them:
ranking and searching then work on numbers and on a fraction of the texts, and
need no roll-ups. Whoever opens the file with another program finds whole rows
in the view C{dns_queries}.
"""

from __future__ import annotations

from collections.abc import Callable

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
from dnsguard.querystore.rows import COLUMNS, PROTOCOLS, Kind
from dnsguard.querystore.statements import Statement, Value

__all__ = [
    "ADD_NAMES",
    "ADD_ROWS",
    "CLEAR",
    "FORGET_BLOCKS",
    "FORGET_NAMES",
    "FORGET_ROWS",
    "MIGRATIONS",
    "statements",
]

_TYPES = {
    Kind.TIME: "TIMESTAMP",
    Kind.TEXT: "VARCHAR",
    Kind.WORD: "VARCHAR",
    Kind.NUMBER: "DOUBLE",
}

_STORED = [column for column in COLUMNS if column.name != "qname"]


def _quoted(column: str) -> str:
    """
    Quote a column's name, which is one of ours.
    """
    return f'"{column}"'


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE names (id INTEGER NOT NULL, qname VARCHAR NOT NULL)",
        "CREATE TABLE queries (name_id INTEGER NOT NULL, "
        + ", ".join(f"{_quoted(column.name)} {_TYPES[column.kind]} NOT NULL" for column in _STORED)
        + ")",
        "CREATE TABLE blocks (id VARCHAR NOT NULL, stored TIMESTAMP NOT NULL)",
        "CREATE VIEW dns_queries AS SELECT "
        + ", ".join(
            "n.qname" if column.name == "qname" else f"q.{_quoted(column.name)}"
            for column in COLUMNS
        )
        + " FROM queries q JOIN names n ON n.id = q.name_id",
    ),
)
"""What leads from each version of the schema to the next; never changed, only
added to."""

ADD_NAMES = """
INSERT INTO names
SELECT (SELECT coalesce(max(id), 0) FROM names) + row_number() OVER (), qname
FROM (SELECT DISTINCT qname FROM facts WHERE qname NOT IN (SELECT qname FROM names))
"""
"""Take in the names of the relation C{facts} that are new."""

ADD_ROWS = (
    "INSERT INTO queries (name_id, "
    + ", ".join(_quoted(column.name) for column in _STORED)
    + ") SELECT n.id, "
    + ", ".join(
        {
            "ts": "make_timestamp_ms(r.ts)",
            "client_ip": "c.client_ip",
            "client_name": "c.client_name",
            "protocol": f"list_extract([{', '.join(map(repr, PROTOCOLS))}], r.protocol + 1)",
            "duration_ms": "r.duration / 1000",
            "cache_lookup_ms": "r.cache / 1000",
            "network_write_ms": "r.write / 1000",
            "instance": "$instance",
        }.get(column.name, f"f.{_quoted(column.name)}")
        for column in _STORED
    )
    + " FROM incoming r JOIN facts f ON f.number = r.fact"
    " JOIN clients c ON c.number = r.client JOIN names n ON n.qname = f.qname"
)
"""Add the rows of the relation C{incoming}."""

FORGET_ROWS = "DELETE FROM queries WHERE ts < make_timestamp_ms($before)"
FORGET_NAMES = "DELETE FROM names WHERE id NOT IN (SELECT name_id FROM queries)"
FORGET_BLOCKS = "DELETE FROM blocks WHERE stored < make_timestamp_ms($before)"
CLEAR = ("DELETE FROM queries", "DELETE FROM names")


SAMPLE = 300_000
"""Rows that percentiles are taken of at most, of many: half as many at least."""

_PERCENTILES = "quantile_cont(duration_ms, [0.5, 0.95, 0.99])"


class _Where:
    """
    Turns terms into a condition and parameters.
    """

    def __init__(self, wanted: QueryFilter) -> None:
        self.parameters: dict[str, Value] = {}
        conditions = [self._condition(term) for term in wanted.terms()]
        self.text = " AND ".join(conditions) or "TRUE"

    def _parameter(self, value: Value) -> str:
        """
        Note a parameter and give the place for it.
        """
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def _condition(self, term: Term) -> str:
        """
        Say one term.
        """
        column = term.columns[0]
        if term.operator is Operator.IN and isinstance(term.value, tuple):
            return f"{_quoted(column)} IN (SELECT unnest({self._parameter(list(term.value))}))"
        assert not isinstance(term.value, tuple)
        place = self._parameter(term.value)
        if term.operator is Operator.CONTAINS:
            return "(" + " OR ".join(_contains(name, place) for name in term.columns) + ")"
        if column == "ts":
            place = f"make_timestamp_ms({place})"
        sign = {Operator.FROM: ">=", Operator.BELOW: "<", Operator.UP_TO: "<="}[term.operator]
        return f"{_quoted(column)} {sign} {place}"


def _contains(column: str, place: str) -> str:
    """
    Say that a column holds a text. Names asked for and addresses are lower
    case already.
    """
    if column == "qname":
        return f"name_id IN (SELECT id FROM names WHERE contains(qname, {place}))"
    if column == "client_ip":
        return f"contains(client_ip, {place})"
    return f"contains(lower({_quoted(column)}), {place})"


def statements(question: Question) -> list[Statement]:
    """
    Give the statements whose results a question's C{shape} takes.

    @raise StoreError: The question is of no sort known here.
    """
    try:
        make = _MAKERS[type(question)]
    except KeyError:
        raise StoreError("duckdb", f"no answer to a {type(question).__name__}") from None
    return make(question)


def _recent(question: Recent) -> list[Statement]:
    where = _Where(question.filter)
    direction = "DESC" if question.descending else "ASC"
    columns = ", ".join(
        {"ts": "epoch_ms(q.ts)", "qname": "n.qname"}.get(column.name, f"q.{_quoted(column.name)}")
        for column in COLUMNS
    )
    page = {"limit": question.pageSize, "offset": question.offset}
    total = Statement(f"SELECT count(*) FROM queries WHERE {where.text}", where.parameters)
    if question.sortBy == "qname":
        # Only rows of the first so many names can be on the page.
        text = (
            f"SELECT {columns} FROM queries q JOIN (SELECT id, qname FROM names WHERE id IN"
            f" (SELECT name_id FROM queries WHERE {where.text})"
            f" ORDER BY qname {direction} LIMIT $most) n ON n.id = q.name_id"
            f" WHERE {where.text} ORDER BY n.qname {direction}, q.ts DESC, q.rowid DESC"
            " LIMIT $limit OFFSET $offset"
        )
        page["most"] = question.offset + question.pageSize
    else:
        order = f"q.{_quoted(question.sortBy)} {direction}"
        if question.sortBy == "ts":
            order += f", q.place {direction}"
        else:
            order += ", q.ts DESC, q.place DESC"
        # Rows first, names for the few that are left.
        text = (
            f"SELECT {columns} FROM (SELECT *, rowid AS place FROM queries q"
            f" WHERE {where.text} ORDER BY {order.replace('q.place', 'rowid')}"
            " LIMIT $limit OFFSET $offset) q"
            f" JOIN names n ON n.id = q.name_id ORDER BY {order}"
        )
    return [Statement(text, where.parameters | page), total]


def _summary(question: Summary) -> list[Statement]:
    where = _Where(question.filter)
    return [
        Statement(
            f"SELECT outcome, count(*) FROM queries WHERE {where.text}"
            " GROUP BY 1 ORDER BY 2 DESC, 1",
            where.parameters,
        )
    ]


def _sampled(where: _Where) -> str:
    """
    Say that a row is one of some hundred thousand that stand for all; of fewer
    each is. Percentiles of millions of rows hardly differ, and cost a tenth.
    """
    total = f"(SELECT greatest(count(*), 1) FROM queries WHERE {where.text})"
    # A mask of so many bits of the row number's hash: a division would cost more.
    bits = f"greatest(0, ceil(log2({total} / {SAMPLE})))::INTEGER"
    return f"({where.text}) AND hash(rowid) & ((1::UBIGINT << {bits}) - 1)::UBIGINT = 0"


def _latency(question: Latency) -> list[Statement]:
    where = _Where(question.filter)
    return [
        Statement(
            "SELECT n, coalesce(a, 0), coalesce(b, 0), coalesce(c, 0), coalesce(q[1], 0),"
            " coalesce(q[2], 0), coalesce(q[3], 0) FROM (SELECT count(*) AS n,"
            " avg(duration_ms) AS a, min(duration_ms) AS b, max(duration_ms) AS c"
            f" FROM queries WHERE {where.text}),"
            f" (SELECT {_PERCENTILES} AS q FROM queries WHERE {_sampled(where)})",
            where.parameters,
        )
    ]


def _series(question: TimeSeries) -> list[Statement]:
    where = _Where(question.filter)
    parameters = where.parameters | {"width": question.bucket * 1_000_000, "most": MAX_BUCKETS}
    # What the engine keeps are microseconds: no other number costs less.
    bucket = "epoch_us(ts) // $width"
    return [
        Statement(
            f"SELECT {bucket}, outcome, count(*), sum(duration_ms) FROM queries"
            f" WHERE {where.text} GROUP BY 1, 2 ORDER BY 1, 2 LIMIT $most",
            parameters,
        ),
        Statement(
            f"SELECT b, q[1], q[2], q[3] FROM (SELECT {bucket} AS b, {_PERCENTILES} AS q"
            f" FROM queries WHERE {_sampled(where)} GROUP BY 1) ORDER BY 1 LIMIT $most",
            parameters,
        ),
    ]


def _upstreams(question: Upstreams) -> list[Statement]:
    where = _Where(question.filter)
    return [
        Statement(
            "SELECT upstream_address, count(*), avg(duration_ms) FROM queries"
            f" WHERE {where.text} AND upstream_address <> '' GROUP BY 1 ORDER BY 2 DESC, 1",
            where.parameters,
        )
    ]


def _ranking(column: str, wanted: QueryFilter, limit: int) -> Statement:
    """
    Count a column's values but the empty one, the commonest first.
    """
    where = _Where(wanted)
    parameters = where.parameters | {"limit": limit}
    if column == "qname":
        return Statement(
            "SELECT qname, c FROM (SELECT name_id, count(*) AS c FROM queries"
            f" WHERE {where.text} GROUP BY 1 ORDER BY c DESC LIMIT $limit)"
            " JOIN names ON id = name_id ORDER BY c DESC, qname",
            parameters,
        )
    name = _quoted(column)
    return Statement(
        f"SELECT {name}, count(*) FROM queries WHERE {where.text} AND {name} <> ''"
        " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $limit",
        parameters,
    )


def _top(question: Top) -> list[Statement]:
    return [_ranking(question.column, question.effectiveFilter, question.limit)]


def _options(question: FilterOptions) -> list[Statement]:
    return [_ranking(column, question.filter, question.limit) for column in OPTION_COLUMNS]


def _discovery(question: Discovery) -> list[Statement]:
    return [_ranking("client_ip", question.filter, question.limit)]


_MAKERS: dict[type[Question], Callable[..., list[Statement]]] = {
    Recent: _recent,
    Summary: _summary,
    Latency: _latency,
    TimeSeries: _series,
    Upstreams: _upstreams,
    Top: _top,
    FilterOptions: _options,
    Discovery: _discovery,
}
