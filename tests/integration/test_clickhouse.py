# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.clickhouse} with a real engine: real client,
real SQL, real sockets on loopback.
"""

from __future__ import annotations

from base64 import b64decode
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme
from twisted.trial.unittest import TestCase

from dnsguard.errors import StoreError
from dnsguard.querystore.buffer import RowBuffer
from dnsguard.querystore.questions import Recent
from tests.support.clickhouse import MISSING, ClickHouseServer
from tests.support.events import NOON, eventOf
from tests.support.storecontract import StoreContract, StoreFixture, sampleBlock

if TYPE_CHECKING or not MISSING:
    from dnsguard.querystore.clickhouse import ClickHouseStore
    from dnsguard.querystore.clickhousetables import Tables
    from dnsguard.querystore.endpoints import Credentials, Endpoints

databases = (f"test{number}" for number in count())

AGES = 24 * 365 * 20
"""Hours that rows of the sample are kept."""


class ClickHouseTestCase(StoreFixture, TestCase):
    """
    A store on the shared server, in a database of its own.
    """

    if MISSING:
        skip = MISSING
    timeout = 60

    def makeStore(self, **options: Any) -> ClickHouseStore:
        """
        Make a store on an empty database.
        """
        self.server = ClickHouseServer.shared()
        self.database = next(databases)
        return self.storeAt(self.server.address, **options)

    def storeAt(self, *addresses: str, **options: Any) -> ClickHouseStore:
        """
        Make a store on the test's database by way of some servers.
        """
        hours = options.pop("hours", AGES)
        table = options.pop("table", "dns_queries")
        credentials = options.pop("credentials", Credentials())
        exchangeSeconds = options.pop("exchangeSeconds", 15)
        return ClickHouseStore(
            self.reactor,
            self.pool,
            Endpoints(addresses, credentials, exchangeSeconds=exchangeSeconds),
            Tables(self.database, table, hours),
            **options,
        )

    def rows(self, statement: str) -> Any:
        """
        Run a statement behind the store's back.
        """
        endpoints = Endpoints([self.server.address], Credentials())
        try:
            return endpoints.call(lambda client: list(client.query(statement).result_rows))
        finally:
            endpoints.close()


class ClickHouseStoreTests(ClickHouseTestCase, StoreContract):
    """
    Rows in ClickHouse.
    """

    async def test_schema(self) -> None:
        """
        Tables are made with their version and their retention.
        """
        await self.store.start()
        ((comment, definition),) = self.rows(
            "SELECT comment, create_table_query FROM system.tables"
            f" WHERE database = '{self.database}'"
        )
        self.assertEqual(comment, "dnsguard schema 1")
        self.assertIn(f"TTL toStartOfHour(ts) + toIntervalHour({AGES})", definition)

    async def test_retentionChanges(self) -> None:
        """
        Another retention changes the table that is there, and no rows go that
        shouldn't.
        """
        await self.filled()
        for hours, expected in ((AGES - 1, f"toIntervalHour({AGES - 1})"), (0, "")):
            store = self.storeAt(self.server.address, hours=hours)
            self.addCleanup(store.close)
            await store.start()
            ((definition,),) = self.rows(
                f"SELECT create_table_query FROM system.tables WHERE database = '{self.database}'"
            )
            self.assertEqual("TTL" in definition, bool(expected))
            self.assertIn(expected, definition)
        self.assertEqual(await self.total(), 11)

    async def test_expiredRowsGo(self) -> None:
        """
        Rows past their retention go when the server merges.
        """
        store = self.storeAt(self.server.address, hours=1)
        self.addCleanup(store.close)
        await store.insert(sampleBlock())
        self.rows(f"OPTIMIZE TABLE {self.database}.dns_queries FINAL")
        ((left,),) = self.rows(f"SELECT count() FROM {self.database}.dns_queries")
        self.assertEqual(left, 0)

    async def test_missingColumnsAreAdded(self) -> None:
        """
        A table of an earlier version gets what it lacks, and keeps its rows.
        """
        await self.filled()
        table = f"{self.database}.dns_queries"
        for column in ("rule", "instance"):
            self.rows(f"ALTER TABLE {table} DROP COLUMN {column}")
        self.rows(f"ALTER TABLE {table} MODIFY COMMENT 'dnsguard schema 0'")
        store = self.storeAt(self.server.address)
        self.addCleanup(store.close)
        await store.insert(sampleBlock())
        shape = await store.ask(Recent())
        self.assertEqual(sorted({row["instance"] for row in shape["rows"]}), ["", "one"])

    async def test_strangersTable(self) -> None:
        """
        A table with a column of another type is left alone, and said so.
        """
        self.rows(f"CREATE DATABASE {self.database}")
        self.rows(
            f"CREATE TABLE {self.database}.dns_queries (ts DateTime, qname String)"
            " ENGINE = MergeTree ORDER BY ts"
        )
        problem: Any = await self.assertFailure(self.store.insert(sampleBlock()), StoreError)
        self.assertIn("column ts is DateTime, not DateTime64(3, 'UTC')", str(problem))
        columns = self.rows(
            f"SELECT count() FROM system.columns WHERE database = '{self.database}'"
        )
        self.assertEqual(columns, [(2,)])

    async def test_newerTable(self) -> None:
        """
        A newer program's table is left alone.
        """
        await self.store.start()
        self.rows(f"ALTER TABLE {self.database}.dns_queries MODIFY COMMENT 'dnsguard schema 99'")
        store = self.storeAt(self.server.address)
        self.addCleanup(store.close)
        problem: Any = await self.assertFailure(store.start(), StoreError)
        self.assertIn("has schema 99", str(problem))

    async def test_lostTablesAreMadeAgain(self) -> None:
        """
        Tables that vanish under the store are made again by the next insert.
        """
        await self.filled()
        self.rows(f"DROP DATABASE {self.database}")
        await self.store.insert(sampleBlock())
        self.assertEqual(await self.total(), 11)

    async def test_sizeCap(self) -> None:
        """
        The oldest partitions go until the table fits; the newest stays.
        """
        store = self.storeAt(self.server.address, maxOctets=1)
        self.addCleanup(store.close)
        buffer = RowBuffer(100)
        for hour in range(5):
            for second in range(3):
                buffer.add(eventOf(finished=NOON + hour * 3600 + second))
        block = buffer.take()
        assert block is not None
        await store.insert(block)
        await store.maintain()
        self.assertEqual(store.counters()["dropped_partitions"], 4)
        shape = await store.ask(Recent())
        self.assertEqual(shape["total"], 3)
        self.assertEqual(shape["rows"][0]["ts"], "2023-11-15T02:13:21.987Z")

    async def test_sizeCapNotReached(self) -> None:
        """
        A table that fits keeps all its partitions.
        """
        store = self.storeAt(self.server.address, maxOctets=1 << 30)
        self.addCleanup(store.close)
        await store.insert(sampleBlock())
        await store.maintain()
        self.assertEqual(store.counters()["dropped_partitions"], 0)
        self.assertEqual(store.counters()["stored_rows"], 11)

    async def test_asyncInsert(self) -> None:
        """
        With asynchronous inserts rows are there when the insert has returned.
        """
        self.store = self.storeAt(self.server.address, asyncInsert=True)
        await self.filled()
        self.assertEqual(await self.total(), 11)

    async def test_whatAnInsertSays(self) -> None:
        """
        Rows travel compressed, with their block's token; credentials are in a header
        and not in the address; the server gathers rows only if that is wanted.
        """
        for asyncInsert, expected in (
            (False, {"async_insert": "0"}),
            (
                True,
                {
                    "async_insert": "1",
                    "wait_for_async_insert": "1",
                    "async_insert_deduplicate": "1",
                    "async_insert_busy_timeout_ms": "1500",
                },
            ),
        ):
            store = self.storeAt(
                self.server.address,
                credentials=Credentials("writer", "not-for-logs"),
                asyncInsert=asyncInsert,
                asyncInsertMilliseconds=1500,
            )
            self.addCleanup(store.close)
            block = sampleBlock()
            await store.insert(block)
            insert = self.server.inserts()[-1]
            arguments, headers = insert["arguments"], insert["headers"]
            found = {name: value for name, value in arguments.items() if "async" in name}
            self.assertEqual(found, expected)
            self.assertEqual(arguments["insert_deduplication_token"], block.token)
            self.assertTrue(arguments["query"].endswith("FORMAT RowBinary"), arguments["query"])
            self.assertEqual(headers["content-encoding"], "lz4")
            self.assertNotIn("not-for-logs", str(arguments))
            self.assertNotIn("writer", str(arguments))
            word, _, given = headers["authorization"].partition(" ")
            self.assertEqual((word, b64decode(given)), ("Basic", b"writer:not-for-logs"))

    async def test_failover(self) -> None:
        """
        A server that can't be reached is left for the next, which is asked
        first from then on.
        """
        self.store = self.storeAt("http://127.0.0.1:1", self.server.address)
        await self.filled()
        self.assertEqual(await self.total(), 11)
        self.assertEqual(self.store.counters()["failovers"], 1)


class ClickHouseFaultTests(ClickHouseTestCase):
    """
    Servers that fail.
    """

    async def stored(self) -> int:
        """
        Count rows.
        """
        return int((await self.store.ask(Recent(pageSize=1)))["total"])

    async def test_errorBeforeStoring(self) -> None:
        """
        An error of the server's is a failure, and the block can be given
        again.
        """
        await self.store.start()
        self.server.fault("500")
        block = sampleBlock()
        problem: Any = await self.assertFailure(self.store.insert(block), StoreError)
        self.assertIn("Told to fail", str(problem))
        await self.store.insert(block)
        self.assertEqual(await self.stored(), 11)

    async def test_unclearWhetherStored(self) -> None:
        """
        A block that was stored though the server seemed to fail is stored once
        all the same.
        """
        await self.store.start()
        for mode in ("500%20afterwards", "cut"):
            await self.store.clear()
            self.server.fault(mode)
            block = sampleBlock()
            try:
                await self.store.insert(block)
            except StoreError:
                await self.store.insert(block)
            self.assertEqual(await self.stored(), 11, mode)

    async def test_frozenServer(self) -> None:
        """
        A server that stops dead makes a failure in bounded time.
        """
        store = self.storeAt(self.server.address, exchangeSeconds=1)
        self.addCleanup(store.close)
        await store.start()
        self.server.freeze()
        block = sampleBlock()
        try:
            await self.assertFailure(store.insert(block), StoreError)
        finally:
            self.server.thaw()
        await store.insert(block)
        self.assertEqual(await self.stored(), 11)

    async def test_manyRequests(self) -> None:
        """
        While a server is slow requests don't pile up.
        """
        await self.store.start()
        self.server.freeze()
        try:
            waiting = [self.store.ask(Recent()) for _ in range(20)]
            refused = [deferred for deferred in waiting if deferred.called]
            self.assertEqual(len(refused), 4)
            for deferred in refused:
                self.failureResultOf_(deferred)
        finally:
            self.server.thaw()
        for deferred in waiting:
            if deferred not in refused:
                await deferred

    def failureResultOf_(self, deferred: Any) -> None:
        """
        Expect a refusal.
        """
        found: list[Any] = []
        deferred.addErrback(found.append)
        self.assertTrue(found[0].check(StoreError))

    async def test_wrongPassword(self) -> None:
        """
        A wrong password is told as what it is, without showing one.
        """
        server = ClickHouseServer("right")
        server.start()
        self.addCleanup(server.close)
        for password, good in (("wrong", False), ("right", True)):
            store = self.storeAt(server.address, credentials=Credentials("writer", password))
            self.addCleanup(store.close)
            if good:
                await store.insert(sampleBlock())
            else:
                problem: Any = await self.assertFailure(store.insert(sampleBlock()), StoreError)
                self.assertIn("Authentication failed", str(problem))
                self.assertNotIn("wrong", str(problem))

    async def test_killedServerKeepsWhatItSaidItHad(self) -> None:
        """
        Rows of an insert that returned are there after the server was killed.
        """
        server = ClickHouseServer()
        server.start()
        self.addCleanup(server.close)
        store = self.storeAt(server.address)
        self.addCleanup(store.close)
        block = sampleBlock()
        await store.insert(block)
        server.kill()
        await self.assertFailure(store.insert(block), StoreError)
        server.start()
        await store.insert(block)
        self.assertEqual((await store.ask(Recent()))["total"], 11)

    async def test_tls(self) -> None:
        """
        Over TLS a server must have a certificate that is trusted, unless that
        is switched off.
        """
        authority = trustme.CA()
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        certificate, trusted = folder / "server.pem", folder / "authority.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(certificate)
        )
        authority.cert_pem.write_to_path(str(trusted))
        server = ClickHouseServer(certificate=str(certificate))
        server.start()
        self.addCleanup(server.close)
        for credentials, good in (
            (Credentials(), False),
            (Credentials(certificates=str(trusted)), True),
            (Credentials(verify=False), True),
        ):
            store = self.storeAt(server.address, credentials=credentials)
            self.addCleanup(store.close)
            if good:
                await store.insert(sampleBlock())
            else:
                problem: Any = await self.assertFailure(store.start(), StoreError)
                self.assertIn("certificate", str(problem).lower())
        self.assertEqual((await store.ask(Recent()))["total"], 22)
