# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A process that shares answers in a Redis watched over by three Sentinels.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.support.process import freePort
from tests.support.rediscase import RedisCase
from tests.support.redisserver import RedisServer


class SentinelTests(RedisCase):
    """
    A master, two replicas, three Sentinels.
    """

    def setUp(self) -> None:
        super().setUp()
        self.master = self.redis("master", settings={"repl-diskless-sync-delay": 0})
        follow = {"replicaof": f"127.0.0.1 {self.master.port}", "repl-diskless-sync-delay": 0}
        self.replicas = [self.redis(f"replica{n}", settings=follow) for n in range(2)]
        # A Sentinel asks a master for its replicas each ten seconds only.
        self.hold(lambda: len(self.master.ask("ROLE")[2]) == 2, "the replicas don't follow")
        monitor = {
            "sentinel": [
                f"monitor house 127.0.0.1 {self.master.port} 2",
                "down-after-milliseconds house 500",
                "failover-timeout house 3000",
            ]
        }
        self.sentinels = [
            self.redis(f"sentinel{n}", settings=monitor, sentinel=True) for n in range(3)
        ]
        self.hold(
            lambda: all(map(self.ready, self.sentinels)), "the Sentinels don't find each other"
        )

    def hold(self, condition: Callable[[], bool], failure: str) -> None:
        """
        Wait until something holds.
        """
        until = time.monotonic() + 20
        while not condition():
            if time.monotonic() > until:
                self.fail(failure)
            time.sleep(0.05)

    def ready(self, sentinel: RedisServer) -> bool:
        """
        Does a Sentinel know all others, and both replicas?
        """
        facts = sentinel.ask("SENTINEL", "MASTER", "house")
        known = dict(zip(facts[::2], facts[1::2], strict=True))
        return (known[b"num-other-sentinels"], known[b"num-slaves"]) == (b"2", b"2")

    def configured(self) -> str:
        """
        The setting, with a Sentinel in front that isn't there.
        """
        ports = [freePort(), *(sentinel.port for sentinel in self.sentinels)]
        addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
        return f'mode: sentinel, master_name: house, address: "{addresses}"'

    def mastersPort(self) -> int:
        """
        Where the Sentinels say the master is.
        """
        return int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "house")[1])

    def test_failover(self) -> None:
        """
        Whether the master dies or hangs, the next one is used before long, and
        all that is asked meanwhile is answered.
        """
        process = self.guard("first", self.configured())
        load = self.load(process, "s")
        time.sleep(0.3)
        self.master.signal(signal.SIGKILL)
        self.waitFor(lambda: self.mastersPort() != self.master.port, process)
        self.waitFor(lambda: process.output().count("is in use") == 2, process)
        second = next(each for each in self.replicas if each.port == self.mastersPort())
        before = second.ask("DBSIZE")
        self.waitFor(lambda: second.ask("DBSIZE") > before, process)

        second.signal(signal.SIGSTOP)
        self.waitFor(lambda: self.mastersPort() != second.port, process, 30.0)
        self.waitFor(lambda: process.output().count("is in use") >= 3, process)
        third = next(each for each in self.replicas if each is not second)
        before = third.ask("DBSIZE")
        self.waitFor(lambda: third.ask("DBSIZE") > before, process)
        self.assertGreater(load.answered(), 100)

    def test_demoted(self) -> None:
        """
        A master that gives its place up of its own accord is left.
        """
        process = self.guard("first", self.configured())
        load = self.load(process, "d")
        time.sleep(0.3)
        self.sentinels[0].ask("SENTINEL", "FAILOVER", "house")
        self.waitFor(lambda: self.mastersPort() != self.master.port, process)
        second = next(each for each in self.replicas if each.port == self.mastersPort())
        before = second.ask("DBSIZE")
        self.waitFor(lambda: second.ask("DBSIZE") > before, process)
        self.waitFor(
            lambda: b"dns:" in b"".join(second.ask("ZREVRANGE", "dnsmeta:expiry:index", "0", "0")),
            process,
        )
        self.assertGreater(load.answered(), 50)
