# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What several processes bring, and what they cost.

Usage: C{python bench/processes.py [--processes 1 2] [--listed 1000000] [--seconds 3]}.
The whole server with so many names on a list and the query store on, once with
each number of processes, asked for names nobody has asked for, and then for
10,000 names over and over, from 64 ports. All that runs (server, load and
upstream) may use all CPUs: on a machine with fewer than the processes and two
more, answers per second say little, and the CPU that an answer costs says most.

Memory is what L{the system <proc(5)>} says in C{smaps_rollup}: Pss counts a page
that several processes share in parts, so that the sum is what is really taken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.hot import TICKS, build  # noqa: E402
from tests.support.ports import freePort  # noqa: E402
from tests.support.process import DNSGuardProcess, askUDP, request  # noqa: E402

NAMES = 10_000
WORK = {"cold": ["-u", "-f", "1000000"], "hot": ["-n", str(NAMES)]}


def family(process: int) -> list[int]:
    """
    A process and its helpers.
    """
    pids = [process]
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for pid in map(int, path.read_text().split()):
            if b"dnsguard.helper" in Path(f"/proc/{pid}/cmdline").read_bytes():
                pids.append(pid)
    return pids


def cpu(pids: list[int]) -> float:
    """
    The seconds of CPU that processes have used.
    """
    used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / TICKS


def memory(pid: int, file: str = "") -> dict[str, float]:
    """
    The megabytes that a process has in memory, of all or of one mapped file.
    """
    found = {"Rss": 0.0, "Pss": 0.0}
    counts = not file
    name = "smaps" if file else "smaps_rollup"
    for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
        words = line.split()
        if file and not words[0].endswith(":"):
            counts = line.endswith(file)
        elif counts and words[0][:-1] in found:
            found[words[0][:-1]] += int(words[1]) / 1024
    return found


def measure(
    tools: Path, folder: Path, lists: Path, upstream: int, count: int, seconds: float
) -> None:
    """
    Measure one number of processes.
    """
    port = freePort()
    process = DNSGuardProcess(
        folder,
        f"server: {{listen: ['127.0.0.1:{port}'], processes: {count}, reuse_port_listeners: 1}}\n"
        f"data_directory: {lists.parent / 'data'}\nupstreams: ['127.0.0.1:{upstream}']\n"
        f"blocklists: {{sources: [{{name: listed, url: {lists}}}]}}\n"
        "cache: {lru_size: 100000}\n",
        port,
    )
    try:
        process.waitUntilAnswering()
        end = time.monotonic() + 120
        while (
            process.output().count("serves\n") < count - 1
            or askUDP(port, request("ads1.example.org"))[3] & 15 != 3
        ):
            if time.monotonic() > end:
                sys.exit(process.output())
            time.sleep(0.2)
        pids = family(process.process.pid)
        for work, kind in WORK.items():
            before = cpu(pids)
            flood: dict[str, Any] = json.loads(
                subprocess.run(
                    [
                        str(tools / "flood"), "-p", str(port), *kind, "-e", "50",
                        "-w", "256", "-s", "64", "-t", str(seconds),
                    ],
                    check=True,
                    capture_output=True,
                ).stdout
            )  # fmt: skip
            used = cpu(pids) - before
            print(
                f"{count:9} {work:5} {flood['qps']:10,.0f} {flood['lost']:6}"
                f" {flood['wrong']:6} {used / max(1, flood['answered']) * 1e6:10.2f}"
            )
        for number, pid in enumerate(pids):
            whole, mapped = memory(pid), memory(pid, "lists.set")
            print(
                f"          process {number}: {whole['Rss']:6.1f} MB resident,"
                f" {whole['Pss']:6.1f} its own part; of these lists {mapped['Rss']:5.1f},"
                f" its own part {mapped['Pss']:5.1f}"
            )
    finally:
        process.stop()


def main() -> None:
    """
    Measure all.
    """
    parser = argparse.ArgumentParser(description="What several processes bring and cost.")
    parser.add_argument("--processes", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build(folder)
        lists = folder / "listed.txt"
        with lists.open("w") as file:
            file.writelines(f"ads{number}.example.org\n" for number in range(options.listed))
        port = freePort()
        upstream = subprocess.Popen([str(folder / "responder"), "-p", str(port)])
        try:
            print(f"{os.cpu_count()} CPUs\nprocesses work   answers/s   lost  wrong  us CPU each")
            for count in options.processes:
                measure(
                    folder, Path(tempfile.mkdtemp(dir=folder)), lists, port, count, options.seconds
                )
        finally:
            upstream.terminate()
            upstream.wait()


if __name__ == "__main__":
    main()
