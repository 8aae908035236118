# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for how blocked names are answered.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.policy.blockedresponse import BlockedResponse, BlockMode


class ParseTests(SynchronousTestCase):
    """
    L{BlockedResponse.parse}.
    """

    def test_default(self) -> None:
        """
        NXDOMAIN for an hour, if nothing is said.
        """
        self.assertEqual(BlockedResponse.parse(), BlockedResponse())
        self.assertEqual(BlockedResponse().mode, BlockMode.NXDOMAIN)
        self.assertEqual(BlockedResponse().ttl, 3600)

    def test_modes(self) -> None:
        """
        Each mode has its word, in any letter case.
        """
        for word in ["nxdomain", "NODATA", "Refused"]:
            found = BlockedResponse.parse(word)
            self.assertEqual((found.mode.value, found.ipv4, found.ttl), (word.lower(), (), 3600))

    def test_null(self) -> None:
        """
        C{null_ip} is the two unspecified addresses, for a minute.
        """
        found = BlockedResponse.parse("null_ip")
        self.assertEqual((found.ipv4, found.ipv6, found.ttl), ((bytes(4),), (bytes(16),), 60))

    def test_addresses(self) -> None:
        """
        Addresses of both families, however they are separated.
        """
        for written in [
            "192.0.2.1, 2001:db8::1 192.0.2.2",
            ["192.0.2.1", "2001:db8::1", "192.0.2.2"],
        ]:
            found = BlockedResponse.parse(written, 5)
            self.assertEqual(found.mode, BlockMode.ADDRESS)
            self.assertEqual(found.ipv4, (b"\xc0\0\2\1", b"\xc0\0\2\2"))
            self.assertEqual(len(found.ipv6), 1)
            self.assertEqual(found.ttl, 5)

    def test_errors(self) -> None:
        """
        Anything else is an error at its key.
        """
        for written, ttl, text in [
            (
                "nonsense",
                0,
                "response.blocked: 'nonsense' is neither nxdomain, nodata, null_ip, refused nor an IP address",
            ),
            ("nxdomain 192.0.2.1", 0, "response.blocked: 'nxdomain' is neither"),
            ("", 0, "response.blocked: neither a mode nor an address"),
            ("fe80::1%eth0", 0, "response.blocked: 'fe80::1%eth0' has a zone"),
            ("address", 0, "response.blocked: 'address' is neither"),
            ("null_ip", -1, "response.blocked_ttl: -1 is no number of seconds"),
        ]:
            error = self.assertRaises(PolicyError, BlockedResponse.parse, written, ttl)
            self.assertTrue(str(error).startswith(text), str(error))
