# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.chain}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.assembly.chain import Chain, makeChain
from dnsguard.assembly.rules import makePolicy
from dnsguard.policy.snapshot import Policies
from dnsguard.query import wireToName
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.testing import Asked, FakeUpstream, askChain
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import Strategy
from dnsguard.wire.names import ROOT
from tests.assembly.test_rules import LISTS, Writing


class ChainTests(Writing):
    """
    Tests for the order of the chain.
    """

    def chain(self, text: str, answer: object = None) -> Chain:
        """
        The chain of a configuration, with one upstream that gives every name
        an address, or what is said.
        """
        config = self.read(text)
        self.clock = Clock()

        def address(asked: Asked) -> None:
            text = wireToName(asked.attempt.exchange.qname)
            record = dns.RRHeader(text, dns.A, dns.IN, 600, dns.Record_A("192.0.2.99", 600))
            asked.reply(Answer.fromRecords([record], outcome=Outcome.UPSTREAM))

        self.upstream = FakeUpstream(
            answer=address if answer is None else answer,  # type: ignore[arg-type]
            clock=self.clock,
        )
        group = Group.of(Strategy.FAILOVER, [self.upstream])
        forwarder = ForwardingResolver(UpstreamSet({ROOT: group}), clock=self.clock)
        policies = Policies(makePolicy(config, LISTS, 0.0)[0])
        return makeChain(config, policies, forwarder, self.clock)

    def outcome(self, chain: Chain, name: str) -> Outcome:
        """
        How a name is answered.
        """
        answer = askChain(chain.resolver, name)
        assert answer is not None
        return answer.outcome

    def test_order(self) -> None:
        """
        Local records hold against lists, special names stay in the house, safe
        search goes before the lists, and these before the caches.
        """
        chain = self.chain(
            "blocklists: {sources: [{name: ads, url: /a}], denylist: [nas.example.org]}\n"
            "local_records: [{name: nas.example.org, type: A, value: 192.0.2.1}]\n"
            "safe_search: {enabled: true}\n"
        )
        for name, outcome in [
            ("nas.example.org", Outcome.LOCAL),
            ("localhost", Outcome.LOCAL),
            ("www.bing.com", Outcome.SAFE_SEARCH),
            ("www.ads.example", Outcome.BLOCKED),
            ("www.example.com", Outcome.UPSTREAM),
            ("www.example.com", Outcome.CACHED),
        ]:
            self.assertEqual(self.outcome(chain, name), outcome, name)
        self.assertEqual(len(self.upstream.asked), 2)

    def test_listsHoldOverTheCache(self) -> None:
        """
        What is blocked is blocked at once, though it was cached.
        """
        chain = self.chain("blocklists: {}\n")
        self.outcome(chain, "ads.example")
        config = self.read("blocklists: {denylist: [ads.example]}\n")
        chain.resolver.elements[0]._policies.publish(  # type: ignore[attr-defined]
            makePolicy(config, LISTS, 0.0)[0]
        )
        self.assertEqual(self.outcome(chain, "ads.example"), Outcome.BLOCKED)

    def test_failuresAreSpared(self) -> None:
        """
        What upstream fails at isn't asked again at once.
        """
        failure = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
        chain = self.chain("cache: {servfail_backoff: 10s}\n", failure)
        self.assertEqual(self.outcome(chain, "a.example"), Outcome.SERVFAIL)
        self.assertEqual(self.outcome(chain, "a.example"), Outcome.SERVFAIL_BACKOFF)
        self.clock.advance(10.5)
        self.assertEqual(self.outcome(chain, "a.example"), Outcome.SERVFAIL)

    def test_withoutCache(self) -> None:
        """
        A cache of no entries is no cache.
        """
        chain = self.chain("cache: {lru_size: 0}\n")
        self.assertIsNone(chain.memory)
        for _ in range(2):
            self.assertEqual(self.outcome(chain, "www.example.com"), Outcome.UPSTREAM)
