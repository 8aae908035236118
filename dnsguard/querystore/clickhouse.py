# -*- test-case-name: tests.integration.test_clickhouse -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rows in ClickHouse, for many clients and long memories.

The reactor hands blocks and questions to a few threads; the client library
does its blocking there. Blocks travel as RowBinary, made with the interpreter's
lock released where the compiled encoder is at hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import lz4.frame  # type: ignore[import-untyped]
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from dnsguard.errors import StoreError
from dnsguard.interfaces import IQueryStore
from dnsguard.querystore.block import Block
from dnsguard.querystore.clickhousesql import statements
from dnsguard.querystore.clickhousetables import Tables
from dnsguard.querystore.endpoints import Endpoints, Refused
from dnsguard.querystore.questions import Question, Shape
from dnsguard.querystore.rows import ENCODED_COLUMNS, PROTOCOLS, fragment
from dnsguard.querystore.statements import Statement

try:
    from dnsguard.querystore._rows import rowBinary
except ImportError:
    from dnsguard.querystore.encoding import rowBinary

__all__ = ["ClickHouseStore"]

T = TypeVar("T")

Rows: TypeAlias = Sequence[Sequence[Any]]

MAX_PENDING = 16
"""Requests under way; more are refused."""

ASK_SECONDS = 30
"""Seconds a server may work on a question."""

_PROTOCOLS = tuple(fragment((word,)) for word in PROTOCOLS)


@implementer(IQueryStore)
class ClickHouseStore:
    """
    Rows in a table of a ClickHouse server or cluster.
    """

    name = "clickhouse"

    def __init__(
        self,
        reactor: Any,
        pool: Any,
        endpoints: Endpoints,
        tables: Tables,
        maxOctets: int = 0,
        asyncInsert: bool = False,
        asyncInsertMilliseconds: int = 1000,
    ) -> None:
        """
        @param reactor: Provides
            L{IReactorThreads<twisted.internet.interfaces.IReactorThreads>}.
        @param pool: The thread pool that servers are spoken to from; its own,
            for a server that is slow keeps threads busy.
        @param maxOctets: Let the oldest partitions go when the table takes more
            than this on disk; 0: never.
        @param asyncInsert: Let the server gather rows of several writers. It
            still says yes only when they are stored.
        @param asyncInsertMilliseconds: How long it gathers at most.
        """
        self._reactor = reactor
        self._pool = pool
        self._endpoints = endpoints
        self._tables = tables
        self._maxOctets = maxOctets
        self._settings: dict[str, Any] = {"async_insert": 0}
        if asyncInsert:
            self._settings = {
                "async_insert": 1,
                "wait_for_async_insert": 1,
                "async_insert_deduplicate": 1,
                "async_insert_busy_timeout_ms": asyncInsertMilliseconds,
            }
        if tables.cluster:
            # The servers of all shards have the rows when the insert returns.
            self._settings["insert_distributed_sync"] = 1
        self._pending = 0
        self._ready = False
        self._known = {"stored_rows": 0, "stored_octets": 0}
        self._droppedPartitions = 0

    def _inThread(self, work: Callable[[], T]) -> Deferred[T]:
        """
        Do something that blocks.
        """

        def done(result: T) -> T:
            self._pending -= 1
            return result

        if self._pending >= MAX_PENDING:

            async def refuse() -> T:
                raise StoreError("clickhouse", f"{MAX_PENDING} requests under way")

            return Deferred.fromCoroutine(refuse())
        self._pending += 1
        return deferToThreadPool(self._reactor, self._pool, work).addBoth(done)

    def start(self) -> Deferred[None]:
        """
        Make or migrate the tables.
        """
        return self._inThread(self._prepare)

    def insert(self, block: Block) -> Deferred[None]:
        """
        Encode and send a block.
        """
        return self._inThread(lambda: self._prepared(lambda: self._insert(block)))

    def isStarved(self) -> Deferred[bool]:
        """
        The server has a machine of its own, as far as anybody here knows.
        """
        return succeed(False)

    def ask(self, question: Question) -> Deferred[Shape]:
        """
        Run the statements of a question.
        """

        def ask() -> Shape:
            made = statements(question, self._tables)
            results = [self._query(statement) for statement in made]
            return question.shape(results)

        return self._inThread(lambda: self._prepared(ask))

    def maintain(self) -> Deferred[None]:
        """
        Let partitions go until the rest fits; rows' age is the server's to
        mind.
        """
        return self._inThread(lambda: self._prepared(self._maintain))

    def clear(self) -> Deferred[None]:
        """
        Empty the table.
        """
        return self._inThread(lambda: self._prepared(lambda: self._command(self._tables.clear())))

    def counters(self) -> dict[str, int]:
        """
        Give what was known after the last L{maintain}.
        """
        return {
            **self._known,
            "failovers": self._endpoints.failovers,
            "dropped_partitions": self._droppedPartitions,
        }

    def close(self) -> Deferred[None]:
        """
        Let connections go.
        """
        self._ready = False
        return deferToThreadPool(self._reactor, self._pool, self._endpoints.close)

    # From here on all is called in threads.

    def _prepared(self, work: Callable[[], T]) -> T:
        """
        Do something with tables that are there, making them once more when the
        server has lost them meanwhile.
        """
        if not self._ready:
            self._prepare()
        try:
            return work()
        except Refused as reason:
            if not reason.isMissing:
                raise
            self._ready = False
            self._prepare()
            return work()

    def _prepare(self) -> None:
        """
        Make or migrate the tables.
        """
        for statement in self._tables.create():
            self._command(statement)
        found, columns = (self._query(statement) for statement in self._tables.inspect())
        if not found:
            raise StoreError("clickhouse", f"no table {self._tables.local} after making it")
        comment, definition = found[0]
        for statement in self._tables.migrate(
            comment, definition, {str(name): str(type) for name, type in columns}
        ):
            self._command(statement)
        self._ready = True

    def _insert(self, block: Block) -> None:
        octets = lz4.frame.compress(
            rowBinary(
                block.rows, block.clients, block.facts, _PROTOCOLS, fragment((block.instance,))
            )
        )
        table = f"{self._tables.database}.{self._tables.table}"
        settings = {**self._settings, "insert_deduplication_token": block.token}
        self._endpoints.call(
            lambda client: client.raw_insert(
                table,
                list(ENCODED_COLUMNS),
                octets,
                settings=settings,
                fmt="RowBinary",
                compression="lz4",
            )
        )

    def _query(self, statement: Statement) -> Rows:
        """
        Run a statement that reads.
        """

        def query(client: Any) -> Any:
            return client.query(
                statement.text,
                parameters=statement.parameters or None,
                settings={"max_execution_time": ASK_SECONDS},
            ).result_rows

        rows: Rows = self._endpoints.call(query)
        return rows

    def _command(self, statement: Statement) -> None:
        """
        Run a statement that changes something.
        """
        self._endpoints.call(lambda client: client.command(statement.text))

    def _maintain(self) -> None:
        partitions = deque(self._query(self._tables.partitions()))
        total = sum(octets for _, octets, _ in partitions)
        # The newest partition is being written to: it stays.
        while self._maxOctets and total > self._maxOctets and len(partitions) > 1:
            partition, octets, _ = partitions.popleft()
            self._command(self._tables.dropPartition(partition))
            self._droppedPartitions += 1
            total -= octets
        rows = sum(count for _, _, count in partitions)
        self._known = {"stored_rows": int(rows), "stored_octets": int(total)}
