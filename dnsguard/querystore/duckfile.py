# -*- test-case-name: tests.querystore.test_duckfile -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One DuckDB file, and all that is done to it.

Everything here blocks; it runs in the worker process (L{duckworker}). A block
becomes three small relations, in columns, and two statements: no row is ever an
object of Python's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy

from dnsguard.errors import StoreError
from dnsguard.querystore import ducksql
from dnsguard.querystore.block import Block
from dnsguard.querystore.rows import CLIENT_COLUMNS, FACT_COLUMNS, ROW, texts
from dnsguard.querystore.statements import Statement

__all__ = ["DuckFile", "FileLost"]

REMEMBERED = 7 * 86400.0
"""Seconds that the id of a stored block is remembered."""

HOUR = 3600

STEP = 0.05
"""The share of rows that go at once when the file is too big."""

_ROW = numpy.dtype(
    [
        ("ts", "i8"),
        ("client", "u4"),
        ("fact", "u4"),
        ("duration", "u4"),
        ("cache", "u4"),
        ("write", "u4"),
        ("protocol", "u1"),
        ("padding", "V3"),
    ]
)
assert _ROW.itemsize == ROW.size


class FileLost(StoreError):
    """
    The engine has given up on the open file, as after a full disk: close it.
    The file is whole, and can be opened again.
    """


class DuckFile:
    """
    An open file.
    """

    def __init__(
        self,
        path: Path,
        retention: float = 0.0,
        maxOctets: int = 0,
        threads: int = 2,
        memoryOctets: int = 256 << 20,
        checkpointOctets: int = 16 << 20,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        @param path: Made if it isn't there, its folder too.
        @param retention: Seconds that rows are kept; 0: for ever.
        @param maxOctets: Let the oldest rows go when the file holds more than
            this; 0: never.
        @param threads: Threads of a query.
        @param memoryOctets: What the engine may take for itself.
        @param checkpointOctets: The size of the log of changes at which they
            are written into the file proper.
        @param now: Seconds since the epoch.
        @raise StoreError: It can't be opened, isn't ours, or is newer than this
            program.
        """
        self._path = path
        self._retention = retention
        self._maxOctets = maxOctets
        self._now = now
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(
                str(path),
                config={
                    "threads": str(threads),
                    "memory_limit": f"{memoryOctets // 1000}KB",
                    "checkpoint_threshold": f"{checkpointOctets // 1000}KB",
                    "temp_directory": str(path.with_name(path.name + ".tmp")),
                    "max_temp_directory_size": f"{4 * memoryOctets // 1000}KB",
                },
            )
        except (duckdb.Error, OSError) as reason:
            raise _problem(reason) from None
        try:
            self._migrate()
        except duckdb.Error as reason:
            self._connection.close()
            raise StoreError("duckdb", f"{path}: {_firstLine(reason)}") from None
        except StoreError:
            self._connection.close()
            raise

    def _migrate(self) -> None:
        """
        Bring the schema up to date, in one transaction.
        """
        run = self._connection.execute
        run("BEGIN")
        run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        ((version,),) = run("SELECT coalesce(max(version), 0) FROM schema_version").fetchall()
        newest = len(ducksql.MIGRATIONS)
        if version > newest:
            raise StoreError(
                "duckdb", f"{self._path} has schema {version}; this program knows {newest}"
            )
        for number in range(version, newest):
            for statement in ducksql.MIGRATIONS[number]:
                run(statement)
            run("INSERT INTO schema_version VALUES (?)", [number + 1])
        run("COMMIT")

    def _transaction(self, work: Callable[[Any], None]) -> None:
        """
        Do some work altogether or not at all.

        @raise StoreError: Not at all.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN")
            try:
                work(connection)
                connection.execute("COMMIT")
            except BaseException:
                _rollBack(connection)
                raise
        except duckdb.Error as reason:
            raise _problem(reason) from None

    def insert(self, block: Block) -> int:
        """
        Store a block's rows, unless it is here already.

        @return: How many were stored.
        """
        stored = 0
        relations = _relations(block)

        def work(connection: Any) -> None:
            nonlocal stored
            if connection.execute("SELECT 1 FROM blocks WHERE id = ?", [block.token]).fetchall():
                return
            connection.execute(
                "INSERT INTO blocks VALUES (?, make_timestamp_ms(?))",
                [block.token, int(self._now() * 1000)],
            )
            for name, relation in relations.items():
                connection.register(name, relation)
            connection.execute(ducksql.ADD_NAMES)
            connection.execute(ducksql.ADD_ROWS, {"instance": block.instance})
            stored = len(block)

        try:
            self._transaction(work)
        finally:
            for name in relations:
                self._connection.unregister(name)
        return stored

    def query(self, statement: Statement) -> list[list[Any]]:
        """
        Run a statement that only reads.
        """
        try:
            rows = self._connection.execute(statement.text, statement.parameters).fetchall()
        except duckdb.Error as reason:
            raise _problem(reason) from None
        return [list(row) for row in rows]

    def maintain(self) -> None:
        """
        Let rows go that are too old, then the oldest until the rest fits.
        """
        now = self._now()
        changed = False
        if self._retention:
            # By the hour: most rounds then have nothing to write.
            oldest = int((now - self._retention) // HOUR * HOUR)
            changed = self._forget(oldest * 1000) > 0
        self._transaction(
            lambda connection: connection.execute(
                ducksql.FORGET_BLOCKS, {"before": int((now - REMEMBERED) * 1000)}
            )
        )
        if self._maxOctets:
            changed = self._shrink() or changed
        if changed:
            self._transaction(lambda connection: connection.execute(ducksql.FORGET_NAMES))

    def _forget(self, before: int) -> int:
        """
        Let the rows before a time, in milliseconds, go.

        @return: How many there were.
        """
        gone = 0

        def work(connection: Any) -> None:
            nonlocal gone
            ((gone,),) = connection.execute(ducksql.FORGET_ROWS, {"before": before}).fetchall()

        self._transaction(work)
        return gone

    def _shrink(self) -> bool:
        """
        Let the oldest rows go until the file's blocks in use fit. The engine
        frees what rows took by the 122,880, so a file of fewer can't shrink.
        """
        changed = False
        for _ in range(int(1 / STEP)):
            if self.octets() <= self._maxOctets:
                break
            self.checkpoint()
            if self.octets() <= self._maxOctets:
                break
            ((edge, newest),) = self.query(
                Statement(
                    f"SELECT epoch_ms(quantile_disc(ts, {STEP})), epoch_ms(max(ts)) FROM queries"
                )
            )
            if edge is None or edge >= newest or not self._forget(edge + 1):
                break
            self._transaction(lambda connection: connection.execute(ducksql.FORGET_NAMES))
            changed = True
        if changed:
            self.checkpoint()
        return changed

    def clear(self) -> None:
        """
        Let all rows go.
        """

        def work(connection: Any) -> None:
            for statement in ducksql.CLEAR:
                connection.execute(statement)

        self._transaction(work)
        self.checkpoint()

    def checkpoint(self) -> None:
        """
        Write the log of changes into the file proper.
        """
        try:
            self._connection.execute("CHECKPOINT")
        except duckdb.Error as reason:
            raise _problem(reason) from None

    def octets(self) -> int:
        """
        Octets in use: of the file's blocks, and of the log of changes. Free
        blocks inside the file are used again before it grows.
        """
        ((used, size),) = self.query(
            Statement("SELECT used_blocks, block_size FROM pragma_database_size()")
        )
        try:
            log = self._path.with_name(self._path.name + ".wal").stat().st_size
        except OSError:
            log = 0
        return int(used * size + log)

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish.
        """
        ((rows,),) = self.query(Statement("SELECT count(*) FROM queries"))
        return {"stored_rows": rows, "stored_octets": self.octets()}

    def close(self) -> None:
        """
        Close the file, its log written into it if that can be.
        """
        with contextlib.suppress(duckdb.Error):
            self._connection.close()


def _relations(block: Block) -> dict[str, dict[str, Any]]:
    """
    Give a block's parts as columns.
    """
    rows = numpy.frombuffer(block.rows, dtype=_ROW)
    names = ("ts", "client", "fact", "duration", "cache", "write", "protocol")
    return {
        "incoming": {name: numpy.ascontiguousarray(rows[name]) for name in names},
        "facts": _texts(FACT_COLUMNS, block.facts),
        "clients": _texts(CLIENT_COLUMNS, block.clients),
    }


def _texts(names: tuple[str, ...], fragments: tuple[bytes, ...]) -> dict[str, Any]:
    """
    Give fragments as columns of text, and their numbers.
    """
    columns: dict[str, Any] = {"number": numpy.arange(len(fragments), dtype="u4")}
    for name, column in zip(names, zip(*map(texts, fragments), strict=True), strict=True):
        columns[name] = numpy.array(column, dtype=object)
    return columns


def _rollBack(connection: Any) -> None:
    """
    End a transaction that failed; the engine may have ended it already.
    """
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        return


def _problem(reason: Exception) -> StoreError:
    """
    Give an engine's error as one of ours.
    """
    kind = FileLost if isinstance(reason, duckdb.FatalException) else StoreError
    return kind("duckdb", _firstLine(reason))


def _firstLine(reason: BaseException) -> str:
    """
    Give the first line of an engine's message, which may go on for a page.
    """
    return (str(reason).strip() or type(reason).__name__).splitlines()[0][:300]
