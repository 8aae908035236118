# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What an answer takes while the query store is in trouble.

Usage: C{python bench/storefaults.py [--seconds 5] [--rate 5000]}. One process of
dnsguard with its DuckDB file is asked at a rate: with nothing amiss, while the
engine's process is stopped (SIGSTOP), and while neither the file nor the spool can
grow (a limit on the size of files stands for a full disk). A tenth of the
questions are new to it and go to an upstream. Run it from the project's folder,
built in place.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench.hot import UPSTREAM, build  # noqa: E402
from tests.support.ports import freePort  # noqa: E402
from tests.support.process import DNSGuardProcess  # noqa: E402

CONFIG = """\
server: {{listen: ["127.0.0.1:{port}"]}}
upstreams: ["127.0.0.1:{upstream}"]
blocklists: {{sources: []}}
query_store: {{engine: duckdb, buffer_size: 20000}}
control: {{enabled: false}}
"""


class Faults:
    """
    One process, and what is done to it.
    """

    def __init__(self, process: DNSGuardProcess) -> None:
        self.pid = process.process.pid

    def all(self) -> list[int]:
        """
        The process and those it has started.
        """
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def nothing(self) -> None:
        """
        Leave all as it is.
        """

    def stop(self) -> None:
        """
        Stop the engine.
        """
        for each in self.all()[1:]:
            os.kill(each, signal.SIGSTOP)

    def resume(self) -> None:
        """
        Let it go on.
        """
        for each in self.all()[1:]:
            os.kill(each, signal.SIGCONT)

    def fill(self) -> None:
        """
        Let no file grow.
        """
        for each in self.all():
            _, hard = resource.prlimit(each, resource.RLIMIT_FSIZE)
            resource.prlimit(each, resource.RLIMIT_FSIZE, (4096, hard))

    def free(self) -> None:
        """
        Let files grow.
        """
        for each in self.all():
            _, hard = resource.prlimit(each, resource.RLIMIT_FSIZE)
            resource.prlimit(each, resource.RLIMIT_FSIZE, (hard, hard))


def main() -> None:
    """
    Measure, and print a table.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dnsguard-") as name:
        tools = Path(name)
        build(tools)
        upstream = subprocess.Popen([str(tools / "responder"), "-p", str(UPSTREAM)])
        port = freePort()
        process = DNSGuardProcess(tools, CONFIG.format(port=port, upstream=UPSTREAM), port)
        first = 0

        def flood(seconds: float) -> dict[str, float]:
            nonlocal first
            first += 1_000_000
            done = subprocess.run(
                [
                    *(str(tools / "flood"), "-p", str(port), "-n", "1000", "-m", "10"),
                    *("-f", str(first), "-q", str(options.rate), "-w", "4096"),
                    *("-t", str(seconds)),
                ],
                check=True,
                capture_output=True,
                text=True,
            )
            found: dict[str, float] = json.loads(done.stdout)
            return found

        try:
            process.waitUntilAnswering()
            flood(6.0)
            faults = Faults(process)
            work: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
                ("nothing amiss", faults.nothing, faults.nothing),
                ("engine stopped", faults.stop, faults.resume),
                ("disk full", faults.fill, faults.free),
                ("nothing amiss again", faults.nothing, faults.nothing),
            ]
            print(f"{'':22}{'p50 us':>8}{'p99 us':>8}{'p99.9 us':>10}{'answered':>10}{'lost':>6}")
            for what, begin, end in work:
                begin()
                found = flood(options.seconds)
                end()
                print(
                    f"{what:22}{found['p50_us']:8.0f}{found['p99_us']:8.0f}"
                    f"{found['p999_us']:10.0f}{found['answered']:10.0f}{found['lost']:6.0f}",
                    flush=True,
                )
        finally:
            process.stop()
            upstream.terminate()
            upstream.wait()


if __name__ == "__main__":
    main()
