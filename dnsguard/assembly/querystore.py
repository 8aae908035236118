# -*- test-case-name: tests.assembly.test_querystore -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to the query store.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from dnsguard.config.model import Config
from dnsguard.observers.anonymize import Anonymity, Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.querystore.engines import Engine, choose
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.spool import Spool
from dnsguard.querystore.tail import LiveTail
from dnsguard.services.queryflush import QueryFlushService
from dnsguard.services.threads import ThreadedService, giveWay

__all__ = [
    "QueryStore",
    "anonymizeKey",
    "anonymizer",
    "engineOf",
    "exclusion",
    "makeQueryStore",
    "makeRecorder",
]

_MB = 1 << 20
_LEAST_BUFFER = 50_000
_THREADS = 4

log = Logger()


@attrs.frozen
class QueryStore:
    """
    The parts of a query store.

    @ivar recorder: What is told of queries.
    @ivar service: What is started and stopped.
    @ivar flush: What takes rows to the engine.
    @ivar store: The engine, an L{IQueryStore <dnsguard.interfaces.IQueryStore>}.
    @ivar tail: Where rows can be watched.
    @ivar engine: Which engine it is.
    """

    recorder: QueryRecorder
    service: IService
    flush: QueryFlushService
    store: Any
    tail: LiveTail
    engine: Engine


_RANDOM_KEY = secrets.token_hex(32)


def anonymizeKey(config: Config) -> str:
    """
    Say what hashes of clients are keyed with: where nothing is configured, by
    something new at each start.
    """
    return config.queryStore.anonymizeKey or _RANDOM_KEY


def anonymizer(config: Config) -> Anonymizer:
    """
    Say what is kept of clients.
    """
    anonymity = Anonymity(config.queryStore.anonymizeClientIP.value)
    return Anonymizer(anonymity, anonymizeKey(config).encode("utf-8"))


def exclusion(config: Config) -> Exclusion:
    """
    Say which queries are left out.

    @raise dnsguard.errors.PolicyError: That can't be read.
    """
    settings = config.queryStore
    return Exclusion(settings.excludeDomains, settings.excludeClients)


def engineOf(config: Config) -> tuple[Engine, str]:
    """
    Say which engine keeps rows, if any, and what there is to warn of.
    """
    settings = config.queryStore
    if not settings.enabled:
        return Engine.NONE, ""
    address = settings.address[0] if settings.address else ""
    return choose(Engine(settings.engine.value), address)


def makeRecorder(
    config: Config, identities: Anonymizer, nameOf: Callable[[str], str]
) -> QueryRecorder:
    """
    Make what rows are gathered in. The parameters are those of
    L{makeQueryStore}.

    @raise dnsguard.errors.PolicyError: What is to be left out can't be read.
    """
    settings = config.queryStore
    return QueryRecorder(
        settings.bufferSize or max(_LEAST_BUFFER, 100 * settings.batchSize),
        exclusion(config),
        identities,
        nameOf,
        settings.sampleRate,
        settings.instance or socket.gethostname(),
    )


def makeQueryStore(
    config: Config,
    reactor: Any,
    identities: Anonymizer,
    nameOf: Callable[[str], str],
    now: Callable[[], float] = time.time,
) -> QueryStore | None:
    """
    Make the query store, if there is to be one.

    @param nameOf: Gives the configured name of a client's address.
    @param now: Seconds since the epoch.
    @raise dnsguard.errors.PolicyError: What is to be left out can't be read.
    """
    settings = config.queryStore
    engine, warning = engineOf(config)
    if warning:
        log.warn("{warning}", warning=warning)
    if engine is Engine.NONE:
        return None
    recorder = makeRecorder(config, identities, nameOf)
    pool = None
    if engine is Engine.CLICKHOUSE:
        pool = ThreadPool(0, _THREADS, "clickhouse")
        giveWay(pool)
    store = _MAKERS[engine](config, reactor, pool or reactor.getThreadPool(), now)
    spool = None
    if engine is not Engine.MEMORY:
        spool = Spool(config.statePath(settings.spool.directory), settings.spool.maxSizeMB * _MB)
    tail = LiveTail()
    flush = QueryFlushService(
        recorder,
        store,
        spool,
        reactor,
        reactor.getThreadPool(),
        settings.flushToStoreInterval,
        settings.batchSize,
        tail=tail,
    )
    service: IService = flush if pool is None else ThreadedService(flush, pool, reactor)
    return QueryStore(recorder, service, flush, store, tail, engine)


def _clickhouse(config: Config, reactor: Any, pool: Any, now: Callable[[], float]) -> Any:
    from dnsguard.querystore.clickhouse import ClickHouseStore
    from dnsguard.querystore.clickhousetables import Tables
    from dnsguard.querystore.endpoints import Credentials, Endpoints

    settings = config.queryStore
    return ClickHouseStore(
        reactor,
        pool,
        Endpoints(
            settings.address,
            Credentials(
                settings.username, settings.password, settings.tls.caFile, settings.tls.verify
            ),
        ),
        Tables(settings.database, settings.table, settings.retentionHours, settings.cluster),
        settings.maxSizeMB * _MB,
        settings.asyncInsert,
        int(settings.flushToDiskInterval * 1000),
    )


def _duckdb(config: Config, reactor: Any, pool: Any, now: Callable[[], float]) -> Any:
    from dnsguard.querystore.duckdb import DuckDBStore

    settings = config.queryStore
    return DuckDBStore(
        reactor,
        pool,
        config.statePath(settings.duckdb.path),
        settings.retentionHours * 3600.0,
        settings.maxSizeMB * _MB,
        settings.duckdb.threads,
        settings.duckdb.memoryMB * _MB,
        settings.duckdb.checkpointMB * _MB,
    )


def _memory(config: Config, reactor: Any, pool: Any, now: Callable[[], float]) -> Any:
    from dnsguard.querystore.memory import MemoryStore

    settings = config.queryStore
    return MemoryStore(
        reactor,
        pool,
        now,
        settings.memory.maxRows,
        settings.retentionHours * 3600.0,
    )


_MAKERS = {Engine.CLICKHOUSE: _clickhouse, Engine.DUCKDB: _duckdb, Engine.MEMORY: _memory}
