# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.duckdb}, with a real process.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from dnsguard.querystore.duckdb import DuckDBStore
from tests.support.storecontract import StoreContract


class DuckDBStoreTests(StoreContract, TestCase):
    """
    Rows in a file.
    """

    def makeStore(self) -> DuckDBStore:
        """
        Make a store on a new file.
        """
        self.path = Path(self.mktemp()) / "queries.duckdb"
        return DuckDBStore(self.reactor, self.path)
