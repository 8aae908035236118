# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Whole processes that share a Redis, one of which is told to clear something.
"""

from __future__ import annotations

import http.client
import re
import signal
import time
from collections.abc import Sequence

from dnsguard.wire.layout import scan
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request
from tests.support.rediscase import RedisCase

OLD, NEW = 99, 100

HOSTS = [f"host{number}.example.org" for number in range(6)]
BELOW = [f"host{number}.below.example.org" for number in range(6)]


class ClearingTests(RedisCase):
    """
    Two processes: one is told, the other one has to hear of it.
    """

    def setUp(self) -> None:
        super().setUp()
        self.server = self.redis()
        self.control: dict[str, int] = {}
        self.first, self.second = self.instance("first"), self.instance("second")
        for process in (self.first, self.second):
            self.waitForAPI(process)
        for name in HOSTS + BELOW:
            self.resolve(self.first, name)
        self.waitFor(lambda: self.stored(HOSTS + BELOW) == len(HOSTS + BELOW), self.first)
        for _ in range(3):
            # Out of L1, then of L0, then out of the replay store.
            for name in HOSTS + BELOW:
                self.resolve(self.second, name)
        self.upstream.lastOctet = NEW
        self.assertEqual(self.seen(self.second, HOSTS + BELOW), {OLD})
        self.assertGreater(self.metric("second", "dns_l1_hits_total"), 0)
        self.waitFor(
            lambda: self.metric("second", "dnsguard_queries_replayed_total") > 0, self.second
        )

    def waitForAPI(self, process: DNSGuardProcess) -> None:
        """
        Wait until a process can be told things.
        """
        self.waitFor(lambda: "control API served" in process.output(), process)

    def instance(self, name: str) -> DNSGuardProcess:
        """
        A process with a control API.
        """
        port = self.control[name] = freePort()
        return self.guard(
            name,
            f'address: "127.0.0.1:{self.server.port}"}}\n  refresh: {{sweep_interval: 1h',
            control=f'token: "{"s" * 40}", listen: "127.0.0.1:{port}"',
        )

    def ask(self, name: str, method: str, path: str) -> str:
        """
        Ask a process's control API.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.control[name], timeout=60)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {'s' * 40}"})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        self.assertEqual(response.status, 200, text)
        return text

    def metric(self, name: str, metric: str) -> float:
        """
        A number that a process publishes.
        """
        found = re.search(rf"^{metric} (\S+)$", self.ask(name, "GET", "/metrics"), re.MULTILINE)
        assert found is not None
        return float(found[1])

    def seen(self, process: DNSGuardProcess, names: Sequence[str]) -> set[int]:
        """
        Which addresses a process has for names, by their last octets.
        """
        replies = [askUDP(process.port, request(name)) for name in names]
        self.assertEqual({scan(reply).rCode for reply in replies}, {0})
        return {reply[-1] for reply in replies}

    def stored(self, names: Sequence[str]) -> int:
        """
        How many of these are in Redis.
        """
        count: int = self.server.ask("EXISTS", *(f"dns:{name}:1:1" for name in names))
        return count

    def gone(self, names: Sequence[str]) -> None:
        """
        Check that names were cleared everywhere, the other process having a
        moment to hear of it, and don't come back.
        """
        # Whoever ordered it is done.
        self.assertEqual(self.seen(self.first, names[:1]), {NEW})
        self.waitFor(lambda: self.seen(self.second, names) == {NEW}, self.second)
        for _ in range(5):
            for process in (self.second, self.first):
                self.assertEqual(self.seen(process, names), {NEW})

    def test_cleared(self) -> None:
        """
        What one instance is told to clear, a name, all below one or everything,
        none serves any more from wherever it has it; all the rest stays.
        """
        self.ask("first", "DELETE", f"/api/v1/cache/entries?name={HOSTS[0]}")
        self.assertEqual((self.stored(HOSTS[:1]), self.stored(HOSTS[1:])), (0, len(HOSTS) - 1))
        self.gone(HOSTS[:1])
        self.assertEqual(self.seen(self.second, HOSTS[1:] + BELOW), {OLD})
        self.assertEqual(self.seen(self.first, HOSTS[1:] + BELOW), {OLD})

        self.ask("first", "DELETE", "/api/v1/cache/entries?name=below.example.org&below=true")
        self.assertEqual(self.stored(BELOW), 0)
        self.gone(BELOW)
        self.assertEqual(self.seen(self.second, HOSTS[1:]), {OLD})

        self.ask("first", "POST", "/api/v1/cache/clear")
        self.assertEqual(self.stored(HOSTS + BELOW), 0)
        self.gone(HOSTS[1:])
        self.assertEqual(self.metric("second", "dnsguard_redis_clearings_missed_total"), 0)
        self.assertGreaterEqual(self.metric("second", "dnsguard_cache_clearings_heard_total"), 3)

    def test_clearedUnderLoad(self) -> None:
        """
        While names are asked for all the time, and answers are under way from
        upstream and from Redis, nothing that was cleared comes back.
        """
        loads = [
            self.load(process, word) for process, word in ((self.first, "x"), (self.second, "y"))
        ]
        for turn in range(3):
            # As often as it may be.
            time.sleep(0.6 if turn else 0.0)
            self.ask("second", "DELETE", "/api/v1/cache/entries?name=example.org&below=true")
            self.waitFor(
                lambda: self.seen(self.first, HOSTS) | self.seen(self.second, HOSTS) == {NEW},
                self.first,
            )
            self.assertEqual(self.seen(self.first, BELOW) | self.seen(self.second, BELOW), {NEW})
        for load in loads:
            self.assertGreater(load.answered(), 20)

    def test_cutOff(self) -> None:
        """
        An instance that could hear nothing when something was cleared drops all
        that it has as soon as it hears again.
        """
        self.second.signal(signal.SIGSTOP)
        self.server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        self.ask("first", "DELETE", f"/api/v1/cache/entries?name={HOSTS[0]}")
        self.second.signal(signal.SIGCONT)
        self.gone(HOSTS[:1])
        self.assertIn("may have been missed", self.second.output())
        self.assertEqual(self.metric("second", "dnsguard_redis_clearings_missed_total"), 1)
        self.assertEqual(self.metric("first", "dnsguard_redis_clearings_missed_total"), 0)
        # What wasn't cleared is still in L1, and found there.
        self.assertEqual(self.seen(self.second, HOSTS[1:]), {OLD})

    def test_down(self) -> None:
        """
        An instance that was down when something was cleared, and brings its
        cache with it from before, doesn't serve that.
        """
        self.second.stop()
        self.ask("first", "DELETE", f"/api/v1/cache/entries?name={HOSTS[0]}")
        again = DNSGuardProcess(
            self.second.folder, self.second.config.read_text(), self.second.port
        )
        self.addCleanup(self.end, again)
        again.waitUntilAnswering()
        self.waitForAPI(again)
        self.second = again
        self.assertIn("cached answers restored", again.output())
        self.gone(HOSTS[:1])
        self.assertIn("may have been missed", again.output())

    def test_redisAway(self) -> None:
        """
        What is cleared while Redis is away is cleared here, and whoever ordered
        it is told that the others don't know.
        """
        self.server.signal(signal.SIGSTOP)
        self.waitFor(
            lambda: (
                self.metric("first", "dnsguard_redis_up") == 0
                or bool(self.seen(self.first, ["other.example.org"]) and False)
            ),
            self.first,
        )
        connection = http.client.HTTPConnection("127.0.0.1", self.control["first"], timeout=60)
        connection.request(
            "POST", "/api/v1/cache/clear", headers={"Authorization": f"Bearer {'s' * 40}"}
        )
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        self.assertEqual((response.status, "error" in text), (503, True), text)
        self.assertEqual(self.seen(self.first, HOSTS), {NEW})
        self.server.signal(signal.SIGCONT)
