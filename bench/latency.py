# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How long an answer takes at half of what a server can do, quiet and disturbed.

Usage: C{python bench/latency.py [--seconds 10] [--rounds 1] [--share 0.5]
[--quiet] [--priority] [--source] [--built]}. Core 0 has the server and every process
that it starts (the query store's worker and the one that compiles lists among them),
core 1 the load and the upstream. Each server is loaded with all it takes for three
seconds, then with half of what it answered, for so many seconds: dnsguard with nothing
else to do, at unbound's rate and at its own; dnsguard while the policy is published
anew each second, other lists of a million names come into force every three seconds,
and rows are flushed each second; unbound with nothing else to do, and with
C{unbound-control reload_keep_cache} each second, which reads its configuration again.
The responder in C, which does nothing but answer, says what the machine and the load
make of it at the same rates: no server can do better. With C{--quiet} nobody is
disturbed, and with several rounds the medians are printed in the end. Half of the
queries have EDNS, and every answer is checked. dnsguard is what an installation gets:
it is built into C{build/lib} first, which takes a minute or two and is left out with
C{--built}; with C{--source} it is the source tree, built in place.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bench import whole  # noqa: E402
from bench.compare import LISTED, NAMES, awaitBlocking, installation  # noqa: E402
from bench.hot import LOAD_CORE, SERVER_CORE, UPSTREAM, await_, build  # noqa: E402
from bench.peers import PEERS  # noqa: E402
from tests.support.ports import freePort  # noqa: E402

PORT = freePort()
LISTS_EVERY = 3

PRIORITY = "--priority" in sys.argv

FOUND: dict[tuple[str, float], list[dict[str, Any]]] = {}
"""By name and rate: what each round gave."""

Disturb = Callable[[int], None]
"""Disturbs a server, given how many seconds it has been loaded."""


def pinned(core: int) -> Callable[[], None]:
    """
    What makes a child run on one core; before all others, if that is wanted. Not
    by real time: the system takes that away for a twentieth of each second.
    """

    def pin() -> None:
        os.sched_setaffinity(0, {core})
        if PRIORITY:
            os.setpriority(os.PRIO_PROCESS, 0, -20)

    return pin


def configuration(folder: Path, version: int) -> str:
    """
    The whole of dnsguard, with one of two versions of a list.
    """
    return whole.configuration(
        folder / "data",
        PORT,
        UPSTREAM,
        folder / f"million-{version}.txt",
        more="query_store: {flush_to_store_interval: 1s}\ncontrol: {enabled: false}",
    )


def writeLists(folder: Path) -> None:
    """
    Write two versions of a list, each of which has what the load asks for as ads.
    """
    for version in (0, 1):
        whole.writeList(folder / f"million-{version}.txt", NAMES, LISTED, f"v{version}.example")


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a server on its core.
    """
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(
            command,
            preexec_fn=pinned(SERVER_CORE),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        await_(PORT)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def flood(tools: Path, *arguments: str) -> subprocess.Popen[str]:
    """
    Start the load.
    """
    return subprocess.Popen(
        [
            *(str(tools / "flood"), "-p", str(PORT), "-n", str(NAMES), "-e", "50", "-b", "10"),
            *("-s", "8", *arguments),
        ],
        preexec_fn=pinned(LOAD_CORE),
        stdout=subprocess.PIPE,
        text=True,
    )


def timed(rate: float, seconds: float) -> tuple[str, ...]:
    """
    Give the arguments that make a load of so many questions a second.
    """
    return ("-q", str(int(rate)), "-w", "4096", "-t", str(seconds))


def measured(tools: Path, rate: float, seconds: float, disturb: Disturb) -> dict[str, Any]:
    """
    Load a server at a rate, and disturb it each second.
    """
    load = flood(tools, *timed(rate, seconds))
    began = time.monotonic()
    for second in range(int(seconds)):
        time.sleep(max(0.0, began + second + 0.5 - time.monotonic()))
        disturb(second)
    output, _ = load.communicate()
    found: dict[str, Any] = json.loads(output)
    return found


def saturation(tools: Path) -> float:
    """
    Warm a server, and find how much it answers a second.
    """
    for arguments in (("-q", "20000", "-w", "64", "-t", "2"), ("-w", "256", "-t", "3")):
        output, _ = flood(tools, *arguments).communicate()
    return float(json.loads(output)["qps"])


def quiet(second: int) -> None:
    """
    Leave it alone.
    """


def floor(tools: Path, options: Any, rates: Iterable[float]) -> None:
    """
    Measure the responder in C, which blocks nothing.
    """
    with started([str(tools / "responder"), "-p", str(PORT)], tools):
        for _ in range(options.rounds):
            for rate in rates:
                load = flood(tools, *timed(rate, options.seconds), "-b", "0")
                tell("C responder", rate, json.loads(load.communicate()[0]))


def dnsguard(tools: Path, options: Any, unbounds: float | None) -> float:
    """
    Measure dnsguard, at unbound's rate, too.

    @return: The rate.
    """
    path = tools / "dnsguard.yaml"
    path.write_text(configuration(tools, 0))
    with started(whole.command(path), tools) as process:
        awaitBlocking(PORT)
        rate = saturation(tools) * options.share

        def disturb(second: int) -> None:
            version = second // LISTS_EVERY % 2
            if second % LISTS_EVERY == 0:
                path.write_text(configuration(tools, 1 - version))
            process.send_signal(signal.SIGHUP)

        for _ in range(options.rounds):
            if unbounds is not None:
                tell("dnsguard", unbounds, measured(tools, unbounds, options.seconds, quiet))
            tell("dnsguard", rate, measured(tools, rate, options.seconds, quiet))
            if not options.quiet:
                tell("dnsguard, disturbed", rate, measured(tools, rate, options.seconds, disturb))
    return rate


def unbound(tools: Path, options: Any) -> float | None:
    """
    Measure unbound.

    @return: The rate; L{None} if it isn't there.
    """
    peer = next(peer for peer in PEERS if peer.name == "unbound")
    if peer.path() is None:
        print("unbound: left out, it isn't on this machine")
        return None
    folder = tools / "unbound"
    folder.mkdir()
    arguments = peer.configure(folder, PORT, UPSTREAM)
    path = folder / "unbound.conf"
    zones = "".join(f'local-zone: "ads{n}.example.org" always_nxdomain\n' for n in range(NAMES))
    text = path.read_text().replace("control-enable: no", f"control-enable: yes\n"
        f"    control-interface: {folder / 'control'}\n    control-use-cert: no")  # fmt: skip
    path.write_text(f"{text}\nserver:\n{zones}")
    with started([str(peer.path()), *arguments], folder):
        rate = saturation(tools) * options.share
        control = shutil.which("unbound-control", path="/usr/sbin:/usr/bin")

        def reload(second: int) -> None:
            if control is not None:
                subprocess.Popen(
                    [control, "-c", str(path), "reload_keep_cache"],
                    preexec_fn=pinned(SERVER_CORE),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                ).wait()

        for _ in range(options.rounds):
            tell("unbound", rate, measured(tools, rate, options.seconds, quiet))
            if not options.quiet:
                tell("unbound, reloaded", rate, measured(tools, rate, options.seconds, reload))
    return rate


def tell(name: str, rate: float, found: dict[str, Any]) -> None:
    """
    Print one row, and keep it.
    """
    FOUND.setdefault((name, rate), []).append(found)
    print(
        f"{name:22} {rate:9.0f} {found['p50_us']:8.0f} {found['p99_us']:8.0f}"
        f" {found['p999_us']:9.0f} {found['answered']:9} {found['lost']:6} {found['wrong']:6}",
        flush=True,
    )


def place(options: Any) -> Path:
    """
    Where the dnsguard is that is measured.
    """
    if options.source:
        return HERE.parent
    return HERE.parent / "build" / "lib" if options.built else installation()


def tellMedians() -> None:
    """
    Print the middle one of each figure in all rounds.
    """
    print("\nmedians")
    for (name, rate), rounds in list(FOUND.items()):
        tell(
            name, rate, {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        )


def main() -> None:
    """
    Measure both, and print a table.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.5, help="of what a server can do")
    parser.add_argument("--quiet", action="store_true", help="disturb nobody")
    parser.add_argument("--built", action="store_true", help="measure what was built before")
    parser.add_argument("--priority", action="store_true", help="before other processes")
    parser.add_argument("--source", action="store_true", help="measure the tree, built in place")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(place(options))
    with tempfile.TemporaryDirectory(prefix="dnsguard-") as name:
        tools = Path(name)
        build(tools)
        writeLists(tools)
        upstream = subprocess.Popen(
            [str(tools / "responder"), "-p", str(UPSTREAM)], preexec_fn=pinned(LOAD_CORE)
        )
        print(f"{'server':22} {'rate':>9} {'p50 us':>8} {'p99 us':>8} {'p99.9 us':>9}", end="")
        print(f" {'answered':>9} {'lost':>6} {'wrong':>6}")
        try:
            unbounds = unbound(tools, options)
            rates = [unbounds, dnsguard(tools, options, unbounds)]
            floor(tools, options, [rate for rate in rates if rate is not None])
            if options.rounds > 1:
                tellMedians()
        finally:
            upstream.terminate()
            upstream.wait()


if __name__ == "__main__":
    main()
