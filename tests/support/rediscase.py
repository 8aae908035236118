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
from tests.support.process import DNSGuardProcess, askUDP, freePort, request
from tests.support.redisserver import MISSING, RedisServer
from tests.support.responder import Responder

__all__ = ["Load", "RedisCase"]

CONFIG = """
server:
  listen: ["127.0.0.1:{port}"]
upstreams: ["127.0.0.1:{upstream}"]
blocklists: {{sources: []}}
cache:
  redis: {{{redis}}}
"""

ADDRESS = b"\xc0\x00\x02\x63"


class Load(threading.Thread):
    """
    Asks for one name after the other, and checks each answer.

    @ivar asked: How many.
    @ivar wrong: Those that weren't answered as they should be, and how.
    @ivar slowest: The seconds that the slowest took.
    """

    def __init__(self, port: int, word: str) -> None:
        super().__init__(daemon=True)
        self.asked = 0
        self.wrong: list[str] = []
        self.slowest = 0.0
        self._port = port
        self._word = word
        self._ending = threading.Event()

    def run(self) -> None:
        """
        Ask until told to stop.
        """
        while not self._ending.is_set():
            # Each name twice, so that L0, L1 and upstream all have their part.
            name = f"{self._word}{self.asked // 2}.example.org"
            started = time.monotonic()
            try:
                reply = askUDP(self._port, request(name), timeout=3.0)
            except OSError as error:
                self.wrong.append(f"{name}: {error}")
            else:
                if scan(reply).rCode != 0 or not reply.endswith(ADDRESS):
                    self.wrong.append(f"{name}: {reply!r}")
            self.slowest = max(self.slowest, time.monotonic() - started)
            self.asked += 1
            time.sleep(0.002)

    def end(self) -> None:
        """
        Stop asking.
        """
        self._ending.set()
        self.join(10)

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

    def guard(self, name: str, redis: str, ready: bool = True) -> DNSGuardProcess:
        """
        A process that is using Redis.
        """
        port = freePort()
        folder = self.folder / name
        folder.mkdir()
        text = CONFIG.format(port=port, upstream=self.upstream.port, redis=redis)
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
        load = Load(process.port, word)
        self.addCleanup(load.end)
        load.start()
        return load

    def waitFor(
        self, condition: Callable[[], bool], process: DNSGuardProcess, seconds: float = 20.0
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
        self.assertEqual((scan(reply).rCode, reply[-4:]), (0, ADDRESS))

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
