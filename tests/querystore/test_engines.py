# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.engines}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.querystore.engines import Engine, choose


class ChooseTests(SynchronousTestCase):
    """
    Which engine.
    """

    def test_auto(self) -> None:
        """
        ClickHouse where an address is set, else DuckDB.
        """
        for address, expected in (("http://x", Engine.CLICKHOUSE), ("", Engine.DUCKDB)):
            self.assertEqual(choose(Engine.AUTO, address, lambda name: True), (expected, ""))

    def test_named(self) -> None:
        """
        An engine asked for by name is taken whatever address is set.
        """
        for engine in (Engine.CLICKHOUSE, Engine.DUCKDB, Engine.MEMORY, Engine.NONE):
            for address in ("", "http://x"):
                self.assertEqual(choose(engine, address, lambda name: True), (engine, ""))

    def test_missingPackages(self) -> None:
        """
        Without its packages an engine is replaced by memory, and that is said.
        """
        for engine, package in ((Engine.AUTO, "duckdb and numpy"), (Engine.CLICKHOUSE, "lz4")):
            chosen, warning = choose(engine, "", lambda name: False)
            self.assertIs(chosen, Engine.MEMORY)
            self.assertIn(package, warning)
        self.assertEqual(choose(Engine.NONE, "", lambda name: False), (Engine.NONE, ""))

    def test_looksForPackages(self) -> None:
        """
        By default packages are looked for.
        """
        self.assertEqual(choose(Engine.MEMORY, ""), (Engine.MEMORY, ""))
        self.assertIn(choose(Engine.AUTO, "")[0], (Engine.DUCKDB, Engine.MEMORY))
