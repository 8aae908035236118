# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What dnsguard takes in memory, and what one cached name costs.

Usage: C{python bench/memory.py [--listed 1000000] [--names 100000] [--pure]}. First
each store by itself, in a process of its own that is filled with so many names:
the growth of its resident memory, divided by them, beside what the store says
it holds. Then the whole server, as C{twistd dnsguard} runs it, with so many
names on a list, two client groups, the query store on and the request log off,
and its resident memory at each stage of being asked for so many names.

The upstream is C{bench/responder.c}. Half of the names are asked for with EDNS;
last, all of them are asked for both ways.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.whole import configuration  # noqa: E402
from tests.support.ports import freePort  # noqa: E402
from tests.support.process import DNSGuardProcess, askUDP, request  # noqa: E402

MB = 1 << 20
WINDOW = 200
PATIENCE = 1.0
"""Seconds until a question is asked again."""

OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def resident(process: int | str = "self") -> int:
    """
    The octets that a process has in memory for itself and shared.
    """
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise ValueError("no such process")


def children(process: int) -> list[int]:
    """
    The processes that a process has started.
    """
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def question(number: int, edns: bool, id: int = 0) -> bytes:
    """
    Ask for the address of one of many names, as long as popular ones are.
    """
    label = b"host%d" % number
    name = bytes((len(label),)) + label + b"\7example\3org\0"
    head = struct.pack("!HHHHHH", id, 0x0100, 1, 0, 0, edns)
    return head + name + b"\0\1\0\1" + (OPT if edns else b"")


def answered(asked: bytes, ttl: int = 3600) -> bytes:
    """
    Make the answer to a question.
    """
    end = asked.index(b"\0", 12) + 5
    edns = asked[11]
    return (
        asked[:2]
        + struct.pack("!HHHHH", 0x8180, 1, 1, 0, edns)
        + asked[12:end]
        + struct.pack("!HHHIHI", 0xC00C, 1, 1, ttl, 4, 0xC0000201)
        + asked[end:]
    )


# Each store by itself.


def fillMemoryCache(names: int) -> tuple[object, int]:
    """
    Fill L0.
    """
    from dnsguard.answer import Answer, Outcome
    from dnsguard.query import ClientQuery
    from dnsguard.resolvers.memorycache import MemoryCacheResolver
    from dnsguard.wire.layout import scan

    cache = MemoryCacheResolver(names, maxBytes=1 << 40)
    for number in range(names):
        wire = answered(question(number, False))
        layout = scan(wire)
        query = ClientQuery(layout.name, layout.type, layout.cls)
        answer = Answer.fromWire(
            wire, layout, outcome=Outcome.UPSTREAM, upstream="192.0.2.1", cacheSeconds=3600
        )
        cache.cacheResult(query, answer)
    assert cache.statistics.entries == names
    return cache, cache.statistics.bytes


def makeFacts(number: int) -> object:
    """
    What the server says of a reply.
    """
    from dnsguard.answer import Answer, Outcome
    from dnsguard.replay.entry import ReplayedAnswer
    from dnsguard.wire.layout import scan

    wire = answered(question(number, False))
    layout = scan(wire)
    answer = Answer.fromWire(wire, layout, outcome=Outcome.CACHED)
    return ReplayedAnswer(
        layout.name, layout.type, layout.cls, Outcome.CACHED, 0, "", None, answer, 0, 1
    )


class Everybody:
    """
    A policy of one view.
    """

    generation = 1

    class defaultView:
        number = 0

    def networks(self) -> tuple[()]:
        """
        There are no others.
        """
        return ()


def fillReplayStore(names: int) -> tuple[object, int]:
    """
    Fill the replay store.
    """
    from dnsguard.replay import newStore

    store = newStore(maxEntries=names, maxBytes=1 << 40, ringSize=1024)
    store.adopt(Everybody())
    for number in range(names):
        asked = question(number, number % 2 == 0)
        reply = answered(asked)
        store.remember(asked, reply, makeFacts(number), 3600.0, 1.0)
    assert store.counters()["entries"] >= names * 0.99, store.counters()
    return store, store.counters()["bytes"]


def fillQueryStore(names: int) -> tuple[object, int]:
    """
    Have each of the replay store's entries seen once by the query store, and
    its rows taken away.
    """
    from dnsguard.querystore.buffer import RowBuffer

    store, _ = fillReplayStore(names)
    buffer = RowBuffer(100_000)
    before = resident()
    for number in range(names):
        asked = question(number, number % 2 == 0)
        store.lookup(asked, b"\x7f\0\0\1", 2.0)  # type: ignore[attr-defined]
        if number % 1000 == 999:
            buffer.addReplayed(store.drain())  # type: ignore[attr-defined]
            if number % 20_000 == 19_999:
                buffer.take()
    buffer.take()
    buffer.addReplayed(store.drain())  # type: ignore[attr-defined]
    buffer.take()
    return (store, buffer), before


FILLINGS: dict[str, Callable[[int], tuple[object, int]]] = {
    "memory cache": fillMemoryCache,
    "replay store": fillReplayStore,
    "query store": fillQueryStore,
}


def fill(what: str, names: int) -> None:
    """
    Fill one store, and print octets a name: resident, and as told.
    """
    FILLINGS[what](100)
    before = resident()
    kept, told = FILLINGS[what](names)
    after = resident()
    if what == "query store":
        print(f"{what:16} {(after - told) / names:8.0f} octets a name besides the replay store")
    else:
        print(f"{what:16} {(after - before) / names:8.0f} octets a name, {told / names:.0f} told")
    del kept


# The whole server.


def ask(port: int, questions: Iterator[bytes]) -> tuple[int, float]:
    """
    Ask questions until each is answered.

    @return: How many there were, and how many seconds it took.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MB)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        waiting: dict[bytes, bytes] = {}
        began = time.monotonic()
        count, more = 0, True
        while more or waiting:
            while more and len(waiting) < WINDOW:
                asked = next(questions, None)
                if asked is None:
                    more = False
                    break
                count += 1
                id = struct.pack("!H", count & 0xFFFF)
                waiting[id] = id + asked[2:]
                client.send(waiting[id])
            if not select.select([client], [], [], PATIENCE)[0]:
                for again in waiting.values():
                    client.send(again)
                continue
            try:
                while True:
                    waiting.pop(client.recv(4096)[:2], None)
            except BlockingIOError:
                pass
        return count, time.monotonic() - began


def serve(listed: int, names: int, pure: bool) -> None:
    """
    Run the server, and print its resident memory at each stage.
    """
    compiler = shutil.which("cc") or sys.exit("this needs a C compiler")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([compiler, "-O2", HERE / "responder.c", "-o", folder / "up"], check=True)
        with (folder / "many.txt").open("w") as many:
            many.write("ads.example\n")
            many.writelines(f"listed-{number}.blocked.example\n" for number in range(1, listed))
        port, upstreamPort = freePort(), freePort()
        upstream = subprocess.Popen([folder / "up", "-p", str(upstreamPort)])
        process = DNSGuardProcess(
            folder,
            configuration(folder / "data", port, upstreamPort, folder / "many.txt", entries=names),
            port,
            {"DNSGUARD_PURE_PYTHON": "1"} if pure else {},
        )
        pid = process.process.pid
        try:
            process.waitUntilAnswering()
            stages(pid, port, listed, names)
        finally:
            for each in (process.process, upstream):
                each.terminate()
                each.wait(20)


def stages(pid: int, port: int, listed: int, names: int) -> None:
    """
    Ask, and look.
    """

    last = resident(pid)

    def show(title: str) -> None:
        nonlocal last
        now = resident(pid)
        others = " ".join(f"{resident(child) / MB:.0f}" for child in children(pid))
        print(
            f"{title:44} {now / MB:7.1f} MB {(now - last) / names:+8.0f} octets a name"
            f"   (other processes: {others or 'none'})",
            flush=True,
        )
        last = now

    show("started")
    while askUDP(port, request("ads.example"))[3] & 15 != 3:
        time.sleep(0.1)
    time.sleep(2.0)
    show(f"{listed:,} names listed")
    every = range(names)
    rounds: list[tuple[str, Iterator[bytes]]] = [
        ("asked for once", (question(n, n % 2 == 0) for n in every)),
        ("asked for again", (question(n, n % 2 == 0) for n in every)),
        ("asked for ten times more", (question(n, n % 2 == 0) for _ in range(10) for n in every)),
        ("asked for both with and without EDNS", (question(n, n % 2 == 1) for n in every)),
        ("and again", (question(n, n % 2 == 1) for n in every)),
    ]
    for title, questions in rounds:
        count, seconds = ask(port, questions)
        time.sleep(1.0)
        show(f"{names:,} {title}, {count / seconds:,.0f}/s")
    time.sleep(10.0)
    show("ten seconds later")
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Rss", "Pss:", "Pss_File", "Private_Dirty", "Shared_Clean")):
            print("  ", " ".join(line.split()))


def main() -> None:
    """
    Measure.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--pure", action="store_true", help="without what is compiled")
    parser.add_argument("--fill", choices=list(FILLINGS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pure:
        os.environ["DNSGUARD_PURE_PYTHON"] = "1"
    if options.fill:
        fill(options.fill, options.names)
        return
    for what in FILLINGS:
        subprocess.run(
            [sys.executable, __file__, "--fill", what, "--names", str(options.names)], check=True
        )
    serve(options.listed, options.names, options.pure)


if __name__ == "__main__":
    main()
