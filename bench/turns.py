# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How long the reactor is kept at a stretch, and by what, while a whole server
answers queries, lists change, the configuration is read again and the control API
is used.

Usage: C{python -m bench.turns [--seconds 20] [--names 20000]} from the root of the
source tree. A turn is what the reactor does between two looks at its sockets.
Each turn that takes longer than two milliseconds of the thread's own CPU time is
told of, under what the reactor had called when a thread last looked, which it does
once a millisecond: how many there were, and the worst. A turn that only
waited for a core or for Python's lock isn't one of them; those are counted apart.

The upstream is C{bench/responder.c}. One question in five is for a name that was
never asked for.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from bench.memory import ask, question
from bench.whole import configuration, writeList

LONG = 0.002
"""Seconds of a turn that is told of."""

TOKEN = "a-token-for-benchmarks"
DEPTH = 5
"""Functions shown of a turn, the innermost first."""

UNSEEN = ("nothing was seen", "")


# In the server's process.


class Watch:
    """
    Measures turns, and notes where the long ones are.
    """

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self._thread = threading.get_ident()
        self._began = 0.0
        self._cpu = 0.0
        self.turns = self.waited = 0
        self.found: dict[str, list[tuple[float, str]]] = {}
        self._what = UNSEEN
        threading.Thread(target=self._look, daemon=True).start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def poll(self, *arguments: Any) -> Any:
        """
        End a turn, wait, and begin another one.
        """
        took, wall = time.thread_time() - self._cpu, time.monotonic() - self._began
        began, self._began = self._began, 0.0
        if began:
            self.turns += 1
            if took > LONG:
                called, inner = self._what
                self.found.setdefault(called, []).append((took, inner))
            elif wall > LONG:
                self.waited += 1
        try:
            return self._poller.poll(*arguments)
        finally:
            self._what = UNSEEN
            self._cpu = time.thread_time()
            self._began = time.monotonic()

    def _look(self) -> None:
        while True:
            time.sleep(0.001)
            began = self._began
            if not began or time.monotonic() - began < LONG / 2:
                continue
            frame = sys._current_frames().get(self._thread)
            if frame is not None and began == self._began:
                self._what = _stack(frame)

    def report(self, path: Path) -> None:
        """
        Write down what was found.
        """
        found = sorted(self.found.items(), key=lambda each: -max(each[1])[0])
        told = [[len(took), *max(took), called] for called, took in found]
        path.write_text(json.dumps({"turns": self.turns, "waited": self.waited, "long": told}))


def _stack(frame: FrameType | None) -> tuple[str, str]:
    """
    Name what the reactor called of dnsguard, and the innermost functions that are
    dnsguard's, or Python's around them.
    """
    names: list[str] = []
    outermost = ""
    while frame is not None:
        code = frame.f_code
        name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
        if "/dnsguard/" in code.co_filename:
            outermost = name
        if (outermost == name or not names) and len(names) < DEPTH:
            names.append(name)
        frame = frame.f_back
    return outermost or names[-1], " < ".join(names)


def serve(config: str, path: Path) -> None:
    """
    Run a server that is watched from the moment that SIGUSR1 comes until SIGUSR2
    does.
    """
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    watched: Any = reactor

    def begin(*_: Any) -> None:
        watched.callFromThread(lambda: setattr(watched, "_poller", Watch(watched._poller)))

    def end(*_: Any) -> None:
        watched.callFromThread(lambda: watched._poller.report(path))

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    sys.argv = ["twistd", "-n", "--pidfile=", "dnsguard", "--config", config]
    run()


# In the processes around it.


def questions(names: int, stop: float) -> Iterator[bytes]:
    """
    Ask for popular names, and every fifth time for a new one.
    """
    for number in itertools.count():
        if number % 256 == 0 and time.monotonic() > stop:
            return
        place = number * 7919 % names if number % 5 else names + number
        yield question(place, number % 2 == 0)


def patch(port: int, minutes: int) -> int:
    """
    Change something over the API.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    text = json.dumps({"cache": {"min_ttl": f"{minutes}m"}})
    connection.request("PATCH", "/api/v1/config", text, headers)
    response = connection.getresponse()
    response.read()
    for path in ("/metrics", "/api/v1/cache/stats"):
        connection.request("GET", path, headers=headers)
        connection.getresponse().read()
    connection.close()
    return response.status


def disturb(process: subprocess.Popen[bytes], control: int, listed: Path, stop: float) -> None:
    """
    Change the lists and have the configuration read again, every other second;
    use the API in between.
    """
    for number in itertools.count():
        if time.monotonic() > stop:
            return
        if number % 4 == 0:
            writeList(listed, 0, 100_000, f"v{number}.example")
            process.send_signal(signal.SIGHUP)
        else:
            patch(control, number % 50 + 1)
        time.sleep(0.5)


def measure(folder: Path, seconds: float, names: int) -> dict[str, Any]:
    """
    Run it all.
    """
    # Imported by nobody who is watched.
    from tests.support.process import askUDP, freePort, request

    compiler = shutil.which("cc") or sys.exit("this needs a C compiler")
    here = Path(__file__).parent
    subprocess.run([compiler, "-O2", here / "responder.c", "-o", folder / "up"], check=True)
    port, upstream, control = freePort(), freePort(), freePort()
    listed, found = folder / "listed.txt", folder / "found.json"
    writeList(listed, 0, 100_000)
    with listed.open("a") as file:
        file.write("ads.example\n")
    more = f"control: {{listen: '127.0.0.1:{control}', token: {TOKEN}}}"
    config = folder / "dnsguard.yaml"
    config.write_text(configuration(folder / "data", port, upstream, listed, more=more))
    arguments = ["-m", "bench.turns", "--serve", str(config), str(found)]
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=output, stderr=output, cwd=here.parent
        )
    answering = subprocess.Popen([folder / "up", "-p", str(upstream)])
    try:
        for _ in range(200):
            try:
                if askUDP(port, request("ads.example"), timeout=0.1)[3] & 15 == 3:
                    break
            except OSError:
                time.sleep(0.1)
        process.send_signal(signal.SIGUSR1)
        stop = time.monotonic() + seconds
        other = multiprocessing.get_context("fork").Process(
            target=disturb, args=(process, control, listed, stop), daemon=True
        )
        other.start()
        count, took = ask(port, questions(names, stop))
        other.join(30)
        process.send_signal(signal.SIGUSR2)
        while not found.exists():
            time.sleep(0.1)
        time.sleep(0.2)
        result: dict[str, Any] = json.loads(found.read_text())
        result["rate"] = count / took
        return result
    finally:
        for each in (process, answering):
            each.terminate()
            each.wait(20)


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description="What keeps the reactor.")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--names", type=int, default=20_000)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], Path(options.serve[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.seconds, options.names)
    print(f"{result['turns']:,} turns, {result['rate']:,.0f} queries/s, {os.cpu_count()} cores")
    print(f"{result['waited']:,} turns waited for a core or for Python's lock")
    print(
        f"{'turns':>6} {'worst':>8}  over {LONG * 1000:.0f} ms of CPU, and where the worst was seen"
    )
    for count, worst, inner, called in result["long"]:
        print(f"{count:6} {worst * 1000:8.1f}  {called}: {inner}")


if __name__ == "__main__":
    main()
