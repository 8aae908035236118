# -*- test-case-name: tests.querystore.test_filters -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which rows somebody wants to see.

A filter is a value made of plain L{Term}s. Each engine turns terms into its own
typed parameters, or tests rows itself; what people typed is never part of a
statement's text.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from dnsguard.querystore.rows import COLUMNS

__all__ = ["EVERYTHING", "BadFilter", "Operator", "QueryFilter", "Term", "predicate"]

MAX_VALUES = 64
"""Words in one list of a filter."""

MAX_VALUE = 1024
"""Characters in one of its values."""

MAX_MINUTES = 60 * 24 * 366 * 10

_INDEX = {column.name: index for index, column in enumerate(COLUMNS)}


class BadFilter(ValueError):
    """
    A filter's argument makes no sense.

    @ivar key: The argument's name.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


class Operator(enum.Enum):
    """
    How a term compares.
    """

    IN = "in"
    CONTAINS = "contains"
    FROM = "from"
    BELOW = "below"
    UP_TO = "up to"


@attrs.frozen
class Term:
    """
    One condition on a row.

    @ivar columns: The row's columns; one of them must fulfil it.
    @ivar operator: How they are compared.
    @ivar value: With C{IN} a tuple of texts; with C{CONTAINS} a text, lower
        case, letter case not counting; otherwise a number, milliseconds for
        C{ts}.
    """

    columns: tuple[str, ...]
    operator: Operator
    value: tuple[str, ...] | str | int | float


@attrs.frozen(kw_only=True)
class QueryFilter:
    """
    Which rows; all conditions hold at once, and empty ones mean nothing.

    @ivar since: From this time on, seconds since the epoch.
    @ivar until: Before this time.
    @ivar search: Found in the name asked for or the client's address or name.
    @ivar qname: Found in the name asked for.
    @ivar client: Found in the client's address or name.
    @ivar clientIP: The client's very address.
    @ivar minDuration: Milliseconds at least.
    @ivar maxDuration: Milliseconds at most.
    """

    since: float | None = None
    until: float | None = None
    search: str = ""
    qname: str = ""
    client: str = ""
    clientIP: str = ""
    outcomes: tuple[str, ...] = ()
    rCodes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    minDuration: float | None = None
    maxDuration: float | None = None

    def terms(self) -> Iterator[Term]:
        """
        Give the conditions, those that cost least to test first.
        """
        if self.since is not None:
            yield Term(("ts",), Operator.FROM, int(self.since * 1000))
        if self.until is not None:
            yield Term(("ts",), Operator.BELOW, int(self.until * 1000))
        for column, words in (
            ("outcome", self.outcomes),
            ("rcode", self.rCodes),
            ("qtype", self.types),
            ("qclass", self.classes),
            ("protocol", self.protocols),
            ("upstream_address", self.upstreams),
            ("list", self.lists),
            ("client_group", self.groups),
            ("instance", self.instances),
            ("client_ip", (self.clientIP,) if self.clientIP else ()),
        ):
            if words:
                yield Term((column,), Operator.IN, words)
        if self.minDuration is not None:
            yield Term(("duration_ms",), Operator.FROM, self.minDuration)
        if self.maxDuration is not None:
            yield Term(("duration_ms",), Operator.UP_TO, self.maxDuration)
        for columns, text in (
            (("qname",), self.qname),
            (("client_ip", "client_name"), self.client),
            (("qname", "client_ip", "client_name"), self.search),
        ):
            if text:
                yield Term(columns, Operator.CONTAINS, text.lower())

    @classmethod
    def fromArguments(cls, arguments: Mapping[str, str], now: float) -> QueryFilter:
        """
        Make a filter of the arguments of a request; unknown ones are others'.

        @param now: Seconds since the epoch, which C{since_minutes} counts from.
        @raise BadFilter: An argument can't be understood.
        """

        def text(*keys: str) -> str:
            for key in keys:
                value = arguments.get(key, "")
                if len(value) > MAX_VALUE:
                    raise BadFilter(key, f"over {MAX_VALUE} characters")
                if value:
                    return value
            return ""

        def words(key: str, change: Callable[[str], str] = str) -> tuple[str, ...]:
            found = tuple(change(word.strip()) for word in text(key).split(",") if word.strip())
            if len(found) > MAX_VALUES:
                raise BadFilter(key, f"over {MAX_VALUES} values")
            return found

        minutes = _number(arguments, "since_minutes", MAX_MINUTES)
        return cls(
            since=None if minutes is None else now - minutes * 60,
            search=text("q", "search"),
            qname=text("qname"),
            client=text("client", "client_ip"),
            outcomes=words("outcome", str.lower),
            rCodes=words("rcode", str.upper),
            types=words("qtype", str.upper),
            classes=words("qclass", str.upper),
            protocols=words("protocol", str.lower),
            upstreams=words("upstream"),
            lists=words("list"),
            groups=words("group"),
            instances=words("instance"),
            minDuration=_number(arguments, "min_duration_ms", 1e12),
            maxDuration=_number(arguments, "max_duration_ms", 1e12),
        )


EVERYTHING = QueryFilter()
"""All rows."""


def _number(arguments: Mapping[str, str], key: str, most: float) -> float | None:
    """
    Read a number that isn't negative, or L{None} if there is none.
    """
    text = arguments.get(key, "")
    if not text:
        return None
    try:
        number = float(text[:64])
    except ValueError:
        raise BadFilter(key, "not a number") from None
    if not 0 <= number <= most:
        raise BadFilter(key, f"not between 0 and {most:.0f}")
    return number


def predicate(terms: Iterable[Term]) -> Callable[[tuple[Any, ...]], bool]:
    """
    Make a test for rows that are tuples of all L{COLUMNS}, C{ts} in
    milliseconds.
    """
    tests = [_test(term) for term in terms]

    def matches(row: tuple[Any, ...]) -> bool:
        return all(test(row) for test in tests)

    return matches


def _test(term: Term) -> Callable[[tuple[Any, ...]], bool]:
    """
    Make the test of one term.
    """
    at = tuple(_INDEX[column] for column in term.columns)
    first = at[0]
    value: Any = term.value
    if term.operator is Operator.IN:
        words = frozenset(value)
        return lambda row: row[first] in words
    if term.operator is Operator.CONTAINS:
        return lambda row: any(value in row[index].lower() for index in at)
    if term.operator is Operator.FROM:
        return lambda row: bool(row[first] >= value)
    if term.operator is Operator.BELOW:
        return lambda row: bool(row[first] < value)
    return lambda row: bool(row[first] <= value)
