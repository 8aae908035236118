# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.querystore}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock

from dnsguard.assembly import problemsOf
from dnsguard.assembly.querystore import QueryStore, anonymizer, makeQueryStore
from dnsguard.querystore.clickhouse import ClickHouseStore
from dnsguard.querystore.duckdb import DuckDBStore
from dnsguard.querystore.engines import Engine
from dnsguard.querystore.memory import MemoryStore
from dnsguard.services.threads import ThreadedService
from tests.assembly.test_rules import Writing


class QueryStoreTests(Writing):
    """
    Tests for making a query store.
    """

    def make(self, text: str) -> QueryStore | None:
        """
        The store of a configuration.
        """
        config = self.read(text)
        reactor: Any = MemoryReactorClock()
        reactor.getThreadPool = lambda: None
        return makeQueryStore(config, reactor, anonymizer(config), lambda address: "")

    def test_engines(self) -> None:
        """
        Each engine is made when it is asked for; by itself ClickHouse where
        there is an address, and a file where there is none.
        """
        for text, engine, kind in [
            ("engine: memory", Engine.MEMORY, MemoryStore),
            ("engine: duckdb", Engine.DUCKDB, DuckDBStore),
            ("engine: auto", Engine.DUCKDB, DuckDBStore),
            ("address: 'http://192.0.2.1:8123'", Engine.CLICKHOUSE, ClickHouseStore),
        ]:
            store = self.make(f"query_store: {{{text}}}\n")
            assert store is not None
            self.assertIs(store.engine, engine)
            self.assertIsInstance(store.store, kind)
        assert store is not None
        self.assertIsInstance(store.service, ThreadedService)

    def test_none(self) -> None:
        """
        There may be none.
        """
        for text in ("enabled: false", "engine: none"):
            self.assertIsNone(self.make(f"query_store: {{{text}}}\n"))

    def test_bounds(self) -> None:
        """
        The buffer is as large as said, or by the size of batches.
        """
        for text, capacity in [
            ("batch_size: 10", 50_000),
            ("batch_size: 1000", 100_000),
            ("buffer_size: 2000", 2000),
        ]:
            store = self.make(f"query_store: {{engine: memory, {text}}}\n")
            assert store is not None
            self.assertEqual(store.recorder.buffer.capacity, capacity)

    def test_anonymity(self) -> None:
        """
        Clients are hidden as said; equal keys make equal hashes.
        """
        text = "query_store: {anonymize_client_ip: hash, anonymize_key: 0123456789abcdef}\n"
        first, second = (anonymizer(self.read(text)).identity("192.0.2.1", "tv") for _ in "12")
        self.assertEqual(first, second)
        self.assertNotIn("192.0.2.1", first)
        text = "query_store: {anonymize_client_ip: truncate}\n"
        self.assertEqual(
            anonymizer(self.read(text)).identity("192.0.2.77", "tv"), ("192.0.2.0", "")
        )

    def test_wrongExclusion(self) -> None:
        """
        What can't be left out because it can't be read has a place.
        """
        self.assertEqual(
            problemsOf(self.read("query_store: {exclude_domains: [example.org]}\n")), ()
        )
