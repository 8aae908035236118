# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
dnsguard as a household has it: real lists, real names, measured by dnsperf.

Usage: C{python bench/household.py NAMES LIST [LIST ...] [--seconds 10]}, where NAMES
is a file of popular domains and each LIST a block list. The upstream is
C{bench/zone.py}. dnsguard has one core, dnsperf and the upstream another one.

Prints how long the first answer took, answers in a second and latencies for
names asked before and for names asked the first time, the share blocked, and
resident memory.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.compare import rss  # noqa: E402
from bench.hot import LOAD_CORE, SERVER_CORE, await_, pinned  # noqa: E402
from tests.support.ports import freePort  # noqa: E402
from tests.support.process import askUDP, request  # noqa: E402


def dnsperf(port: int, questions: Path, seconds: int, once: bool) -> dict[str, str]:
    """
    Ask what is in a file, over and over or once.
    """
    how = ["-n", "1"] if once else ["-l", str(seconds)]
    done = subprocess.run(
        ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions), "-c", "8", *how],
        preexec_fn=pinned(LOAD_CORE),
        check=True,
        capture_output=True,
        text=True,
    )
    return {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in done.stdout.splitlines())
    }


def show(title: str, figures: dict[str, str]) -> None:
    """
    Print one run.
    """
    lost = figures["Queries lost"].split()[0]
    latency = re.sub(r"\s+", " ", figures["Average Latency (s)"])
    print(
        f"{title:14} {float(figures['Queries per second']):9.0f} answers/s,"
        f" latency {latency}, lost {lost}, {figures['Response codes']}",
        flush=True,
    )


def main() -> None:
    """
    Measure.
    """
    parser = argparse.ArgumentParser(description="dnsguard with real lists and names.")
    parser.add_argument("names", type=Path)
    parser.add_argument("lists", type=Path, nargs="+")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        upstreamPort, port = freePort(), freePort()
        upstream = subprocess.Popen(
            [
                *(sys.executable, HERE / "zone.py", options.names),
                *("--port", str(upstreamPort), "--count", str(options.count)),
            ],
            preexec_fn=pinned(LOAD_CORE),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        sources = "".join(
            f"    - {{name: {path.name}, url: {path.absolute()}}}\n" for path in options.lists
        )
        (folder / "dnsguard.yaml").write_text(
            f"data_directory: {folder / 'data'}\n"
            f"server: {{listen: ['127.0.0.1:{port}']}}\nupstreams: ['127.0.0.1:{upstreamPort}']\n"
            f"cache: {{lru_size: 100000}}\nblocklists:\n  sources:\n{sources}"
        )
        await_(upstreamPort)
        started = time.monotonic()
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from dnsguard.cli import main; main()"),
                *("run", "--config", str(folder / "dnsguard.yaml")),
            ],
            preexec_fn=pinned(SERVER_CORE),
            stdout=(folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
            env={"PYTHONPATH": str(HERE.parent), "PATH": "/usr/bin:/usr/sbin"},
        )
        try:
            while True:
                try:
                    askUDP(port, request("localhost"), timeout=0.1)
                    break
                except OSError:
                    time.sleep(0.005)
            print(f"first answer after {time.monotonic() - started:.2f} s")
            while "names from" not in (folder / "log").read_text():
                time.sleep(0.2)
            time.sleep(2)
            for line in (folder / "log").read_text().splitlines():
                if "names from" in line:
                    print(line.partition("] ")[2])
            print(f"resident before any query: {rss(process.pid):.0f} MB")
            names = options.names.read_text().split()[: options.count]
            questions = folder / "questions"
            questions.write_text("".join(f"{each} A\nwww.{each} A\n" for each in names))
            show("asked first", dnsperf(port, questions, options.seconds, once=True))
            dnsperf(port, questions, options.seconds, once=True)
            show("asked before", dnsperf(port, questions, options.seconds, once=False))
            print(f"resident after {2 * len(names)} names: {rss(process.pid):.0f} MB")
        finally:
            for each in (process, upstream):
                each.terminate()
                each.wait(10)


if __name__ == "__main__":
    main()
