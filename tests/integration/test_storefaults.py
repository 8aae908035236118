# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A process answers whatever happens to its query store, and no row is unaccounted for.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.clickhouse import MISSING, ClickHouseServer
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request
from tests.support.responder import Responder

CONFIG = """\
server: {{listen: ["127.0.0.1:{port}"]}}
upstreams: ["127.0.0.1:{upstream}"]
blocklists: {{sources: []}}
local_records: [{{name: www.example.org, type: A, value: 192.0.2.1}}]
query_store: {{{store}}}
control: {{enabled: true, listen: "127.0.0.1:{control}", token: a-token-for-tests}}
"""

INTERVAL = 4.0
PATIENCE = 60.0
SPOOL_OCTETS = 256 << 20
"""What the spool may take by default."""

GROWTH = 64 << 20
"""Octets that a process may grow by while a store is away."""

COMPLAINT = "query store {} fails: "
SILENCE = "query store {} hasn't answered for "

SLACK = 4.0
"""Seconds that a busy machine may be late."""


class StoreCase(SynchronousTestCase):
    """
    A process with a query store, and whom it asks.

    @ivar sent: The queries that it has answered, in all its runs.
    """

    def start(self) -> None:
        """
        Start it, or start it again.
        """
        self.process = DNSGuardProcess(self.folder, self.text, self.port)
        self.addCleanup(self.process.stop)
        self.process.waitUntilAnswering()
        self.until(lambda: self.get("/health"))

    def get(self, path: str) -> bytes:
        """
        Ask the control API.
        """
        address = f"http://127.0.0.1:{self.control}{path}"
        headers = {"Authorization": "Bearer a-token-for-tests"}
        with urlopen(Request(address, None, headers), timeout=PATIENCE) as reply:
            found: bytes = reply.read()
            return found

    def begin(self, store: str) -> None:
        """
        Start it.

        @param store: What C{query_store} is set to, besides the interval.
        """
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.port, self.control = freePort(), freePort()
        upstream = Responder()
        upstream.start()
        self.addCleanup(upstream.stop)
        settings = f"flush_to_store_interval: {INTERVAL:.0f}s, {store}"
        self.text = CONFIG.format(
            port=self.port, control=self.control, upstream=upstream.port, store=settings
        )
        self.sent: Counter[str] = Counter()
        self.number = 0
        self.start()

    def ask(self, times: int) -> None:
        """
        Ask so many times for what is the operator's word, what is cached, and what
        only upstream knows: all of it is answered.
        """
        for _ in range(times):
            self.number += 1
            for name, address in [
                ("www.example.org", b"\xc0\0\2\1"),
                ("cached.example.net", b"\xc0\0\2\x63"),
                (f"n{self.number}.example.net", b"\xc0\0\2\x63"),
            ]:
                reply = askUDP(self.port, request(name), timeout=20.0)
                self.assertEqual((reply[3] & 15, reply[-4:]), (0, address), name)
                self.sent[name] += 1

    def until(self, attempt: Callable[[], Any]) -> None:
        """
        Wait until something holds.
        """
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if attempt():
                    return
            if time.monotonic() > end:
                raise AssertionError(self.process.output())
            time.sleep(0.05)

    def value(self, name: str, **labels: str) -> float:
        """
        Read one metric.
        """
        wanted = "".join(f'{key}="{value}"' for key, value in labels.items())
        for line in self.get("/metrics").decode().splitlines():
            if line.split("{")[0].split(" ")[0] == name and wanted in line:
                return float(line.split()[-1])
        raise AssertionError(f"no {name} {wanted}")

    def waiting(self) -> float:
        """
        How many rows are on their way.
        """
        return (
            self.value("dns_querystore_buffer_used")
            + self.value("dnsguard_querystore_held_rows", place="waiting")
            + self.value("dnsguard_querystore_held_rows", place="spooled")
        )

    def stored(self) -> Counter[str]:
        """
        The names of all rows in the store.
        """
        text = self.get("/api/v1/queries/export?format=jsonl&limit=50000").decode()
        return Counter(json.loads(line)["qname"].rstrip(".") for line in text.splitlines())

    def complaints(self, words: str) -> int:
        """
        How many lines of the log say so.
        """
        return self.process.output().count(words)

    def expectBounded(self) -> None:
        """
        Expect what is held in memory and in the spool to be within its bounds.
        """
        size = self.value("dnsguard_querystore_buffer_size")
        self.assertLessEqual(self.value("dns_querystore_buffer_used"), size)
        # Blocks leave a buffer as long as fewer rows than it holds wait; and one is on
        # its way.
        waiting = self.value("dnsguard_querystore_held_rows", place="waiting")
        self.assertLessEqual(waiting, 3 * size)
        self.assertLessEqual(self.value("dnsguard_querystore_spooled_bytes"), SPOOL_OCTETS)

    def resident(self) -> int:
        """
        The octets of memory that the process has.
        """
        pid = self.process.process.pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def expectWarnings(self, *beginnings: str) -> None:
        """
        Expect the query store to have warned so, once each, and of nothing else.
        """
        lines = [line for line in self.process.output().splitlines() if "query store" in line]
        found = [line for line in lines if "takes rows again" not in line]
        self.assertEqual(len(found), len(beginnings), found)
        for line, beginning in zip(found, beginnings, strict=True):
            self.assertIn(beginning, line)

    def expectAll(self) -> None:
        """
        Wait until nothing is on its way: then what was asked is stored or counted as
        dropped, and nothing is stored twice.
        """
        self.until(lambda: self.waiting() == 0)
        found = self.stored()
        for name in set(found) - set(self.sent):
            del found[name]
        dropped = self.value("dns_querystore_dropped_total")
        self.assertEqual(found - self.sent, Counter())
        self.assertEqual(sum(found.values()) + dropped, sum(self.sent.values()))


class DuckDBFaultTests(StoreCase):
    """
    The file that queries go to by default.
    """

    def setUp(self) -> None:
        """
        Start.
        """
        self.begin("engine: duckdb, buffer_size: 1000")
        self.ask(1)
        self.until(lambda: self.value("dnsguard_querystore_rows_total", result="delivered") > 0)

    def workers(self) -> list[int]:
        """
        The process that has the file, or none just now.
        """
        pid = self.process.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [
            int(each)
            for each in found
            if b"duckworker" in Path(f"/proc/{each}/cmdline").read_bytes()
        ]

    def test_killed(self) -> None:
        """
        A process that is killed loses what came in the last interval at most, though
        the store hasn't answered meanwhile; what is stored is stored once.
        """
        [worker] = self.workers()
        asked: list[tuple[float, str]] = []
        began = time.monotonic()
        os.kill(worker, signal.SIGSTOP)
        while time.monotonic() - began < 2 * INTERVAL + SLACK:
            self.ask(1)
            asked.append((time.monotonic(), f"n{self.number}.example.net"))
            time.sleep(0.02)
        self.process.process.kill()
        killed = time.monotonic()
        self.process.process.wait()
        os.kill(worker, signal.SIGCONT)
        self.start()
        self.until(lambda: self.value("dnsguard_querystore_held_rows", place="spooled") == 0)
        found = self.stored()
        safe = [name for at, name in asked if killed - at > INTERVAL + SLACK]
        self.assertGreater(len(safe), 5)
        self.assertEqual([name for name in safe if name not in found], [])
        self.assertEqual(
            found - self.sent, Counter({k: v for k, v in found.items() if k == "localhost"})
        )

    def test_frozen(self) -> None:
        """
        Nothing is lost of what is asked while the engine stands still.
        """
        [worker] = self.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            self.ask(200)
            self.until(lambda: self.value("dnsguard_querystore_held_rows", place="spooled") > 0)
            self.until(lambda: self.complaints(SILENCE.format("duckdb")))
            self.ask(50)
            self.expectBounded()
        finally:
            os.kill(worker, signal.SIGCONT)
        self.expectAll()
        self.assertEqual(self.value("dns_querystore_dropped_total"), 0)
        self.expectWarnings(SILENCE.format("duckdb"))

    def test_workerKilled(self) -> None:
        """
        Nothing is lost when the engine's process is killed: another one takes its place.
        """
        [worker] = self.workers()
        os.kill(worker, signal.SIGSTOP)
        self.ask(50)
        self.until(lambda: self.value("dnsguard_querystore_held_rows", place="spooled") > 0)
        os.kill(worker, signal.SIGKILL)
        self.ask(50)
        self.expectBounded()
        self.expectAll()
        self.assertEqual(self.value("dns_querystore_dropped_total"), 0)
        self.assertNotEqual(self.workers(), [worker])
        self.expectWarnings("query store duckdb fails: ")

    def test_fullDisk(self) -> None:
        """
        While neither the file nor the spool may grow, what finds no room in memory
        is counted; the rest is stored once there is room.
        """
        room = len(self.process.output()) + 1500
        for process in (*self.workers(), self.process.process.pid):
            # Files that can't grow over so much stand for a full disk; the log can,
            # by a few lines.
            _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
            resource.prlimit(process, resource.RLIMIT_FSIZE, (room, hard))
            self.addCleanup(self.unlimited, process)
        before = self.resident()
        while self.value("dns_querystore_dropped_total") == 0:
            self.ask(300)
            self.assertLess(self.number, 20_000)
            self.expectBounded()
        self.assertLess(self.resident() - before, GROWTH)
        self.assertEqual(self.complaints(COMPLAINT.format("duckdb")), 1)
        for process in (self.process.process.pid, *self.workers()):
            self.unlimited(process)
        self.ask(5)
        self.expectAll()

    def unlimited(self, process: int) -> None:
        """
        Make room.
        """
        try:
            _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
            resource.prlimit(process, resource.RLIMIT_FSIZE, (hard, hard))
        except ProcessLookupError:
            pass


class ClickHouseFaultTests(StoreCase):
    """
    A server that others may break.
    """

    def setUp(self) -> None:
        """
        Start both.
        """
        if MISSING:
            raise SkipTest(MISSING)
        self.server = ClickHouseServer("secret")
        self.server.start()
        self.addCleanup(self.server.close)

    def serve(self, password: str = "secret") -> None:
        """
        Start dnsguard.
        """
        self.begin(f'engine: clickhouse, address: "{self.server.address}", password: "{password}"')

    def run_(self, statement: str) -> None:
        """
        Have the server run a statement.
        """
        address = f"{self.server.address}/?query={quote(statement)}"
        headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "secret"}
        with urlopen(Request(address, b"", headers)) as reply:
            reply.read()

    def failures(self) -> float:
        """
        How many deliveries have failed.
        """
        return self.value("dnsguard_querystore_failed_deliveries_total")

    def haveFailed(self, before: float) -> bool:
        """
        Have more failed than before?
        """
        return self.failures() > before

    def test_failures(self) -> None:
        """
        Errors before and after rows were stored, and answers that end half way, cost
        no row and no answer.
        """
        self.serve()
        for mode in ("500", "500%20afterwards", "cut"):
            before = self.failures()
            self.server.fault(mode, 2)
            self.ask(20)
            self.until(partial(self.haveFailed, before))
            self.expectBounded()
            self.until(lambda: self.waiting() == 0)
        self.expectAll()
        self.assertEqual(self.value("dns_querystore_dropped_total"), 0)
        self.expectWarnings(*[COMPLAINT.format("clickhouse")] * 3)

    def test_away(self) -> None:
        """
        It starts and answers without a server, and through the server's sudden end;
        each time one line says so, and no row is missing.
        """
        self.server.kill()
        self.serve()
        for outage in (1, 2):
            self.ask(20)
            self.until(lambda: self.value("dnsguard_querystore_held_rows", place="spooled") > 0)
            self.ask(20)
            self.expectBounded()
            self.assertEqual(self.complaints(COMPLAINT.format("clickhouse")), outage)
            self.server.start()
            self.until(lambda: self.waiting() == 0)
            if outage == 1:
                self.server.kill()
        self.expectAll()
        self.assertEqual(self.value("dns_querystore_dropped_total"), 0)
        self.expectWarnings(*[COMPLAINT.format("clickhouse")] * 2)

    def test_frozen(self) -> None:
        """
        A server that stands still costs no row and no answer.
        """
        self.serve()
        self.ask(10)
        self.server.freeze()
        try:
            self.ask(100)
            self.until(lambda: self.value("dnsguard_querystore_held_rows", place="spooled") > 0)
            self.until(lambda: self.complaints(SILENCE.format("clickhouse")))
            self.ask(20)
            self.expectBounded()
        finally:
            self.server.thaw()
        self.expectAll()
        self.assertEqual(self.value("dns_querystore_dropped_total"), 0)
        self.expectWarnings(SILENCE.format("clickhouse"))

    def test_wrongPassword(self) -> None:
        """
        With a wrong password rows wait on disk, and one line says why; with the right
        one they are stored.
        """
        self.serve("wrong")
        self.ask(20)
        self.until(lambda: self.value("dnsguard_querystore_held_rows", place="spooled") > 0)
        self.ask(20)
        self.expectBounded()
        self.expectWarnings(COMPLAINT.format("clickhouse"))
        self.process.stop()
        self.text = self.text.replace("wrong", "secret")
        self.start()
        self.expectAll()

    def test_wrongSchema(self) -> None:
        """
        While the table is another program's rows wait, and one line says why; when it
        is gone they are stored.
        """
        self.run_("CREATE DATABASE IF NOT EXISTS dnsguard")
        self.run_(
            "CREATE TABLE dnsguard.dns_queries (x Int8) ENGINE = MergeTree ORDER BY x"
            " COMMENT 'dnsguard schema 99'"
        )
        self.serve()
        self.ask(20)
        self.until(lambda: self.value("dnsguard_querystore_held_rows", place="spooled") > 0)
        self.expectBounded()
        self.expectWarnings(COMPLAINT.format("clickhouse"))
        self.run_("DROP TABLE dnsguard.dns_queries")
        self.ask(5)
        self.expectAll()
