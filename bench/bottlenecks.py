# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Five costs, as they are without doing anything about them and as they are here.

Usage: C{python bench/bottlenecks.py [--realtime] [--built] [--seconds 3]}. It takes a
minute and a half, and some more for building what is measured (left out with
C{--built}). One core is the server's, the other one has the load, the upstream and
C{redis-server}.

"before" is C{bench/naive.py}, which encodes each row on its own, asks Redis about each
query, makes an object for each datagram, takes locks and has two system calls a
datagram. "now" is all of dnsguard as C{bench/compare.py} sets it up (a million
names on block lists, two client groups, metrics, every query stored) with Redis for its
second cache. Both get the hot load and the mixed one (5 % names nobody has asked for),
with questions of one length sent together: otherwise the load is the limit.

Each is loaded three times: alone, for the CPU that an answer costs (its helper
processes included); under C{perf record} and then C{py-spy}, for the shares that
C{bench/stacks.py} sorts; and under C{perf stat}, for system calls. Where perf is
missing, py-spy is what there is, and nothing is said of locks and system calls.

After that, what one of each costs alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.compare import LISTED, NAMES, awaitBlocking, dnsguard, installation  # noqa: E402
from bench.hot import (  # noqa: E402
    LOAD_CORE,
    SERVER_CORE,
    UPSTREAM,
    await_,
    build,
    pinned,
)
from bench.stacks import CATEGORIES, FIVE, perfStacks, pySpyStacks, shares  # noqa: E402
from bench.whole import writeList  # noqa: E402
from tests.support.ports import freePort  # noqa: E402

CALLS = (
    "recvmmsg", "sendmmsg", "recvfrom", "sendto", "recvmsg", "sendmsg", "epoll_wait",
    "epoll_ctl", "futex", "read", "write",
)  # fmt: skip
WORK = {"hot": [], "mixed": ["-m", "5"]}
PERF = shutil.which("perf")
PYSPY = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


class Subject:
    """
    A server that runs, and what is found out about it.
    """

    def __init__(self, name: str, folder: Path, port: int, load: list[str]) -> None:
        self.name = name
        self.folder = folder
        self.port = port
        self.load = load
        self.fresh = 0

    def start(self, command: list[str]) -> None:
        """
        Start it, and wait until it does what it shall.
        """
        self.process = subprocess.Popen(
            command,
            preexec_fn=pinned(SERVER_CORE),
            stdout=(self.folder / f"{self.name}.log").open("wb"),
            stderr=subprocess.STDOUT,
            cwd=self.folder,
        )
        try:
            await_(self.port)
        except SystemExit as reason:
            self.stop()
            sys.exit(f"{reason}:\n{(self.folder / f'{self.name}.log').read_text()[-2000:]}")
        if self.name == "now":
            awaitBlocking(self.port)

    def flood(self, work: str, seconds: float, under: Sequence[str] = ()) -> dict[str, Any]:
        """
        Put load on it. Names nobody has asked for are new ones each time.

        @param under: A command that looks at the server as long as the load runs,
            and runs it.
        """
        self.fresh += 10_000_000
        done = subprocess.run(
            [
                *(
                    *under,
                    str(self.folder / "flood"),
                    "-p",
                    str(self.port),
                    "-n",
                    str(NAMES),
                    "-g",
                    "-e",
                    "50",
                ),
                *(*WORK[work], "-f", str(self.fresh), *self.load, "-t", str(seconds)),
            ],
            preexec_fn=pinned(LOAD_CORE),
            check=True,
            capture_output=True,
            text=True,
        )
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def family(self) -> list[int]:
        """
        The server and the processes it has started.
        """
        found = [self.process.pid]
        for pid in found:
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, path.read_text().split())
        return found

    def pids(self) -> str:
        """
        The same as perf wants them.
        """
        return ",".join(map(str, self.family()))

    def cost(self, work: str, seconds: float) -> tuple[float, dict[str, Any]]:
        """
        The microseconds of CPU that an answer costs, and what the load says.
        """
        pids = self.family()
        before = _used(pids)
        result = self.flood(work, seconds)
        return (_used(pids) - before) / max(1, result["answered"]) * 1e6, result

    def profile(self, work: str, seconds: float) -> dict[str, float]:
        """
        By category: its share of the CPU.
        """
        samples: list[tuple[int, list[str]]] = []
        if PERF is not None:
            path = self.folder / f"{self.name}-{work}.perf"
            what = [PERF, "record", "-q", "-F", "499", "--call-graph", "dwarf,8192"]
            self.flood(work, seconds, [*what, "-o", str(path), "-p", self.pids(), "--"])
            fields = ["script", "--no-inline", "-F", "pid,ip,sym,dso", "-i", str(path)]
            told = subprocess.run([PERF, *fields], check=True, capture_output=True, text=True)
            samples = list(perfStacks(told.stdout.splitlines()))
            path.unlink()
        spied: list[tuple[int, list[str]]] = []
        if PYSPY is not None:
            path = self.folder / f"{self.name}-{work}.spied"
            what = [PYSPY, "record", "--native", "-r", "100", "-f", "raw", "-o", str(path)]
            what += ["-d", str(max(2, int(seconds))), "-p", str(self.process.pid)]
            looking = subprocess.Popen(what, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # It takes a second to begin, in which it has nothing to see.
            self.flood(work, seconds + 1)
            looking.wait(60)
            spied = list(pySpyStacks(path.read_text().splitlines())) if path.exists() else []
        return shares(samples, self.process.pid, spied)

    def calls(self, work: str, seconds: float) -> dict[str, float]:
        """
        System calls for each thousand answers, by name; nothing where they can't
        be counted.
        """
        if PERF is None:
            return {}
        path = self.folder / f"{self.name}-{work}.calls"
        events = ",".join(f"syscalls:sys_enter_{name}" for name in CALLS)
        what = [PERF, "stat", "-x", ";", "-o", str(path), "-e", events, "-p", self.pids(), "--"]
        answers = self.flood(work, seconds, what)["answered"]
        counted = re.findall(
            r"^(\d+);[^;]*;syscalls:sys_enter_(\w+)", path.read_text(), re.MULTILINE
        )
        return {name: int(count) / max(1, answers) * 1000 for count, name in counted}

    def stop(self) -> None:
        """
        End it.
        """
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _used(pids: list[int]) -> float:
    """
    The seconds of CPU that processes have used.
    """
    nanoseconds = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            nanoseconds += int(path.read_text().split()[0])
    return nanoseconds / 1e9


def commands(redis: Any) -> dict[str, int]:
    """
    How many commands Redis has run, by name.
    """
    told = redis.ask("INFO", "commandstats").decode()
    return {name: int(count) for name, count in re.findall(r"cmdstat_(\S+?):calls=(\d+)", told)}


def show(subject: Subject, redis: Any, work: str, seconds: float) -> None:
    """
    Measure one kind of work, and print its table.
    """
    before = commands(redis)
    cost, result = subject.cost(work, seconds)
    asked = {name: count - before.get(name, 0) for name, count in commands(redis).items()}
    found = subject.profile(work, seconds)
    calls = subject.calls(work, max(1.0, seconds / 2))
    print(
        f"\n{subject.name}, {work}: {cost:.2f} us of CPU an answer, {result['qps']:.0f} answers/s,"
        f" {result['lost']} lost, {result['wrong']} wrong"
    )
    for category in CATEGORIES:
        share = found.get(category, 0.0)
        if category in FIVE or share >= 0.0005:
            print(f"  {category:42} {100 * share:5.1f} %  {cost * share:8.3f} us")
    if calls:
        _list("system calls", calls)
    _list(
        "Redis commands",
        {name: count / result["answered"] * 1000 for name, count in asked.items()},
    )


def _list(what: str, counts: dict[str, float]) -> None:
    named = ", ".join(f"{name} {count:.1f}" for name, count in counts.items() if count >= 0.05)
    print(f"  {what} for 1000 answers: {named or 'none'}", flush=True)


def rows() -> None:
    """
    What one row costs.
    """
    import simplejson  # type: ignore[import-untyped]

    querystore = importlib.import_module("bench.querystore")
    row = {
        "ts": time.time(), "instance": "one", "client_ip": "192.0.2.1", "client_name": "",
        "protocol": "udp", "question_name": "host1.example.org", "qtype": 1, "qclass": 1,
        "outcome": "cached", "rcode": 0, "answer": "10.1.2.3", "upstream": "", "rule": "",
        "list": "", "group": "default", "hits": 3, "duration_us": 20,
    }  # fmt: skip
    taken = querystore.best(lambda: [simplejson.dumps(dict(row)) for _ in range(10_000)])
    print(f"  a row: {taken * 100:.2f} us as a dictionary by simplejson;", end=" ", flush=True)
    module = querystore.bufferModule.ReplayedRows.__module__
    filling, writing, _ = querystore.encodeReplayed(module)
    print(f"{filling * 1e6:.3f} from the ring to a block, {writing * 1e6:.3f} to RowBinary")


def locks() -> None:
    """
    What a lookup under a lock costs that another thread takes as well, and one
    that passes a queue.
    """
    table = {number: number for number in range(NAMES)}
    lock, count = threading.Lock(), 200_000

    def locked() -> None:
        for number in range(count):
            with lock:
                table.get(number)

    def free() -> None:
        for number in range(count):
            table.get(number)

    passing: queue.Queue[int] = queue.Queue(100_000)

    def put() -> None:
        for number in range(count):
            passing.put(number)

    def get() -> None:
        for _ in range(count):
            passing.get()

    print(
        f"  a lookup: {_together(free, free) / count / 2 * 1e6:.3f} us without a lock,"
        f" {_together(locked) / count * 1e6:.3f} under one nobody else takes,"
        f" {_together(locked, locked) / count / 2 * 1e6:.3f} under one of two threads;"
        f" a queue between two: {_together(put, get) / count * 1e6:.2f} us an item"
    )


def _together(*works: Callable[[], None]) -> float:
    """
    The seconds of CPU that threads take for their work.
    """
    began = time.process_time()
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.process_time() - began


def lookups() -> None:
    """
    What a lookup in Redis costs the client.
    """
    run = "import dnsguard, runpy; runpy.run_module('bench.redis_l1', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", run, "--seconds", "0.4"], capture_output=True, text=True
    )
    found = re.findall(r"^ *100 at a time +(h\w+|dnsguard) .*?([\d.]+) us", done.stdout, re.M)
    named = {"hget": "four HGET", "hmget": "one HMGET", "dnsguard": "RedisCacheResolver"}
    print(
        "  a lookup in Redis, 100 under way:",
        ", ".join(f"{cost} us by {named[way]}" for way, cost in found if way in named),
    )


def measure(folder: Path, redis: Any, seconds: float) -> None:
    """
    Measure both servers.
    """
    port = freePort()
    naive = [sys.executable, str(HERE / "naive.py"), str(port), str(UPSTREAM), str(redis.port)]
    before = Subject("before", folder, port, ["-w", "32", "-s", "4"])
    before.start([*naive, "--rows", str(folder / "rows.json")])
    port = freePort()
    caching = f", redis: {{address: '127.0.0.1:{redis.port}', db: 1}}"
    now = Subject("now", folder, port, ["-w", "512", "-s", "4"])
    command = dnsguard(folder, caching=caching)(folder, port, "hot")
    for subject, how in ((before, []), (now, command)):
        try:
            if how:
                subject.start(how)
            for _ in range(2):
                # All names are cached then, and in dnsguard's replay store as well.
                subject.flood("hot", 2.5)
            for work in WORK:
                show(subject, redis, work, seconds)
        finally:
            subject.stop()


def main() -> None:
    """
    Measure, and print.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--realtime", action="store_true", help="keep other processes away")
    parser.add_argument("--built", action="store_true", help="measure what was built before")
    options = parser.parse_args()
    place = HERE.parent / "build/lib" if options.built else installation()
    os.environ["PYTHONPATH"] = f"{place}{os.pathsep}{HERE.parent}"
    # Before anything puts the source tree in front.
    sys.path.insert(0, str(place))
    importlib.import_module("dnsguard")
    if PERF is None:
        print(
            "there is no perf: shares are py-spy's, which can't tell a lock that is taken from"
            " one that is waited for; so there is nothing of locks, and none of system calls",
            file=sys.stderr,
        )
    from tests.support.redisserver import MISSING, RedisServer

    if MISSING:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        writeList(folder / "million.txt", NAMES, LISTED)
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {LOAD_CORE})
        redis = RedisServer(folder / "redis", {"maxmemory": "500mb"})
        redis.start()
        assert redis.process is not None
        if options.realtime:
            # Before the load, which leaves it nothing otherwise.
            os.sched_setscheduler(redis.process.pid, os.SCHED_RR, os.sched_param(2))
        upstream = subprocess.Popen(
            [str(folder / "responder"), "-p", str(UPSTREAM)], preexec_fn=pinned(LOAD_CORE, 2)
        )
        try:
            measure(folder, redis, options.seconds)
        finally:
            upstream.terminate()
            upstream.wait()
            redis.stop()
        os.sched_setaffinity(0, mine)
    print("\none of each, alone:")
    rows()
    locks()
    lookups()


if __name__ == "__main__":
    main()
