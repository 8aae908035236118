# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.base}: ours among stock resolvers.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import Clock
from twisted.names import cache, dns, error, resolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import AnswerFailed, NameDenied
from dnsguard.interfaces import IAnswerer
from dnsguard.policy.view import View
from dnsguard.query import Asker, ClientQuery
from dnsguard.resolvers.base import Answerer, AnswerNotFinal, isUsable
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.testing import FixedAnswerer
from dnsguard.wire.names import fromText
from tests.resolvers.stock import MemoryAuthority, Stock, record, serve, soaRecord

WWW = fromText("www.example.org")
STRANGERS = View(5)
LOCAL = Answer.fromRecords([record()], outcome=Outcome.LOCAL)
BLOCKED = Answer.fromRecords([], [soaRecord()], rCode=dns.ENAME, outcome=Outcome.BLOCKED)
REFUSED = Answer.failure(dns.EREFUSED, Outcome.REFUSED)
LAST_RESORT = Answer.failure(dns.ESERVER, Outcome.SERVFAIL, final=False)
STALE = LOCAL.replace(outcome=Outcome.STALE, final=False)


class Strangers(FixedAnswerer):
    """
    An answerer that knows a view for strangers.
    """

    def viewOfStrangers(self) -> View | None:
        """
        Give it.
        """
        return STRANGERS


class AnswererTests(SynchronousTestCase):
    """
    Tests for L{Answerer}.
    """

    def test_interface(self) -> None:
        """
        It is an answerer, and so a stock resolver.
        """
        verifyObject(IAnswerer, Answerer())

    def test_subclassMustAnswer(self) -> None:
        """
        The base itself answers nothing.
        """
        self.assertRaises(NotImplementedError, Answerer().answer, ClientQuery(WWW))

    def test_plainQueryIsAdopted(self) -> None:
        """
        A plain query is answered as a stranger's: anonymous, with the view
        that the answerer gives strangers, and the caller's timeouts.
        """
        answerer = Strangers(LOCAL)
        plain = dns.Query(b"WWW.example.org", dns.AAAA)
        self.assertIs(self.successResultOf(answerer.query(plain, [1, 3])), LOCAL)
        (query,) = answerer.queries
        self.assertEqual((query.qname, query.type, query.timeout), (WWW, dns.AAAA, (1, 3)))
        self.assertIs(query.asker, Asker.ANONYMOUS)
        self.assertIs(query.view, STRANGERS)

    def test_ownQueryKeepsItsView(self) -> None:
        """
        A query that knows who asks is passed on as it is.
        """
        answerer = Strangers(LOCAL)
        query = ClientQuery(WWW, asker=Asker("192.0.2.9"), view=View(2))
        answerer.query(query)
        self.assertIs(answerer.queries[0], query)

    def test_lookups(self) -> None:
        """
        The lookup methods ask with their name and type.
        """
        answerer = FixedAnswerer(LOCAL)
        self.successResultOf(answerer.lookupAddress("www.example.org"))
        self.successResultOf(answerer.lookupMailExchange(b"example.org", [2]))
        asked = [(query.text, query.type) for query in answerer.queries]
        self.assertEqual(asked, [("www.example.org", dns.A), ("example.org", dns.MX)])

    def test_unknownType(self) -> None:
        """
        A type that Twisted Names doesn't know is asked all the same, with its
        class.
        """
        answerer = FixedAnswerer(LOCAL)
        self.successResultOf(answerer.query(dns.Query(b"example.org", 65, dns.CH)))
        self.assertEqual((answerer.queries[0].type, answerer.queries[0].cls), (65, dns.CH))

    def test_waitsForADeferred(self) -> None:
        """
        An answer that comes later is given later.
        """
        later: Deferred[Answer | None] = Deferred()
        result = FixedAnswerer(lambda query: later).lookupAddress("example.org")
        self.assertNoResult(result)
        later.callback(LOCAL)
        self.assertIs(self.successResultOf(result), LOCAL)

    def test_cancelling(self) -> None:
        """
        Cancelling the lookup cancels what it waits for.
        """
        cancelled: list[Any] = []
        later: Deferred[Answer | None] = Deferred(cancelled.append)
        result = FixedAnswerer(lambda query: later).lookupAddress("example.org")
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(cancelled, [later])

    def test_nameThatCannotBe(self) -> None:
        """
        A name that can't stand in a packet fails without asking anybody: a
        stock chain must not ask the next about it.
        """
        answerer = FixedAnswerer(None)
        failure = self.failureResultOf(answerer.lookupAddress(b"a" * 64), AnswerFailed)
        self.assertEqual(failure.value.answer.rCode, dns.EFORMAT)
        self.assertIsNone(failure.check(error.DomainError, TimeoutError, NotImplementedError))
        self.assertEqual(answerer.queries, [])

    def test_exceptionStaysOne(self) -> None:
        """
        What breaks, fails with what broke it.
        """
        self.failureResultOf(
            FixedAnswerer(RuntimeError("broken")).lookupAddress("example.org"), RuntimeError
        )

    def test_usable(self) -> None:
        """
        NOERROR and NXDOMAIN say something of a name, other codes don't.
        """
        self.assertEqual(
            [code for code in range(16) if isUsable(Answer.failure(code, Outcome.UPSTREAM))],
            [dns.OK, dns.ENAME],
        )


class OutwardTests(SynchronousTestCase):
    """
    What each kind of answer is to stock code: to whoever looks it up, to a
    stock chain with another resolver behind it, and to a stock server that has
    only this one.
    """

    def lookUp(self, answer: Answer | None) -> Any:
        """
        Look a name up, and give the answer or the exception.
        """
        results: list[Any] = []
        FixedAnswerer(answer).lookupAddress("www.example.org").addBoth(results.append)
        return getattr(results[0], "value", results[0])

    def asksNext(self, answer: Answer | None) -> bool:
        """
        Does a stock chain ask the next resolver?
        """
        behind = Stock(([record()], [], []))
        results: list[Any] = []
        chain = resolve.ResolverChain([FixedAnswerer(answer), behind])
        chain.lookupAddress("www.example.org").addBoth(results.append)
        self.assertEqual(len(results), 1)
        return bool(behind.asked)

    def served(self, answer: Answer | None) -> int:
        """
        The code that a stock server replies with.
        """
        code: int = serve(FixedAnswerer(answer)).rCode
        self.flushLoggedErrors(AnswerFailed)
        return code

    def test_table(self) -> None:
        """
        None is a miss, NXDOMAIN final, other codes stop the search and are
        SERVFAIL, and what isn't final lets the next be asked.
        """
        for answer, kind, asksNext, served in [
            (None, error.DomainError, True, dns.ENAME),
            (LOCAL, Answer, False, dns.OK),
            (BLOCKED, NameDenied, False, dns.ENAME),
            (REFUSED, AnswerFailed, False, dns.ESERVER),
            (LAST_RESORT, AnswerNotFinal, True, dns.ESERVER),
            (STALE, AnswerNotFinal, True, dns.ESERVER),
        ]:
            found = self.lookUp(answer)
            self.assertIsInstance(found, kind)
            if isinstance(found, (NameDenied, AnswerFailed)):
                self.assertIs(found.answer, answer)
            self.assertEqual(self.asksNext(answer), asksNext, answer)
            self.assertEqual(self.served(answer), served, answer)

    def test_servedRecords(self) -> None:
        """
        A stock server replies with the records.
        """
        self.assertEqual(serve(FixedAnswerer(LOCAL)).answers, [record()])

    def test_servedWire(self) -> None:
        """
        Also with those of an answer that is octets so far.
        """
        wire, layout = LOCAL.encoded(ClientQuery(WWW).question)
        answer = Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM)
        self.assertEqual(serve(FixedAnswerer(answer)).answers, [record()])

    def test_chainGivesWhatItHas(self) -> None:
        """
        A chain that ends with a stale answer has asked everybody: stock code
        gets that one, but a failure stays one.
        """
        self.assertEqual(serve(AnswererChain([FixedAnswerer(STALE)])).answers, [record()])
        self.assertEqual(serve(AnswererChain([FixedAnswerer(LAST_RESORT)])).rCode, dns.ESERVER)
        self.flushLoggedErrors(AnswerFailed)

    def test_denialInsideStockChains(self) -> None:
        """
        A blocked name stays blocked however many stock chains are around it,
        and a stock cache behind it isn't asked.
        """
        stock = cache.CacheResolver(reactor=Clock())
        plain = dns.Query(b"www.example.org", dns.A)
        stock.cacheResult(plain, ([record()], [], []))
        chain = resolve.ResolverChain(
            [resolve.ResolverChain([FixedAnswerer(BLOCKED)]), stock, MemoryAuthority()]
        )
        failure = self.failureResultOf(chain.query(plain), NameDenied)
        self.assertIs(failure.value.answer, BLOCKED)
        reply = serve(chain)
        self.assertEqual((reply.rCode, reply.answers), (dns.ENAME, []))

    def test_missInsideStockChain(self) -> None:
        """
        A miss lets a stock zone answer.
        """
        chain = resolve.ResolverChain([FixedAnswerer(None), MemoryAuthority()])
        self.assertEqual(len(serve(chain).answers), 1)
