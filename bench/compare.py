# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
dnsguard and its peers on the same work, one after the other.

Usage: C{python bench/compare.py [--work hot mixed cold blocked dnsperf tcp] [--seconds 5]
[--rounds 3] [--sockets 4] [--only NAME ...] [--window 2048] [--realtime] [--together]
[--built]}. One core for the server, another one for the load and the upstream.
dnsguard runs whole, as C{twistd dnsguard} does, with a million names on its block
lists, two client groups, and its queries counted and stored; the peers run as C{bench/peers.py} sets them up. Half of all
queries have EDNS. Every answer is checked. dnsguard is what an installation gets:
it is built into C{build/lib} first, which takes a minute or two and is left out
with C{--built}.

2,048 questions are under way at most, or as many as C{--window} says: pdns-recursor's
socket holds some 250 of those that wait. Where all are hits, that is 64 of a socket,
lest some peers' sockets overflow; else, an eighth of each of eight. How many sockets
they come from matters to servers that send replies to one client together, as dnsguard
does: a forwarder or a balancer has a few, a thousand clients have a thousand.
C{--sockets} takes several numbers. The load generator is near its limit where all are
hits; with C{--together} it sends twice as many, but the way it does that costs slower
servers more than fast ones (C{bench/flood.c}).

What is printed is the median of the rounds, its ratio to the best of unbound,
dnsdist and pdns-recursor in the same run, and the microseconds of CPU that an
answer costs the server, which say most where the machine has other work.

  - hot: 10,000 names, asked before. What storing queries costs is seen beside
    "dnsguard, no query store", which is the same but for that
  - mixed: 95 % of those, 5 % names nobody has asked for
  - cold: names nobody has asked for
  - blocked: as hot, and 30 % of the names are on a block list
  - dnsperf: as hot, but asked by dnsperf from 20 sockets, 1000 at a time, without EDNS
  - tcp: the same over 20 connections, 400 at a time
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench import whole  # noqa: E402
from bench.hot import (  # noqa: E402
    LOAD_CORE,
    SERVER_CORE,
    UPSTREAM,
    await_,
    build,
    cpuSeconds,
    pinned,
)
from bench.peers import installed  # noqa: E402
from tests.support.ports import freePort  # noqa: E402

NAMES = 10_000
OF_ONE = 64
LISTED = 1_000_000
BY_SOCKETS = ("hot", "blocked")
TOGETHER = "--together" in sys.argv
BEST_OF = ("unbound", "dnsdist", "pdns-recursor")

WORK: dict[str, list[str]] = {
    "hot": ["-n", str(NAMES), "-e", "50"],
    "mixed": ["-n", str(NAMES), "-e", "50", "-m", "5"],
    "cold": ["-u", "-e", "50"],
    "blocked": ["-n", str(NAMES), "-e", "50", "-b", "30"],
    "dnsperf": [],
    "tcp": [],
}

Command = Callable[[Path, int, str], list[str]]
"""Folder, port and kind of work in; command out."""


class Server:
    """
    One server to be measured.

    @ivar results: By kind of work: what each round gave.
    """

    def __init__(
        self,
        name: str,
        command: Command,
        environment: Mapping[str, str] | None = None,
        works: Collection[str] = tuple(WORK),
    ) -> None:
        self.name = name
        self.works = works
        self.command = command
        self.environment = {**os.environ, **(environment or {})}
        self.results: dict[str, list[dict[str, Any]]] = {}

    def measure(
        self, tools: Path, folder: Path, port: int, work: str, sockets: int, options: Any
    ) -> None:
        """
        Start it, warm it, load it, stop it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            command = self.command(folder, port, work)
        except SystemExit as reason:
            print(f"{self.name}, {work}: {reason}", file=sys.stderr)
            return
        process = subprocess.Popen(
            command,
            preexec_fn=pinned(SERVER_CORE),
            stdout=(folder / "output.log").open("wb"),
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=self.environment,
        )
        try:
            await_(port)
            if self.name.startswith("dnsguard"):
                awaitBlocking(port)
            load = byDnsperf if work in ("dnsperf", "tcp") else flood
            load(tools, port, work, 2.0, sockets, 0)
            before = cpuSeconds(process.pid)
            seconds = options.seconds
            result = load(tools, port, work, seconds, sockets, options.window)
            used = cpuSeconds(process.pid) - before
            result["server_us"] = used / max(1, result["answered"]) * 1e6
            result["server_cpu"] = used / seconds
            result["rss"] = rss(process.pid)
            self.results.setdefault(work, []).append(result)
        except (subprocess.CalledProcessError, SystemExit) as reason:
            print(f"{self.name}, {work}: {reason}", file=sys.stderr)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def median(self, work: str, key: str) -> float:
        """
        The middle one of its results.
        """
        return statistics.median(result[key] for result in self.results[work])


def rss(process: int) -> float:
    """
    Resident megabytes of a process.
    """
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def awaitBlocking(port: int) -> None:
    """
    Wait until the lists are in force: at a first start they are compiled while
    dnsguard serves.
    """
    import time

    from tests.support.process import askUDP, request

    for _ in range(300):
        if askUDP(port, request("ads1.example.org"))[3] & 15 == 3:
            return
        time.sleep(0.1)
    sys.exit("the lists are not in force")


def flood(
    tools: Path, port: int, work: str, seconds: float, sockets: int, underWay: int
) -> dict[str, Any]:
    """
    Load a server over UDP, as much as it takes; gently, to warm it.

    @param underWay: The most queries without an answer, 0 to warm it.
    """
    window = max(1, min(OF_ONE if work in BY_SOCKETS else underWay, underWay // sockets))
    warm = not underWay
    pace = ["-q", "20000", "-w", "64"] if warm else ["-w", str(window), "-s", str(sockets)]
    kind = WORK[work]
    if work == "cold":
        # Names that weren't used to warm it.
        kind = [*kind, "-f", "0" if warm else "1000000"]
    if TOGETHER:
        kind = [*kind, "-g"]
    done = subprocess.run(
        [str(tools / "flood"), "-p", str(port), *kind, *pace, "-t", str(seconds)],
        preexec_fn=pinned(LOAD_CORE),
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def byDnsperf(
    tools: Path, port: int, work: str, seconds: float, sockets: int, underWay: int
) -> dict[str, Any]:
    """
    Load a server by dnsperf, over TCP or UDP.
    """
    questions = tools / "questions"
    if not questions.exists():
        questions.write_text("".join(f"host{n}.example.org A\n" for n in range(NAMES)))
    done = subprocess.run(
        [
            *f"dnsperf -s 127.0.0.1 -p {port} -d {questions}".split(),
            *("-m tcp -c 20 -q 400" if work == "tcp" else "-c 20 -q 1000").split(),
            *f"-l {seconds} -O suppress=timeout".split(),
        ],
        preexec_fn=pinned(LOAD_CORE),
        check=True,
        capture_output=True,
        text=True,
    )
    figures = dict(line.strip().split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    return {
        "qps": float(figures["Queries per second"]),
        "answered": int(figures["Queries completed"].split()[0]),
        "lost": int(figures["Queries lost"].split()[0]),
        "wrong": 0,
        "p50_us": float("nan"),
        "p99_us": float("nan"),
    }


def dnsguard(lists: Path, more: str = "", caching: str = "") -> Command:
    """
    The whole of dnsguard.

    @param more: Lines of configuration besides.
    @param caching: What the section C{cache} has besides, after a comma.
    """

    def command(folder: Path, port: int, work: str) -> list[str]:
        data = folder / "data"
        if (lists / "compiled").exists():
            # The lists, and nothing of what earlier runs had still to store.
            shutil.copytree(lists / "compiled", data / "lists")
        config = folder / "dnsguard.yaml"
        listed = lists / "million.txt"
        config.write_text(
            whole.configuration(data, port, UPSTREAM, listed, caching=caching, more=more)
        )
        return whole.command(config)

    return command


def blocking(name: str, folder: Path) -> list[str]:
    """
    Have a peer block the same names, where that is a matter of configuration.
    """
    names = [f"ads{number}.example.org" for number in range(NAMES)]
    if name == "unbound":
        path = folder / "unbound.conf"
        zones = "".join(f'local-zone: "{each}" always_nxdomain\n' for each in names)
        path.write_text(f"{path.read_text()}\nserver:\n{zones}")
        return []
    if name == "dnsmasq":
        (folder / "blocked").write_text("".join(f"address=/{each}/\n" for each in names))
        return [f"--conf-file={folder / 'blocked'}"]
    raise SystemExit("left out, it isn't set up to block")


def peerCommand(peer: Any) -> Command:
    """
    One of the peers.
    """

    def command(folder: Path, port: int, work: str) -> list[str]:
        arguments = peer.configure(folder, port, UPSTREAM)
        if work == "blocked":
            arguments += blocking(peer.name, folder)
        return [str(peer.path()), *arguments]

    return command


def servers(tools: Path, lists: Path) -> list[Server]:
    """
    All there are on this machine.
    """
    found = [
        Server("C responder", lambda _, port, work: [str(tools / "responder"), "-p", str(port)]),
        Server("dnsguard", dnsguard(lists)),
        Server(
            "dnsguard, no query store",
            dnsguard(lists, "query_store: {engine: none}"),
            works=("hot", "blocked"),
        ),
        Server("dnsguard, pure Python", dnsguard(lists), {"DNSGUARD_PURE_PYTHON": "1"}),
    ]
    return found + [Server(peer.name, peerCommand(peer)) for peer in installed()]


def table(work: str, chosen: list[Server], sockets: int) -> None:
    """
    Print what came out, the fastest first, and forget it.
    """
    measured = [server for server in chosen if work in server.results]
    best = max(
        (server.median(work, "qps") for server in measured if server.name in BEST_OF),
        default=float("nan"),
    )
    print(
        f"\n{work}, {sockets} sockets\n{'server':24} {'answers/s':>10} {'ratio':>6} {'us CPU':>7} {'CPU':>5}",
        end="",
    )
    print(f" {'p50 us':>8} {'p99 us':>8} {'lost':>6} {'wrong':>6} {'RSS MB':>7}")
    for server in sorted(measured, key=lambda each: -each.median(work, "qps")):
        qps = server.median(work, "qps")
        print(
            f"{server.name:24} {qps:10.0f} {qps / best:6.2f}"
            f" {server.median(work, 'server_us'):7.2f} {server.median(work, 'server_cpu'):5.2f}"
            f" {server.median(work, 'p50_us'):8.0f} {server.median(work, 'p99_us'):8.0f}"
            f" {server.median(work, 'lost'):6.0f} {server.median(work, 'wrong'):6.0f}"
            f" {server.median(work, 'rss'):7.0f}",
            flush=True,
        )
    for server in measured:
        del server.results[work]


def installation() -> Path:
    """
    Build dnsguard as it is installed: some of its modules are compiled then
    that aren't in a source tree.
    """
    place = HERE.parent / "build" / "lib"
    # What isn't made any more would stay there.
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "setup.py", "-q", "build", "--build-lib", str(place)]
    subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True)
    return place


def rounds(tools: Path, chosen: list[Server], work: str, sockets: int, options: Any) -> None:
    """
    Measure all servers in turn, and again, and print the table.
    """
    servers = [server for server in chosen if work in server.works]
    for turn in range(options.rounds):
        for server in servers:
            folder = tools / f"{server.name}-{work}-{sockets}-{turn}"
            server.measure(tools, folder, freePort(), work, sockets, options)
            compiled = folder / "data" / "lists"
            if compiled.exists() and not (tools / "compiled").exists():
                compiled.rename(tools / "compiled")
            shutil.rmtree(folder, ignore_errors=True)
    table(work, servers, sockets)


def main() -> None:
    """
    Measure, and print a table for each kind of work.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--work", nargs="*", default=list(WORK), choices=list(WORK))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--sockets", nargs="*", type=int, default=[4])
    parser.add_argument("--window", type=int, default=2048, help="queries under way, in all")
    parser.add_argument("--realtime", action="store_true", help="keep other processes away")
    parser.add_argument("--together", action="store_true", help="load more than peers take")
    parser.add_argument("--built", action="store_true", help="measure what was built before")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(HERE.parent / "build/lib" if options.built else installation())
    with tempfile.TemporaryDirectory() as name:
        tools = Path(name)
        build(tools)
        whole.writeList(tools / "million.txt", NAMES, LISTED)
        upstream = subprocess.Popen(
            [str(tools / "responder"), "-p", str(UPSTREAM)], preexec_fn=pinned(LOAD_CORE, 2)
        )
        chosen = [
            server
            for server in servers(tools, tools)
            if not options.only or server.name in options.only
        ]
        try:
            for work in options.work:
                if work in ("dnsperf", "tcp") and shutil.which("dnsperf") is None:
                    print(f"{work}: left out, there is no dnsperf", file=sys.stderr)
                    continue
                for sockets in options.sockets if work in BY_SOCKETS else [8]:
                    rounds(tools, chosen, work, sockets, options)
        finally:
            upstream.terminate()
            upstream.wait()


if __name__ == "__main__":
    main()
