# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.duckdb}, with a real process.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from dnsguard.errors import StoreError
from dnsguard.priority import HINDMOST
from dnsguard.querystore import duckdb
from dnsguard.querystore.duckdb import DuckDBStore
from dnsguard.querystore.questions import Summary
from tests.support.storecontract import StoreContract, StoreFixture, hour, sampleBlock

MISSING = "" if all(map(find_spec, ("duckdb", "numpy"))) else "needs the packages duckdb and numpy"


class DuckDBStoreTests(StoreContract, TestCase):
    """
    Rows in a file.
    """

    if MISSING:
        skip = MISSING

    def makeStore(self) -> DuckDBStore:
        """
        Make a store on a new file.
        """
        self.path = Path(self.mktemp()) / "queries.duckdb"
        return DuckDBStore(self.reactor, self.pool, self.path)


class Refusing:
    """
    The reactor, but for its processes.
    """

    def __init__(self, reactor: Any, spawnProcess: Any) -> None:
        self.seconds = reactor.seconds
        self.spawnProcess = spawnProcess


class DuckDBFaultTests(StoreFixture, TestCase):
    """
    Processes that end or fall silent.
    """

    if MISSING:
        skip = MISSING

    store: DuckDBStore

    def makeStore(self) -> DuckDBStore:
        """
        Make a store on a new file.
        """
        self.path = Path(self.mktemp()) / "queries.duckdb"
        return DuckDBStore(self.reactor, self.pool, self.path)

    def signal(self, number: int) -> None:
        """
        Send the store's process a signal.
        """
        process = self.store._process
        assert process is not None
        assert process.transport is not None
        os.kill(process.transport.pid, number)

    async def ended(self) -> None:
        """
        Wait for the process's end.
        """
        process = self.store._process
        assert process is not None
        ended: Deferred[None] = Deferred()
        process.ended.addCallback(lambda result: ended.callback(None))
        await ended

    async def test_stepsBack(self) -> None:
        """
        The process lets the server go first, whatever priority that has.
        """
        await self.store.insert(sampleBlock())
        process = self.store._process
        assert process is not None
        assert process.transport is not None
        number = process.transport.pid
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, number), HINDMOST)
        if hasattr(os, "SCHED_BATCH"):
            self.assertEqual(os.sched_getscheduler(number), os.SCHED_BATCH)

    async def test_starved(self) -> None:
        """
        The process says whether it waits for a core; as long as there is none it
        isn't started for that.
        """
        self.assertIs(await self.store.isStarved(), False)
        self.assertEqual(self.store.restarts, 0)
        self.assertIsNone(self.store._process)
        await self.store.start()
        self.assertIsInstance(await self.store.isStarved(), bool)

    async def test_killed(self) -> None:
        """
        What was under way fails, what was stored stays, and the process is
        started again by the next request.
        """
        block = sampleBlock()
        await self.store.insert(block)
        self.signal(signal.SIGSTOP)
        waiting = self.store.insert(sampleBlock())
        self.reactor.callLater(0.1, self.signal, signal.SIGKILL)
        problem: Any = await self.assertFailure(waiting, StoreError)
        self.assertIn("its process has ended", str(problem))
        await self.store.insert(block)
        self.assertEqual(await self.total(), 11)
        self.assertEqual(self.store.restarts, 1)

    async def test_silent(self) -> None:
        """
        A process that doesn't answer in time is ended, and the block can be
        given again.
        """
        await self.store.start()
        self.patch(duckdb, "INSERT_SECONDS", 0.3)
        self.signal(signal.SIGSTOP)
        block = sampleBlock()
        problem: Any = await self.assertFailure(self.store.insert(block), StoreError)
        self.assertIn("no reply in time", str(problem))
        await self.ended()
        self.patch(duckdb, "INSERT_SECONDS", 30.0)
        await self.store.insert(block)
        self.assertEqual(await self.total(), 11)

    async def test_signalsMeantForTheServer(self) -> None:
        """
        Ctrl-C and a polite end are the server's to act on; the process goes on
        until its input ends.
        """
        await self.store.start()
        for number in (signal.SIGINT, signal.SIGTERM):
            self.signal(number)
        await self.store.insert(sampleBlock())
        await self.store.close()
        self.assertEqual(await self.total(), 11)

    async def test_noProcess(self) -> None:
        """
        When no process can be made that is a failure like any other.
        """
        self.patch(sys, "executable", "/nowhere/python")
        problem: Any = await self.assertFailure(self.store.insert(sampleBlock()), StoreError)
        self.assertIn("process", str(problem))

        def refuse(*arguments: Any) -> None:
            raise OSError(11, "Resource temporarily unavailable")

        other = DuckDBStore(Refusing(self.reactor, refuse), self.pool, self.path)
        problem = await self.assertFailure(other.start(), StoreError)
        self.assertIn("Resource temporarily unavailable", str(problem))
        await other.close()

    async def test_fileInUse(self) -> None:
        """
        A file that another server has open is an error that says so, and the
        process isn't started in a loop.
        """
        await self.store.insert(sampleBlock())
        other = DuckDBStore(self.reactor, self.pool, self.path)
        self.addCleanup(other.close)
        problem: Any = await self.assertFailure(other.start(), StoreError)
        self.assertIn("lock", str(problem))
        for _ in range(5):
            await self.assertFailure(other.insert(sampleBlock()), StoreError)
        self.assertLessEqual(other._starts, 1)

    async def test_tooManyRequests(self) -> None:
        """
        Requests to a process that is slow don't pile up.
        """
        await self.store.start()
        self.signal(signal.SIGSTOP)
        waiting = [self.store.ask(Summary()) for _ in range(duckdb.MAX_PENDING + 3)]
        refused = [deferred for deferred in waiting if deferred.called]
        self.signal(signal.SIGCONT)
        self.assertEqual(len(refused), 3)
        for deferred in waiting:
            if deferred in refused:
                await self.assertFailure(deferred, StoreError)
            else:
                await deferred

    async def test_fullDisk(self) -> None:
        """
        On a full disk a block fails, and once there is room it is stored, once;
        the engine, which gives its file up, is started again.
        """
        self.store = DuckDBStore(self.reactor, self.pool, self.path, checkpointOctets=1 << 20)
        await self.store.start()
        process = self.store._process
        assert process is not None
        assert process.transport is not None
        # A file that can't grow over two megabytes stands for a full disk.
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(process.transport.pid, resource.RLIMIT_FSIZE, (2 << 20, unlimited))
        stored = 0
        block = hour(0, 10_000)
        with self.assertRaises(StoreError):
            while stored < 50:
                await self.store.insert(block)
                stored += 1
                block = hour(stored, 10_000)
        self.assertLess(stored, 50)
        await process.ended
        self.assertEqual(await self.total(), stored * 10_000)
        await self.store.insert(block)
        self.assertEqual(await self.total(), (stored + 1) * 10_000)
        self.assertEqual(self.store.restarts, 1)
