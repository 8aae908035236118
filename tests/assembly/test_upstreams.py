# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.upstreams}.
"""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock

from dnsguard.assembly.upstreams import upstreamFactory, upstreamSet, upstreamSpecs
from dnsguard.upstream.address import Scheme
from dnsguard.upstream.selection import Strategy
from dnsguard.wire.names import ROOT, fromText
from tests.assembly.test_rules import Writing


class UpstreamTests(Writing):
    """
    Tests for reading upstreams.
    """

    def test_specs(self) -> None:
        """
        Upstreams are for all names, routes for theirs, each by its protocol.
        """
        specs = upstreamSpecs(
            self.read(
                "upstreams: [192.0.2.1, {name: b, address: 'tcp://[2001:db8::1]:5353'}]\n"
                "conditional_forwarding:\n"
                "  - {domains: [corp.example, 10.in-addr.arpa], upstreams: ['192.0.2.3:54']}\n"
            )
        )
        first, second, third = specs
        self.assertEqual((first.address.host, first.address.port), ("192.0.2.1", 53))
        self.assertEqual(first.domains, (ROOT,))
        self.assertEqual((second.name, second.address.scheme), ("b", Scheme.TCP))
        self.assertEqual(third.address.port, 54)
        self.assertEqual(third.domains, (fromText("corp.example"), fromText("10.in-addr.arpa")))

    def test_setKeepsWhatStays(self) -> None:
        """
        An upstream that stays is the same one after a reload.
        """
        reactor = MemoryReactorClock()
        config = self.read("upstreams: [192.0.2.1, 192.0.2.2]\nresolver_strategy: weighted\n")
        factory = upstreamFactory(config, reactor)
        before = upstreamSet(config, factory)
        found = before.find(fromText("example.org"), 1)
        assert found is not None
        self.assertIs(found[1].selector.strategy, Strategy.WEIGHTED)
        after = upstreamSet(self.read("upstreams: [192.0.2.2, 192.0.2.9]\n"), factory, before)
        self.assertIs(after.upstreams[0], before.upstreams[1])
        self.assertNotIn(after.upstreams[1], before.upstreams)
