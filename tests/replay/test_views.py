# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.views}.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.replay.views import Network, ViewMap


def network(text: str, number: int) -> Network:
    """
    A network as a policy gives it.
    """
    parsed = ip_network(text)
    return parsed.network_address.packed, parsed.prefixlen, number


class ViewMapTests(SynchronousTestCase):
    """
    Tests for L{ViewMap}.
    """

    def find(self, map: ViewMap, text: str) -> int:
        """
        Look an address up by its text.
        """
        return map.find(ip_address(text).packed)

    def test_longestMatch(self) -> None:
        """
        The longest network that an address is in decides, whatever the order.
        """
        networks = [
            network("10.0.0.0/8", 1),
            network("10.1.2.3/32", 3),
            network("10.1.0.0/16", 2),
            network("2001:db8::/32", 4),
            network("2001:db8:0:1::/64", 5),
        ]
        for order in (networks, networks[::-1]):
            map = ViewMap.of(order, 0)
            for text, number in [
                ("9.255.255.255", 0),
                ("10.0.0.0", 1),
                ("10.0.255.255", 1),
                ("10.1.0.0", 2),
                ("10.1.2.2", 2),
                ("10.1.2.3", 3),
                ("10.1.2.4", 2),
                ("10.2.0.0", 1),
                ("11.0.0.0", 0),
                ("255.255.255.255", 0),
                ("2001:db8::1", 4),
                ("2001:db8:0:1::1", 5),
                ("2001:db8:0:2::", 4),
                ("2001:db9::", 0),
                ("::", 0),
            ]:
                self.assertEqual(self.find(map, text), number, text)

    def test_mapped(self) -> None:
        """
        An IPv4-mapped address is the IPv4 address, in networks as in clients.
        """
        map = ViewMap.of([network("192.0.2.0/24", 1), network("::ffff:198.51.100.0/120", 2)], 0)
        self.assertEqual(self.find(map, "::ffff:192.0.2.7"), 1)
        self.assertEqual(self.find(map, "198.51.100.7"), 2)

    def test_everybody(self) -> None:
        """
        A network of prefix 0 leaves nobody to the default.
        """
        map = ViewMap.of([network("0.0.0.0/0", 7), network("::/0", 8)], 0)
        self.assertEqual(self.find(map, "203.0.113.1"), 7)
        self.assertEqual(self.find(map, "2001:db8::"), 8)

    def test_noNetwork(self) -> None:
        """
        What is no network is an error, not a wrong view.
        """
        for bad in [(b"\1\2\3", 8, 0), (bytes(4), 33, 0), (bytes(16), -1, 0)]:
            with self.assertRaises(ValueError):
                ViewMap.of([bad], 0)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 32)), max_size=12),
        st.lists(st.integers(0, 0xFFFFFFFF), max_size=10),
    )
    def test_likeTheObviousSearch(
        self, prefixes: list[tuple[int, int]], addresses: list[int]
    ) -> None:
        """
        It finds what looking through all networks finds, also right before,
        at and behind their bounds.
        """
        networks = [
            (first.to_bytes(4, "big"), length, number)
            for number, (first, length) in enumerate(prefixes, 1)
        ]
        map = ViewMap.of(networks, 0)
        for first, length in prefixes:
            low = first >> (32 - length) << (32 - length)
            addresses += [low - 1, low, low + (1 << (32 - length)) - 1, low + (1 << (32 - length))]
        for address in addresses:
            if not 0 <= address < 1 << 32:
                continue
            best = max(
                (
                    (length, number)
                    for number, (first, length) in enumerate(prefixes, 1)
                    if (first ^ address) >> (32 - length) == 0
                ),
                default=(0, 0),
            )
            self.assertEqual(map.find(address.to_bytes(4, "big")), best[1])
