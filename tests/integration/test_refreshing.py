# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Caches as users meet them: names that stay fresh, outages that nobody notices,
restarts that don't begin with nothing.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import TestCase

from dnsguard.wire.edns import EDE_OPTION, EDNS
from dnsguard.wire.layout import scan
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request
from tests.support.responder import Responder

PATIENCE = 60.0
NAMES = [f"host{number}.example.org" for number in range(30)]

Seen = tuple[int, int, int, bytes]
"""What a client sees: code, last octet of the address, TTL, EDE option."""


def until(true: Callable[[], bool]) -> bool:
    """
    Wait for something to be true.
    """
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class RefreshingTests(TestCase):
    """
    Tests for a process and its cache.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.upstream = Responder(ttl=2)
        self.upstream.start()
        self.addCleanup(self.upstream.stop)

    def config(self, cache: str) -> str:
        """
        A configuration.
        """
        return (
            f"server: {{listen: ['127.0.0.1:{self.port}']}}\n"
            f"upstreams: ['127.0.0.1:{self.upstream.port}']\n"
            "network: {upstream_timeout: 2s}\n"
            f"data_directory: {self.folder / 'data'}\n"
            "query_store: {engine: none}\n"
            "control: {enabled: false}\n"
            f"cache: {{min_ttl: 1s, client_ttl_cap: 0, {cache}}}\n"
        )

    def start(self, cache: str) -> DNSGuardProcess:
        """
        Start a process, and wait until it answers.
        """
        # One of its own for each, as anybody may take one that is let go.
        self.port = freePort()
        process = DNSGuardProcess(self.folder, self.config(cache), self.port)
        self.addCleanup(process.stop)
        process.waitUntilAnswering()
        return process

    def ask(self, name: str) -> Seen:
        """
        Ask for a name's address.
        """
        reply = askUDP(self.port, request(name, edns=EDNS()))
        layout = scan(reply)
        options = layout.edns.options if layout.edns is not None else ()
        errors = [data for code, data in options if code == EDE_OPTION]
        at = layout.ttls[0] if layout.ttls else 0
        ttl = int.from_bytes(reply[at : at + 4], "big")
        return layout.rCode, reply[at + 9], ttl, errors[0][:2] if errors else b""

    def test_outage(self) -> None:
        """
        While upstream is away, every name seen before is answered, marked as
        stale, with the TTL for that; when it is back, the next query of a name
        has a fresh answer.
        """
        self.start("refresh: {enabled: false, client_response_timeout: 200ms}")
        for name in NAMES:
            self.assertEqual(self.ask(name)[:2], (0, 99))
        self.upstream.silent = True
        self.upstream.lastOctet = 100
        # All of them have a TTL of two seconds.
        time.sleep(2.5)
        for name in NAMES:
            self.assertEqual(self.ask(name), (0, 99, 30, b"\0\x03"))
        self.upstream.silent = False
        # What couldn't be reached is asked again after a second, and what is
        # under way already may take two.
        time.sleep(2.5)
        for name in NAMES:
            code, address, ttl, error = self.ask(name)
            self.assertEqual((code, address, error), (0, 100, b""))
            self.assertIn(ttl, (1, 2))

    def test_hotNamesStayFresh(self) -> None:
        """
        A name that is asked for all the time is renewed before it expires: no
        client sees a TTL of 0 or a stale answer, and upstream is asked by
        nobody but the refreshes.
        """
        self.upstream.ttl = 4
        self.start(
            "respect_source_ttl: true, refresh:"
            " {hot_threshold_rate: 60, hot_ttl_fraction: 0.5, hit_window: 2s}"
        )
        ttls = set()
        began = time.monotonic()

        def renewed() -> bool:
            code, _, ttl, error = self.ask("www.example.org")
            self.assertEqual((code, error), (0, b""))
            ttls.add(ttl)
            return self.upstream.names.count("www.example.org") >= 3

        self.assertTrue(until(renewed))
        # Each renewal is due with half of the time left; were there none, clients
        # would find nothing after four seconds and after eight.
        spent = time.monotonic() - began
        self.assertLess(spent, 8)
        self.assertLessEqual(self.upstream.names.count("www.example.org"), spent + 1)
        self.assertLessEqual(max(ttls), 4)
        self.assertGreater(min(ttls), 0)

    def test_restart(self) -> None:
        """
        What was cached when the process stopped is so when it starts again,
        though upstream is away; a damaged file costs one line in the log.
        """
        self.upstream.ttl = 300
        first = self.start("refresh: {client_response_timeout: 200ms}")
        for name in NAMES:
            self.assertEqual(self.ask(name)[0], 0)
        first.stop()
        self.upstream.silent = True
        second = self.start("refresh: {client_response_timeout: 200ms}")
        for name in NAMES:
            code, address, ttl, error = self.ask(name)
            self.assertEqual((code, address, error), (0, 99, b""))
            self.assertLess(ttl, 300)
        second.stop()
        self.upstream.silent = False
        path = self.folder / "data" / "cache.snapshot"
        octets = bytearray(path.read_bytes())
        octets[len(octets) // 2] ^= 1
        path.write_bytes(bytes(octets))
        third = self.start("refresh: {client_response_timeout: 200ms}")
        before = len(self.upstream.names)
        self.assertEqual(self.ask(NAMES[0])[:2], (0, 99))
        self.assertEqual(len(self.upstream.names), before + 1)
        complaints = [line for line in third.output().splitlines() if "cache.snapshot" in line]
        self.assertEqual(len(complaints), 1)
        self.assertIn("damaged", complaints[0])
        self.assertNotIn("Traceback", third.output())

    def test_killed(self) -> None:
        """
        A process that is killed, at whatever moment, has saved what it had some
        time before, and its file is whole.
        """
        self.upstream.ttl = 3000
        cache = "snapshot: {interval: 1s}, refresh: {client_response_timeout: 200ms}"
        path = self.folder / "data" / "cache.snapshot"
        process = self.start(cache)
        for name in NAMES:
            self.ask(name)
        self.assertTrue(until(lambda: path.exists() and path.stat().st_size > 60 * len(NAMES)))
        self.upstream.silent = True
        for seconds in (0.0, 0.35, 0.9):
            time.sleep(seconds)
            process.signal(signal.SIGKILL)
            process.process.wait(10)
            process = self.start(cache)
            for name in NAMES:
                code, address, _, error = self.ask(name)
                self.assertEqual((code, address, error), (0, 99, b""))
            self.assertIn(f"{len(NAMES)} cached answers restored", process.output())

    def test_sweep(self) -> None:
        """
        What nobody asks for any more is renewed by the sweeper, before it
        expires.
        """
        self.upstream.ttl = 3
        self.start("refresh: {sweep_interval: 1s, sweep_window: 2s, refresh_mode: balanced}")
        self.ask("www.example.org")
        self.assertTrue(until(lambda: self.upstream.names.count("www.example.org") >= 3))
        self.upstream.silent = True
        code, address, _, error = self.ask("www.example.org")
        self.assertEqual((code, address, error), (0, 99, b""))

    def test_reload(self) -> None:
        """
        A change of the cache's settings empties no cache.
        """
        self.upstream.ttl = 300
        process = self.start("lru_size: 1000")
        for name in NAMES:
            self.ask(name)
        self.upstream.silent = True
        process.config.write_text(
            self.config("lru_size: 2000, refresh: {refresh_mode: aggressive}")
        )
        process.signal(signal.SIGHUP)
        self.assertTrue(until(lambda: "configuration reloaded" in process.output()))
        for name in NAMES:
            code, address, _, error = self.ask(name)
            self.assertEqual((code, address, error), (0, 99, b""))
        self.assertNotIn("Traceback", process.output())
