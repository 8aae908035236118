# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.memory}.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from dnsguard.querystore.memory import MemoryStore
from tests.support.events import NOON
from tests.support.storecontract import StoreContract, sampleBlock


class MemoryStoreTests(StoreContract, TestCase):
    """
    Rows in memory.
    """

    def makeStore(self) -> MemoryStore:
        """
        Make a store that is an hour behind the sample's retention.
        """
        self.now = NOON
        return MemoryStore(self.reactor, self.pool, lambda: self.now, 30, retention=3600)

    async def test_oldBlocksMakeRoom(self) -> None:
        """
        When there are too many rows the oldest block goes.
        """
        for _ in range(5):
            await self.store.insert(sampleBlock())
        self.assertEqual(await self.total(), 22)

    async def test_retention(self) -> None:
        """
        A block goes when all its rows are too old.
        """
        await self.filled()
        self.now = NOON + 3600 + 131
        await self.store.maintain()
        self.assertEqual(await self.total(), 11)
        self.now += 1
        await self.store.maintain()
        self.assertEqual(await self.total(), 0)
