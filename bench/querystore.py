# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the query store costs, and how fast it answers.

    python bench/querystore.py encode            rows a second into RowBinary
    python bench/querystore.py questions ROWS    each question on a DuckDB file
    python bench/querystore.py reactor           stalls with DuckDB here or apart
    python bench/querystore.py writes            what a file costs an SD card
    python bench/querystore.py sustain RATE SECONDS   into a ClickHouse engine

Without arguments the first two run, the second with a million rows. Run it from
the root of the source tree.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy

sys.path.insert(0, str(Path(__file__).parent.parent))

from dnsguard.answer import Outcome
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.querystore import buffer as bufferModule
from dnsguard.querystore import encoding
from dnsguard.querystore.block import Block
from dnsguard.querystore.buffer import RowBuffer
from dnsguard.querystore.filters import QueryFilter
from dnsguard.querystore.questions import (
    Discovery,
    FilterOptions,
    Latency,
    Recent,
    Subject,
    Summary,
    TimeSeries,
    Top,
    Upstreams,
)
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.rows import PROTOCOLS, ROW, fragment
from tests.support.events import entryFor, eventOf
from tests.support.replaybatch import FakeReplayBatch

RECORD = struct.Struct("=qQIHBB16s")
WEEK = 7 * 86400
PROTOCOL_FRAGMENTS = tuple(fragment((word,)) for word in PROTOCOLS)


def best(work: Callable[[], Any], runs: int = 5) -> float:
    """
    Give the least time of several runs, in seconds.
    """
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def ring(count: int, names: int = 10_000, clients: int = 250) -> FakeReplayBatch:
    """
    Make a batch of replayed queries.
    """
    batch = FakeReplayBatch(
        {n: entryFor(f"host{n}.example.org", Outcome.CACHED, "192.0.2.1") for n in range(names)}
    )
    for number in range(1000):
        batch.add(number * 7 % names, f"192.0.2.{number % clients}")
    now = time.time_ns()
    batch.records = bytearray(
        b"".join(
            RECORD.pack(
                now + at * 1000, at * 7 % names, 20_000, 90, 0, 4,
                bytes((192, 0, 2, at % clients)) + bytes(12),
            )
            for at in range(count)
        )
    )  # fmt: skip
    batch.hits.update(range(names))
    return batch


def encodeReplayed(module: str) -> tuple[float, float, Block]:
    """
    From the replay ring to RowBinary, by the code of a module.

    @return: Seconds that a row takes from the ring to a block, and from there on; and
        the block.
    """
    batch = ring(100_000)
    made = sys.modules[module]
    bufferModule.ReplayedRows = made.ReplayedRows  # type: ignore[misc]
    buffer = RowBuffer(200_000)
    blocks: list[Block] = []

    def fill() -> None:
        buffer.addReplayed(batch)
        block = buffer.take()
        assert block is not None
        blocks[:] = [block]

    def write() -> None:
        block = blocks[0]
        made.rowBinary(
            block.rows, block.clients, block.facts, PROTOCOL_FRAGMENTS, fragment(("one",))
        )

    filling, writing = best(fill), best(write)
    return filling / len(blocks[0]), writing / len(blocks[0]), blocks[0]


def encode() -> None:
    """
    From the replay ring to RowBinary, and a row by way of an event.
    """
    for module in dict.fromkeys((bufferModule.ReplayedRows.__module__, encoding.__name__)):
        filling, writing, block = encodeReplayed(module)
        print(
            f"{module}: ring to buffer {1e-6 / filling:.2f} M rows/s, buffer to RowBinary"
            f" {1e-6 / writing:.2f}, both {1e-6 / (filling + writing):.2f}"
        )
    blocks = [block]
    octets = len(blocks[0].rows) + sum(map(len, blocks[0].facts))
    print(f"a buffered row: 32 octets, and {octets / len(blocks[0]):.1f} with its share of texts")
    events = [eventOf(f"n{n}.example.org", Outcome.UPSTREAM, "192.0.2.1") for n in range(5000)]
    for event in events:
        event.answer.encoded(event.query.question)
    buffer = RowBuffer(100_000)

    def add() -> None:
        for event in events:
            buffer.add(event)
        buffer.take()

    print(f"an event through the chain, name not seen before: {best(add) / 5000 * 1e6:.1f} us")


def blocks(rows: int, names: int = 200_000, size: int = 200_000) -> Iterator[Block]:
    """
    Make a week of queries: names as popular as names are (Zipf), 40 clients.
    """
    noise = numpy.random.default_rng(1)
    outcomes = ("cached", "cached", "cached", "upstream", "blocked", "stale", "local")
    clients = tuple(fragment((f"192.0.2.{n}", f"device{n}")) for n in range(40))
    kind = numpy.dtype(
        [("ts", "i8"), ("client", "u4"), ("fact", "u4"), ("took", "u4"), ("cache", "u4"),
         ("write", "u4"), ("protocol", "u1"), ("pad", "V3")]
    )  # fmt: skip
    assert kind.itemsize == ROW.size
    start = (int(time.time()) - WEEK) * 1000
    for first in range(0, rows, size):
        count = min(size, rows - first)
        ranks = (noise.zipf(1.2, count) * 2_654_435_761 % names).astype("u4")
        distinct, places = numpy.unique(ranks, return_inverse=True)
        made = numpy.zeros(count, kind)
        made["ts"] = start + (first + numpy.arange(count)) * (WEEK * 1000 // rows)
        made["client"] = noise.integers(0, 40, count)
        made["fact"] = places
        made["took"] = noise.exponential(5000, count).astype("u4")
        facts = tuple(
            fragment(
                (
                    f"www.site{n}.example{n % 300}.org", ("A", "AAAA", "HTTPS")[n % 3], "IN",
                    outcomes[n % 7], "NXDOMAIN" if n % 7 == 4 else "NOERROR",
                    f"192.0.2.{n % 3}:53" if n % 7 == 3 else "", f"A 198.51.100.{n % 250}",
                    f"||site{n}^" if n % 7 == 4 else "", f"list{n % 9}" if n % 7 == 4 else "",
                    "", "", "",
                )
            )
            for n in distinct.tolist()
        )  # fmt: skip
        yield Block(os.urandom(16), "one", made.tobytes(), clients, facts)


def questions(rows: int) -> None:
    """
    Fill a file, then ask everything of it.
    """
    from dnsguard.querystore.duckfile import DuckFile
    from dnsguard.querystore.ducksql import statements

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queries.duckdb"
        file = DuckFile(path)
        spent = 0.0
        for block in blocks(rows):
            start = time.perf_counter()
            file.insert(block)
            spent += time.perf_counter() - start
        file.checkpoint()
        size = path.stat().st_size
        print(
            f"{rows} rows in at {rows / spent / 1e3:.0f} k/s;"
            f" file {size / 1e6:.1f} MB, {size / rows:.1f} octets a row"
        )
        day = QueryFilter(since=time.time() - 86400)
        worst = 0.0
        for name, question in (
            ("newest page", Recent()),
            ("page 100", Recent(page=100)),
            ("slowest first", Recent(sortBy="duration_ms")),
            ("by name", Recent(sortBy="qname", descending=False)),
            ("by client", Recent(sortBy="client_ip")),
            ("search everywhere", Recent(QueryFilter(search="site77"))),
            ("search, no match", Recent(QueryFilter(search="no such thing"))),
            ("errors of a client", Recent(QueryFilter(client="device7", rCodes=("NXDOMAIN",)))),
            ("summary, day", Summary(day)),
            ("summary, all", Summary()),
            ("latency, all", Latency()),
            ("series by minute, day", TimeSeries(day, 60)),
            ("series by hour, all", TimeSeries(bucket=3600)),
            ("upstreams, all", Upstreams()),
            ("filter options, all", FilterOptions()),
            ("discovery, all", Discovery()),
            *((f"top {subject.value}, all", Top(subject)) for subject in Subject),
        ):

            def ask(question: Any = question) -> None:
                question.shape([file.query(statement) for statement in statements(question)])

            used = time.process_time()
            taken = best(ask, 3) * 1e3
            used = (time.process_time() - used) / 3 * 1e3
            worst = max(worst, taken)
            # On a busy machine the second figure tells more.
            print(f"  {name:24} {taken:7.1f} ms, {used:7.1f} ms of all cores together")
        print(f"  slowest: {worst:.1f} ms; load average {os.getloadavg()[0]:.1f}")
        file.close()


def reactor() -> None:
    """
    How long a 1 ms ticker is kept waiting while blocks are stored, by a thread
    of this process and by a process of its own; and the memory of both.
    """
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred
    from twisted.internet.threads import deferToThread

    from dnsguard.querystore.duckdb import DuckDBStore
    from dnsguard.querystore.duckfile import DuckFile

    loop: Any = installed
    made = list(blocks(400_000, size=20_000))
    gaps: list[float] = []
    last = 0.0

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        gaps.append(now - last - 0.001)
        last = now
        loop.callLater(0.001, tick)

    def told(how: str) -> None:
        gaps.sort()
        print(
            f"{how}: worst stall {gaps[-1] * 1e3:.1f} ms,"
            f" 99th percentile {gaps[int(len(gaps) * 0.99)] * 1e3:.1f} ms,"
            f" memory of this process {memory('self')}"
        )
        gaps.clear()

    async def run(folder: str) -> None:
        nonlocal last
        last = time.perf_counter()
        tick()
        store = DuckDBStore(loop, loop.getThreadPool(), Path(folder) / "apart.duckdb")
        await store.start()
        gaps.clear()
        for block in made:
            await store.insert(block)
        process = store._process
        assert process is not None
        assert process.transport is not None
        told(f"in a process of its own ({memory(process.transport.pid)})")
        await store.close()
        file = DuckFile(Path(folder) / "here.duckdb")
        gaps.clear()
        for block in made:
            await deferToThread(file.insert, block)
        told("in a thread")
        file.close()

    with tempfile.TemporaryDirectory() as folder:
        running = Deferred.fromCoroutine(run(folder))
        running.addErrback(lambda failure: failure.printTraceback())
        running.addBoth(lambda result: loop.stop())
        loop.run()


def memory(process: int | str) -> str:
    """
    Give a process's resident memory.
    """
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return f"{int(line.split()[1]) // 1024} MB"
    return "?"


def writes() -> None:
    """
    Store 50 rows each of 120 times, as a home does in ten minutes of flushes
    every five seconds, and count what is written.
    """
    from dnsguard.querystore.duckfile import DuckFile

    with tempfile.TemporaryDirectory(dir=".") as folder:
        file = DuckFile(Path(folder) / "queries.duckdb")
        made = list(blocks(6000, size=50))
        before = written()
        for block in made:
            file.insert(block)
        after = written()
        file.close()
        print(
            f"10 minutes of 50 rows every 5 s: {(after - before) / 10 / 1024:.0f} KB a minute"
            f" to the log, {(written() - after) / 1024:.0f} KB by the checkpoint at the end"
        )


def written() -> int:
    """
    Give the octets this process has had written.
    """
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("wchar"):
            return int(line.split()[1])
    return 0


def sustain(rate: int, seconds: int) -> None:
    """
    Record so many replayed queries a second into a ClickHouse engine.
    """
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred
    from twisted.internet.task import LoopingCall, deferLater
    from twisted.python.threadpool import ThreadPool

    from dnsguard.querystore.clickhouse import ClickHouseStore
    from dnsguard.querystore.clickhousetables import Tables
    from dnsguard.querystore.endpoints import Credentials, Endpoints
    from dnsguard.querystore.spool import Spool
    from dnsguard.services.queryflush import QueryFlushService
    from tests.support.clickhouse import ClickHouseServer

    loop: Any = installed
    server = ClickHouseServer()
    server.start()
    pool = ThreadPool(0, 4)
    pool.start()
    store = ClickHouseStore(
        loop, pool, Endpoints([server.address], Credentials()), Tables("bench", "queries")
    )
    recorder = QueryRecorder(200_000, Exclusion(), Anonymizer())
    folder = tempfile.TemporaryDirectory()
    service = QueryFlushService(
        recorder, store, Spool(Path(folder.name), 1 << 28), loop, pool, interval=1.0
    )
    batch = ring(rate // 50)

    async def run() -> None:
        service.startService()
        feeder = LoopingCall.withCount(
            lambda count: [recorder.queriesReplayed(batch) for _ in range(count)]
        )
        start, used = time.perf_counter(), time.process_time()
        feeder.start(0.02)
        await deferLater(loop, seconds, lambda: None)
        feeder.stop()
        spent = time.perf_counter() - start
        share = (time.process_time() - used) / spent
        before = service.counters()
        # Stopping flushes; only the engine itself can tell what it has then.
        await service.stopService()
        numbers = service.counters()
        stored = (await store.ask(Summary()))["total"]
        await store.close()
        print(
            f"{numbers['total_recorded'] / spent / 1e3:.1f} k rows/s for {spent:.0f} s:"
            f" {numbers['total_recorded']} recorded, {stored} stored,"
            f" {numbers['dropped_events']} dropped, {numbers['spooled_rows']} spooled at the end"
            f" ({before['spooled_rows']} when the feed ended);"
            f" {share:.0%} of a core in this process, memory {memory('self')}"
        )

    running = Deferred.fromCoroutine(run())
    running.addErrback(lambda failure: failure.printTraceback())
    running.addBoth(lambda result: loop.stop())
    loop.run()
    pool.stop()
    server.close()
    folder.cleanup()


def main(arguments: list[str]) -> None:
    """
    Run what is asked for.
    """
    work = {
        "encode": encode,
        "questions": questions,
        "reactor": reactor,
        "writes": writes,
        "sustain": sustain,
    }
    if arguments:
        work[arguments[0]](*map(int, arguments[1:]))  # type: ignore[operator]
        return
    encode()
    questions(1_000_000)


if __name__ == "__main__":
    main(sys.argv[1:])
