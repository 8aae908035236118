# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.keys}.
"""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.convert import allPaths
from dnsguard.config.keys import keysOf, snake
from dnsguard.config.model import Config
from dnsguard.config.pending import pendingKeys
from dnsguard.config.sections.caching import CacheConfig


class KeyTests(SynchronousTestCase):
    """
    Tests for the declarations.
    """

    def test_snake(self) -> None:
        """
        The name in YAML follows from the attribute's.
        """
        for attribute, name in [
            ("listen", "listen"),
            ("minTTL", "min_ttl"),
            ("clientTTLCap", "client_ttl_cap"),
            ("maxUDPSize", "max_udp_size"),
            ("groupID", "group_id"),
            ("upstreamConnPoolIdleTimeout", "upstream_conn_pool_idle_timeout"),
            ("useApplicationDNS", "use_application_dns"),
            ("lruSize", "lru_size"),
        ]:
            self.assertEqual(snake(attribute), name)

    def test_declared(self) -> None:
        """
        A declaration has all there is to know of a key.
        """
        key = keysOf(CacheConfig)["lru_size"]
        self.assertEqual(key.attribute, "lruSize")
        self.assertEqual(key.default, 10_000)
        self.assertFalse(key.needed)
        self.assertEqual(key.aliases, ("cache.redis.lru_size",))

    def test_sane(self) -> None:
        """
        Each key has a meaning that ends like a sentence, and no path or alias
        leads to two keys, or to one that is said to be ignored.
        """
        paths: list[str] = []
        for path, key in allPaths(Config):
            self.assertTrue(key.meaning.endswith((".", "?", ")")), (path, key.meaning))
            paths.append(path)
            paths += [*key.aliases, *key.deprecated]
        self.assertEqual([path for path, count in Counter(paths).items() if count > 1], [])
        self.assertEqual({name for name, _ in pendingKeys()} & set(paths), set())
