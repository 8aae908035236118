# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The day of C{bench.simulate_refresh} over unbound itself, in a minute or two.

Run C{python -m bench.simulate_unbound NAMES} from the root, with unbound and a C
compiler on the machine. Three unbounds are asked for the same names at the same
times: one without C{prefetch}, one with it, one with it and the bounds that
dnsguard has on TTLs by default. Their clock is set by this program
(C{bench/dayclock.c}): to the time of each query, which is then answered before
the next one is asked. So all of a day passes for them, to the microsecond, and it
makes no difference how fast the machine is.

Upstream is this program, too. In the hour of the outage it answers SERVFAIL, as a
forwarder does whose own upstream is gone: an unbound that waited in vain would
wait in real seconds. The caches have room for all. What unbound counts itself is
taken for what it is: cache hits are answers that didn't wait for upstream, a few
SERVFAILs of the seconds before among them.
Below each one stands the model of C{bench.simulate_refresh}, with as much room.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from mmap import mmap
from pathlib import Path

from bench.simulate_refresh import Result, Trace, isAway, makeTrace, simulatePrefetch
from dnsguard.wire.layout import MalformedMessage, scan
from dnsguard.wire.names import toText
from tests.support.ports import freePort
from tests.support.process import request

CONFIG = """
server:
  interface: 127.0.0.1@{port}
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: "{folder}/log"
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  qname-minimisation: no
  prefetch: {prefetch}
  prefetch-key: no
  cache-min-ttl: {least}
  cache-max-ttl: {most}
  serve-expired: no
  msg-cache-size: 64m
  rrset-cache-size: 64m
  outgoing-range: 900
  num-queries-per-thread: 900
  so-rcvbuf: 4m
  infra-keep-probing: yes
{patience}
remote-control:
  control-enable: yes
  control-interface: "{folder}/control"
  control-use-cert: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
"""

_SO_RCVBUFFORCE = 33

EPOCH = 1_700_000_000
"""When the day begins, in seconds since the epoch."""

PATIENCE = "  discard-timeout: 0\n  wait-limit: 0"
"""Later versions reply to nobody who has waited for two seconds, of its clock."""

WAYS = (("no", 0, 86400), ("yes", 0, 86400), ("yes", 300, 3600))
"""C{prefetch}, the least and the most TTL."""


class Unbound:
    """
    One unbound, both of its sides, and what it did.

    @ivar queried: What it asked upstream, in all and while that was away.
    @ivar replies: What it answered, by response code.
    @ivar asked: The id of the query that it hasn't answered yet, or empty.
    """

    def __init__(self, folder: Path, prefetch: str, least: int, most: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = freePort()
        self.queried = self.queriedAway = 0
        self.replies = {0: 0, 2: 0}
        self.asked = b""
        self.upstream = _socket()
        self.upstream.bind(("127.0.0.1", 0))
        self.client = _socket()
        probe = folder / "probe"
        probe.write_text(f"server:\n{PATIENCE}\n")
        known = subprocess.run(["unbound-checkconf", probe], capture_output=True, check=False)
        (folder / "conf").write_text(
            CONFIG.format(
                patience=PATIENCE if known.returncode == 0 else "",
                folder=folder,
                port=self.port,
                prefetch=prefetch,
                least=least,
                most=most,
                upstream=self.upstream.getsockname()[1],
            )
        )
        self.process = subprocess.Popen(
            ["unbound", "-d", "-c", str(folder / "conf")],
            env={
                **os.environ,
                "DAYCLOCK": str(folder.parent / "clock"),
                "LD_PRELOAD": str(folder.parent / "dayclock.so"),
            },
        )
        self.client.connect(("127.0.0.1", self.port))

    def wait(self) -> None:
        """
        Wait until it can be asked.
        """
        until = time.monotonic() + 10
        while not (self.folder / "control").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit((self.folder / "log").read_text())
            time.sleep(0.05)
        time.sleep(0.3)

    def answerUpstream(self, ttls: dict[bytes, int], away: bool) -> None:
        """
        Be its upstream.
        """
        while True:
            try:
                query, address = self.upstream.recvfrom(4096)
                layout = scan(query)
            except (BlockingIOError, MalformedMessage):
                return
            reply = bytearray(query[: layout.questionEnd])
            reply[2:4], reply[6:12] = b"\x81\x82", bytes(6)
            ttl = ttls.get(layout.name)
            if ttl is not None:
                self.queried += 1
                self.queriedAway += away
                if not away:
                    reply[3], reply[7] = 0x80, 1
                    reply += b"\xc0\x0c\0\1\0\1" + ttl.to_bytes(4, "big") + b"\0\4\xc0\0\2\1"
            self.upstream.sendto(reply, address)

    def takeReplies(self) -> None:
        """
        Be its client.
        """
        while True:
            try:
                reply = self.client.recv(4096)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.replies[reply[3] & 15] += 1
            if reply[:2] == self.asked:
                self.asked = b""

    def statistics(self) -> dict[str, int]:
        """
        What it counted itself.
        """
        command = ["unbound-control", "-c", str(self.folder / "conf"), "stats_noreset"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        values = dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)
        names = ("queries", "cachehits", "cachemiss", "prefetch")
        return {name: int(values[f"total.num.{name}"]) for name in names}

    def stop(self) -> None:
        """
        End it.
        """
        self.process.terminate()
        self.process.wait(10)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        # The second, for root alone, may go beyond the system's bound.
        with suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
    made.setblocking(False)
    return made


def play(trace: Trace, unbounds: list[Unbound], clock: mmap) -> int:
    """
    Ask for the day's names.

    @return: How many weren't answered by somebody within two seconds.
    """
    questions = [request(toText(name))[2:] for name in trace.names]
    ttls = dict(zip(trace.names, trace.ttls, strict=True))
    polling = selectors.DefaultSelector()
    for unbound in unbounds:
        polling.register(unbound.upstream, selectors.EVENT_READ)
        polling.register(unbound.client, selectors.EVENT_READ)
    late = 0
    for count, (at, number) in enumerate(trace.queries):
        setClock(clock, at)
        for unbound in unbounds:
            unbound.asked = (count & 0xFFFF).to_bytes(2, "big")
            unbound.client.send(unbound.asked + questions[number])
        until = time.monotonic() + 2.0
        while any(unbound.asked for unbound in unbounds) and time.monotonic() < until:
            polling.select(0.5)
            for unbound in unbounds:
                unbound.answerUpstream(ttls, isAway(at))
                unbound.takeReplies()
        late += any(unbound.asked for unbound in unbounds)
    return late


def setClock(clock: mmap, at: float) -> None:
    """
    Set the unbounds' clock to a time of the day.
    """
    struct.pack_into("=q", clock, 0, int((EPOCH + at) * 1e6))


def row(label: str, result: Result) -> str:
    """
    One line of the table.
    """
    total = result.hits + result.misses + result.failed
    return (
        f"{label:34} {100 * result.hits / total:7.2f} {100 * result.failed / total:9.2f}"
        f" {(result.upstream - result.away) / total:9.4f} {result.away / total:9.4f}"
    )


def report(trace: Trace, unbound: Unbound, way: tuple[str, int, int]) -> None:
    """
    Print what one did, and what its model does.
    """
    prefetch, least, most = way
    counted = unbound.statistics()
    failed, total = unbound.replies[2], len(trace.queries)
    if sum(unbound.replies.values()) != total or counted["queries"] != total:
        print("  not all was answered:", unbound.replies, counted)
    hits = counted["cachehits"]
    real = Result(hits, total - hits - failed, 0, failed, 0, unbound.queried, unbound.queriedAway)
    label = f"prefetch {prefetch}" + (f", {least} to {most} s" if least else "")
    print(row(f"unbound, {label}", real), " ", counted)
    share = 0.1 if prefetch == "yes" else 0.0
    model = simulatePrefetch(trace, len(trace.names), least, most, share)
    print(row("  its model", model), flush=True)


def main() -> None:
    """
    Print the table.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("names", type=Path, help="a file of names in rank order")
    parser.add_argument("--count", type=int, default=20_000, help="use so many of them")
    parser.add_argument("--queries", type=int, default=100_000, help="queries of the day")
    options = parser.parse_args()
    # So that no unbound is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    trace = makeTrace(options.names, options.count, options.queries)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = folder / "dayclock.so"
        source = Path(__file__).with_name("dayclock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        (folder / "clock").write_bytes(bytes(8))
        unbounds: list[Unbound] = []
        try:
            with (folder / "clock").open("r+b") as file, mmap(file.fileno(), 8) as clock:
                setClock(clock, 0.0)
                for number, way in enumerate(WAYS):
                    unbounds.append(Unbound(folder / str(number), *way))
                for unbound in unbounds:
                    unbound.wait()
                began = time.monotonic()
                late = play(trace, unbounds, clock)
            print(f"{time.monotonic() - began:.0f} s; {late} queries not answered in time")
            print(f"{'':34} {'hits %':>7} {'failed %':>9} {'upstream':>9} {'outage':>9}")
            for unbound, way in zip(unbounds, WAYS, strict=True):
                report(trace, unbound, way)
        finally:
            for unbound in unbounds:
                unbound.stop()


if __name__ == "__main__":
    main()
