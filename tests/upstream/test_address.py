# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.address}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.upstream.address import InvalidAddress, Scheme, UpstreamAddress

parse = UpstreamAddress.parse


class UpstreamAddressTests(SynchronousTestCase):
    """
    Tests for L{UpstreamAddress}.
    """

    def test_formsOfWriting(self) -> None:
        """
        Addresses are read as other resolvers have them.
        """
        for text, wanted in {
            "192.0.2.1": "udp://192.0.2.1:53",
            " 192.0.2.1:5353 ": "udp://192.0.2.1:5353",
            "udp://192.0.2.1": "udp://192.0.2.1:53",
            "TCP://192.0.2.1": "tcp://192.0.2.1:53",
            "2001:DB8::1": "udp://[2001:db8::1]:53",
            "[2001:db8:0::1]": "udp://[2001:db8::1]:53",
            "[2001:db8::1]:5353": "udp://[2001:db8::1]:5353",
            "tcp://[2001:db8::1]:5353": "tcp://[2001:db8::1]:5353",
            "fe80::1%eth0": "udp://[fe80::1%eth0]:53",
            "tls://dns.Example.org:853": "tls://dns.example.org:853",
            "tls://192.0.2.1": "tls://192.0.2.1:853",
            "quic://dns.example.org:784": "quic://dns.example.org:784",
            "https://dns.example.org": "https://dns.example.org/dns-query",
            "https://dns.example.org:8443/q?x=1": "https://dns.example.org:8443/q?x=1",
            "dns.example.org.:53": "udp://dns.example.org:53",
        }.items():
            self.assertEqual(str(parse(text)), wanted, text)

    def test_protocolBesideTheAddress(self) -> None:
        """
        The scheme may stand beside the address, but not contradict it.
        """
        self.assertEqual(parse("192.0.2.1", "TCP").scheme, Scheme.TCP)
        self.assertEqual(parse("2001:db8::1", "tls").port, 853)
        self.assertEqual(parse("udp://192.0.2.1", "udp").scheme, Scheme.UDP)
        error = self.assertRaises(InvalidAddress, parse, "tls://192.0.2.1", "udp")
        self.assertEqual(str(error), "'tls://192.0.2.1': says tls, but its protocol says udp")

    def test_badAddresses(self) -> None:
        """
        What can't be read gives one line that names the fault.
        """
        for text, reason in {
            "": "no host",
            "udp://": "no host",
            ":53": "no host",
            "192.0.2.1:": "port ''",
            "192.0.2.1:0": "port '0'",
            "192.0.2.1:65536": "port '65536'",
            "192.0.2.1:-1": "port '-1'",
            "192.0.2.1:" + "9" * 5000: "port '99",
            "192.0.2.1:٥": "port '٥'",
            "192.0.2.256": "no IPv4 address",
            "10.1": "no IPv4 address",
            "[192.0.2.1]:53": "no IPv6 address",
            "[2001:db8::g]": "no IPv6 address",
            "2001:db8::1:zz": "not of the form",
            "gopher://192.0.2.1": "unknown scheme 'gopher'",
            "udp://192.0.2.1/path": "a path belongs to https",
            "under score.example": "no host name",
            "-a.example": "no host name",
            "a..example": "no host name",
            "sdns://AgcAAAAAAAAABzEuMC4wLjE": "unknown scheme 'sdns'",
        }.items():
            error = self.assertRaises(InvalidAddress, parse, text)
            self.assertIn(reason, str(error), text)
            self.assertNotIn("\n", str(error))
            self.assertLess(len(str(error)), 300)

    def test_supported(self) -> None:
        """
        An address that can't be dialled says what can be.
        """
        address = parse("tcp://192.0.2.1")
        self.assertIs(address.supported(), address)
        for text, reason in {
            "tls://192.0.2.1:853": "tls upstreams aren't supported; udp and tcp are",
            "https://dns.example.org/dns-query": "https upstreams aren't supported; udp and tcp are",
            "quic://192.0.2.1": "quic upstreams aren't supported; udp and tcp are",
            "dns.example.org:53": "a udp upstream needs an IP address, not a name",
        }.items():
            error = self.assertRaises(InvalidAddress, parse(text).supported)
            self.assertIn(reason, str(error))

    @settings(max_examples=300, deadline=None)
    @given(
        st.one_of(
            st.text(max_size=40),
            st.text(alphabet="0123456789abcdef:.[]/%udptcls", max_size=30),
        )
    )
    def test_writtenAddressReadsTheSame(self, text: str) -> None:
        """
        Whatever is read is written so that it reads the same; the rest is
        refused with L{InvalidAddress} alone.
        """
        try:
            address = parse(text)
        except InvalidAddress:
            return
        self.assertEqual(parse(str(address)), address)
