# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What tests of whole processes that share a Redis have in common.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request
from tests.support.redisserver import MISSING, RedisServer
from tests.support.responder import Responder

__all__ = ["Load", "RedisCase"]

LANES = 3
"""Threads that ask at a time."""

CONFIG = """
server:
  listen: ["127.0.0.1:{port}"]
upstreams: ["127.0.0.1:{upstream}"]
blocklists: {{sources: []}}
query_store: {{engine: none}}
control: {{{control}}}
cache:
  redis: {{{redis}}}
"""


class Load:
    """
    Asks for one name after the other, in several threads, and checks each
    answer.

    @ivar wrong: Those that weren't answered as they should be, and how.
    """

    def __init__(self, port: int, word: str, address: Callable[[str], bytes]) -> None:
        """
        @param word: What the names begin with.
        @param address: Gives the address that a name must have.
        """
        self.wrong: list[str] = []
        self._port = port
        self._address = address
        self._asked = [0] * LANES
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(lane, f"{word}{lane}-"), daemon=True)
            for lane in range(LANES)
        ]

    @property
    def asked(self) -> int:
        """
        How many questions so far.
        """
        return sum(self._asked)

    def start(self) -> None:
        """
        Begin to ask.
        """
        for thread in self._threads:
            thread.start()

    def _run(self, lane: int, word: str) -> None:
        while not self._ending.is_set():
            # Each name twice, so that L0, L1 and upstream all have their part.
            name = f"{word}{self._asked[lane] // 2}.example.org"
            query = request(name, id=self._asked[lane] & 0xFFFF)
            try:
                reply = askUDP(self._port, query, timeout=5.0)
            except OSError as error:
                self.wrong.append(f"{name}: {error}")
            else:
                layout = scan(reply)
                echoed = reply[:2] == query[:2] and layout.name == fromText(name)
                if not echoed or layout.rCode or reply[-4:] != self._address(name):
                    self.wrong.append(f"{name}: {reply!r}")
            self._asked[lane] += 1
            time.sleep(0.002)

    def end(self) -> None:
        """
        Stop asking.
        """
        self._ending.set()
        for thread in self._threads:
            thread.join(10)

    def answered(self) -> int:
        """
        Stop asking, and check that all was answered rightly.

        @return: How many questions.
        @raise AssertionError: One wasn't.
        """
        self.end()
        if self.wrong:
            raise AssertionError("; ".join(self.wrong[:5]))
        return self.asked


class RedisCase(SynchronousTestCase):
    """
    Servers, an upstream and processes, all gone at the end.
    """

    if MISSING:
        skip = MISSING

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.upstream = Responder()
        # So that no answer can be taken for another one.
        self.upstream.perName = True
        self.upstream.start()
        self.addCleanup(self.upstream.stop)

    def redis(self, name: str = "redis", **facts: Any) -> RedisServer:
        """
        A server that runs until the end of the test.
        """
        server = RedisServer(self.folder / name, **facts)
        self.addCleanup(server.stop)
        server.start()
        return server

    def guard(
        self, name: str, redis: str, ready: bool = True, control: str = "enabled: false"
    ) -> DNSGuardProcess:
        """
        A process that is using Redis.
        """
        port = freePort()
        folder = self.folder / name
        folder.mkdir()
        text = CONFIG.format(port=port, upstream=self.upstream.port, redis=redis, control=control)
        process = DNSGuardProcess(folder, text, port)
        self.addCleanup(self.end, process)
        process.waitUntilAnswering()
        if ready:
            self.waitFor(lambda: "is in use" in process.output(), process)
        return process

    def end(self, process: DNSGuardProcess) -> None:
        """
        Stop a process; whatever happened was no surprise to it.
        """
        process.stop()
        self.assertNotIn("Traceback", process.output())
        self.assertNotIn("Unhandled", process.output())

    def load(self, process: DNSGuardProcess, word: str) -> Load:
        """
        Ask a process for names until the test, or it, has its end.
        """
        load = Load(process.port, word, self.upstream.addressOf)
        self.addCleanup(load.end)
        load.start()
        return load

    def waitFor(
        self, condition: Callable[[], bool], process: DNSGuardProcess, seconds: float = 60.0
    ) -> None:
        """
        Wait until something holds.
        """
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                self.fail(f"waited in vain; it said:\n{process.output()}")
            time.sleep(0.02)

    def resolve(self, process: DNSGuardProcess, name: str) -> None:
        """
        Have a process resolve a name, and check the answer.
        """
        reply = askUDP(process.port, request(name))
        self.assertEqual((scan(reply).rCode, reply[-4:]), (0, self.upstream.addressOf(name)))

    def shares(self, server: RedisServer, redis: str) -> None:
        """
        Check that what one process resolves, another one finds in Redis.
        """
        first = self.guard("first", redis)
        second = self.guard("second", redis)
        self.resolve(first, "shared.example.org")
        self.waitFor(lambda: server.ask("EXISTS", "dns:shared.example.org:1:1") == 1, first)
        self.resolve(second, "shared.example.org")
        self.assertEqual(self.upstream.names.count("shared.example.org"), 1)
