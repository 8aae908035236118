# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From queries to a real engine and through its failures, every row counted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.querystore import delivery
from dnsguard.querystore.duckdb import DuckDBStore
from dnsguard.querystore.questions import Summary
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.spool import Spool
from dnsguard.services import queryflush
from dnsguard.services.queryflush import QueryFlushService
from tests.querystore.test_duckdb import MISSING as DUCKDB_MISSING
from tests.support.clickhouse import MISSING, ClickHouseServer
from tests.support.events import eventOf

if TYPE_CHECKING or not MISSING:
    from dnsguard.querystore.clickhouse import ClickHouseStore
    from dnsguard.querystore.clickhousetables import Tables
    from dnsguard.querystore.endpoints import Credentials, Endpoints

INTERVAL = 0.05

VICTIM = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.python.threadpool import ThreadPool
from twisted.internet.task import LoopingCall
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.querystore.duckdb import DuckDBStore
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.spool import Spool
from dnsguard.services import queryflush
from tests.support.events import eventOf

queryflush.TICK = 0.05
folder = Path(sys.argv[1])
recorder = QueryRecorder(100000, Exclusion(), Anonymizer())
pool = ThreadPool(0, 4)
pool.start()
store = DuckDBStore(reactor, pool, folder / "queries.duckdb")
service = queryflush.QueryFlushService(
    recorder, store, Spool(folder / "spool", 1 << 24), reactor, pool, interval=0.1, batchSize=100
)
service.startService()

def record():
    for _ in range(10):
        recorder.queryAnswered(eventOf(f"n{recorder.buffer.recorded}.example"))
    counters = service.counters()
    print(counters["total_recorded"], counters["delivered_rows"], flush=True)

LoopingCall(record).start(0.01)
reactor.run()
"""


class FlushTestCase(TestCase):
    """
    A service with short intervals.
    """

    timeout = 60

    def setUp(self) -> None:
        self.patch(queryflush, "TICK", INTERVAL)
        self.patch(delivery, "FIRST_PAUSE", INTERVAL)
        self.patch(delivery, "LONGEST_PAUSE", 4 * INTERVAL)
        self.patch(delivery, "PATIENCE", 2 * INTERVAL)
        self.pool = ThreadPool(0, 8, "flush-test")
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.folder = Path(self.mktemp())

    def begin(self, store: Any, capacity: int = 10_000, maxOctets: int = 1 << 24) -> None:
        """
        Start a service that flushes into a store.
        """
        self.recorder = QueryRecorder(capacity, Exclusion(), Anonymizer())
        self.store = store
        self.service = QueryFlushService(
            self.recorder,
            store,
            Spool(self.folder / "spool", maxOctets),
            reactor,
            self.pool,
            interval=INTERVAL,
            batchSize=100,
        )
        self.service.startService()
        self.addCleanup(lambda: self.service.stopService())

    def record(self, count: int = 50) -> None:
        """
        Record some queries.
        """
        for number in range(count):
            self.recorder.queryAnswered(eventOf(f"n{number}.example"))

    async def wait(self, seconds: float = 4 * INTERVAL) -> None:
        """
        Let real time pass.
        """
        await deferLater(reactor, seconds, lambda: None)

    async def until(self, condition: Any) -> None:
        """
        Wait for something to become true; the test's own limit ends it.
        """
        while not condition():
            await self.wait(INTERVAL)

    def isQuiet(self) -> bool:
        """
        Is nothing on its way any more?
        """
        numbers = self.service.counters()
        return not (numbers["buffer_used"] or numbers["waiting_rows"] or numbers["spooled_rows"])

    async def expectAll(self) -> None:
        """
        Expect rows sent to be rows stored plus rows counted as dropped.
        """
        await self.until(self.isQuiet)
        numbers = self.service.counters()
        stored = (await self.store.ask(Summary()))["total"]
        sent = numbers["total_recorded"] + self.recorder.buffer.dropped
        self.assertEqual(sent, stored + numbers["dropped_events"])
        self.assertEqual(numbers["delivered_rows"], stored)


class ClickHouseFlushTests(FlushTestCase):
    """
    Into a ClickHouse engine that fails in all the ways there are.
    """

    if MISSING:
        skip = MISSING

    def setUp(self) -> None:
        super().setUp()
        self.server = ClickHouseServer()
        self.server.start()
        self.addCleanup(self.server.close)
        self.tables = Tables("flush", "dns_queries", 24 * 365 * 20)

    def connect(self, password: str = "") -> ClickHouseStore:
        """
        Make a store on the test's own server.
        """
        endpoints = Endpoints([self.server.address], Credentials("w", password), 1, 1)
        return ClickHouseStore(reactor, self.pool, endpoints, self.tables)

    async def test_everythingGoesWrong(self) -> None:
        """
        Errors before and after storing, replies cut short, a server that
        freezes, is killed and comes back: each row is stored once.
        """
        self.begin(self.connect())
        self.record()
        await self.until(self.isQuiet)
        for mode in ("500", "500%20afterwards", "cut"):
            self.server.fault(mode, 3)
            for _ in range(6):
                self.record()
                await self.wait(INTERVAL)
        await self.until(self.isQuiet)
        self.server.freeze()
        for _ in range(10):
            self.record()
            await self.wait(2 * INTERVAL)
        self.server.thaw()
        await self.until(self.isQuiet)
        self.server.kill()
        for _ in range(10):
            self.record()
            await self.wait(INTERVAL)
        await self.until(lambda: self.service.counters()["spooled_rows"] > 0)
        self.server.start()
        await self.expectAll()
        self.assertEqual(self.service.counters()["dropped_events"], 0)
        self.assertGreater(self.service.deliveries.failures, 5)

    async def test_downForLong(self) -> None:
        """
        When the spool is full rows are dropped and counted, exactly.
        """
        self.server.kill()
        self.begin(self.connect(), capacity=300, maxOctets=2_000)
        for _ in range(30):
            self.record()
            await self.wait(INTERVAL)
        self.assertGreater(self.service.counters()["dropped_events"], 0)
        self.server.start()
        await self.expectAll()

    async def test_startsBeforeTheServer(self) -> None:
        """
        The service starts without a server, and rows arrive when there is one.
        """
        self.server.kill()
        self.begin(self.connect())
        self.record()
        await self.wait()
        self.server.start()
        await self.expectAll()
        self.assertEqual(self.service.deliveries.delivered, 50)

    async def test_wrongSchema(self) -> None:
        """
        Rows for a table that isn't ours wait until it is out of the way.
        """
        endpoints = Endpoints([self.server.address], Credentials())
        self.addCleanup(endpoints.close)

        def run(statement: str) -> None:
            endpoints.call(lambda client: client.command(statement))

        run("CREATE DATABASE flush")
        run("CREATE TABLE flush.dns_queries (ts DateTime) ENGINE = MergeTree ORDER BY ts")
        self.begin(self.connect())
        self.record()
        await self.until(lambda: self.service.deliveries.failures > 1)
        self.assertEqual(self.service.deliveries.delivered, 0)
        run("RENAME TABLE flush.dns_queries TO flush.elsewhere")
        await self.expectAll()
        self.assertEqual(self.service.deliveries.delivered, 50)


class DuckDBFlushTests(FlushTestCase):
    """
    Into a file.
    """

    if DUCKDB_MISSING:
        skip = DUCKDB_MISSING

    async def test_processIsKilled(self) -> None:
        """
        However often the engine's process is killed, each row is stored once.
        """
        store = DuckDBStore(reactor, self.pool, self.folder / "queries.duckdb")
        self.patch(sys.modules[DuckDBStore.__module__], "FIRST_PAUSE", INTERVAL)
        self.begin(store)
        for _ in range(4):
            for _ in range(5):
                self.record()
                await self.wait(INTERVAL)
            process = store._process
            if process is not None and process.alive and process.transport is not None:
                process.kill()
        await self.expectAll()
        self.assertEqual(self.service.counters()["dropped_events"], 0)
        self.assertGreater(store.restarts, 0)

    async def test_serverIsKilled(self) -> None:
        """
        After the server was killed without warning all that it had delivered
        is in the file, and what was spooled arrives with the next run; the
        engine's process has ended too.
        """
        self.folder.mkdir(parents=True)
        root = Path(__file__).parent.parent.parent
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(self.folder.absolute())],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert victim.stdout is not None
        recorded = delivered = 0
        while delivered < 500:
            recorded, delivered = map(int, victim.stdout.readline().split())
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        for line in victim.stdout:
            recorded, delivered = map(int, line.split())
        victim.stdout.close()
        self.begin(DuckDBStore(reactor, self.pool, self.folder / "queries.duckdb"))
        self.patch(sys.modules[DuckDBStore.__module__], "FIRST_PAUSE", INTERVAL)
        self.record(1)
        await self.until(self.isQuiet)
        stored = (await self.store.ask(Summary()))["total"] - 1
        self.assertGreaterEqual(stored, delivered)
        self.assertLessEqual(stored, recorded + 10)
