# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the control API costs those who ask for names: how long a query takes while
nobody uses it, while the configuration is changed back to back, and while
clients mean harm: connections that say a letter now and then, and bodies of a
gigabyte, one after the other.

Usage: C{python -m bench.control [--seconds 4] [--realtime]} from the root of the
source tree. Every query waits for the one before; every other one is for a name
that nothing is remembered of. Milliseconds are printed: the median, the 99th
percentile, and the worst.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, request
from tests.support.responder import Responder

TOKEN = "a-token-for-benchmarks"
SLOW = 30
"""Connections that never come to an end: as many as one address may have, but
for two."""

GIGABYTE = 1 << 30

Disturbance = Callable[["Bench"], None]
"""Does something once; called again and again in a thread."""


class Bench:
    """
    A process, and what is done to it.

    @ivar done: How often something was done to it.
    """

    def __init__(self, folder: Path, names: int, realtime: bool) -> None:
        """
        @param names: Names of a block list in the configuration itself.
        """
        self.upstream = Responder()
        self.upstream.start()
        self.port, self.control = freePort(), freePort()
        listed = "".join(f"    - name{number}.example\n" for number in range(names))
        self.process = DNSGuardProcess(
            folder,
            f"server: {{listen: ['127.0.0.1:{self.port}']}}\n"
            f"upstreams: ['127.0.0.1:{self.upstream.port}']\n"
            f"control: {{listen: '127.0.0.1:{self.control}', token: {TOKEN}}}\n"
            "query_store: {engine: memory}\ncache:\n  min_ttl: 1m\n"
            f"blocklists:\n  sources: []\n  denylist:\n    - bad.example\n{listed}",
            self.port,
        )
        self.process.waitUntilAnswering()
        while "control API served" not in self.process.output():
            time.sleep(0.05)
        self.done = 0
        self.slow: list[socket.socket] = []
        if realtime:
            for pid in (self.process.process.pid, os.getpid()):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))

    def stop(self) -> None:
        """
        End it.
        """
        self.process.stop()
        self.upstream.stop()

    def measure(self, seconds: float, disturb: Disturbance | None) -> list[float]:
        """
        Ask for some seconds.

        @return: Milliseconds of each query.
        """
        # In a process of its own: what is measured mustn't be this one.
        processes = multiprocessing.get_context("fork")
        done = processes.Value("i", 0)

        def disturbing() -> None:
            # Whoever disturbs is elsewhere, and not ahead of anybody.
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            while disturb is not None:
                disturb(self)
                done.value = self.done = self.done + 1

        process = processes.Process(target=disturbing, daemon=True)
        process.start()
        found = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(4.0)
            client.connect(("127.0.0.1", self.port))
            stop = time.monotonic() + seconds
            number = 0
            while time.monotonic() < stop:
                number += 1
                name = "hot.example" if number % 2 else f"n{time.monotonic_ns()}.example"
                began = time.perf_counter()
                client.send(request(name, id=number & 0xFFFF))
                client.recv(4096)
                found.append((time.perf_counter() - began) * 1000)
                time.sleep(0.001)
        process.kill()
        process.join()
        self.done = done.value
        return found


def change(bench: Bench) -> None:
    """
    Change the configuration.
    """
    connection = http.client.HTTPConnection("127.0.0.1", bench.control, timeout=60)
    patch = json.dumps({"cache": {"min_ttl": f"{bench.done % 50 + 1}m"}})
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request("PATCH", "/api/v1/config", patch, headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {response.read()!r}")
    response.read()
    connection.close()


def harm(bench: Bench) -> None:
    """
    Say a letter on each slow connection, and send as much of a gigabyte as is
    taken.
    """
    for place in range(SLOW):
        if len(bench.slow) <= place:
            connection = socket.create_connection(("127.0.0.1", bench.control))
            connection.sendall(b"GET /health HTTP/1.1\r\nX: ")
            bench.slow.append(connection)
        try:
            bench.slow[place].sendall(b"y")
        except OSError:
            bench.slow[place].close()
            del bench.slow[place]
            break
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", bench.control)) as huge,
    ):
        huge.settimeout(1.0)
        huge.sendall(b"POST /clients HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        for _ in range(GIGABYTE >> 16):
            huge.sendall(b"x" * (1 << 16))


CASES: tuple[tuple[str, int, Disturbance | None], ...] = (
    ("nobody uses it", 0, None),
    ("configuration changed", 0, change),
    ("the same, 20,000 names in it", 20_000, change),
    ("slow clients, bodies of 1 GB", 0, harm),
)


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description="What the control API costs queries.")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--realtime", action="store_true", help="ahead of all else (root)")
    options = parser.parse_args()
    print(f"{'while':30} {'done':>6} {'queries':>8} {'median':>8} {'p99':>8} {'worst':>8}")
    for name, names, disturb in CASES:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), names, options.realtime)
            try:
                found = sorted(bench.measure(options.seconds, disturb))
            finally:
                bench.stop()
        shown = [found[int(len(found) * part)] for part in (0.5, 0.99)]
        figures = " ".join(f"{each:8.2f}" for each in (*shown, found[-1]))
        print(f"{name:30} {bench.done:6} {len(found):8} {figures}")


if __name__ == "__main__":
    main()
