# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.policy}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.safesearch import Engine, SafeSearch
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.query import ClientQuery
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.resolvers.localrecords import LocalRecordsResolver
from dnsguard.resolvers.policy import PolicyAnswerer, failed
from dnsguard.resolvers.safesearch import SafeSearchResolver
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText

from .tails import FakeTail, address, now, upstream

APEXES = [
    "apps.example.org",
    "nas.example.org",
    "www.example.org",
    "localhost",
    "10.in-addr.arpa",
    "resolver.arpa",
    "onion",
    "www.google.com",
    "ya.ru",
    "example.net",
]


class ViewTests(SynchronousTestCase):
    """
    Tests for L{PolicyAnswerer}.
    """

    def test_pinnedView(self) -> None:
        """
        A query has the view it came with, whatever is published since; one
        that came without has that of somebody unknown, now.
        """
        name = fromText("pixabay.com")
        policies = Policies(Policy.of())
        old = policies.current.defaultView
        policies.publish(
            Policy.of(
                DomainSet.parse("pixabay.com"),
                records=[("pixabay.com", "A", "192.0.2.1")],
                safeSearch=SafeSearch.of(Engine),
            )
        )
        for answerer in (
            LocalRecordsResolver(policies, FakeTail(None)),
            SafeSearchResolver(policies, FakeTail(None)),
            BlocklistResolver(policies),
        ):
            self.assertIsInstance(answerer, PolicyAnswerer)
            self.assertIsNone(answerer.answer(ClientQuery(name, view=old)))
            self.assertIsNotNone(answerer.answer(ClientQuery(name)))


class FailedTests(SynchronousTestCase):
    """
    Tests for L{failed}.
    """

    def test_failures(self) -> None:
        """
        A failure keeps its code and outcome and is final; what isn't a failure
        but of no use is SERVFAIL.
        """
        refused = Answer.failure(dns.EREFUSED, Outcome.REFUSED, final=False, upstream="one")
        for answer, code, outcome in [
            (refused, dns.EREFUSED, Outcome.REFUSED),
            (None, dns.ESERVER, Outcome.SERVFAIL),
            (upstream("example.org"), dns.ESERVER, Outcome.SERVFAIL),
        ]:
            whole = failed(answer)
            self.assertEqual((whole.rCode, whole.outcome, whole.final), (code, outcome, True))


class AnyQueryTests(SynchronousTestCase):
    """
    Whatever is asked, what comes out is a sound message.
    """

    records = [
        ("nas.example.org", "A", "192.0.2.1"),
        ("*.apps.example.org", "TXT", "x" * 300),
        ("www.example.org", "CNAME", "host.example.net"),
    ]

    @given(
        st.lists(st.binary(min_size=1, max_size=63), max_size=3),
        st.sampled_from(APEXES),
        st.integers(0, 65535) | st.sampled_from([1, 5, 6, 12, 16, 28, 43, 64, 65, 255]),
    )
    @settings(max_examples=300, deadline=None)
    def test_soundMessages(self, parts: list[bytes], apex: str, type: int) -> None:
        """
        Each answer's layout is what a scan of its octets finds, and its
        question is the one that was asked.
        """
        below = b"".join(bytes([len(part)]) + part for part in parts).lower()
        name = below + fromText(apex)
        if len(name) > 255:
            return
        policies = Policies(Policy.of(records=self.records, safeSearch=SafeSearch.of(Engine)))
        tail = FakeTail(upstream("host.example.net", address("host.example.net", 1)))
        query = ClientQuery(name, type)
        for resolver in (LocalRecordsResolver(policies, tail), SafeSearchResolver(policies, tail)):
            answer = resolver.answer(query)
            if answer is None:
                continue
            wire = now(answer).wire
            assert wire is not None
            layout = scan(wire)
            self.assertEqual(layout, now(answer).layout)
            self.assertEqual((layout.name, layout.type), (name, type))
