# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Those who measure side by side: is C{dnsguard perf} ever what is measured?

Usage: C{python bench/perftester.py [--queries 500000] [--rounds 3] [--realtime]}. One
core for the server, another one for the load, each in turn; what is printed is
the median of the rounds: answers a second, the load's microseconds of CPU for
a question (with what starting it takes), and how much of its core the server
had. Servers are the responder in C, which does nothing but answer, and the hot
path of dnsguard.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.hot import LOAD_CORE, SERVER_CORE, await_, build, cpuSeconds, pinned  # noqa: E402

PORT = 5480
NAMES = 10_000
SOCKETS = 4

Rate = Callable[[str], float]


def tools(folder: Path, window: int, queries: int) -> dict[str, tuple[list[str], Rate]]:
    """
    Each one: how it is called, and how its answers a second are read.
    """
    names, data = folder / "names", folder / "data"
    names.write_text("".join(f"name{number}.example.org\n" for number in range(NAMES)))
    data.write_text("".join(f"name{number}.example.org A\n" for number in range(NAMES)))
    perf = [
        *(sys.executable, "-m", "dnsguard", "perf", "--resolver", f"127.0.0.1:{PORT}"),
        *("--names", str(names), "--queries", str(queries), "--concurrency", str(window)),
        *("--sockets", str(SOCKETS), "--json"),
    ]
    flood = [
        *(str(folder / "flood"), "-p", str(PORT), "-n", str(NAMES), "-s", str(SOCKETS)),
        *("-w", str(window // SOCKETS), "-t", "2"),
    ]
    found = {
        "dnsguard perf": (perf, lambda text: json.loads(text)["qps"]),
        "flood.c": (flood, lambda text: json.loads(text)["qps"]),
    }
    dnsperf = shutil.which("dnsperf")
    if dnsperf:
        found["dnsperf"] = (
            [
                *(dnsperf, "-s", "127.0.0.1", "-p", str(PORT), "-d", str(data), "-l", "2"),
                *("-c", str(SOCKETS), "-T", "1", "-q", str(window)),
            ],
            lambda text: float(re.search(r"Queries per second:\s+([\d.]+)", text)[1]),  # type: ignore[index]
        )
    return found


def loaded(command: list[str], rate: Rate) -> tuple[float, float]:
    """
    Run a tool.

    @return: Answers a second, and the CPU seconds that it used.
    """
    process = subprocess.Popen(
        command,
        preexec_fn=pinned(LOAD_CORE),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=HERE.parent,
    )
    assert process.stdout is not None
    text = process.stdout.read()
    _, _, used = os.wait4(process.pid, 0)
    return rate(text), used.ru_utime + used.ru_stime


def main() -> None:
    """
    Measure, and print the table.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, nargs="*", default=[100])
    parser.add_argument("--realtime", action="store_true")
    options = parser.parse_args()
    environment = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(environment)
    print(f"{'server':16} {'load':14} {'window':>6} {'answers/s':>10} {'us CPU':>7} {'server':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        servers = {
            "C responder": [str(folder / "responder"), "-p", str(PORT)],
            "dnsguard thread": [
                *(sys.executable, str(HERE / "replayserver.py"), "thread", str(PORT)),
            ],
        }
        for server, command in servers.items():
            process = subprocess.Popen(
                command, preexec_fn=pinned(SERVER_CORE), cwd=HERE.parent, stderr=subprocess.DEVNULL
            )
            try:
                await_(PORT)
                for window in options.windows:
                    measure(server, process.pid, folder, window, options)
            finally:
                process.terminate()
                process.wait()


def measure(server: str, pid: int, folder: Path, window: int, options: argparse.Namespace) -> None:
    """
    Measure with each tool, and print a line for it.
    """
    chosen = tools(folder, window, options.queries)
    results: dict[str, list[tuple[float, float, float]]] = {tool: [] for tool in chosen}
    loaded(*chosen["dnsguard perf"])
    for _ in range(options.rounds):
        for tool, (command, rate) in chosen.items():
            before = cpuSeconds(pid)
            qps, used = loaded(command, rate)
            # All but the first tool run for two seconds.
            answers = options.queries if tool == "dnsguard perf" else qps * 2
            busy = (cpuSeconds(pid) - before) / (answers / qps)
            results[tool].append((qps, used / answers * 1e6, busy))
    for tool, found in results.items():
        qps, used, busy = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{server:16} {tool:14} {window:6} {qps:10.0f} {used:7.2f} {busy:7.0%}", flush=True)


if __name__ == "__main__":
    main()
