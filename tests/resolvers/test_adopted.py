# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.adopted}: stock resolvers among ours.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.names import cache, client, dns, error, hosts, resolve, secondary
from twisted.names.authority import BindAuthority
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerCache, IAnswerer
from dnsguard.policy.view import View
from dnsguard.query import Asker, ClientQuery
from dnsguard.resolvers.adopted import AdoptedCache, AdoptedResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.testing import FixedAnswerer, askChain
from dnsguard.wire.edns import EDNS
from dnsguard.wire.names import fromText
from tests.resolvers.stock import MemoryAuthority, Stock, record, soaRecord

WWW = fromText("www.example.org")
NAME = "www.example.org"

ZONE = b"""\
$ORIGIN example.org.
$TTL 300
@ IN SOA ns.example.org. hostmaster.example.org. 1 3600 600 86400 60
@ IN NS ns.example.org.
www IN A 192.0.2.1
"""


def message(rCode: int, authority: tuple[dns.RRHeader, ...] = ()) -> dns.Message:
    """
    The message with which a stock client reports an upstream's code.
    """
    made = dns.Message(rCode=rCode)
    made.authority = list(authority)
    return made


def ask(result: Any, **facts: Any) -> Answer | None:
    """
    Ask a stock resolver that has this result.
    """
    return askChain(Stock(result), NAME, **facts)


class FailureTableTests(SynchronousTestCase):
    """
    What each failure of a stock resolver means.
    """

    def test_notMine(self) -> None:
        """
        A bare C{DomainError} and C{NotImplementedError} are misses.
        """
        for reason in [
            error.DomainError(b"www.example.org"),
            error.DomainError(),
            NotImplementedError(),
            error.DomainError(message(dns.OK)),
        ]:
            self.assertIsNone(ask(reason), reason)

    def test_authoritativeIsNameError(self) -> None:
        """
        C{AuthoritativeDomainError} is a final NXDOMAIN.
        """
        answer = ask(error.AuthoritativeDomainError(b"www.example.org"))
        assert answer is not None
        self.assertEqual((answer.rCode, answer.final), (dns.ENAME, True))
        self.assertTrue(answer.authoritative)

    def test_codesOfAClient(self) -> None:
        """
        An upstream's code keeps its meaning, with the message or without: only
        NXDOMAIN is final.
        """
        for kind, code, outcome, final in [
            (error.DNSNameError, dns.ENAME, Outcome.UPSTREAM, True),
            (error.DNSServerError, dns.ESERVER, Outcome.SERVFAIL, False),
            (error.DNSQueryRefusedError, dns.EREFUSED, Outcome.REFUSED, False),
            (error.DNSFormatError, dns.EFORMAT, Outcome.UPSTREAM_ERROR, False),
            (error.DNSNotImplementedError, dns.ENOTIMP, Outcome.UPSTREAM_ERROR, False),
        ]:
            for reason in (kind(message(code)), kind()):
                answer = ask(reason)
                assert answer is not None
                self.assertEqual(
                    (answer.rCode, answer.outcome, answer.final), (code, outcome, final), reason
                )

    def test_unknownCode(self) -> None:
        """
        A code without an exception of its own is taken from the message.
        """
        answer = ask(error.DNSUnknownError(message(9)))
        assert answer is not None
        self.assertEqual((answer.rCode, answer.final), (9, False))
        bare = ask(error.DNSUnknownError())
        assert bare is not None
        self.assertEqual((bare.rCode, bare.final), (dns.ESERVER, False))

    def test_nameErrorKeepsItsSOA(self) -> None:
        """
        The SOA record of an upstream's NXDOMAIN comes through, and says for
        how long it is true.
        """
        answer = ask(error.DNSNameError(message(dns.ENAME, (soaRecord(),))))
        assert answer is not None
        self.assertEqual(answer[1], [soaRecord()])
        self.assertEqual(answer.cacheSeconds, 60)

    def test_unreachable(self) -> None:
        """
        Timeouts and broken connections are SERVFAIL, and the next is asked.
        """
        for reason in [
            TimeoutError(),
            error.DNSQueryTimeoutError(7),
            ConnectionRefusedError(),
            ConnectionLost(),
        ]:
            answer = ask(reason)
            assert answer is not None
            self.assertEqual(
                (answer.rCode, answer.outcome, answer.final),
                (dns.ESERVER, Outcome.UPSTREAM_ERROR, False),
            )

    def test_localDecision(self) -> None:
        """
        C{ResolverError} stops the search.
        """
        answer = ask(error.ResolverError())
        assert answer is not None
        self.assertEqual((answer.rCode, answer.final), (dns.ESERVER, True))

    def test_defectsStayFailures(self) -> None:
        """
        Anything else is a defect, for the chain to deal with.
        """
        self.assertRaises(KeyError, ask, KeyError("x"))
        self.assertRaises(OSError, ask, OSError("no such file"))
        self.assertRaises(ValueError, ask, ([], []))

    def test_oursFurtherIn(self) -> None:
        """
        An answer of ours comes back whole out of stock chains: NXDOMAIN,
        failure or data.
        """
        for answer in [
            Answer.fromRecords([], [soaRecord()], rCode=dns.ENAME, outcome=Outcome.BLOCKED),
            Answer.failure(dns.EREFUSED, Outcome.REFUSED),
            Answer.failure(dns.ESERVER, Outcome.SERVFAIL, final=False),
            Answer.fromRecords([record()], outcome=Outcome.LOCAL),
        ]:
            stock = resolve.ResolverChain([resolve.ResolverChain([FixedAnswerer(answer)])])
            self.assertIs(askChain(stock, NAME), answer)


class AdoptedResolverTests(SynchronousTestCase):
    """
    Tests for L{AdoptedResolver}.
    """

    def test_interface(self) -> None:
        """
        Any stock resolver can be adopted; one of ours is left as it is.
        """
        adopted = IAnswerer(Stock(([], [], [])))
        self.assertIsInstance(adopted, AdoptedResolver)
        verifyObject(IAnswerer, adopted)
        ours = FixedAnswerer(None)
        self.assertIs(IAnswerer(ours), ours)
        self.assertRaises(TypeError, IAnswerer, object())

    def test_triple(self) -> None:
        """
        A triple becomes an answer, true for its least TTL, OPT records left
        out.
        """
        opt = dns.RRHeader(b"", 41, 1232, 0, dns.UnknownRecord(b"", 0))
        answer = ask(((record(ttl=300), record(ttl=40)), [soaRecord()], [opt]))
        assert answer is not None
        self.assertEqual(answer[0], [record(ttl=300), record(ttl=40)])
        self.assertEqual((answer[1], answer[2]), ([soaRecord()], []))
        self.assertEqual((answer.rCode, answer.outcome), (dns.OK, Outcome.UPSTREAM))
        self.assertEqual((answer.cacheSeconds, answer.authoritative), (40, False))

    def test_noData(self) -> None:
        """
        A triple without data of the type is negative: true as its SOA record
        says, or for no known time.
        """
        alias = dns.RRHeader(
            b"www.example.org", dns.CNAME, dns.IN, 900, dns.Record_CNAME(b"w.example.org", 900)
        )
        cases: list[tuple[Any, int]] = [
            (([], [soaRecord()], []), 60),
            (([alias], [soaRecord()], []), 60),
            (([], [], []), 0),
        ]
        for result, seconds in cases:
            answer = ask(result)
            assert answer is not None
            self.assertEqual((answer.rCode, answer.cacheSeconds), (dns.OK, seconds))

    def test_passesTheQueryOn(self) -> None:
        """
        The stock resolver is asked with name, type and the query's timeouts.
        """
        stock = Stock(([record()], [], []))
        askChain(stock, NAME, dns.TXT, timeout=(1, 2))
        self.assertEqual(stock.asked, [(b"www.example.org", dns.IN, dns.TXT, (1, 2))])

    def test_otherClasses(self) -> None:
        """
        A query of another class than IN isn't a stock resolver's: its lookups
        would answer for IN.
        """
        stock = Stock(([record()], [], []))
        self.assertIsNone(askChain(stock, NAME, cls=dns.CH))
        self.assertEqual(stock.asked, [])

    def test_whoAsksSurvivesPassThrough(self) -> None:
        """
        One of ours behind a stock resolver that passes queries on as they are
        knows who asks; behind a stock chain, which doesn't, it is a stranger.
        """

        class PassOn(Stock):
            def query(self, query: dns.Query, timeout: Any = None) -> Deferred[Any]:
                result: Deferred[Any] = self.result[0].query(query, timeout)
                return result

        ours = FixedAnswerer(Answer.fromRecords([record()], outcome=Outcome.LOCAL))
        asker = Asker("192.0.2.9")
        askChain(PassOn([ours]), NAME, asker=asker)
        askChain(resolve.ResolverChain([ours]), NAME, asker=asker)
        self.assertEqual([query.asker for query in ours.queries], [asker, Asker.ANONYMOUS])

    def test_hosts(self) -> None:
        """
        A hosts file answers what it has, as local, and misses the rest.
        """
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("192.0.2.1 www.example.org\n")
        resolver = hosts.Resolver(path)
        answer = askChain(resolver, NAME)
        assert answer is not None
        self.assertEqual(answer[0], [record(ttl=3600)])
        self.assertEqual(answer.outcome, Outcome.LOCAL)
        self.assertIsNone(askChain(resolver, "other.example.org"))
        self.assertIsNone(askChain(resolver, NAME, dns.MX))

    def test_memoryAuthority(self) -> None:
        """
        A zone answers with authority; what it lacks is NXDOMAIN with its SOA
        record, an existing name without the type NODATA, and other zones'
        names are misses.
        """
        zone = MemoryAuthority()
        answer = askChain(zone, NAME)
        assert answer is not None
        self.assertEqual((answer.outcome, answer.authoritative), (Outcome.LOCAL, True))
        nothing = askChain(zone, "no.example.org")
        assert nothing is not None
        self.assertEqual((nothing.rCode, nothing.authoritative), (dns.ENAME, True))
        self.assertEqual([each.type for each in nothing[1]], [dns.SOA])
        self.assertEqual(nothing.cacheSeconds, 60)
        noData = askChain(zone, NAME, dns.MX)
        assert noData is not None
        self.assertEqual((noData.rCode, noData[0]), (dns.OK, []))
        self.assertIsNone(askChain(zone, "example.net"))

    def test_bindAuthority(self) -> None:
        """
        So does a zone file, whose answers can be encoded.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(ZONE)
        zone = BindAuthority(path)
        for name, code, counts in [
            (NAME, dns.OK, (1, 1, 0, 0)),
            ("no.example.org", dns.ENAME, (1, 0, 1, 0)),
        ]:
            answer = askChain(zone, name)
            assert answer is not None
            _, layout = answer.encoded(ClientQuery(fromText(name)).question)
            self.assertEqual((layout.rCode, layout.counts), (code, counts))

    def test_secondaryWithoutZone(self) -> None:
        """
        A secondary that has transferred nothing yet misses everything.
        """
        self.assertIsNone(
            askChain(secondary.SecondaryAuthority("192.0.2.53", "example.org"), NAME)
        )

    def test_clientUnwrapped(self) -> None:
        """
        A real stock client's reading of a message is understood: its SERVFAIL
        isn't NXDOMAIN.
        """
        resolver = client.Resolver(servers=[("192.0.2.53", 53)], reactor=Clock())
        for code, final in [(dns.ESERVER, False), (dns.ENAME, True)]:
            stock = Stock(resolver.filterAnswers(message(code)).value)
            answer = askChain(stock, NAME)
            assert answer is not None
            self.assertEqual((answer.rCode, answer.final), (code, final))


class AdoptedCacheTests(SynchronousTestCase):
    """
    Tests for L{AdoptedCache}, with the stock cache.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.stock = cache.CacheResolver(reactor=self.clock)
        self.upstream = FixedAnswerer(
            lambda query: Answer.fromRecords(
                [record()], outcome=Outcome.UPSTREAM, cacheSeconds=300
            )
        )
        self.chain = AnswererChain([self.stock, self.upstream])

    def test_interface(self) -> None:
        """
        The stock cache is adopted as a cache.
        """
        adopted = IAnswerer(self.stock)
        self.assertIsInstance(adopted, AdoptedCache)
        verifyObject(IAnswerer, adopted)
        verifyObject(IAnswerCache, adopted)

    def test_isFilledAndAsked(self) -> None:
        """
        It is filled with what is found behind it, answers the next query with
        TTLs counted down, and forgets in time.
        """
        askChain(self.chain, NAME)
        self.clock.advance(100.5)
        answer = askChain(self.chain, NAME)
        assert answer is not None
        self.assertEqual((answer.outcome, answer[0][0].ttl), (Outcome.CACHED, 199))
        self.assertEqual(len(self.upstream.queries), 1)
        self.clock.advance(200)
        askChain(self.chain, NAME)
        self.assertEqual(len(self.upstream.queries), 2)

    def test_keepsNoPolicyAlive(self) -> None:
        """
        Its keys are plain queries.
        """
        askChain(self.chain, NAME, view=View(3))
        self.assertEqual([type(query) for query in self.stock.cache], [dns.Query])

    def test_passedByOtherVariants(self) -> None:
        """
        Queries with DO or CD, and those of groups without cache, neither ask
        nor fill it.
        """
        askChain(self.chain, NAME)
        variants: list[dict[str, Any]] = [
            {"edns": EDNS(dnssecOK=True)},
            {"checkingDisabled": True},
            {"view": View(1, cacheDisabled=True)},
        ]
        for facts in variants:
            answer = askChain(self.chain, NAME, **facts)
            assert answer is not None
            self.assertEqual(answer.outcome, Outcome.UPSTREAM)
        self.stock.cache.clear()
        askChain(self.chain, NAME, edns=EDNS(dnssecOK=True))
        self.assertEqual(self.stock.cache, {})

    def test_keepsDataOnly(self) -> None:
        """
        NXDOMAIN would come out of it as NOERROR, a blocked name as anybody's:
        it isn't given them, nor what is true for no time.
        """
        adopted = IAnswerer(self.stock)
        assert isinstance(adopted, AdoptedCache)
        query = ClientQuery(WWW)
        good = Answer.fromRecords([record()], outcome=Outcome.UPSTREAM, cacheSeconds=300)
        unfit: list[dict[str, Any]] = [
            {"rCode": dns.ENAME},
            {"rCode": dns.ESERVER},
            {"outcome": Outcome.BLOCKED},
            {"outcome": Outcome.STALE},
            {"cacheSeconds": 0},
        ]
        for changes in unfit:
            adopted.cacheResult(query, good.replace(**changes))
        self.assertEqual(self.stock.cache, {})
        adopted.cacheResult(query, good)
        self.assertEqual(len(self.stock.cache), 1)
