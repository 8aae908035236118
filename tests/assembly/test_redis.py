# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.redis} and L{dnsguard.assembly.rediswiring}.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.assembly.redis import Redis, changedRedis, makeRedis
from dnsguard.assembly.rediswiring import Wiring
from dnsguard.config import Config, loadText
from dnsguard.errors import PolicyError
from dnsguard.interfaces import IAnswerStore
from dnsguard.redis.cluster import Cluster
from dnsguard.redis.link import Link
from dnsguard.services.redishealth import START_SECONDS


def config(redis: str, rest: str = "") -> Config:
    """
    The configuration with a section for Redis.
    """
    return loadText(f"cache: {{redis: {{{redis}}}{rest}}}").config


class RedisTests(SynchronousTestCase):
    """
    Tests for L{makeRedis} and L{changedRedis}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.failures: list[str] = []

    def make(self, redis: str) -> Redis:
        """
        What there is for a configuration.
        """
        made = makeRedis(config(redis), self.reactor, self.failures.append)
        assert made is not None
        return made

    def test_none(self) -> None:
        """
        Without an address there is nothing.
        """
        self.assertIsNone(makeRedis(config(""), self.reactor, None))

    def test_made(self) -> None:
        """
        There is a store, and a service that connects it: to look things up, to
        do the rest, to listen.
        """
        redis = self.make("unix_socket: /run/redis.sock")
        verifyObject(IAnswerStore, redis.store)
        verifyObject(IService, redis.service)
        self.assertFalse(redis.store.available)
        redis.service.startService()
        self.assertEqual([each[0] for each in self.reactor.unixClients], ["/run/redis.sock"] * 3)
        self.successResultOf(redis.service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_counters(self) -> None:
        """
        There are numbers of each connection.
        """
        redis = self.make("unix_socket: /s")
        self.assertEqual(list(redis.connections), ["lookups", "background"])
        for each in redis.connections.values():
            self.assertEqual(each.counters()["trips"], 0)
        self.assertEqual(redis.clearings.counters()["missed"], 0)
        cluster = self.make("address: '127.0.0.1', mode: cluster")
        self.assertEqual(cluster.connections["lookups"].counters()["moved"], 0)

    def test_needed(self) -> None:
        """
        What happens if it isn't there at the start is the operator's choice.
        """
        for text, told in [("", 0), (", degraded_on_unavailable: false", 1)]:
            redis = self.make(f"unix_socket: /run/redis.sock{text}")
            redis.service.startService()
            self.reactor.advance(START_SECONDS)
            self.assertEqual(len(self.failures), told)
            redis.service.stopService()

    def test_unusableFile(self) -> None:
        """
        A file that can't be used is told with its place.
        """
        text = "address: a, tls: {enabled: true, ca_file: /nonexistent/ca.pem}"
        error = self.assertRaises(PolicyError, makeRedis, config(text), self.reactor, None)
        self.assertEqual(error.place, "cache.redis.tls")
        self.assertIn("/nonexistent/ca.pem", str(error))

    def test_unchanged(self) -> None:
        """
        A store stays if its settings do, and goes by new times.
        """
        text = "unix_socket: /run/redis.sock"
        redis = self.make(text)
        changed = config(text, ", max_ttl: 2h")
        self.assertIs(changedRedis(redis, changed, self.reactor), redis)
        self.assertEqual(redis.store.ttlPolicy.maxTTL, 7200)

    def test_changed(self) -> None:
        """
        Other settings make another one, or none, and nothing fatal.
        """
        redis = self.make("unix_socket: /run/redis.sock, degraded_on_unavailable: false")
        other = changedRedis(
            redis,
            config("unix_socket: /run/other.sock, degraded_on_unavailable: false"),
            self.reactor,
        )
        assert other is not None
        self.assertIsNot(other, redis)
        other.service.startService()
        self.reactor.advance(START_SECONDS)
        self.assertEqual(self.failures, [])
        self.successResultOf(other.service.stopService())
        self.assertIsNone(changedRedis(redis, config(""), self.reactor))
        self.assertIsNotNone(
            changedRedis(None, config("unix_socket: /run/redis.sock"), self.reactor)
        )


class WiringTests(SynchronousTestCase):
    """
    Tests for L{Wiring}.
    """

    def wiring(self, redis: str) -> Wiring:
        """
        The connections of a configuration.
        """
        return Wiring(config(redis).cache.redis, None, MemoryReactorClock())

    def test_modes(self) -> None:
        """
        A cluster is asked as one, all others over one link; each has a name.
        """
        cases: list[tuple[str, Any, str]] = [
            ("address: 'redis'", Link, "Redis at redis:6379"),
            ("unix_socket: /s", Link, "Redis at /s"),
            ("address: 'a,b', mode: sentinel, master_name: m", Link, "Redis sentinel"),
            ("address: 'a,b', mode: cluster", Cluster, "Redis cluster"),
        ]
        for text, kind, name in cases:
            wiring = self.wiring(text)
            asking = wiring.asking(0.05)
            self.assertIsInstance(asking, kind)
            self.assertEqual((wiring.name, asking.name), (name, name))

    def test_names(self) -> None:
        """
        In a cluster metadata share a slot.
        """
        self.assertEqual(self.wiring("address: a").names.index, b"dnsmeta:expiry:index")
        self.assertEqual(
            self.wiring("address: a, mode: cluster").names.index, b"{dnsmeta}:expiry:index"
        )
