# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A process that shares answers in a Redis watched over by three Sentinels.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from tests.support.ports import freePort
from tests.support.rediscase import RedisCase
from tests.support.redisserver import RedisServer


class SentinelCase(RedisCase):
    """
    A master, two replicas, three Sentinels.

    @cvar password: The servers' password.
    @cvar sentinelPassword: The Sentinels'.
    """

    password = ""
    sentinelPassword = ""

    def setUp(self) -> None:
        super().setUp()
        own: dict[str, Any] = {"repl-diskless-sync-delay": 0}
        if self.password:
            own |= {"requirepass": self.password, "masterauth": self.password}
        login = (self.password,) if self.password else ()
        self.master = self.redis("master", settings=own, login=login)
        follow = {"replicaof": f"127.0.0.1 {self.master.port}", **own}
        self.replicas = [self.redis(f"replica{n}", settings=follow, login=login) for n in range(2)]
        # A Sentinel asks a master for its replicas each ten seconds only.
        self.hold(lambda: len(self.master.ask("ROLE")[2]) == 2, "the replicas don't follow")
        monitor: dict[str, Any] = {
            "sentinel": [
                f"monitor house 127.0.0.1 {self.master.port} 2",
                *([f"auth-pass house {self.password}"] if self.password else []),
                "down-after-milliseconds house 500",
                "failover-timeout house 3000",
            ]
        }
        if self.sentinelPassword:
            monitor["requirepass"] = self.sentinelPassword
        login = (self.sentinelPassword,) if self.sentinelPassword else ()
        self.sentinels = [
            self.redis(f"sentinel{n}", settings=monitor, sentinel=True, login=login)
            for n in range(3)
        ]
        self.hold(
            lambda: all(map(self.ready, self.sentinels)), "the Sentinels don't find each other"
        )

    def hold(self, condition: Callable[[], bool], failure: str) -> None:
        """
        Wait until something holds.
        """
        until = time.monotonic() + 60
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


class SentinelTests(SentinelCase):
    """
    Without passwords.
    """

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


class PasswordTests(SentinelCase):
    """
    With a password for the servers, and another one for the Sentinels.
    """

    password = "keys"
    sentinelPassword = "names"

    def test_failover(self) -> None:
        """
        Both are logged in at, now and when another server is the master.
        """
        text = f"{self.configured()}, password: keys, sentinel_password: names"
        process = self.guard("first", text)
        self.resolve(process, "one.example.org")
        self.waitFor(lambda: self.master.ask("EXISTS", "dns:one.example.org:1:1") == 1, process)
        self.master.signal(signal.SIGKILL)
        self.waitFor(lambda: self.mastersPort() != self.master.port, process)
        self.waitFor(lambda: process.output().count("is in use") == 2, process)
        second = next(each for each in self.replicas if each.port == self.mastersPort())
        names: list[str] = []

        def shared() -> bool:
            # What was asked before it was known whether a clearing was missed
            # isn't written.
            names.append(f"n{len(names)}.example.org")
            self.resolve(process, names[-1])
            keys = [f"dns:{name}:1:1" for name in names]
            return bool(second.ask("EXISTS", *keys) > 0)

        self.waitFor(shared, process)

    def test_without(self) -> None:
        """
        Without the Sentinels' password there is no Redis, and a line says why.
        """
        process = self.guard("first", f"{self.configured()}, password: keys", ready=False)
        self.waitFor(lambda: "NOAUTH" in process.output(), process)
        self.assertIn("going on without it", process.output())
        self.resolve(process, "one.example.org")
