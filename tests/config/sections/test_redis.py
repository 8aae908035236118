# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.redis}.
"""

from __future__ import annotations

from dnsguard.config import loadText
from dnsguard.config.sections.redis import RedisConfig, RedisMode, RedisServer
from tests.config.sections.cases import SectionCase


class RedisTests(SectionCase):
    """
    Tests for C{cache.redis}.
    """

    def redis(self, text: str) -> RedisConfig:
        """
        The section of a text.
        """
        return self.config(f"cache: {{redis: {{{text}}}}}").cache.redis

    def test_defaults(self) -> None:
        """
        Without a word there is no shared cache.
        """
        redis = self.config("").cache.redis
        self.assertFalse(redis.enabled)
        self.assertEqual((redis.db, redis.username, redis.password), (0, "", ""))
        self.assertEqual((redis.mode, redis.timeout), (RedisMode.STANDALONE, 0.05))
        self.assertTrue(redis.degradedOnUnavailable)
        self.assertFalse(redis.tls.enabled)

    def test_address(self) -> None:
        """
        An address is a host with or without a port.
        """
        for text, server in [
            ("redis:6379", RedisServer("redis", 6379)),
            ("redis.example.org", RedisServer("redis.example.org")),
            ("192.0.2.1:1", RedisServer("192.0.2.1", 1)),
            ("[2001:db8::1]:6380", RedisServer("2001:db8::1", 6380)),
        ]:
            redis = self.redis(f'address: "{text}"')
            self.assertTrue(redis.enabled)
            self.assertEqual(redis.servers, (server,))

    def test_listInAddress(self) -> None:
        """
        Several addresses are Sentinels or nodes of a cluster, which may have
        keys of their own instead.
        """
        two = (RedisServer("a", 1), RedisServer("b", 2))
        self.assertEqual(
            self.redis('address: "a:1, b:2", mode: sentinel, master_name: m').servers, two
        )
        self.assertEqual(
            self.redis('sentinel_addrs: ["a:1", "b:2"], mode: Sentinel, master_name: m').servers,
            two,
        )
        self.assertEqual(self.redis('address: "a:1,b:2", mode: cluster').servers, two)
        self.assertEqual(
            self.redis('address: "x:9", cluster_addrs: ["a:1", "b:2"], mode: cluster').servers, two
        )

    def test_socket(self) -> None:
        """
        A socket takes the place of an address.
        """
        self.assertTrue(self.redis("unix_socket: /run/redis.sock").enabled)

    def test_password(self) -> None:
        """
        The password is shown nowhere, and may stand elsewhere.
        """
        loaded = loadText(
            "cache: {redis: {address: a, password: '${env:PW}'}}", environ={"PW": "s3cret"}
        )
        self.assertEqual(loaded.config.cache.redis.password, "s3cret")
        self.assertNotIn("s3cret", repr(loaded.config))

    def test_sentinelPassword(self) -> None:
        """
        Sentinels have a user and a password of their own.
        """
        loaded = loadText(
            "cache: {redis: {address: a, mode: sentinel, master_name: m, password: b,"
            " sentinel_username: c, sentinel_password: '${env:PW}'}}",
            environ={"PW": "s3cret"},
        )
        redis = loaded.config.cache.redis
        self.assertEqual((redis.sentinelUsername, redis.sentinelPassword), ("c", "s3cret"))
        self.assertNotIn("s3cret", repr(loaded.config))

    def test_refused(self) -> None:
        """
        What a mode needs, or can't have, is told with its place.
        """
        for text, path in [
            ('address: "a:1,b:2"', "address"),
            ('address: "a:0"', "address"),
            ('address: "a:b:c"', "address"),
            ('address: "a", mode: primary', "mode"),
            ('address: "a", mode: sentinel', "master_name"),
            ("mode: sentinel, master_name: m", "mode"),
            ("mode: cluster", "mode"),
            ('address: "a", sentinel_password: x', "sentinel_password"),
            (
                'address: "a", mode: sentinel, master_name: m, sentinel_username: u',
                "sentinel_username",
            ),
            ('address: "a", mode: cluster, db: 1', "db"),
            ('address: "a", unix_socket: /s', "unix_socket"),
            ("unix_socket: /s, tls: {enabled: true}", "tls.enabled"),
            ('address: "a", unix_socket: /s, mode: cluster', "unix_socket"),
            ('address: "a", tls: {key_file: /k}', "tls.key_file"),
            ('address: "a", timeout: 1ms', "timeout"),
            ('address: "a", db: -1', "db"),
        ]:
            self.assertIn(f"cache.redis.{path}", self.paths(f"cache: {{redis: {{{text}}}}}"), text)
