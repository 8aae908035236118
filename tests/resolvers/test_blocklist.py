# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the element that blocks names.
"""

from __future__ import annotations

from typing import Any

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.decision import RuleKind
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.group import GroupPlan
from dnsguard.policy.ruleset import RuleSet
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText

HTTPS = 65
ANY = 255


class BlocklistResolverTests(SynchronousTestCase):
    """
    L{BlocklistResolver}.
    """

    def setUp(self) -> None:
        """
        A resolver whose default view blocks stranger.example.
        """
        self.default = self.view(DomainSet.parse("stranger.example"))
        policy = Policy.make((GroupPlan.fixed(self.default),), now=0.0)
        self.resolver = BlocklistResolver(Policies(policy))

    def view(
        self, lists: DomainSet, blocked: str = "nxdomain", ttl: int = 0, **rules: Any
    ) -> View:
        """
        A view with these lists, rules and way of answering.
        """
        compiled, problems = RuleSet.compile("blocklists", lists=lists, **rules)
        self.assertEqual(problems, ())
        return View(rules=compiled, blockedResponse=BlockedResponse.parse(blocked, ttl))

    def ask(
        self,
        type: int = dns.A,
        blocked: str = "nxdomain",
        *,
        name: str = "www.ads.example",
        ttl: int = 0,
        cls: int = dns.IN,
        **rules: Any,
    ) -> Answer:
        """
        The answer for a blocked name, checked to be what its octets say.
        """
        view = self.view(DomainSet.parse("ads.example", "hagezi"), blocked, ttl, **rules)
        answer = self.resolver.answer(ClientQuery(fromText(name), type, cls, view=view))
        assert answer is not None
        self.assertEqual(answer.outcome, Outcome.BLOCKED)
        self.assertTrue(answer.final)
        if answer.wire is not None:
            self.assertEqual(scan(answer.wire), answer.layout)
            self.assertTrue(answer.authoritative)
        return answer

    def soa(self, answer: Answer) -> Any:
        """
        The one SOA record of a negative answer.
        """
        answers, authority, additional = answer
        self.assertEqual((len(answers), len(authority), len(additional)), (0, 1, 0))
        self.assertEqual(authority[0].type, dns.SOA)
        return authority[0]

    def dotted(self, answer: Answer) -> list[str]:
        """
        The IPv4 addresses in an answer.
        """
        payloads: list[Any] = [record.payload for record in answer[0]]
        return [payload.dottedQuad() for payload in payloads if payload.TYPE == dns.A]

    def test_notBlocked(self) -> None:
        """
        A name that isn't blocked is the next one's.
        """
        query = ClientQuery(fromText("example.org"), view=self.default)
        self.assertIsNone(self.resolver.answer(query))

    def test_allowed(self) -> None:
        """
        So is one that is explicitly allowed.
        """
        view = self.view(DomainSet.parse("ads.example"), allow=["ads.example"])
        self.assertIsNone(self.resolver.answer(ClientQuery(fromText("ads.example"), view=view)))

    def test_ownView(self) -> None:
        """
        A query's own view counts, and nobody else's.
        """
        query = ClientQuery(fromText("stranger.example"), view=View())
        self.assertIsNone(self.resolver.answer(query))

    def test_strangers(self) -> None:
        """
        A query without a view is filtered by the default one.
        """
        answer = self.resolver.answer(ClientQuery(fromText("stranger.example")))
        assert answer is not None
        self.assertEqual(answer.rCode, dns.ENAME)

    def test_otherClass(self) -> None:
        """
        Other classes than IN are the next one's.
        """
        query = ClientQuery(fromText("stranger.example"), dns.A, dns.CH)
        self.assertIsNone(self.resolver.answer(query))

    def test_nxdomain(self) -> None:
        """
        By default a blocked name doesn't exist, for any type, and the SOA
        record says for how long.
        """
        for type in (dns.A, dns.AAAA, HTTPS, dns.TXT, ANY):
            answer = self.ask(type, ttl=300)
            self.assertEqual(answer.rCode, dns.ENAME)
            soa = self.soa(answer)
            self.assertEqual((soa.ttl, soa.payload.minimum), (300, 300))
            self.assertEqual(soa.name.name, b"www.ads.example")
            self.assertEqual(soa.payload.mname.name, b"ns.www.ads.example")
            self.assertEqual(soa.payload.rname.name, b"hostmaster.www.ads.example")

    def test_longestName(self) -> None:
        """
        The names in the SOA record never grow too long.
        """
        for size in (50, 51, 60, 49, 48):
            name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * (size - 11), "ads.example"])
            if len(fromText(name)) > 255:
                continue
            self.soa(self.ask(name=name))

    def test_addresses(self) -> None:
        """
        Addresses are given for their types, for a minute.
        """
        answer = self.ask(dns.A, "192.0.2.1, 192.0.2.2, 2001:db8::1")
        self.assertEqual(answer.rCode, dns.OK)
        self.assertEqual(self.dotted(answer), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual({record.ttl for record in answer[0]}, {60})
        self.assertEqual([str(record.name) for record in answer[0]], ["www.ads.example"] * 2)
        answer = self.ask(dns.AAAA, "192.0.2.1, 192.0.2.2, 2001:db8::1")
        self.assertEqual([record.type for record in answer[0]], [dns.AAAA])

    def test_noDataBesideAddresses(self) -> None:
        """
        Beside addresses the other types have no data: the name does exist.
        """
        for type in (dns.AAAA, HTTPS, dns.MX):
            answer = self.ask(type, "192.0.2.1")
            self.assertEqual(answer.rCode, dns.OK)
            self.assertEqual(self.soa(answer).ttl, 60)

    def test_anyWithAddresses(self) -> None:
        """
        ANY is all the addresses.
        """
        answer = self.ask(ANY, "null_ip")
        self.assertEqual([record.type for record in answer[0]], [dns.A, dns.AAAA])
        self.assertEqual(self.dotted(answer), ["0.0.0.0"])

    def test_nodata(self) -> None:
        """
        In nodata mode the name exists and has nothing.
        """
        answer = self.ask(dns.A, "nodata")
        self.assertEqual(answer.rCode, dns.OK)
        self.soa(answer)

    def test_refused(self) -> None:
        """
        In refused mode there is nothing to cache, and no AA.
        """
        answer = self.ask(dns.A, "refused")
        self.assertEqual((answer.rCode, answer.authoritative), (dns.EREFUSED, False))
        self.assertEqual([len(section) for section in answer], [0, 0, 0])

    def test_lifetime(self) -> None:
        """
        An answer may be replayed for as long as its TTL.
        """
        answer = self.ask(ttl=77)
        self.assertEqual((answer.replaySeconds, answer.cacheSeconds), (77.0, 77))

    def test_listSaysSo(self) -> None:
        """
        A list's decision is "Blocked", naming list and rule.
        """
        answer = self.ask()
        assert answer.extendedError is not None
        assert answer.attribution is not None
        self.assertEqual(
            (answer.extendedError.code, answer.extendedError.text),
            (15, "list hagezi: ads.example"),
        )
        self.assertEqual((answer.attribution.source, answer.attribution.line), ("hagezi", 1))

    def test_ownRuleSaysSo(self) -> None:
        """
        A group's own rules are "Filtered".
        """
        cases: list[tuple[Any, str, RuleKind]] = [
            ({"deny": ["ads.example"]}, "denylist: ads.example", RuleKind.DENYLIST),
            ({"familyTime": ["ads.example"]}, "family time: ads.example", RuleKind.FAMILY_TIME),
        ]
        for rules, text, kind in cases:
            answer = self.ask(**rules)
            assert answer.extendedError is not None
            assert answer.attribution is not None
            self.assertEqual((answer.extendedError.code, answer.extendedError.text), (17, text))
            self.assertEqual(answer.attribution.kind, kind)

    def test_longText(self) -> None:
        """
        The text can't make a reply long.
        """
        answer = self.ask(deny=["/" + "a|" * 500 + "b/"])
        assert answer.extendedError is not None
        self.assertEqual(len(answer.extendedError.text), 120)
