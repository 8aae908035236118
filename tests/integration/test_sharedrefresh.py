# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Whole processes that keep the answers in one Redis fresh between them.
"""

from __future__ import annotations

import time

from dnsguard.wire.layout import scan
from tests.support.process import DNSGuardProcess, askUDP, request
from tests.support.rediscase import RedisCase

NAMES = [f"host{number}.example.org" for number in range(20)]


class SharedRefreshTests(RedisCase):
    """
    Two instances over one server.
    """

    def settings(self, port: int, more: str) -> str:
        """
        The Redis to use, and further lines of C{cache}.
        """
        return (
            f'address: "127.0.0.1:{port}"}}\n  min_ttl: 1s\n  {more}\n  snapshot: {{enabled: false'
        )

    def ttl(self, process: DNSGuardProcess, name: str) -> int:
        """
        The TTL a process gives a name with.
        """
        reply = askUDP(process.port, request(name))
        layout = scan(reply)
        self.assertEqual(layout.rCode, 0)
        return int.from_bytes(reply[layout.ttls[0] : layout.ttls[0] + 4], "big")

    def test_refreshedOnce(self) -> None:
        """
        A name that one instance resolved is an L1 hit on the other one, and
        is renewed by one of them at a time, so that both always have it.
        """
        self.upstream.ttl = 6
        server = self.redis()
        text = self.settings(server.port, "refresh: {sweep_interval: 1s, sweep_window: 3s}")
        first, second = self.guard("first", text), self.guard("second", text)
        name = "www.example.org"
        began = time.monotonic()
        self.resolve(first, name)
        self.waitFor(lambda: server.ask("EXISTS", f"dns:{name}:1:1") == 1, first)
        self.resolve(second, name)
        self.assertEqual(self.upstream.names.count(name), 1)

        def renewed() -> bool:
            for process in (first, second):
                self.assertGreater(self.ttl(process, name), 0)
            return self.upstream.names.count(name) > 2

        self.waitFor(renewed, first)
        # It is due with three of its six seconds left. Were it renewed by both,
        # that would be after four seconds; by clients that find nothing, after
        # twelve.
        spent = time.monotonic() - began
        self.assertGreater(spent, 5.5)
        self.assertLess(spent, 12)

    def test_withoutRedis(self) -> None:
        """
        When Redis is gone, a name is renewed before its time is over just the
        same: the lock is this process's own then.
        """
        self.upstream.ttl = 4
        server = self.redis()
        text = self.settings(server.port, "refresh: {sweep_interval: 1s, sweep_window: 2s}")
        process = self.guard("first", text)
        name = "www.example.org"
        self.resolve(process, name)
        server.stop()
        self.waitFor(lambda: "is left alone" in process.output(), process)
        before = self.upstream.names.count(name)
        began = time.monotonic()

        def renewed() -> bool:
            self.assertGreater(self.ttl(process, name), 0)
            return self.upstream.names.count(name) - before >= 2

        self.waitFor(renewed, process)
        self.assertLess(time.monotonic() - began, 9)

    def test_warmStart(self) -> None:
        """
        An instance that starts has what the others know before clients ask,
        with neither Redis nor upstream there any more.
        """
        server = self.redis()
        text = self.settings(server.port, "refresh: {sweep_interval: 1h}")
        first = self.guard("first", text)
        for name in NAMES:
            self.resolve(first, name)
        self.waitFor(lambda: server.ask("ZCARD", "dnsmeta:expiry:index") >= len(NAMES), first)
        second = self.guard("second", text)
        self.waitFor(lambda: "taken over from the shared store" in second.output(), second)
        server.stop()
        self.upstream.silent = True
        for name in NAMES:
            self.assertGreater(self.ttl(second, name), 0)

    def test_countedTogether(self) -> None:
        """
        What is asked for at one instance is known to be popular at all.
        """
        server = self.redis()
        text = self.settings(server.port, "refresh: {sweep_hit_window: 48h, hit_window: 10m}")
        processes = [self.guard(word, text) for word in ("first", "second")]
        for _ in range(50):
            for process in processes:
                self.resolve(process, "www.example.org")
        key = "dns:www.example.org:1:1"

        def counted() -> bool:
            names = [f"dnsmeta:{word}:{key}" for word in ("hit", "hit:sweep")]
            return all(server.ask("GET", name) == b"100" for name in names)

        self.waitFor(counted, processes[0])
