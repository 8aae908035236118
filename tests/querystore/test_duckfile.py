# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.duckfile} and L{dnsguard.querystore.duckworker}.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.querystore import ducksql
from dnsguard.querystore.frames import FrameReader, frame
from dnsguard.querystore.questions import Latency, TimeSeries
from dnsguard.querystore.statements import Statement
from tests.support.events import NOON
from tests.support.storecontract import hour, sampleBlock

MISSING = not all(map(find_spec, ("duckdb", "numpy")))

if TYPE_CHECKING or not MISSING:
    import duckdb

    from dnsguard.querystore import duckworker
    from dnsguard.querystore.duckfile import DuckFile
    from dnsguard.querystore.duckworker import Worker, coreTime, serve


class DuckFileTestCase(SynchronousTestCase):
    """
    A file of its own.
    """

    if MISSING:
        skip = "needs the packages duckdb and numpy"

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "folder" / "queries.duckdb"
        self.now = NOON

    def open(self, **options: Any) -> DuckFile:
        """
        Open the test's file.
        """
        file = DuckFile(self.path, now=lambda: self.now, **options)
        self.addCleanup(file.close)
        return file

    def count(self, file: DuckFile, table: str = "queries") -> int:
        """
        Count a table's rows.
        """
        ((count,),) = file.query(Statement(f"SELECT count(*) FROM {table}"))
        return int(count)


class DuckFileTests(DuckFileTestCase):
    """
    One file.
    """

    def test_survivesClosing(self) -> None:
        """
        Rows are there after the file was closed and opened again, and a block
        of before isn't stored twice.
        """
        block = sampleBlock()
        file = self.open()
        self.assertEqual(file.insert(block), 11)
        file.close()
        file = self.open()
        self.assertEqual(file.insert(block), 0)
        self.assertEqual(self.count(file), 11)

    def test_view(self) -> None:
        """
        Other programs find whole rows in a view.
        """
        file = self.open()
        file.insert(sampleBlock())
        (row,) = file.query(
            Statement("SELECT qname, \"list\" FROM dns_queries WHERE rcode = 'NXDOMAIN'")
        )
        self.assertEqual(row, ["bad.example", "ads"])

    def test_namesAreKeptOnce(self) -> None:
        """
        A name is stored once, in however many blocks it comes.
        """
        file = self.open()
        for _ in range(3):
            file.insert(sampleBlock())
        self.assertEqual(self.count(file, "names"), 4)
        self.assertEqual(self.count(file), 33)

    def test_retention(self) -> None:
        """
        Rows go with the hour in which they are too old, and names and ids of
        blocks with them.
        """
        file = self.open(retention=7200.0)
        file.insert(sampleBlock())
        file.insert(hour(1, 100))
        hourEnd = NOON - NOON % 3600 + 3600
        self.now = hourEnd + 7200 - 1
        file.maintain()
        self.assertEqual((self.count(file), self.count(file, "names")), (111, 5))
        self.now += 1
        file.maintain()
        self.assertEqual((self.count(file), self.count(file, "names")), (100, 1))
        self.assertEqual(self.count(file, "blocks"), 2)
        self.now += 8 * 86400
        file.maintain()
        self.assertEqual(self.count(file), 0)
        self.assertEqual(self.count(file, "names"), 0)
        self.assertEqual(self.count(file, "blocks"), 0)
        self.assertEqual(file.insert(sampleBlock()), 11)

    def test_sizeCap(self) -> None:
        """
        The oldest rows go until what is in use of the file fits; the newest
        stay.
        """
        file = self.open()
        for number in range(8):
            file.insert(hour(number, 61_440))
        file.checkpoint()
        cap = int(file.octets() * 0.7)
        file.close()
        file = self.open(maxOctets=cap)
        file.maintain()
        self.assertLessEqual(file.octets(), cap)
        names = file.query(Statement("SELECT qname FROM names ORDER BY qname"))
        self.assertLess(len(names), 8)
        self.assertEqual(names[-1], ["hour7.example"])
        self.assertGreaterEqual(self.count(file), 61_440)

    def test_percentilesOfMany(self) -> None:
        """
        Percentiles of very many rows are taken of a sample, and come near;
        counts and means are of all.
        """
        file = self.open()
        file.insert(hour(0, 40_000))
        exact = [file.query(statement) for statement in ducksql.statements(Latency())]
        self.patch(ducksql, "SAMPLE", 2_500)
        sampled = [file.query(statement) for statement in ducksql.statements(Latency())]
        self.assertEqual(exact[0][0][:4], sampled[0][0][:4])
        self.assertNotEqual(exact, sampled)
        for of, whole in zip(sampled[0][0][4:], exact[0][0][4:], strict=True):
            self.assertLess(abs(of / whole - 1), 0.1)
        counts, times = (
            file.query(statement) for statement in ducksql.statements(TimeSeries(bucket=600))
        )
        self.assertEqual(sum(row[2] for row in counts), 40_000)
        self.assertEqual(len(times), 7)

    def test_newerSchema(self) -> None:
        """
        A file of a newer program is left alone.
        """
        self.open().close()
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("INSERT INTO schema_version VALUES (99)")
        problem = self.assertRaises(StoreError, DuckFile, self.path)
        self.assertIn("has schema 99; this program knows 1", str(problem))

    def test_strangersFile(self) -> None:
        """
        A file that isn't a database, or is another program's, is left alone
        and named.
        """
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(b"mine" * 4096)
        problem = self.assertRaises(StoreError, DuckFile, self.path)
        self.assertIn("queries.duckdb", str(problem))
        self.assertEqual(len(str(problem).splitlines()), 1)
        self.assertEqual(self.path.read_bytes(), b"mine" * 4096)
        other = self.path.with_name("other.duckdb")
        with duckdb.connect(str(other)) as connection:
            connection.execute("CREATE TABLE names (x INTEGER)")
        self.assertRaises(StoreError, DuckFile, other)

    def test_failedInsertLeavesNothing(self) -> None:
        """
        A block that can't be stored whole isn't stored at all, and may come
        again.
        """
        file = self.open()
        block = sampleBlock()
        file.query(Statement("DROP VIEW dns_queries"))
        file.query(Statement("ALTER TABLE queries RENAME TO elsewhere"))
        self.assertRaises(StoreError, file.insert, block)
        self.assertEqual((self.count(file, "blocks"), self.count(file, "names")), (0, 0))
        file.query(Statement("ALTER TABLE elsewhere RENAME TO queries"))
        self.assertEqual(file.insert(block), 11)

    def test_counters(self) -> None:
        """
        Rows and octets are counted.
        """
        file = self.open()
        file.insert(sampleBlock())
        file.checkpoint()
        numbers = file.counters()
        self.assertEqual(numbers["stored_rows"], 11)
        self.assertGreater(numbers["stored_octets"], 10_000)


class WorkerTests(DuckFileTestCase):
    """
    What frames ask for.
    """

    def ask(
        self, *frames: bytes, times: Sequence[tuple[float, float]] = ()
    ) -> list[dict[str, Any]]:
        """
        Serve some frames and give the replies.

        @param times: For how long it has run and waited for a core, each time that
            is looked at.
        """
        clock = iter(times)
        sink = BytesIO()
        with tempfile.TemporaryFile() as source:
            source.write(b"".join(frames))
            source.seek(0)
            serve(Worker(self.open(), lambda: next(clock, (0.0, 0.0))), source.fileno(), sink)
        return [fields for fields, _ in FrameReader().feed(sink.getvalue())]

    def test_operations(self) -> None:
        """
        Each operation is done and answered, in order.
        """
        block = sampleBlock().encode()
        replies = self.ask(
            frame({"id": 1, "op": "insert"}, block),
            frame({"id": 2, "op": "insert"}, block),
            frame({"id": 3, "op": "query", "statements": [["SELECT $p0 + 1", {"p0": 1}]]}),
            frame({"id": 4, "op": "maintain"}),
            frame({"id": 5, "op": "clear"}),
            frame({"id": 6, "op": "counters"}),
        )
        self.assertEqual([reply["id"] for reply in replies], [1, 2, 3, 4, 5, 6])
        self.assertEqual([reply["result"] for reply in replies[:5]], [11, 0, [[[2]]], None, None])
        self.assertEqual(replies[5]["result"]["stored_rows"], 0)

    def starved(self, *times: tuple[float, float]) -> list[bool]:
        """
        Ask it whether it is starved.

        @param times: For how long it has run and waited at the beginning, and at each
            question before and after its trial.
        """
        questions = [frame({"id": number, "op": "starved"}) for number in range(len(times) // 2)]
        return [reply["result"] for reply in self.ask(*questions, times=times)]

    def test_starvedBefore(self) -> None:
        """
        It is starved if it has waited for a core much longer than it ran since it was
        last asked, and not just for a moment.
        """
        for ran, waited, expected in (
            (0.0, 0.019, False),
            (0.0, 0.03, True),
            (0.1, 0.29, False),
            (0.1, 0.31, True),
        ):
            then = (1.0 + ran, 5.0 + waited)
            after = (then[0] + 0.002, then[1])
            self.assertEqual(
                self.starved((1.0, 5.0), then, after, after, after), [expected, False]
            )

    def test_starvedNow(self) -> None:
        """
        It is starved if it has to wait for a core much longer than a little work takes.
        """
        for waited, expected in ((0.005, False), (0.007, True)):
            self.assertEqual(
                self.starved((1.0, 5.0), (1.0, 5.0), (1.002, 5.0 + waited)), [expected]
            )

    def test_work(self) -> None:
        """
        The little work is some, and its time is that of a core.
        """
        began = time.thread_time()
        duckworker._work()
        self.assertGreaterEqual(time.thread_time() - began, duckworker.TRIAL)

    def test_coreTime(self) -> None:
        """
        What the system counts are nanoseconds; where it counts nothing, nobody has
        waited.
        """
        path = Path(self.mktemp())
        self.assertEqual(coreTime(path), (0.0, 0.0))
        path.write_text("5000000 2500000000 17\n")
        self.assertEqual(coreTime(path), (0.005, 2.5))
        for text in ("", "17", "a b c"):
            path.write_text(text)
            self.assertEqual(coreTime(path), (0.0, 0.0))

    def test_errors(self) -> None:
        """
        What goes wrong is told, and the next frame is served.
        """
        replies = self.ask(
            frame({"id": 1, "op": "query", "statements": [["SELEC 1", {}]]}),
            frame({"id": 2, "op": "insert"}, b"noise"),
            frame({"id": 3, "op": "insert"}, sampleBlock().encode()[:-1]),
            frame({"id": 4, "op": "insert"}, sampleBlock().encode()),
        )
        self.assertTrue(replies[0]["error"])
        self.assertEqual(replies[1]["error"], "shorter than a header")
        self.assertEqual(replies[2]["error"], "cut short or damaged")
        self.assertEqual(replies[3]["result"], 11)
