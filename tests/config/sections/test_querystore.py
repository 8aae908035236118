# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.querystore}.
"""

from __future__ import annotations

from dnsguard.config import loadText
from dnsguard.config.sections.querystore import Anonymity, QueryStoreEngine
from tests.config.sections.cases import SectionCase


class QueryStoreTests(SectionCase):
    """
    Tests for C{query_store}.
    """

    def test_read(self) -> None:
        """
        Engines, addresses, bounds and what is left out are read.
        """
        store = self.config(
            "query_store:\n"
            "  engine: clickhouse\n"
            "  address: http://192.0.2.1:8123\n"
            "  sample_rate: 0.25\n"
            "  exclude_domains: [example.org, '/^ads/']\n"
            "  anonymize_client_ip: truncate\n"
            "  duckdb: {memory_mb: 64}\n"
        ).queryStore
        self.assertIs(store.engine, QueryStoreEngine.CLICKHOUSE)
        self.assertEqual(store.address, ("http://192.0.2.1:8123",))
        self.assertEqual((store.sampleRate, store.duckdb.memoryMB), (0.25, 64))
        self.assertIs(store.anonymizeClientIP, Anonymity.TRUNCATE)

    def test_refused(self) -> None:
        """
        Identifiers that aren't, addresses with passwords in them, shares
        outside of (0, 1] and an engine without its address are refused.
        """
        for text, path in [
            ("query_store: {table: 'x; drop'}", "query_store.table"),
            ("query_store: {address: 'http://u:p@192.0.2.1'}", "query_store.address[0]"),
            ("query_store: {sample_rate: 0}", "query_store.sample_rate"),
            ("query_store: {sample_rate: 1.5}", "query_store.sample_rate"),
            ("query_store: {engine: clickhouse}", "query_store.engine"),
            ("query_store: {anonymize_key: short}", "query_store.anonymize_key"),
        ]:
            self.assertIn(path, self.paths(text), text)
        (message,) = self.messages("query_store: {address: 'http://u:hunter2@192.0.2.1'}")
        self.assertNotIn("hunter2", message)

    def test_secrets(self) -> None:
        """
        The password is in no repr and no message.
        """
        loaded = loadText("query_store: {password: hunter2hunter2}\n", "f", {})
        self.assertEqual(loaded.config.queryStore.password, "hunter2hunter2")
        self.assertNotIn("hunter2", repr(loaded.config))

    def test_olderSpellings(self) -> None:
        """
        One interval was two, and days were hours.
        """
        loaded = loadText("query_store: {flush_interval: 7s, retention_days: 3}\n", "f", {})
        store = loaded.config.queryStore
        self.assertEqual(
            (store.flushToStoreInterval, store.flushToDiskInterval, store.retentionHours),
            (7.0, 7.0, 72),
        )
        self.assertEqual(
            [problem.path for problem in loaded.warnings],
            ["query_store.flush_interval", "query_store.retention_days"],
        )
