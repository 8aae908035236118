# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.safesearch}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerer
from dnsguard.policy.decision import Attribution, Decision, RuleKind
from dnsguard.policy.safesearch import Engine, SafeSearch
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.query import ClientQuery
from dnsguard.resolvers.safesearch import SafeSearchResolver
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText, toText
from dnsguard.wire.records import Record

from .tails import FakeTail, address, later, now, upstream

STRICT = "forcesafesearch.google.com"
HTTPS = 65


class Blocking:
    """
    Rules that block everything, for one reason.
    """

    def __init__(self, kind: RuleKind) -> None:
        self.decision = Decision(True, Attribution(kind, "here", "*"))

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Block it.
        """
        return self.decision


class SafeSearchTests(SynchronousTestCase):
    """
    Tests for L{SafeSearchResolver}.
    """

    def setUp(self) -> None:
        self.tail = FakeTail(upstream(STRICT, address(STRICT, 9, ttl=5000)))
        self.resolver = self.resolverFor()

    def resolverFor(self, blocklist: Blocking | None = None) -> SafeSearchResolver:
        """
        A resolver with all engines on.
        """
        policy = Policy.of(blocklist, safeSearch=SafeSearch.of(Engine))
        return SafeSearchResolver(Policies(policy), self.tail)

    def ask(self, name: str, type: int = dns.A) -> Answer:
        """
        The answer there must be; its wire form is sound.
        """
        answer = now(self.resolver.answer(ClientQuery(fromText(name), type)))
        if answer.wire is not None:
            self.assertEqual(scan(answer.wire), answer.layout)
        return answer

    def test_interface(self) -> None:
        """
        It is an answerer.
        """
        verifyObject(IAnswerer, self.resolver)

    def test_aliasAndAddresses(self) -> None:
        """
        An engine's name is an alias of the strict one, whose addresses come
        with it and aren't kept for long.
        """
        for given in (self.tail.given, later(self.tail.given)):
            self.tail.given = given
            answer = self.ask("www.google.de")
            self.assertEqual(
                [(record.name.name, record.type, record.ttl) for record in answer[0]],
                [(b"www.google.de", dns.CNAME, 300), (STRICT.encode(), dns.A, 300)],
            )
            self.assertEqual(answer.outcome, Outcome.SAFE_SEARCH)
            self.assertTrue(answer.authoritative)
            assert answer.extendedError is not None
            self.assertEqual(answer.extendedError.code, 4)
        self.assertEqual(toText(self.tail.asked[0].qname), STRICT)
        self.assertEqual(self.tail.asked[0].type, dns.A)

    def test_noAddressOfThatKind(self) -> None:
        """
        A strict name without the asked type's addresses leaves the alias alone.
        """
        soa = Record.soa(fromText("google.com"), 60)
        self.tail.given = upstream(STRICT, authority=(soa,), type=dns.AAAA)
        answer = self.ask("www.google.de", dns.AAAA)
        self.assertEqual([record.type for record in answer[0]], [dns.CNAME])
        self.assertEqual([record.type for record in answer[1]], [dns.SOA])

    def test_addressEngine(self) -> None:
        """
        An engine with a strict address only has no other one.
        """
        (record,) = self.ask("ya.ru")[0]
        self.assertEqual(record.payload, dns.Record_A("213.180.193.56", 300))
        self.assertTrue(self.ask("ya.ru").authoritative)
        answer = self.ask("ya.ru", dns.AAAA)
        self.assertEqual((answer.rCode, answer[0]), (dns.OK, []))
        self.assertEqual(answer[1][0].type, dns.SOA)
        self.assertEqual(self.tail.asked, [])

    def test_noWayRound(self) -> None:
        """
        There are no HTTPS records, whose hints would lead round the alias, and
        no others by asking for any.
        """
        for type in (HTTPS, 64):
            answer = self.ask("www.google.com", type)
            self.assertEqual((answer.rCode, answer[0]), (dns.OK, []))
        (record,) = self.ask("www.google.com", dns.ALL_RECORDS)[0]
        self.assertEqual(record.type, dns.CNAME)
        self.assertEqual(self.tail.asked, [])

    def test_otherTypesAndNames(self) -> None:
        """
        What leads to no server, and all other names, are for the next.
        """
        for name, type in [("google.com", dns.MX), ("maps.google.com", dns.A), (STRICT, dns.A)]:
            self.assertIsNone(self.resolver.answer(ClientQuery(fromText(name), type)))

    def test_failureIsNeverTheUsualAddress(self) -> None:
        """
        Whatever goes wrong with the strict name, the answer is final and has
        no address.
        """
        rubbish = Record.make(fromText(STRICT), dns.CNAME, 5, b"\3abc")
        for given, code in [
            (None, dns.ESERVER),
            (Answer.failure(dns.ESERVER, Outcome.UPSTREAM_ERROR, final=False), dns.ESERVER),
            (Answer.failure(dns.EREFUSED, Outcome.REFUSED, final=False), dns.EREFUSED),
            (upstream(STRICT, rubbish, address("a", 1)), dns.ESERVER),
            (upstream(STRICT, rCode=dns.ENAME), dns.OK),
        ]:
            self.tail.given = given
            answer = self.ask("www.google.com")
            self.assertEqual(answer.rCode, code)
            self.assertTrue(answer.final)
            self.assertNotIn(dns.A, [record.type for record in answer[0]])

    def test_waitingTailFails(self) -> None:
        """
        A tail that breaks later fails the query.
        """
        waiting: Deferred[Answer | None] = Deferred()
        self.tail.given = waiting
        answered = self.resolver.answer(ClientQuery(fromText("bing.com")))
        assert isinstance(answered, Deferred)
        waiting.errback(ValueError("broken"))
        self.failureResultOf(answered, ValueError)

    def test_operatorsWordComesFirst(self) -> None:
        """
        A name that family time or a denylist blocks is left to the block
        lists; one that a list has isn't.
        """
        for kind, left in [
            (RuleKind.FAMILY_TIME, True),
            (RuleKind.DENYLIST, True),
            (RuleKind.LIST, False),
        ]:
            self.resolver = self.resolverFor(Blocking(kind))
            answer = self.resolver.answer(ClientQuery(fromText("m.youtube.com")))
            self.assertEqual(answer is None, left, kind)

    def test_switchedOff(self) -> None:
        """
        A view without safe search leaves all names alone.
        """
        resolver = SafeSearchResolver(Policies(), self.tail)
        self.assertIsNone(resolver.answer(ClientQuery(fromText("www.google.com"))))
