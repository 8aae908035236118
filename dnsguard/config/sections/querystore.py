# -*- test-case-name: tests.config.sections.test_querystore -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{query_store}: where rows of answered queries are kept.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Flag, Many, Text
from dnsguard.config.names import Rule
from dnsguard.config.quantities import Duration, Integer, Number

__all__ = ["Anonymity", "QueryStoreConfig", "QueryStoreEngine"]


class QueryStoreEngine(enum.Enum):
    """
    What keeps the rows.
    """

    AUTO = "auto"
    CLICKHOUSE = "clickhouse"
    DUCKDB = "duckdb"
    MEMORY = "memory"
    NONE = "none"


class Anonymity(enum.Enum):
    """
    What is kept of a client's address.
    """

    NONE = "none"
    HASH = "hash"
    TRUNCATE = "truncate"


_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


@attrs.frozen
class SpoolConfig:
    """
    Where rows wait while the store can't take them.
    """

    directory: str = key(
        Text("a directory"),
        "spool",
        meaning="""Where they are kept; made if it doesn't exist. Not from the root: below
            ``data_directory``.""",
    )
    maxSizeMB: int = key(
        Integer(0, 1_000_000, "MB"),
        256,
        meaning="What they may take on disk; beyond, the oldest wait on and new ones are lost.",
    )


@attrs.frozen
class DuckDBConfig:
    """
    The engine ``duckdb``.
    """

    path: str = key(
        Text("a file"),
        "queries.duckdb",
        meaning="Its file. Not from the root: below ``data_directory``.",
    )
    threads: int = key(Integer(1, 64), 2, meaning="Threads that may answer one question.")
    memoryMB: int = key(
        Integer(32, 1_000_000, "MB"), 256, meaning="What the engine may take for itself."
    )
    checkpointMB: int = key(
        Integer(1, 100_000, "MB"),
        16,
        meaning="The size of its log at which it is written into the file.",
    )


@attrs.frozen
class MemoryStoreConfig:
    """
    The engine ``memory``.
    """

    maxRows: int = key(
        Integer(1000, 100_000_000, "rows"), 100_000, meaning="The rows kept, the newest ones."
    )


@attrs.frozen
class StoreTLSConfig:
    """
    How a ClickHouse server with an ``https://`` address is known.
    """

    caFile: str = key(
        Text("a file", least=0),
        "",
        unset="the system's certificates",
        meaning="Certificates to trust instead.",
    )
    verify: bool = key(Flag(), True, meaning="Is its certificate checked?")


@attrs.frozen
class QueryStoreConfig:
    """
    Rows of answered queries; see ``docs/query-store.rst``.
    """

    enabled: bool = key(Flag(), True, meaning="Are rows kept? No is the engine ``none``.")
    engine: QueryStoreEngine = key(
        Choice(QueryStoreEngine),
        QueryStoreEngine.AUTO,
        meaning="""``clickhouse``; ``duckdb``, a file; ``memory``, the newest ones; ``none``;
            or ``auto``: ``clickhouse`` when an address is set, else ``duckdb``.""",
    )
    address: tuple[str, ...] = key(
        Many(
            Text(
                "a URL such as http://clickhouse:8123",
                pattern=r"https?://\S+",
                references=True,
            ),
            single=True,
        ),
        (),
        meaning="The ClickHouse servers; the first that can be reached is used.",
    )
    database: str = key(
        Text("letters, digits and underscores", pattern=_IDENTIFIER, most=256),
        "dnsguard",
        meaning="The database; made if it doesn't exist.",
    )
    table: str = key(
        Text("letters, digits and underscores", pattern=_IDENTIFIER, most=256),
        "dns_queries",
        meaning="The table; made if it doesn't exist.",
    )
    username: str = key(
        Text("a name", references=True), "default", meaning="Who dnsguard is to ClickHouse."
    )
    password: str = key(
        Text("a password", least=0, references=True, hidden=True),
        "",
        meaning="That one's password.",
    )
    cluster: str = key(
        Text("letters, digits and underscores", pattern=f"({_IDENTIFIER})?", least=0, most=256),
        "",
        meaning="The ClickHouse cluster whose servers share the rows.",
    )
    tls: StoreTLSConfig = key(
        Section(StoreTLSConfig), StoreTLSConfig(), meaning="How its servers are known."
    )
    asyncInsert: bool = key(
        Flag(), False, meaning="Let ClickHouse gather the rows of several instances?"
    )
    flushToDiskInterval: float = key(
        Duration(least=1, most=3600),
        5.0,
        meaning="How long it gathers at most.",
    )
    flushToStoreInterval: float = key(
        Duration(least=0.1, most=3600),
        5.0,
        meaning="""A row is in the store or, if that is slow, in the spool after so long at
            most: what a sudden end may cost. Three seconds at least.""",
    )
    batchSize: int = key(
        Integer(1, 1_000_000, "rows"), 2000, meaning="So many rows are sent without waiting."
    )
    bufferSize: int | None = key(
        Integer(1000, 100_000_000, "rows"),
        None,
        unset="100 times ``batch_size``, at least 50000",
        meaning="The rows that may wait; further ones are lost, and counted.",
    )
    retentionHours: int = key(
        Integer(0, 175_200, "hours"), 168, meaning="How long rows are kept; 0 is for ever."
    )
    maxSizeMB: int = key(
        Integer(0, 100_000_000, "MB"),
        0,
        meaning="The oldest rows go when all take more than this on disk; 0 doesn't limit them.",
    )
    sampleRate: float = key(
        Number(0.0001, 1), 1.0, meaning="The share of queries of which rows are kept."
    )
    excludeDomains: tuple[str, ...] = key(
        Many(Rule()),
        (),
        meaning="No rows for these: domains, each with all names below it, or patterns.",
    )
    excludeClients: tuple[str, ...] = key(
        Many(Text("an address or name")), (), meaning="No rows for these clients."
    )
    anonymizeClientIP: Anonymity = key(
        Choice(Anonymity),
        Anonymity.NONE,
        meaning="""``hash``: a keyed hash in its place; ``truncate``: the network, /24 or /64.
            Client names are left out as well. In the request log, too.""",
    )
    anonymizeKey: str | None = key(
        Text("16 characters or more", least=16, references=True, hidden=True),
        None,
        unset="a new one at each start, so that hashes of different runs differ",
        meaning="The key of hashes.",
    )
    instance: str | None = key(
        Text("a name", most=64),
        None,
        unset="the machine's name",
        meaning="What rows of this server are marked with.",
    )
    spool: SpoolConfig = key(Section(SpoolConfig), SpoolConfig(), meaning="Where rows wait.")
    duckdb: DuckDBConfig = key(
        Section(DuckDBConfig), DuckDBConfig(), meaning="The engine ``duckdb``."
    )
    memory: MemoryStoreConfig = key(
        Section(MemoryStoreConfig), MemoryStoreConfig(), meaning="The engine ``memory``."
    )

    def faults(self) -> Iterator[Fault]:
        """
        ClickHouse has an address, with nothing in it that logs mustn't show.
        """
        for number, address in enumerate(self.address):
            if "@" in address:
                yield Fault(
                    ("address", number), "a user or password stands in it; use the keys for these"
                )
        if self.enabled and self.engine is QueryStoreEngine.CLICKHOUSE and not self.address:
            yield Fault(("engine",), "ClickHouse needs an address", ("address",))
