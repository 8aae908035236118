# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Whole processes that share a real Redis, and lose it.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.layout import scan
from tests.support.process import DNSGuardProcess, askUDP, freePort, request
from tests.support.redisserver import MISSING, RedisServer
from tests.support.responder import Responder

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


class RedisCase(SynchronousTestCase):
    """
    Servers, an upstream and processes, all gone at the end.
    """

    if MISSING:
        skip = MISSING

    # What a reload that should have come is waited for.
    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.upstream = Responder()
        self.upstream.start()
        self.addCleanup(self.upstream.stop)

    def redis(self, name: str = "redis", start: bool = True, **facts: object) -> RedisServer:
        """
        A server.
        """
        server = RedisServer(self.folder / name, **facts)  # type: ignore[arg-type]
        if start:
            server.start()
        self.addCleanup(lambda: server.stop())
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
        self.addCleanup(process.stop)
        process.waitUntilAnswering()
        if ready:
            self.waitFor(lambda: "is in use" in process.output(), process)
        return process

    def waitFor(self, condition: object, process: DNSGuardProcess, seconds: float = 15.0) -> None:
        """
        Wait until something holds.
        """
        assert callable(condition)
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


class StandaloneTests(RedisCase):
    """
    One server, reached in all the ways there are.
    """

    def test_shared(self) -> None:
        """
        A name that one instance resolved is in L1 for another one.
        """
        server = self.redis()
        self.shares(server, f'address: "127.0.0.1:{server.port}"')

    def test_killed(self) -> None:
        """
        A server that dies, and comes back, is noticed by no client.
        """
        server = self.redis()
        process = self.guard("first", f'address: "127.0.0.1:{server.port}"')
        load = Load(process.port, "k")
        load.start()
        self.addCleanup(load.end)
        time.sleep(0.3)
        server.signal(signal.SIGKILL)
        self.waitFor(lambda: "left alone" in process.output(), process)
        time.sleep(0.3)
        server.stop()
        server.start()
        self.waitFor(lambda: process.output().count("is in use") == 2, process)
        before = server.ask("DBSIZE")
        self.waitFor(lambda: server.ask("DBSIZE") > before, process)
        load.end()
        self.assertEqual(load.wrong, [])
        self.assertGreater(load.asked, 20)

    def test_paused(self) -> None:
        """
        A server with a password and a database number that stalls for longer
        than all patience is used again when it goes on.
        """
        server = self.redis(
            settings={"user": ["guard on >secret ~* &* +@all", "default off"]},
            login=("guard", "secret"),
        )
        process = self.guard(
            "first",
            f'address: "127.0.0.1:{server.port}", db: 3, username: guard, password: secret',
        )
        load = Load(process.port, "p")
        load.start()
        self.addCleanup(load.end)
        time.sleep(0.3)
        server.signal(signal.SIGSTOP)
        self.waitFor(lambda: "left alone" in process.output(), process)
        # Longer than connecting and logging in may take.
        time.sleep(4.5)
        server.signal(signal.SIGCONT)
        self.waitFor(lambda: process.output().count("is in use") == 2, process)
        load.end()
        self.assertEqual(load.wrong, [])
        # Each name is looked up in L1 once; none of those waited for Redis.
        self.assertGreater(load.asked, 100)
