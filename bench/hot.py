# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The hot path side by side: who answers how many cached questions a second.

Usage: C{python bench/hot.py [--seconds 3] [--blocked 0] [--only NAME ...]}. One
core for the server, another one for the load (on a machine that has other work
to do, C{--realtime} keeps it away), each server in turn and all of them three
times; what is printed is the median, its ratio to the responder in C
(which does nothing but answer: the limit), and the microseconds of CPU that an
answer costs the server, which hardly depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.peers import installed  # noqa: E402
from tests.support.ports import freePort  # noqa: E402

SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")


def build(folder: Path) -> None:
    """
    Compile the two C programs.
    """
    compiler = shutil.which("cc") or sys.exit("this needs a C compiler")
    for name in ("flood", "responder"):
        subprocess.run([compiler, "-O2", HERE / f"{name}.c", "-o", folder / name], check=True)


UPSTREAM = freePort()
REALTIME = "--realtime" in sys.argv


def pinned(core: int, priority: int = 1) -> Callable[[], None]:
    """
    What makes a child run on one core.

    @param priority: In real time, if that is wanted. The upstream's is higher
        than that of the load it shares a core with: else servers wait for it.
    """

    def pin() -> None:
        os.sched_setaffinity(0, {core})
        if REALTIME:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))

    return pin


def cpuSeconds(process: int) -> float:
    """
    The CPU that a process and its threads have used.
    """
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def await_(port: int) -> None:
    """
    Wait until somebody answers on a port.
    """
    asked = b"\0\1\1\0\0\1\0\0\0\0\0\0\5hello\7example\3org\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        for _ in range(100):
            try:
                client.sendto(asked, ("127.0.0.1", port))
                client.recv(4096)
                return
            except OSError:
                time.sleep(0.1)
    sys.exit(f"nobody answers on port {port}")


class Server:
    """
    One server to be measured.
    """

    def __init__(self, name: str, command: Callable[[Path, int], list[str]]) -> None:
        self.name = name
        self.command = command
        self.results: list[dict[str, Any]] = []

    def measure(self, folder: Path, port: int, load: list[str], seconds: float) -> None:
        """
        Start it, warm it, load it, stop it.
        """
        own = folder / f"{self.name}-{port}"
        own.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            self.command(own, port),
            preexec_fn=pinned(SERVER_CORE),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=own,
        )
        try:
            await_(port)
            flood = [str(folder / "flood"), "-p", str(port), *load]
            warm = [*flood, "-t", "1", "-q", "25000", "-w", "64"]
            subprocess.run(warm, preexec_fn=pinned(LOAD_CORE), check=True, capture_output=True)
            before = cpuSeconds(process.pid)
            done = subprocess.run(
                [*flood, "-t", str(seconds)],
                preexec_fn=pinned(LOAD_CORE),
                check=True,
                capture_output=True,
                text=True,
            )
            result = json.loads(done.stdout)
            used = cpuSeconds(process.pid) - before
            result["server_us"] = used / max(1, result["answered"]) * 1e6
            result["server_cpu"] = used / seconds
            self.results.append(result)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def median(self, key: str) -> float:
        """
        The middle one of its results.
        """
        return statistics.median(result[key] for result in self.results)


def servers(folder: Path) -> list[Server]:
    """
    All there are on this machine.
    """
    found = [
        Server("C responder", lambda _, port: [str(folder / "responder"), "-p", str(port)]),
    ]
    for path in ("thread", "reactor", "mixed", "python"):
        command = [sys.executable, str(HERE / "replayserver.py"), path]
        found.append(
            Server(f"dnsguard {path}", lambda _, port, command=command: [*command, str(port)])
        )
    for peer in installed():
        found.append(
            Server(
                peer.name,
                lambda own, port, peer=peer: [
                    str(peer.path()),
                    *peer.configure(own, port, UPSTREAM),
                ],
            )
        )
    return found


def main() -> None:
    """
    Measure, and print the table.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--names", type=int, default=10000)
    parser.add_argument("--edns", type=int, default=50)
    parser.add_argument("--blocked", type=int, default=0)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--sockets", type=int, default=4)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    load = []
    for letter, key in zip(
        "nebws", ("names", "edns", "blocked", "window", "sockets"), strict=True
    ):
        load += [f"-{letter}", str(getattr(options, key))]
    environment = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(environment)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        upstream = subprocess.Popen(
            [str(folder / "responder"), "-p", str(UPSTREAM)], preexec_fn=pinned(LOAD_CORE, 2)
        )
        chosen = [s for s in servers(folder) if not options.only or s.name in options.only]
        try:
            for _ in range(options.rounds):
                for server in chosen:
                    server.measure(folder, freePort(), load, options.seconds)
        finally:
            upstream.terminate()
            upstream.wait()
    limit = chosen[0]
    print(f"{'server':18} {'answers/s':>10} {'ratio':>6} {'us CPU':>7} {'CPU':>5}", end="")
    print(f" {'load':>5} {'p50 us':>8} {'p99 us':>8} {'lost':>6} {'wrong':>6}")
    for server in chosen:
        print(
            f"{server.name:18} {server.median('qps'):10.0f}"
            f" {server.median('qps') / limit.median('qps'):6.2f}"
            f" {server.median('server_us'):7.2f} {server.median('server_cpu'):5.2f}"
            f" {server.median('cpu'):5.2f}"
            f" {server.median('p50_us'):8.0f} {server.median('p99_us'):8.0f}"
            f" {server.median('lost'):6.0f} {server.median('wrong'):6.0f}"
        )


if __name__ == "__main__":
    main()
