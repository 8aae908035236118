# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.upstreams}.
"""

from __future__ import annotations

from dnsguard.config.sections.upstreams import Strategy, UpstreamConfig, UpstreamProtocol
from tests.config.sections.cases import SectionCase


class UpstreamTests(SectionCase):
    """
    Tests for C{upstreams}, C{network} and C{resolver_strategy}.
    """

    def test_read(self) -> None:
        """
        An address alone is enough, and is the name then.
        """
        self.assertEqual(
            self.config(
                "upstreams: [{name: q, address: 'tcp://9.9.9.9'}, 1.1.1.1, 'dns.example:53',"
                " '[2001:db8::1]:53', '2001:db8::2', {address: 192.0.2.1, protocol: tcp}]"
            ).upstreams,
            (
                UpstreamConfig(name="q", address="tcp://9.9.9.9"),
                UpstreamConfig(name="1.1.1.1", address="1.1.1.1"),
                UpstreamConfig(name="dns.example:53", address="dns.example:53"),
                UpstreamConfig(name="[2001:db8::1]:53", address="[2001:db8::1]:53"),
                UpstreamConfig(name="2001:db8::2", address="2001:db8::2"),
                UpstreamConfig(
                    name="192.0.2.1", address="192.0.2.1", protocol=UpstreamProtocol.TCP
                ),
            ),
        )

    def test_publicName(self) -> None:
        """
        A name made of an address leaves its path out.
        """
        for address, name in [
            ("https://dns.example/secret", "https://dns.example"),
            ("tcp://[::1]:53", "tcp://[::1]:53"),
            ("9.9.9.9:53", "9.9.9.9:53"),
        ]:
            self.assertEqual(UpstreamConfig(address=address).name, name)

    def test_badAddresses(self) -> None:
        """
        What can't be dialled is refused, with a reason.
        """
        for address, words in [
            ("9.9.9.256", "neither an IP address nor a host name"),
            ("9.9.9.9:99999", "from 1 to 65535"),
            ("9.9.9.9:0", "from 1 to 65535"),
            ("9.9.9.9:dns", "from 1 to 65535"),
            ("ftp://9.9.9.9", "no such protocol"),
            ("udp://", "neither an IP"),
            ("udp://9.9.9.9/path", "path"),
            ("udp://user@9.9.9.9", "user names"),
            ("a b", "neither an IP address nor a host name"),
            ("[::1", "not of the form"),
            ("tls://9.9.9.9", "tls isn't spoken by this version yet"),
            ("https://dns.example/dns-query", "https isn't spoken by this version yet"),
        ]:
            messages = self.messages(f"upstreams: ['{address}']")
            self.assertEqual(len(messages), 1, messages)
            self.assertIn(words, messages[0])

    def test_protocol(self) -> None:
        """
        A protocol that contradicts the address, or isn't spoken, is refused.
        """
        for text in [
            "address: 'udp://9.9.9.9', protocol: tcp",
            "address: 9.9.9.9, protocol: quic",
        ]:
            self.assertEqual(self.paths(f"upstreams: [{{{text}}}]"), ["upstreams[0].protocol"])

    def test_names(self) -> None:
        """
        Two upstreams of one name are refused.
        """
        self.assertEqual(
            self.paths(
                "upstreams: [{name: a, address: 192.0.2.1}, {name: a, address: 192.0.2.2}]"
            ),
            ["upstreams[1]"],
        )

    def test_network(self) -> None:
        """
        Zero is zero: it switches backoff off, and lifts the idle limit.
        """
        config = self.config(
            "network: {upstream_backoff: 0, upstream_conn_pool_idle_timeout: 0s}\n"
            "resolver_strategy: parallel"
        )
        self.assertEqual(config.network.upstreamBackoff, 0.0)
        self.assertEqual(config.network.upstreamConnPoolIdleTimeout, 0.0)
        self.assertEqual(config.network.upstreamTimeout, 10.0)
        self.assertIs(config.resolverStrategy, Strategy.PARALLEL)
        self.assertEqual(self.paths("resolver_strategy: fastest"), ["resolver_strategy"])
        self.assertEqual(
            self.paths("network: {upstream_timeout: 0}"), ["network.upstream_timeout"]
        )


class ForwardingTests(SectionCase):
    """
    Tests for C{conditional_forwarding}.
    """

    def test_read(self) -> None:
        """
        Domains, or one, go to servers, or one.
        """
        forwarding = self.config(
            "conditional_forwarding:\n"
            "- {domains: [Corp.example, 2.0.192.in-addr.arpa.], upstreams: [192.0.2.53]}\n"
            "- {domains: lab.example, upstreams: 192.0.2.54}\n"
        ).conditionalForwarding
        self.assertEqual(forwarding[0].domains, ("corp.example", "2.0.192.in-addr.arpa"))
        self.assertEqual(forwarding[0].upstreams, (UpstreamConfig(address="192.0.2.53"),))
        self.assertEqual(forwarding[1].domains, ("lab.example",))

    def test_refused(self) -> None:
        """
        A domain that goes two ways, or nowhere, is refused.
        """
        self.assertEqual(
            self.paths(
                "conditional_forwarding:\n"
                "- {domains: [a.example], upstreams: [192.0.2.1]}\n"
                "- {domains: [b.example, A.example], upstreams: [192.0.2.2]}\n"
            ),
            ["conditional_forwarding[1].domains[1]"],
        )
        self.assertEqual(
            self.paths("conditional_forwarding: [{domains: [], upstreams: [tls://a.example]}]"),
            [
                "conditional_forwarding[0].domains",
                "conditional_forwarding[0].upstreams[0].address",
            ],
        )
