# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What clients notice when a list of a million names is put into another one's place.

Usage: C{python bench/swap.py [--seconds 20] [--every 5] [--share 0.5] [--source] [--built]}.
dnsguard is set up and built as C{bench/latency.py} has it, core 0 for it and every
process that it starts. It is loaded with half of what it answers, then with as much as
it takes (128 questions under way). Every so many seconds another list comes into force
by SIGHUP: compiled first, by the list worker on the same core, unless it was before.
Each has other names than the other, and those that both have, some of which are asked
for, stand in other lines. When the new list is in force is seen by asking for a name
of its own.

Each tenth of a second has its p99, of the questions sent in it. Printed are the
median and the worst of those far from any swap; of those from SIGHUP until a tenth of a
second before the swap, while a list is compiled and rules are made; and of those from then
to half a second after the swap.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench import whole  # noqa: E402
from bench.compare import awaitBlocking  # noqa: E402
from bench.hot import LOAD_CORE, UPSTREAM, build  # noqa: E402
from bench.latency import (  # noqa: E402
    PORT,
    configuration,
    flood,
    pinned,
    place,
    saturation,
    started,
    writeLists,
)
from tests.support.process import askUDP, request  # noqa: E402

BEFORE, AFTER = 0.1, 0.5
FULL = "16"
"""Questions of each of eight sockets under way when the load is full."""


class Swapper(threading.Thread):
    """
    Swaps lists, and notes when.

    @ivar times: How often it is to swap.
    @ivar swaps: When each was asked for, and when it was in force; fewer if a list
        never was.
    """

    def __init__(self, process: Any, config: Path, every: float, times: int) -> None:
        super().__init__()
        self.swaps: list[tuple[float, float]] = []
        self._process, self._config = process, config
        self._every, self.times = every, times

    def run(self) -> None:
        """
        Swap every so often.
        """
        began = time.monotonic()
        for number in range(self.times):
            time.sleep(max(0.0, began + 1.0 + number * self._every - time.monotonic()))
            version = 1 - number % 2
            self._config.write_text(configuration(self._config.parent, version))
            asked = time.monotonic()
            self._process.send_signal(signal.SIGHUP)
            name = request(f"listed-0.v{version}.example")
            while askUDP(PORT, name)[3] & 15 != 3:
                if time.monotonic() > asked + 30:
                    # Only the main thread can end the program.
                    return
                time.sleep(0.01)
            self.swaps.append((asked, time.monotonic()))


def judged(output: str, swaps: list[tuple[float, float]]) -> list[Any]:
    """
    Say what a load has noticed.
    """
    total, timed = map(json.loads, output.splitlines())
    far: list[int] = []
    near: list[int] = []
    preparing: list[int] = []
    # The last ones aren't whole.
    for number, (answered, _, p99) in enumerate(timed["parts"][:-2]):
        begin = timed["began"] + number / 10
        if not answered:
            continue
        if any(done - BEFORE - 0.1 < begin < done + AFTER for _, done in swaps):
            near.append(p99)
        elif any(asked - 0.1 < begin < done for asked, done in swaps):
            preparing.append(p99)
        else:
            far.append(p99)
    if not swaps:
        sys.exit("no swap was done in that time: load for longer, or swap less often")
    took = statistics.median(done - asked for asked, done in swaps)
    return [
        f"{total['qps']:.0f}",
        len(swaps),
        f"{took:.2f}",
        total["sent"],
        total["lost"],
        total["wrong"],
        *(
            f"{statistics.median(each):.0f} {max(each)}" if each else "-"
            for each in (far, preparing, near)
        ),
    ]


def main() -> None:
    """
    Measure, and print a table.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two swaps")
    parser.add_argument("--share", type=float, default=0.5, help="of what a server can do")
    parser.add_argument("--source", action="store_true", help="measure the tree, built in place")
    parser.add_argument("--built", action="store_true", help="measure what was built before")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(place(options))
    with tempfile.TemporaryDirectory(prefix="dnsguard-", ignore_cleanup_errors=True) as name:
        tools = Path(name)
        build(tools)
        writeLists(tools)
        newer = tools / "million-1.txt"
        newer.write_text("# Newer: all lines are others.\n" + newer.read_text())
        upstream = subprocess.Popen(
            [str(tools / "responder"), "-p", str(UPSTREAM)], preexec_fn=pinned(LOAD_CORE)
        )
        try:
            measure(tools, options)
        finally:
            upstream.terminate()
            upstream.wait()


def measure(tools: Path, options: Any) -> None:
    """
    Measure under both loads.
    """
    path = tools / "dnsguard.yaml"
    path.write_text(configuration(tools, 0))
    titles = ["load", "rate", "swaps", "took s", "sent", "lost", "wrong"]
    print(*titles, "p99 us, median and worst: far", "before", "at the swap", sep="  ")
    with started(whole.command(path), tools) as process:
        awaitBlocking(PORT)
        rate = saturation(tools) * options.share
        for load, arguments in [
            ("half", ("-q", str(int(rate)), "-w", "4096")),
            ("full", ("-w", FULL)),
        ]:
            times = int((options.seconds - 1) // options.every)
            running = flood(tools, *arguments, "-t", str(options.seconds), "-i")
            swapper = Swapper(process, path, options.every, times - times % 2)
            swapper.start()
            output, _ = running.communicate()
            swapper.join()
            if len(swapper.swaps) < swapper.times:
                sys.exit("a list never came into force")
            print(load, *judged(output, swapper.swaps), sep="  ", flush=True)


if __name__ == "__main__":
    main()
