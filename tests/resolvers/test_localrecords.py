# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.localrecords}.
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.names import common, dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import NameDenied
from dnsguard.interfaces import IAnswerer
from dnsguard.policy.decision import RuleKind
from dnsguard.policy.localrecords import LocalRecords
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.query import Asker, ClientQuery
from dnsguard.resolvers.localrecords import LocalRecordsResolver
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText, toText
from dnsguard.wire.records import Record

from .tails import FakeTail, address, later, now, upstream

RECORDS = [
    ("nas.example.org", "A", "192.0.2.1"),
    ("nas.example.org", "TXT", "hello"),
    ("files.example.org", "CNAME", "nas.example.org"),
    ("www.example.org", "CNAME", "host.example.net"),
    ("printer.example.org", "CNAME", "printer.local"),
    ("*.apps.example.org", "A", "192.0.2.8"),
]


def query(name: str, type: int = dns.A, **facts: object) -> ClientQuery:
    """
    A query for a name in presentation form.
    """
    return ClientQuery(fromText(name), type, **facts)  # type: ignore[arg-type]


class LocalRecordsTests(SynchronousTestCase):
    """
    Tests for L{LocalRecordsResolver}.
    """

    def setUp(self) -> None:
        self.tail = FakeTail()
        self.policies = Policies(Policy.of(records=RECORDS))
        self.resolver = LocalRecordsResolver(self.policies, self.tail)

    def ask(self, name: str, type: int = dns.A) -> Answer:
        """
        The answer there must be; its wire form is sound.
        """
        answer = now(self.resolver.answer(query(name, type)))
        if answer.wire is not None:
            self.assertEqual(scan(answer.wire), answer.layout)
        return answer

    def test_interface(self) -> None:
        """
        It is an answerer.
        """
        verifyObject(IAnswerer, self.resolver)

    def test_localName(self) -> None:
        """
        A local name is answered at once, with authority.
        """
        answer = self.ask("nas.example.org")
        self.assertEqual((answer.rCode, answer.outcome), (dns.OK, Outcome.LOCAL))
        self.assertTrue(answer.authoritative)
        self.assertTrue(answer.final)
        (record,) = answer[0]
        self.assertEqual(record.payload, dns.Record_A("192.0.2.1", 3600))
        self.assertEqual(record.ttl, 3600)
        self.assertEqual(answer.cacheSeconds, 3600)
        self.assertEqual(answer.replaySeconds, 60)
        self.assertEqual(self.tail.asked, [])

    def test_aliasWithin(self) -> None:
        """
        An alias within the local records brings its target's records along.
        """
        records = self.ask("files.example.org")[0]
        self.assertEqual([record.type for record in records], [dns.CNAME, dns.A])
        self.assertEqual(records[1].name.name, b"nas.example.org")

    def test_wildcard(self) -> None:
        """
        A wildcard's record is the asked name's own.
        """
        (record,) = self.ask("x.apps.example.org")[0]
        self.assertEqual(record.name.name, b"x.apps.example.org")

    def test_noData(self) -> None:
        """
        A type that a local name doesn't have isn't asked for upstream.
        """
        answer = self.ask("nas.example.org", dns.AAAA)
        self.assertEqual((answer.rCode, answer[0]), (dns.OK, []))
        self.assertEqual(answer[1][0].type, dns.SOA)
        self.assertEqual(answer.cacheSeconds, 300)
        self.assertEqual(self.tail.asked, [])

    def test_othersNames(self) -> None:
        """
        What isn't local is for the next; so are other classes than IN.
        """
        self.assertIsNone(self.resolver.answer(query("example.com")))
        chaos = ClientQuery(fromText("nas.example.org"), dns.A, dns.CH)
        self.assertIsNone(self.resolver.answer(chaos))

    def test_aliasLeadingOut(self) -> None:
        """
        For an alias that leads out, the tail is asked in the asker's name, and
        what it gives is joined with the alias.
        """
        self.tail.given = upstream(
            "host.example.net",
            Record.make(fromText("host.example.net"), dns.CNAME, 50, fromText("h.example.net")),
            address("h.example.net", 7),
            replaySeconds=20.0,
        )
        asker = Asker("192.0.2.99")
        asked = query("www.example.org", asker=asker)
        for deferred in (False, True):
            given = self.tail.given
            self.tail.given = later(given) if deferred else given
            answer = now(self.resolver.answer(asked))
            self.assertEqual(
                [(record.name.name, record.type) for record in answer[0]],
                [
                    (b"www.example.org", dns.CNAME),
                    (b"host.example.net", dns.CNAME),
                    (b"h.example.net", dns.A),
                ],
            )
            self.assertEqual(answer.outcome, Outcome.LOCAL_CNAME_UPSTREAM)
            self.assertTrue(answer.authoritative)
            self.assertEqual(answer.upstream, "one")
            self.assertEqual(answer.cacheSeconds, 50)
            self.assertEqual(answer.replaySeconds, 0)
        self.assertEqual(
            [toText(sent.qname) for sent in self.tail.asked], ["host.example.net"] * 2
        )
        self.assertIs(self.tail.asked[0].asker, asker)

    def test_aliasAnsweredFromACache(self) -> None:
        """
        If nobody upstream was asked, the outcome is local.
        """
        self.tail.given = upstream(
            "host.example.net", address("host.example.net", 7), outcome=Outcome.CACHED
        )
        self.assertEqual(self.ask("www.example.org").outcome, Outcome.LOCAL)

    def test_targetIsNowhere(self) -> None:
        """
        If there is nothing where an alias leads, it stands alone, and its name
        is there all the same.
        """
        soa = Record.soa(fromText("example.net"), 30)
        for given in (
            None,
            upstream("host.example.net", authority=(soa,)),
            upstream("host.example.net", authority=(soa,), rCode=dns.ENAME),
        ):
            self.tail.given = given
            answer = self.ask("www.example.org")
            self.assertEqual(answer.rCode, dns.OK)
            self.assertEqual([record.type for record in answer[0]], [dns.CNAME])

    def test_tailFails(self) -> None:
        """
        The tail's failure is the answer, and final: nobody else is asked for
        the local name.
        """
        self.tail.given = Answer.failure(
            dns.ESERVER, Outcome.UPSTREAM_ERROR, upstream="one", final=False
        )
        answer = self.ask("www.example.org")
        self.assertEqual(
            (answer.rCode, answer.outcome, answer.final, answer.upstream),
            (dns.ESERVER, Outcome.UPSTREAM_ERROR, True, "one"),
        )

    def test_staleIsFinalToo(self) -> None:
        """
        An answer of the tail that isn't final must not send the chain on with
        the local name.
        """
        self.tail.given = upstream(
            "host.example.net",
            address("host.example.net", 7),
            outcome=Outcome.STALE,
            final=False,
            replaySeconds=0.0,
        )
        answer = self.ask("www.example.org")
        self.assertTrue(answer.final)
        self.assertEqual(answer.replaySeconds, 0)

    def test_rubbishFromTheTail(self) -> None:
        """
        A message that can't be taken apart is a failure, and counted.
        """
        name = fromText("host.example.net")
        self.tail.given = upstream(
            "host.example.net", Record.make(name, dns.CNAME, 5, b"\3abc"), address("a", 1)
        )
        self.assertEqual(self.ask("www.example.org").rCode, dns.ESERVER)
        self.assertEqual(self.resolver.malformed, 1)

    def test_brokenTail(self) -> None:
        """
        A tail that breaks is a failure of the query, later or at once.
        """
        self.tail.given = ValueError("broken")
        self.assertRaises(ValueError, self.resolver.answer, query("www.example.org"))
        waiting: Deferred[Answer | None] = Deferred()
        self.tail.given = waiting
        answered = self.resolver.answer(query("www.example.org"))
        assert isinstance(answered, Deferred)
        waiting.errback(ValueError("broken"))
        self.failureResultOf(answered, ValueError)

    def test_stockTail(self) -> None:
        """
        The tail may be a stock resolver.
        """

        class Fixed(common.ResolverBase):
            def query(self, query: dns.Query, timeout: object = None) -> Deferred[object]:
                header = dns.RRHeader(query.name.name, ttl=9, payload=dns.Record_A("192.0.2.5", 9))
                return succeed(([header], [], []))

        resolver = LocalRecordsResolver(self.policies, Fixed())
        records = now(resolver.answer(query("www.example.org")))[0]
        self.assertEqual([record.type for record in records], [dns.CNAME, dns.A])

    def test_specialNames(self) -> None:
        """
        Special names are answered here, and the rule is named.
        """
        answer = self.ask("x.onion")
        self.assertEqual((answer.rCode, answer.outcome), (dns.ENAME, Outcome.LOCAL))
        self.assertEqual(answer[1][0].type, dns.SOA)
        self.assertTrue(answer.authoritative)
        self.assertEqual((answer.cacheSeconds, answer.replaySeconds), (3600, 60))
        assert answer.attribution is not None
        self.assertEqual(answer.attribution.kind, RuleKind.SPECIAL_NAME)
        assert answer.extendedError is not None
        self.assertEqual(answer.extendedError.text, "special-use name: onion")
        loopback = self.ask("localhost", dns.AAAA)
        self.assertEqual(loopback[0][0].payload, dns.Record_AAAA("::1", 10800))
        self.assertIsNone(loopback.extendedError)

    def test_recordBeatsSpecialName(self) -> None:
        """
        The operator's record for a special name is answered.
        """
        policy = Policy.of(records=[("nas.home.arpa", "A", "192.0.2.1")])
        resolver = LocalRecordsResolver(Policies(policy), self.tail)
        self.assertEqual(now(resolver.answer(query("nas.home.arpa"))).rCode, dns.OK)
        self.assertEqual(now(resolver.answer(query("tv.home.arpa"))).rCode, dns.ENAME)

    def test_aliasToSpecialName(self) -> None:
        """
        An alias that leads to a special name doesn't leak it upstream.
        """
        answer = self.ask("printer.example.org")
        self.assertEqual([record.type for record in answer[0]], [dns.CNAME])
        self.assertEqual(self.tail.asked, [])

    def test_stockCallers(self) -> None:
        """
        Stock code gets what somebody unknown gets, a denied name as a failure
        that stops its chain.
        """
        answers, _, _ = self.successResultOf(self.resolver.lookupAddress(b"nas.example.org"))
        self.assertEqual(answers[0].payload.dottedQuad(), "192.0.2.1")
        self.failureResultOf(self.resolver.lookupAddress(b"x.onion"), NameDenied)

    def test_queryKeepsItsView(self) -> None:
        """
        A query that came before a policy was published sees its old view to
        the end, though it is still waiting then; the next one sees the new.
        """
        old = query("www.example.org", view=self.policies.current.defaultView)
        waiting: Deferred[Answer | None] = Deferred()
        self.tail.given = waiting
        answered = self.resolver.answer(old)
        self.policies.publish(Policy.of(records=[("www.example.org", "A", "192.0.2.200")]))
        assert old.view is not None
        self.assertIs(self.tail.asked[0].view, old.view)
        waiting.callback(upstream("host.example.net", address("host.example.net", 7)))
        self.assertEqual([record.type for record in now(answered)[0]], [dns.CNAME, dns.A])
        self.assertIsNone(self.resolver.answer(query("nas.example.org")))
        again = now(self.resolver.answer(query("www.example.org")))
        self.assertEqual([record.type for record in again[0]], [dns.A])
        still = now(self.resolver.answer(query("nas.example.org", view=old.view)))
        self.assertEqual([record.type for record in still[0]], [dns.A])

    def test_eachViewItsRecords(self) -> None:
        """
        The records are those of the query's view.
        """
        view = attrs.evolve(self.policies.current.defaultView, records=LocalRecords.NONE)
        self.assertIsNone(self.resolver.answer(query("nas.example.org", view=view)))
