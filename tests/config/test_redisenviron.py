# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.redisenviron}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config import loadText
from dnsguard.config.sections.redis import RedisConfig, RedisMode, RedisServer
from dnsguard.errors import ConfigError


class RedisEnvironmentTests(SynchronousTestCase):
    """
    Tests for L{redisTree}, as loading applies it.
    """

    def redis(self, text: str = "", **environ: str) -> RedisConfig:
        """
        The section of a text and an environment.
        """
        loaded = loadText(f"cache: {{redis: {{{text}}}}}" if text else "", environ=environ)
        self.assertEqual(loaded.warnings, ())
        return loaded.config.cache.redis

    def test_aboveTheFile(self) -> None:
        """
        A variable goes before the file, an empty one doesn't.
        """
        text = 'address: "file:1", password: old'
        redis = self.redis(text, REDIS_ADDRESS="env:2", REDIS_PASSWORD="")
        self.assertEqual((redis.address, redis.password), ((RedisServer("env", 2),), "old"))

    def test_belowOwnVariables(self) -> None:
        """
        dnsguard's own variables go before those of the platform.
        """
        redis = self.redis(REDIS_ADDRESS="a:1", DNSGUARD__CACHE__REDIS__ADDRESS="'b:2'")
        self.assertEqual(redis.address, (RedisServer("b", 2),))

    def test_url(self) -> None:
        """
        A URL says host, password, user, database and encryption.
        """
        redis = self.redis(REDIS_URL="rediss://me:p%40ss%24@redis.example.org/2")
        self.assertEqual(redis.address, (RedisServer("redis.example.org", 6379),))
        self.assertEqual((redis.username, redis.password, redis.db), ("me", "p@ss$", 2))
        self.assertTrue(redis.tls.enabled)
        redis = self.redis(REDIS_URL="redis://[2001:db8::1]:7000")
        self.assertEqual(redis.address, (RedisServer("2001:db8::1", 7000),))
        self.assertFalse(redis.tls.enabled)

    def test_beatsURL(self) -> None:
        """
        Address and password of their own go before those of the URL.
        """
        redis = self.redis(
            REDIS_URL="redis://:one@a:1", REDIS_ADDRESS="b:2", REDIS_PASSWORD="${env:two}"
        )
        # A password is taken as it is.
        self.assertEqual((redis.address, redis.password), ((RedisServer("b", 2),), "${env:two}"))

    def test_badURL(self) -> None:
        """
        A URL that is none is told without its password.
        """
        for url in ("http://:s3cret@a", "redis://:s3cret@", "redis://:s3cret@a:port"):
            error = self.assertRaises(ConfigError, loadText, "", environ={"REDIS_URL": url})
            self.assertIn("REDIS_URL", str(error))
            self.assertNotIn("s3cret", str(error))

    def test_modes(self) -> None:
        """
        Lists are parted by commas.
        """
        redis = self.redis(
            REDIS_MODE="sentinel", REDIS_MASTER_NAME="m", REDIS_SENTINEL_ADDRS="a:1, b:2,"
        )
        self.assertEqual((redis.mode, redis.masterName), (RedisMode.SENTINEL, "m"))
        self.assertEqual(redis.servers, (RedisServer("a", 1), RedisServer("b", 2)))
        redis = self.redis(REDIS_MODE="cluster", REDIS_CLUSTER_ADDRS="a:1")
        self.assertEqual(redis.servers, (RedisServer("a", 1),))

    def test_degraded(self) -> None:
        """
        Going on without Redis can be switched on, not off.
        """
        off = "degraded_on_unavailable: false"
        self.assertFalse(self.redis(off).degradedOnUnavailable)
        self.assertTrue(self.redis(off, REDIS_DEGRADED_ON_UNAVAILABLE="1").degradedOnUnavailable)
        self.assertTrue(self.redis(REDIS_DEGRADED_ON_UNAVAILABLE="false").degradedOnUnavailable)
