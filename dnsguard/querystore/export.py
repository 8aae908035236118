# -*- test-case-name: tests.querystore.test_export -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rows as a file to take away, made piece by piece.

A piece is one page of rows; the next is asked for when somebody wants it, so
memory is that of a page however many rows there are.
"""

from __future__ import annotations

import csv
import enum
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs

from dnsguard.querystore.filters import QueryFilter
from dnsguard.querystore.questions import Recent
from dnsguard.querystore.rows import COLUMNS

__all__ = ["ExportFormat", "export"]

PAGE = 2_000
"""Rows in a piece."""

MAX_ROWS = 1_000_000

_NAMES = [column.name for column in COLUMNS]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a program."""


class ExportFormat(enum.Enum):
    """
    What a file looks like. The values are the words of the API.
    """

    CSV = "csv"
    JSON_LINES = "jsonl"


async def export(
    store: Any,
    wanted: QueryFilter,
    now: float,
    limit: int = 5_000,
    format: ExportFormat = ExportFormat.CSV,
) -> AsyncIterator[bytes]:
    """
    Give rows, the newest first.

    @param store: An L{dnsguard.interfaces.IQueryStore}.
    @param now: Seconds since the epoch. Rows that come later would shift the
        pages, so there are none of them.
    @param limit: Rows at most.
    @raise StoreError: The store fails; what was given so far stays true.
    """
    if wanted.until is None or wanted.until > now:
        wanted = attrs.evolve(wanted, until=now)
    write = _csv if format is ExportFormat.CSV else _jsonLines
    if format is ExportFormat.CSV:
        yield _csvLines([_NAMES])
    left = min(limit, MAX_ROWS)
    page = 1
    while left > 0:
        shape = await store.ask(Recent(wanted, page=page, pageSize=PAGE))
        rows = shape["rows"][:left]
        if rows:
            yield write(rows)
        if len(shape["rows"]) < PAGE:
            return
        left -= len(rows)
        page += 1


def _csv(rows: list[dict[str, Any]]) -> bytes:
    return _csvLines([[_harmless(row[name]) for name in _NAMES] for row in rows])


def _csvLines(rows: list[list[Any]]) -> bytes:
    """
    Write lines as RFC 4180 has them.
    """
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8")


def _harmless(value: Any) -> Any:
    """
    Keep a spreadsheet from running what a stranger named his domain.
    """
    if isinstance(value, str) and len(value) > 1 and value.startswith(_FORMULA):
        return "'" + value
    return value


def _jsonLines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode("ascii")
