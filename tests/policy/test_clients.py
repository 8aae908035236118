# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.clients}.
"""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.asker import Asker
from dnsguard.policy.clients import CACHE_LIMIT, Clients, ClientSpec, parseNetwork
from dnsguard.policy.problems import InvalidPolicy


def packed(text: str) -> bytes:
    """
    An address as octets.
    """
    return ipaddress.ip_address(text).packed


def networks(version: int) -> st.SearchStrategy[str]:
    """
    Networks in a small part of the address space, so that they overlap.
    """
    bits = 32 if version == 4 else 128
    base = int(ipaddress.ip_address("192.0.2.0" if version == 4 else "2001:db8::"))
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network

    def network(host: int, length: int) -> str:
        return str(kind(((base + host) >> (bits - length) << (bits - length), length)))

    return st.builds(network, st.integers(0, 255), st.integers(bits - 9, bits))


hosts = st.integers(0, 255).map(lambda host: f"192.0.2.{host}") | st.integers(0, 255).map(
    lambda host: f"2001:db8::{host:x}"
)


class IdentifyTests(SynchronousTestCase):
    """
    Tests for L{Clients.identify}.
    """

    def test_theMostSpecificDecides(self) -> None:
        """
        An address is taken before a network, a small network before a wide one.
        """
        clients = Clients.build(
            [
                ClientSpec("192.0.2.0/24", "net", "all"),
                ClientSpec("192.0.2.128/25", "half", "some"),
                ClientSpec("192.0.2.200", "tv", "one"),
                ClientSpec("2001:db8::/32", "six", "all"),
            ],
            ["all", "some", "one"],
        )
        for address, name, group in [
            ("192.0.2.1", "net", "all"),
            ("192.0.2.129", "half", "some"),
            ("192.0.2.200", "tv", "one"),
            ("::ffff:192.0.2.200", "tv", "one"),
            ("2001:db8:0:0::1", "six", "all"),
            ("198.51.100.1", "", ""),
        ]:
            asker = clients.identify(packed(address))
            self.assertEqual((asker.clientName, asker.groupID), (name, group), address)

    def test_addressIsCanonical(self) -> None:
        """
        The asker's address is written in its shortest form, an IPv4 address
        mapped into IPv6 as the IPv4 address.
        """
        self.assertEqual(
            Clients.NONE.identify(packed("2001:DB8:0:0:0:0:0:1")), Asker("2001:db8::1")
        )
        self.assertEqual(Clients.NONE.identify(packed("::ffff:192.0.2.1")), Asker("192.0.2.1"))

    def test_namedDeviceKeepsItsNetworksGroup(self) -> None:
        """
        An entry without a group belongs to the group of the network around it;
        a name isn't handed down.
        """
        clients = Clients.build(
            [
                ClientSpec("192.0.2.7", "tablet"),
                ClientSpec("192.0.2.0/24", "net", "kids"),
                ClientSpec("192.0.2.8", "", "kids"),
            ],
            ["kids"],
        )
        self.assertEqual(
            clients.identify(packed("192.0.2.7")), Asker("192.0.2.7", "tablet", "kids")
        )
        self.assertEqual(clients.identify(packed("192.0.2.8")), Asker("192.0.2.8", "", "kids"))

    @given(
        st.dictionaries(networks(4) | networks(6), st.text("abc", min_size=1), max_size=12),
        st.lists(hosts, max_size=30),
    )
    @settings(max_examples=150, deadline=None)
    def test_agreesWithTheStandardLibrary(self, groups: dict[str, str], asked: list[str]) -> None:
        """
        The group found is that of the longest prefix.
        """
        clients = Clients.build(
            [ClientSpec(text, "", group) for text, group in groups.items()], groups.values()
        )
        for text in asked:
            address = ipaddress.ip_address(text)
            around = [
                (network.prefixlen, group)
                for network, group in (
                    (ipaddress.ip_network(written), group) for written, group in groups.items()
                )
                if network.version == address.version and address in network
            ]
            expected = max(around)[1] if around else ""
            self.assertEqual(clients.identify(address.packed).groupID, expected)

    def test_noAddress(self) -> None:
        """
        A peer without an address is nobody.
        """
        for odd in (b"", b"\1\2\3", bytes(20)):
            self.assertIs(Clients.NONE.identify(odd), Asker.ANONYMOUS)

    def test_memoryIsBounded(self) -> None:
        """
        However many addresses ask, only so many are remembered.
        """
        clients = Clients({})
        for number in range(CACHE_LIMIT + 10):
            clients.identify(number.to_bytes(4, "big"))
        self.assertEqual(clients.evictions, 10)
        self.assertEqual(clients.identify(b"\0\0\0\0"), Asker("0.0.0.0"))

    def test_networks(self) -> None:
        """
        All networks are listed, the most specific ones first.
        """
        clients = Clients.build(
            [
                ClientSpec("192.0.2.0/24", "", "a"),
                ClientSpec("::ffff:192.0.2.1", "tv"),
                ClientSpec("2001:db8::/32", "", "a"),
            ],
            ["a"],
        )
        self.assertEqual(
            list(clients.networks()),
            [
                (packed("192.0.2.1"), 32, "a"),
                (packed("192.0.2.0"), 24, "a"),
                (packed("2001:db8::"), 32, "a"),
            ],
        )


class ProblemTests(SynchronousTestCase):
    """
    What is wrong with clients.
    """

    def test_allAtOnce(self) -> None:
        """
        Bad addresses, duplicates in any spelling and unknown groups are told
        of with their places.
        """
        invalid = self.assertRaises(
            InvalidPolicy,
            Clients.build,
            [
                ClientSpec("192.0.2.1", groupID="kids", place="clients[0]"),
                ClientSpec("::ffff:c000:201", place="clients[1]"),
                ClientSpec("192.0.2.1/24", place="clients[2]"),
                ClientSpec("tv", place="clients[3]"),
                ClientSpec("192.0.2.9", groupID="kidz", place="clients[4]"),
            ],
            ["kids"],
        )
        self.assertEqual(
            [problem.place for problem in invalid.problems],
            ["clients[1].ip", "clients[2].ip", "clients[3].ip", "clients[4].group_id"],
        )
        self.assertIn("did you mean 'kids'?", str(invalid))
        self.assertIn("clients[0] already", str(invalid))

    def test_mappedNetwork(self) -> None:
        """
        A network of mapped addresses is the IPv4 network.
        """
        self.assertEqual(parseNetwork("::ffff:192.0.2.0/120"), (packed("192.0.2.0"), 24))
        self.assertEqual(parseNetwork("::/0"), (bytes(16), 0))
