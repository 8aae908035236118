# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.factory}.
"""

from __future__ import annotations

import resource
from typing import Any, cast

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.upstream.address import InvalidAddress, UpstreamAddress
from dnsguard.upstream.datagram import DatagramUpstream
from dnsguard.upstream.factory import UpstreamFactory, UpstreamSpec
from dnsguard.upstream.selection import Strategy
from dnsguard.upstream.stream import StreamUpstream
from dnsguard.wire.names import ROOT, fromText
from tests.support.upstreams import Asked

DOMAIN = fromText("example.org")


def spec(name: str, address: str, *domains: bytes) -> UpstreamSpec:
    parsed = UpstreamAddress.parse(address)
    return UpstreamSpec(name, parsed, domains) if domains else UpstreamSpec(name, parsed)


class UpstreamFactoryTests(SynchronousTestCase):
    """
    Tests for L{UpstreamFactory}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.factory = UpstreamFactory(self.reactor, backoff=7.0)

    def test_schemes(self) -> None:
        """
        The address says what is spoken.
        """
        made = self.factory.upstreamSet(
            [
                spec("a", "192.0.2.1"),
                spec("b", "tcp://192.0.2.2:5353"),
                spec("c", "tcp://[2001:db8::1]"),
            ]
        )
        self.assertEqual(
            [type(upstream) for upstream in made.upstreams],
            [DatagramUpstream, StreamUpstream, StreamUpstream],
        )
        self.assertEqual([upstream.name for upstream in made.upstreams], ["a", "b", "c"])
        self.assertEqual(made.upstreams[0].standing.backoff, 7.0)
        for upstream in made.upstreams[1:]:
            Asked(upstream)
        self.assertEqual(
            [call[:2] for call in self.reactor.tcpClients],
            [("192.0.2.2", 5353), ("2001:db8::1", 53)],
        )

    def test_unsupported(self) -> None:
        """
        An address that can't be dialled is an error.
        """
        self.assertRaises(
            InvalidAddress,
            self.factory.upstreamSet,
            [spec("b", "192.0.2.2"), spec("c", "tls://192.0.2.3")],
        )

    def test_domains(self) -> None:
        """
        An upstream is asked for its domains only; domains that aren't to be
        forwarded have no upstream, unless one is meant for them.
        """
        made = self.factory.upstreamSet(
            [
                spec("a", "192.0.2.1"),
                spec("b", "192.0.2.2", DOMAIN),
                spec("c", "192.0.2.3", DOMAIN, ROOT),
            ],
            Strategy.LOAD_BALANCE,
            [fromText("home.arpa"), DOMAIN],
        )
        names = {
            domain: [upstream.name for upstream in group.upstreams]
            for domain, group in made.groups.items()
        }
        self.assertEqual(names, {ROOT: ["a", "c"], DOMAIN: ["b", "c"], fromText("home.arpa"): []})
        self.assertEqual(made.groups[ROOT].selector.strategy, Strategy.LOAD_BALANCE)

    def test_whatStaysIsKept(self) -> None:
        """
        The next set has the same upstream where name and address are the
        same, and the same standing where the address is.
        """
        first = self.factory.upstreamSet(
            [spec("a", "192.0.2.1"), spec("b", "192.0.2.2"), spec("c", "192.0.2.3")]
        )
        second = self.factory.upstreamSet(
            [spec("renamed", "192.0.2.2"), spec("a", "192.0.2.1"), spec("c", "192.0.2.4")],
            previous=first,
        )
        self.assertIs(second.upstreams[1], first.upstreams[0])
        self.assertIsNot(second.upstreams[0], first.upstreams[1])
        self.assertIs(second.upstreams[0].standing, first.upstreams[1].standing)
        self.assertIsNot(second.upstreams[2].standing, first.upstreams[2].standing)

    def test_otherOptions(self) -> None:
        """
        A factory with other options makes other upstreams, and takes over
        what is known.
        """
        first = self.factory.upstreamSet([spec("a", "192.0.2.1")])
        second = UpstreamFactory(self.reactor, backoff=9.0).upstreamSet(
            [spec("a", "192.0.2.1")], previous=first
        )
        self.assertIsNot(second.upstreams[0], first.upstreams[0])
        self.assertIs(second.upstreams[0].standing, first.upstreams[0].standing)
        self.assertEqual(second.upstreams[0].standing.backoff, 9.0)

    def ports(self, limit: int) -> tuple[int, list[Any]]:
        """
        How many ports an upstream gets under a limit, and what is logged.
        """
        self.patch(resource, "getrlimit", lambda _: (limit, limit))
        logged: list[Any] = []
        observer = cast(ILogObserver, logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        made = self.factory.upstreamSet([spec("a", "192.0.2.1"), spec("b", "192.0.2.2")])
        (upstream, _) = made.upstreams
        assert isinstance(upstream, DatagramUpstream)
        return upstream.ports.size, logged

    def test_manyFiles(self) -> None:
        """
        With files enough there are as many ports as are wanted.
        """
        self.assertEqual(self.ports(20000), (1024, []))
        self.assertEqual(self.ports(resource.RLIM_INFINITY), (1024, []))

    def test_fewFiles(self) -> None:
        """
        With few there are fewer, and one line says so.
        """
        ports, logged = self.ports(1024)
        self.assertEqual(ports, 192)
        (event,) = logged
        self.assertEqual((event["log_level"], event["limit"]), (LogLevel.warn, 1024))
