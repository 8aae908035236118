# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.address}.
"""

from __future__ import annotations

import socket

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.server.address import InvalidAddress, ListenAddress, pack, unpack


class PackTests(SynchronousTestCase):
    """
    Tests for L{pack} and L{unpack}.
    """

    @settings(max_examples=100, deadline=None)
    @given(st.ip_addresses())
    def test_roundTrip(self, address: object) -> None:
        """
        An address keeps its meaning.
        """
        packed = pack(str(address))
        self.assertEqual(pack(unpack(packed)), packed)

    def test_forms(self) -> None:
        """
        A zone doesn't count, and an IPv4 address that came through an IPv6
        socket is an IPv4 address.
        """
        self.assertEqual(pack("192.0.2.1"), b"\xc0\0\2\1")
        self.assertEqual(pack("::ffff:192.0.2.1"), b"\xc0\0\2\1")
        self.assertEqual(unpack(pack("fe80::1%eth0")), "fe80::1")

    def test_none(self) -> None:
        """
        What is no address has no octets, and no octets are no text.
        """
        self.assertEqual([pack(""), pack("/run/socket"), pack("a:b")], [b"", b"", b""])
        self.assertEqual(unpack(b""), "")


class ListenAddressTests(SynchronousTestCase):
    """
    Tests for L{ListenAddress}.
    """

    def test_parse(self) -> None:
        """
        Addresses of both families are read and written alike.
        """
        for text, family, wildcard in (
            ("127.0.0.1:5300", socket.AF_INET, False),
            ("[::1]:5300", socket.AF_INET6, False),
            ("0.0.0.0:53", socket.AF_INET, True),
            ("[::]:0", socket.AF_INET6, True),
        ):
            (address,) = ListenAddress.parse(text)
            self.assertEqual(str(address), text)
            self.assertEqual((address.family, address.isWildcard), (family, wildcard))
            self.assertFalse(address.optional)

    def test_canonical(self) -> None:
        """
        An address is kept in canonical form.
        """
        (address,) = ListenAddress.parse("[2001:DB8:0::1]:53")
        self.assertEqual(address.host, "2001:db8::1")

    def test_portAlone(self) -> None:
        """
        A port alone stands for all addresses of both families, IPv6 where
        there is any.
        """
        self.assertEqual(
            ListenAddress.parse(":53"),
            (ListenAddress("0.0.0.0", 53), ListenAddress("::", 53, optional=True)),
        )

    def test_invalid(self) -> None:
        """
        Anything else is refused in one line that shows it.
        """
        for text in (
            "",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
            "127.0.0.1:٣",
            "localhost:53",
            "::1:53",
            "[127.0.0.1]:53",
            "[::1:53",
        ):
            reason = str(self.assertRaises(InvalidAddress, ListenAddress.parse, text))
            self.assertTrue(reason.startswith(f"{text!r}: "), reason)
