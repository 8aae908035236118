# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What clients notice when Redis stalls or dies.

Run as C{python bench/redis_outage.py} in the source tree, with C{redis-server}; takes
some seconds. A whole process is asked for a thousand new names in each of these
states, one after the other: without Redis at all; with one that works; with one
that was stopped (C{SIGSTOP}) just before the first name; when it goes on; with one
that is full, one that has become a replica and takes no writes, and one that was
killed just before. The upstream answers at once, so what is measured is
dnsguard and Redis.
"""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, request
from tests.support.rediscase import CONFIG
from tests.support.redisserver import RedisServer
from tests.support.responder import Responder

NAMES = 1000


def ask(process: DNSGuardProcess, state: str) -> None:
    """
    Ask for names that nobody has asked for, and print how long it took.
    """
    taken = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", process.port))
        for number in range(NAMES):
            query = request(f"{state}{number}.example.org")
            started = time.perf_counter()
            client.send(query)
            client.recv(4096)
            taken.append(1000 * (time.perf_counter() - started))
            time.sleep(0.001)
    taken.sort()
    middle, late, last = taken[NAMES // 2], taken[NAMES * 99 // 100], taken[-1]
    print(
        f"{state:8}  p50 {middle:6.2f} ms  p99 {late:6.2f} ms  slowest {last:6.2f} ms", flush=True
    )


def start(folder: Path, upstream: Responder, redis: str) -> DNSGuardProcess:
    """
    Start a process.
    """
    folder.mkdir()
    port = freePort()
    text = CONFIG.format(port=port, upstream=upstream.port, redis=redis)
    process = DNSGuardProcess(folder, text, port)
    process.waitUntilAnswering()
    return process


def run(folder: Path) -> None:
    """
    Run all of it.
    """
    upstream = Responder()
    upstream.start()
    server = RedisServer(folder / "redis")
    server.start()
    processes = []
    try:
        processes.append(start(folder / "alone", upstream, ""))
        ask(processes[-1], "without")
        processes.append(start(folder / "shared", upstream, f'address: "127.0.0.1:{server.port}"'))
        shared = processes[-1]
        time.sleep(1)
        ask(shared, "working")
        server.signal(signal.SIGSTOP)
        ask(shared, "stopped")
        server.signal(signal.SIGCONT)
        time.sleep(1)
        ask(shared, "resumed")
        server.ask("CONFIG", "SET", "maxmemory", "1")
        ask(shared, "full")
        server.ask("CONFIG", "SET", "maxmemory", "0")
        server.ask("REPLICAOF", "127.0.0.1", "1")
        ask(shared, "replica")
        server.ask("REPLICAOF", "NO", "ONE")
        server.stop()
        ask(shared, "killed")
    finally:
        for process in processes:
            process.stop()
        server.stop()
        upstream.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
