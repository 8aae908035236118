# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A process that shares answers in a Redis Cluster of six nodes.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time

from tests.support.ports import freeClusterPort
from tests.support.rediscase import RedisCase
from tests.support.redisserver import MISSING, RedisServer


class ClusterTests(RedisCase):
    """
    Three masters, three replicas.
    """

    if not MISSING and not shutil.which("redis-cli"):
        skip = "redis-cli isn't installed"

    def setUp(self) -> None:
        super().setUp()
        settings = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": 1000,
            "cluster-config-file": "nodes.conf",
            "repl-diskless-sync-delay": 0,
        }
        self.nodes = [
            self.redis(f"node{n}", settings=settings, port=freeClusterPort()) for n in range(6)
        ]
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        self.command("create", *addresses, "--cluster-replicas", "1")
        until = time.monotonic() + 60
        while not all(self.whole(node) for node in self.nodes):
            if time.monotonic() > until:
                self.fail("the cluster doesn't come up")
            time.sleep(0.1)
        self.settings = f'mode: cluster, address: "{",".join(addresses[:2])}"'

    def command(self, *words: str) -> None:
        """
        Have something done to the cluster.
        """
        done = subprocess.run(
            ["redis-cli", "--cluster", *words, "--cluster-yes"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            self.fail(done.stdout + done.stderr)

    def whole(self, node: RedisServer) -> bool:
        """
        Does a node think all is well, with a replica for each master?
        """
        facts = node.ask("CLUSTER", "INFO").decode()
        roles = [line.split()[2] for line in node.ask("CLUSTER", "NODES").decode().splitlines()]
        replicas = sum("slave" in role for role in roles)
        return "cluster_state:ok" in facts and len(roles) == 6 and replicas == 3

    def masters(self) -> list[RedisServer]:
        """
        The nodes that are masters.
        """
        return [node for node in self.nodes if node.ask("ROLE")[0] == b"master"]

    def test_shared(self) -> None:
        """
        What one instance resolved, another one finds, on whatever node; and
        clearing clears all of them.
        """
        first, second = self.guard("first", self.settings), self.guard("second", self.settings)
        names = [f"n{number}.example.org" for number in range(12)]
        for name in names:
            self.resolve(first, name)
        masters = self.masters()
        self.waitFor(lambda: sum(node.ask("DBSIZE") for node in masters) >= 13, first)
        # Three nodes of a dozen keys: one with none would be a wonder.
        self.assertTrue(all(node.ask("DBSIZE") for node in masters))
        for name in names:
            self.resolve(second, name)
        self.assertEqual(len(self.upstream.names), len(names))

    def test_changes(self) -> None:
        """
        Slots that move under load, a master that dies and one that hangs for a
        moment are followed, and all is answered.
        """
        process = self.guard("first", self.settings)
        load = self.load(process, "c")
        time.sleep(0.3)
        masters = self.masters()
        ids = [node.ask("CLUSTER", "MYID").decode() for node in masters]
        self.command(
            "reshard",
            f"127.0.0.1:{masters[0].port}",
            *("--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", "1500"),
        )
        before = masters[1].ask("DBSIZE")
        self.waitFor(lambda: masters[1].ask("DBSIZE") > before, process)

        masters[2].signal(signal.SIGKILL)
        left = [node for node in self.nodes if node is not masters[2]]
        self.waitFor(lambda: sum(node.ask("ROLE")[0] == b"master" for node in left) == 3, process)
        heir = next(
            node for node in left if node.ask("ROLE")[0] == b"master" and node not in masters
        )
        before = heir.ask("DBSIZE")
        self.waitFor(lambda: heir.ask("DBSIZE") > before, process)

        # For less time than it takes the others to notice.
        masters[0].signal(signal.SIGSTOP)
        time.sleep(0.5)
        masters[0].signal(signal.SIGCONT)
        before = masters[0].ask("DBSIZE")
        self.waitFor(lambda: masters[0].ask("DBSIZE") > before, process)
        self.assertGreater(load.answered(), 150)
