# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.chain}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.names import dns, resolve
from twisted.names.common import ResolverBase
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerCache, IAnswerer, IPromptAnswerer
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.adopted import AdoptedResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.testing import FixedAnswerer, StillWaiting, askChain
from dnsguard.wire.names import fromText
from tests.resolvers.stock import Stock, record, serve

NAME = "www.example.org"
VIEW = View(5)

LOCAL = Answer.fromRecords([record()], outcome=Outcome.LOCAL)
FRESH = Answer.fromRecords([record()], outcome=Outcome.UPSTREAM, cacheSeconds=300)
NXDOMAIN = Answer.failure(dns.ENAME, Outcome.UPSTREAM, cacheSeconds=60)
SERVFAIL = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
REFUSED = Answer.failure(dns.EREFUSED, Outcome.REFUSED)


def stale(age: int = 10) -> Answer:
    """
    A stale answer, of so many seconds ago.
    """
    return Answer.fromRecords([record()], outcome=Outcome.STALE, cacheSeconds=-age, final=False)


@implementer(IAnswerCache)
class Cache(FixedAnswerer):
    """
    A cache that notes what it is offered.
    """

    def __init__(self, answer: Any = None) -> None:
        super().__init__(answer)
        self.offered: list[Answer] = []

    def cacheResult(self, query: ClientQuery, payload: Answer) -> None:
        """
        Note it.
        """
        self.offered.append(payload)


class Later(FixedAnswerer):
    """
    An answerer that the test makes answer.
    """

    def __init__(self) -> None:
        self.waiting: list[Deferred[Answer | None]] = []
        self.cancelled = 0
        super().__init__(self._wait)

    def _wait(self, query: ClientQuery) -> Deferred[Answer | None]:
        self.waiting.append(Deferred(self._cancel))
        return self.waiting[-1]

    def _cancel(self, waiting: object) -> None:
        self.cancelled += 1


@implementer(IPromptAnswerer)
class Prompt(Cache):
    """
    A cache that takes receivers, and that the test makes answer.

    @ivar waiting: Those to be told, oldest first.
    """

    def __init__(self, answer: Any = None) -> None:
        super().__init__(answer)
        self.waiting: list[Callable[[Answer | None], object]] = []
        self.cancelled = 0

    def answerInto(self, query: ClientQuery, receive: Callable[[Answer | None], object]) -> Any:
        """
        Have it told later; with an answer of its own, or something broken, at once.
        """
        found = self.answer(query)
        if found is not None:
            return found
        self.waiting.append(receive)
        return self

    def cancel(self) -> None:
        """
        Note it, and tell nobody.
        """
        self.cancelled += 1
        self.waiting.pop()


class ChainTests(SynchronousTestCase):
    """
    Tests for L{AnswererChain}: who is asked, and who wins.
    """

    def test_interface(self) -> None:
        """
        A chain is an answerer and a cache; its elements are answerers, stock
        ones adopted.
        """
        chain = AnswererChain([FixedAnswerer(), Stock(([], [], []))])
        verifyObject(IAnswerer, chain)
        verifyObject(IAnswerCache, chain)
        verifyObject(IPromptAnswerer, chain)
        verifyObject(IPromptAnswerer, Prompt())
        self.assertIsInstance(chain.elements[1], AdoptedResolver)
        self.assertRaises(TypeError, AnswererChain, [object()])

    def test_emptyChainHasNoAnswer(self) -> None:
        """
        Nobody to ask is a miss.
        """
        self.assertIsNone(askChain(AnswererChain([]), NAME))

    def test_firstAnswerWins(self) -> None:
        """
        The first element with an answer ends the search.
        """
        first, second, third = FixedAnswerer(None), FixedAnswerer(LOCAL), FixedAnswerer(FRESH)
        self.assertIs(askChain(AnswererChain([first, second, third]), NAME), LOCAL)
        self.assertEqual([len(each.queries) for each in (first, second, third)], [1, 1, 0])

    def test_nobodysName(self) -> None:
        """
        If all miss, so does the chain, also when some took their time.
        """
        self.assertIsNone(askChain(AnswererChain([FixedAnswerer(), FixedAnswerer()]), NAME))
        later = Later()
        result = AnswererChain([later, FixedAnswerer()]).answer(ClientQuery(fromText(NAME)))
        later.waiting[0].callback(None)
        assert isinstance(result, Deferred)
        self.assertIsNone(self.successResultOf(result))

    def test_synchronousWithoutDeferred(self) -> None:
        """
        If nobody takes time, there is no Deferred.
        """
        chain = AnswererChain([FixedAnswerer(), AnswererChain([FixedAnswerer(LOCAL)])])
        self.assertIs(chain.answer(ClientQuery(fromText(NAME))), LOCAL)

    def test_goesOnAfterWaiting(self) -> None:
        """
        After an element that took its time to miss, those behind it are asked,
        the ones that take time too.
        """
        first, second, behind = Later(), Later(), FixedAnswerer(FRESH)
        result = AnswererChain([first, FixedAnswerer(), second, behind]).answer(
            ClientQuery(fromText(NAME))
        )
        assert isinstance(result, Deferred)
        first.waiting[0].callback(None)
        self.assertEqual((len(second.waiting), len(behind.queries)), (1, 0))
        second.waiting[0].callback(None)
        self.assertIs(self.successResultOf(result), FRESH)

    def test_sameQueryForAll(self) -> None:
        """
        All elements see the very query that was asked, before and after a
        wait.
        """
        later, behind = Later(), FixedAnswerer(LOCAL)
        query = ClientQuery(fromText(NAME), view=View(4))
        AnswererChain([later, AnswererChain([behind])]).answer(query)
        later.waiting[0].callback(None)
        self.assertIs(behind.queries[0], query)

    def test_cancelling(self) -> None:
        """
        A cancelled search cancels what it waits for; that isn't logged as a
        break.
        """
        later = Later()
        chain = AnswererChain([later])
        result = chain.answer(ClientQuery(fromText(NAME)))
        assert isinstance(result, Deferred)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual((later.cancelled, chain.broken), (1, 0))

    def test_strangersView(self) -> None:
        """
        A plain query from stock code gets the view that the first element that
        knows policies gives strangers, however deep in the chain it stands:
        never none.
        """
        view = View(5)

        class Policed(FixedAnswerer):
            def viewOfStrangers(self) -> View:
                return view

        policed, tail = Policed(), FixedAnswerer(LOCAL)
        chain = AnswererChain([Stock(NotImplementedError()), AnswererChain([policed]), tail])
        self.successResultOf(chain.query(dns.Query(b"www.example.org")))
        self.assertIs(policed.queries[0].view, view)
        self.assertIs(tail.queries[0].view, view)
        self.assertIsNone(AnswererChain([FixedAnswerer()]).viewOfStrangers())

    def test_elementFromScratch(self) -> None:
        """
        An element needn't be made from the base: an L{IAnswerer} will do, with
        a view for strangers or without.
        """

        @implementer(IAnswerer)
        class Bare(ResolverBase):
            def answer(self, query: ClientQuery) -> Answer | None:
                return LOCAL

        class Policed(Bare):
            def viewOfStrangers(self) -> View:
                return VIEW

        chain = AnswererChain([Bare()])
        self.assertIs(askChain(chain, NAME), LOCAL)
        self.assertIsNone(chain.viewOfStrangers())
        self.assertIs(AnswererChain([Bare(), Policed()]).viewOfStrangers(), VIEW)

    def test_insideAStockServer(self) -> None:
        """
        A stock server can have the chain as its resolver.
        """
        self.assertEqual(serve(AnswererChain([FixedAnswerer(FRESH)])).answers, [record()])


class NotFinalTests(SynchronousTestCase):
    """
    Which answer is used when some aren't final.
    """

    def ask(self, *answers: Answer | None) -> Answer | None:
        """
        Ask a chain with elements that answer so, then the same with elements
        that take their time; both must agree.
        """
        found = askChain(AnswererChain(map(FixedAnswerer, answers)), NAME)
        elements = [Later() for _ in answers]
        result = AnswererChain(elements).answer(ClientQuery(fromText(NAME)))
        for element, answer in zip(elements, answers, strict=True):
            if element.waiting:
                element.waiting[0].callback(answer)
        if isinstance(result, Deferred):
            result = self.successResultOf(result)
        self.assertIs(result, found)
        return found

    def test_finalOneWins(self) -> None:
        """
        A later final answer beats one that isn't final, NXDOMAIN too.
        """
        for final in (LOCAL, FRESH, NXDOMAIN):
            self.assertIs(self.ask(stale(), final), final)
            self.assertIs(self.ask(SERVFAIL.replace(final=False), final), final)

    def test_staleBeatsFailures(self) -> None:
        """
        A stale answer beats failures behind it, final or not.
        """
        old = stale()
        for failure in (SERVFAIL, REFUSED):
            self.assertIs(self.ask(old, failure), old)
            self.assertIs(self.ask(old, failure.replace(final=False)), old)
            self.assertIs(self.ask(failure.replace(final=False), old), old)

    def test_staleNXDOMAINBeatsFailures(self) -> None:
        """
        So does a stale NXDOMAIN.
        """
        old = NXDOMAIN.replace(outcome=Outcome.STALE, cacheSeconds=-5, final=False)
        self.assertIs(self.ask(old, SERVFAIL), old)

    def test_youngestStaleOne(self) -> None:
        """
        Of two stale answers the one that expired last is used.
        """
        old, young = stale(100), stale(5)
        self.assertIs(self.ask(old, young), young)
        self.assertIs(self.ask(young, old), young)
        self.assertIs(self.ask(old, None, young, SERVFAIL), young)

    def test_firstFailure(self) -> None:
        """
        With nothing else the first failure is used; a final one ends the
        search.
        """
        soft = REFUSED.replace(final=False)
        self.assertIs(self.ask(soft, SERVFAIL.replace(final=False)), soft)
        self.assertIs(self.ask(soft, SERVFAIL), SERVFAIL)
        self.assertIs(self.ask(SERVFAIL, FRESH), SERVFAIL)

    def test_nested(self) -> None:
        """
        What isn't final in an inner chain isn't in the outer one.
        """
        old = stale()
        inner = AnswererChain([FixedAnswerer(old), FixedAnswerer(SERVFAIL)])
        self.assertIs(askChain(AnswererChain([inner, FixedAnswerer(FRESH)]), NAME), FRESH)
        self.assertIs(askChain(AnswererChain([inner, FixedAnswerer()]), NAME), old)


class OfferTests(SynchronousTestCase):
    """
    Which answers are offered to whom.
    """

    def test_cachesBeforeTheAnswer(self) -> None:
        """
        An answer is offered to the caches that were asked in vain before it,
        not to its own element or those behind.
        """
        first, second, third = Cache(), Cache(FRESH), Cache()
        askChain(AnswererChain([first, FixedAnswerer(), second, third]), NAME)
        self.assertEqual(first.offered, [FRESH])
        self.assertEqual((second.offered, third.offered), ([], []))

    def test_afterWaiting(self) -> None:
        """
        So is one that took its time.
        """
        first, later = Cache(), Later()
        AnswererChain([first, later]).answer(ClientQuery(fromText(NAME)))
        later.waiting[0].callback(FRESH)
        self.assertEqual(first.offered, [FRESH])

    def test_failures(self) -> None:
        """
        Failures are offered, final or not, also when a stale answer goes out
        instead; the stale one isn't.
        """
        for final in (True, False):
            failure = SERVFAIL.replace(final=final)
            first, between = Cache(stale()), Cache()
            askChain(AnswererChain([first, between, FixedAnswerer(failure)]), NAME)
            self.assertEqual((first.offered, between.offered), ([failure], [failure]))

    def test_onlyWhatIsDecidedOn(self) -> None:
        """
        A failure that isn't final is forgotten once somebody has an answer.
        """
        cache = Cache()
        elements = [cache, FixedAnswerer(SERVFAIL.replace(final=False)), FixedAnswerer(FRESH)]
        askChain(AnswererChain(elements), NAME)
        self.assertEqual(cache.offered, [FRESH])

    def test_failureBehindItsPlace(self) -> None:
        """
        A failure is offered to the caches before it, not to those between it
        and the end of the search.
        """
        before, behind = Cache(), Cache()
        failure = SERVFAIL.replace(final=False)
        askChain(AnswererChain([before, FixedAnswerer(failure), behind]), NAME)
        self.assertEqual((before.offered, behind.offered), ([failure], []))

    def test_missesOfferNothing(self) -> None:
        """
        Without an answer nothing is offered.
        """
        cache = Cache()
        askChain(AnswererChain([cache, FixedAnswerer()]), NAME)
        self.assertEqual(cache.offered, [])

    def test_nestedChains(self) -> None:
        """
        A chain hands what it is offered to all its caches, and what is found
        in it to those before it, each once.
        """
        inner = [Cache(), Cache()]
        askChain(AnswererChain([AnswererChain(inner), FixedAnswerer(FRESH)]), NAME)
        self.assertEqual([cache.offered for cache in inner], [[FRESH], [FRESH]])
        outer, within = Cache(), Cache()
        askChain(AnswererChain([outer, AnswererChain([within, FixedAnswerer(FRESH)])]), NAME)
        self.assertEqual((outer.offered, within.offered), ([FRESH], [FRESH]))

    def test_brokenCache(self) -> None:
        """
        A cache that fails to keep an answer doesn't take it from the client,
        nor from other caches; it is logged and counted.
        """

        class Broken(Cache):
            def cacheResult(self, query: ClientQuery, payload: Answer) -> None:
                raise RuntimeError("full")

        other = Cache()
        chain = AnswererChain([Broken(), other, FixedAnswerer(FRESH)])
        self.assertIs(askChain(chain, NAME), FRESH)
        self.assertEqual((other.offered, chain.offersFailed), ([FRESH], 1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class BrokenElementTests(SynchronousTestCase):
    """
    An element that raises ends the query.
    """

    def ask(self, chain: AnswererChain) -> Answer:
        """
        Ask a chain for the answer it must have.
        """
        answer = askChain(chain, NAME)
        assert answer is not None
        return answer

    def test_neverLetsANamePass(self) -> None:
        """
        Whether it raises at once or later, the answer is SERVFAIL, and nobody
        behind it is asked.
        """

        async def breakLater() -> Answer | None:
            raise KeyError("broken")

        for broken in [
            FixedAnswerer(KeyError("broken")),
            FixedAnswerer(lambda query: Deferred.fromCoroutine(breakLater())),
            Stock(KeyError("broken")),
        ]:
            behind = FixedAnswerer(FRESH)
            chain = AnswererChain([FixedAnswerer(), broken, behind])
            answer = self.ask(chain)
            self.assertEqual((answer.rCode, answer.final), (dns.ESERVER, True))
            self.assertEqual((behind.queries, chain.broken), ([], 1))
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_whatIsNoAnswer(self) -> None:
        """
        Neither does one that gives something that is no answer, at once or
        later.
        """
        later: Deferred[Any] = Deferred()
        later.callback(([], [], []))
        given: list[Any] = [([], [], []), False, later]
        for nonsense in given:
            behind = FixedAnswerer(FRESH)
            broken = FixedAnswerer(partial(lambda given, query: given, nonsense))
            chain = AnswererChain([broken, behind])
            self.assertEqual(self.ask(chain).rCode, dns.ESERVER)
            self.assertEqual((behind.queries, chain.broken), ([], 1))
            self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_afterAWait(self) -> None:
        """
        So too if others took their time before it.
        """
        later, behind = Later(), FixedAnswerer(FRESH)
        chain = AnswererChain([later, FixedAnswerer(KeyError("broken")), behind])
        result = chain.answer(ClientQuery(fromText(NAME)))
        later.waiting[0].callback(None)
        assert isinstance(result, Deferred)
        answer = self.successResultOf(result)
        assert answer is not None
        self.assertEqual((answer.rCode, behind.queries), (dns.ESERVER, []))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_staleAnswerIsNoWayRound(self) -> None:
        """
        Neither does a stale answer go out past a filter that broke, nor is the
        failure offered to caches.
        """
        cache = Cache(stale())
        chain = AnswererChain([cache, FixedAnswerer(KeyError("broken")), FixedAnswerer(FRESH)])
        self.assertEqual(self.ask(chain).rCode, dns.ESERVER)
        self.assertEqual(cache.offered, [])
        self.flushLoggedErrors(KeyError)

    def test_brokenInnerChain(self) -> None:
        """
        So too if the filter breaks in a chain inside the chain, or inside a
        stock one.
        """
        for wrap in (list, lambda chains: [resolve.ResolverChain(chains)]):
            cache = Cache(stale())
            inner = wrap([AnswererChain([FixedAnswerer(KeyError("broken"))])])
            chain = AnswererChain([cache, *inner, FixedAnswerer(FRESH)])
            self.assertEqual(self.ask(chain).rCode, dns.ESERVER)
            self.assertEqual(cache.offered, [])
            self.flushLoggedErrors(KeyError)

    def test_logIsThrottled(self) -> None:
        """
        What breaks for each query is logged once a minute, and counted each
        time.
        """
        clock = Clock()
        chain = AnswererChain([FixedAnswerer(KeyError("broken"))], clock=clock)
        for _ in range(50):
            self.ask(chain)
        self.assertEqual((chain.broken, len(self.flushLoggedErrors(KeyError))), (50, 1))
        clock.advance(60)
        self.ask(chain)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


KINDS: dict[str, Answer | None] = {
    "miss": None,
    "fresh": FRESH,
    "nxdomain": NXDOMAIN,
    "refused": REFUSED,
    "softfail": SERVFAIL.replace(final=False),
    "stale": stale(50),
    "younger": stale(5),
}


def specified(kinds: list[str]) -> tuple[Answer | str | None, dict[int, Answer]]:
    """
    What the chain's rules say of elements of these kinds, all of them caches,
    as plainly as can be.

    @return: The answer, or C{"broken"}, and what is offered to which place.
    """
    asked = next(
        (n for n, kind in enumerate(kinds) if kind == "broken" or final(kind)), len(kinds)
    )
    if asked < len(kinds) and kinds[asked] == "broken":
        return "broken", {}
    before = kinds[:asked]
    usable = [KINDS[kind] for kind in ("younger", "stale") if kind in before]
    decided = None
    place = asked
    if asked < len(kinds):
        decided = KINDS[kinds[asked]]
    elif "softfail" in before:
        place = before.index("softfail")
        decided = KINDS["softfail"]
    offers = {} if decided is None else dict.fromkeys(range(place), decided)
    if usable and (decided is None or decided.rCode not in (dns.OK, dns.ENAME)):
        return usable[0], offers
    return decided, offers


def final(kind: str) -> bool:
    """
    Does this kind of element end the search?
    """
    answer = KINDS.get(kind)
    return answer is not None and answer.final


class RulesTests(SynchronousTestCase):
    """
    The chain against its rules.
    """

    @settings(max_examples=500, deadline=None)
    @example([("stale", "at once"), ("broken", "at once")], False, 1)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([*KINDS, "broken"]),
                st.sampled_from(["at once", "Deferred", "later"]),
            ),
            max_size=7,
        ),
        st.booleans(),
        st.integers(0, 7),
    )
    def test_followsItsRules(
        self, elements: list[tuple[str, str]], timed: bool, nested: int
    ) -> None:
        """
        Whatever the elements say, at once, by a Deferred or to a receiver, in one
        chain or with some in an inner one, the answer and the offers are those the
        rules name; and so they are if the chain is given a receiver itself.
        """
        answer, offers = specified([kind for kind, _ in elements])
        for ask in (self.byDeferred, self.byReceiver):
            caches: list[Cache] = []
            for kind, when in elements:
                if when == "later" and kind != "broken":
                    caches.append(Prompt())
                else:
                    caches.append(Cache(partial(self.say, kind, when == "Deferred")))
            inner = [AnswererChain(caches[nested:])] if nested < len(caches) else []
            chain = AnswererChain([*caches[:nested], *inner], clock=Clock() if timed else None)
            found = ask(chain, caches, [KINDS.get(kind) for kind, _ in elements])
            if answer == "broken":
                assert found is not None
                self.assertEqual((found.rCode, found.final), (dns.ESERVER, True))
                self.flushLoggedErrors(KeyError)
                continue
            self.assertIs(found, answer)
            if not inner:
                self.assertEqual(
                    {n: each.offered[0] for n, each in enumerate(caches) if each.offered}, offers
                )

    def byDeferred(
        self, chain: AnswererChain, caches: list[Cache], says: list[Answer | None]
    ) -> Answer | None:
        """
        Ask, and let those answer that were given a receiver.
        """
        result = chain.answer(ClientQuery(fromText(NAME)))
        self.tell(caches, says)
        return self.successResultOf(result) if isinstance(result, Deferred) else result

    def byReceiver(
        self, chain: AnswererChain, caches: list[Cache], says: list[Answer | None]
    ) -> Answer | None:
        """
        The same, with a receiver. It is told once, unless there was an answer.
        """
        told: list[Answer | None] = []
        result = chain.answerInto(ClientQuery(fromText(NAME)), told.append)
        self.assertEqual(told, [])
        self.tell(caches, says)
        if result is None or isinstance(result, Answer):
            self.assertEqual(told, [])
            return result
        result.cancel()
        (found,) = told
        return found

    def tell(self, caches: list[Cache], says: list[Answer | None]) -> None:
        """
        Have everybody answer who was given a receiver, in the order of the chain.
        """
        for cache, answer in zip(caches, says, strict=True):
            if isinstance(cache, Prompt):
                while cache.waiting:
                    cache.waiting.pop(0)(answer)

    def say(self, kind: str, waits: bool, query: ClientQuery) -> Any:
        """
        Answer as an element of a kind does.
        """
        if waits:
            return maybeDeferred(self.say, kind, False, query)
        if kind == "broken":
            raise KeyError(kind)
        return KINDS[kind]


class ReceiverTests(SynchronousTestCase):
    """
    Tests for what is done without a Deferred.
    """

    def setUp(self) -> None:
        self.told: list[Answer | None] = []
        self.clock = Clock()

    def ask(self, *elements: Any) -> Any:
        """
        Ask a chain of these.
        """
        self.chain = AnswererChain(elements, clock=self.clock)
        return self.chain.answerInto(ClientQuery(fromText(NAME)), self.told.append)

    def test_answerAtOnce(self) -> None:
        """
        What is known at once is given at once, and nobody is told.
        """
        self.assertIs(self.ask(FixedAnswerer(), Prompt(LOCAL), Prompt()), LOCAL)
        self.assertIsNone(self.ask(FixedAnswerer()))
        self.assertEqual(self.told, [])

    def test_told(self) -> None:
        """
        What comes later is told, once; telling twice is of no effect.
        """
        cache, last = Cache(), Prompt()
        self.ask(cache, last)
        (receive,) = last.waiting
        receive(FRESH)
        receive(NXDOMAIN)
        self.assertEqual((self.told, cache.offered), ([FRESH], [FRESH]))

    def test_cancelled(self) -> None:
        """
        Who cancels is told nothing, and the element isn't asked on.
        """
        first, behind = Prompt(), FixedAnswerer(FRESH)
        asked = self.ask(first, behind)
        (receive,) = first.waiting
        asked.cancel()
        asked.cancel()
        self.assertEqual(first.cancelled, 1)
        receive(None)
        self.assertEqual((self.told, behind.queries), ([], []))

    def test_cancelledAfterwards(self) -> None:
        """
        Cancelling when the answer was told is of no effect.
        """
        last = Prompt()
        asked = self.ask(last)
        last.waiting.pop()(FRESH)
        asked.cancel()
        self.assertEqual((self.told, last.cancelled), ([FRESH], 0))

    def test_cancelsADeferred(self) -> None:
        """
        An element that gave a Deferred has it cancelled.
        """
        later = Later()
        self.ask(Prompt(NXDOMAIN.replace(final=False)), later).cancel()
        self.assertEqual((later.cancelled, self.told), (1, []))

    def test_breaksLater(self) -> None:
        """
        A Deferred that fails, and be it by being cancelled by somebody else, ends
        the query.
        """
        for reason in (KeyError(), CancelledError()):
            later, behind = Later(), FixedAnswerer(FRESH)
            self.told.clear()
            self.ask(later, behind)
            later.waiting[0].errback(reason)
            (answer,) = self.told
            assert answer is not None
            self.assertEqual((answer.rCode, behind.queries), (dns.ESERVER, []))
            self.assertEqual((self.chain.broken, len(self.flushLoggedErrors())), (1, 1))

    def test_whatIsNoAnswer(self) -> None:
        """
        An element that gives, or tells, something that is no answer is broken.
        """
        behind = FixedAnswerer(FRESH)
        answer = self.ask(Prompt(lambda query: object()), behind)
        self.assertEqual((answer.rCode, behind.queries), (dns.ESERVER, []))
        first = Prompt()
        self.ask(first, behind)
        first.waiting.pop()("nonsense")  # type: ignore[arg-type]
        self.assertEqual([each and each.rCode for each in self.told], [dns.ESERVER])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 2)

    def test_staleAfterTheTime(self) -> None:
        """
        A stale answer is told when the time is up, once; the search goes on, and
        can't be cancelled any more.
        """
        old = stale()
        cache, last = Cache(old), Prompt()
        asked = self.ask(cache, last)
        self.clock.advance(1.8)
        self.assertEqual((self.told, self.chain.hurried), ([old], 1))
        asked.cancel()
        last.waiting.pop()(FRESH)
        self.assertEqual((self.told, cache.offered, last.cancelled), ([old], [FRESH], 0))

    def test_cancelledBeforeTheTime(self) -> None:
        """
        Who cancels isn't told the stale answer either.
        """
        asked = self.ask(Cache(stale()), Prompt())
        asked.cancel()
        self.assertEqual((self.clock.getDelayedCalls(), self.told), ([], []))


class ResponseTimerTests(SynchronousTestCase):
    """
    How long a client waits that could be given a stale answer.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.old = stale()
        self.cache = Cache(self.old)
        self.upstream = Later()
        self.chain = AnswererChain([self.cache, self.upstream], clock=self.clock)

    def ask(self) -> Deferred[Answer | None]:
        """
        Ask, and give the result that isn't there yet.
        """
        result = self.chain.answer(ClientQuery(fromText(NAME)))
        assert isinstance(result, Deferred)
        self.assertNoResult(result)
        return result

    def test_freshAnswerInTime(self) -> None:
        """
        A fresh answer within the time is given; no timer is left.
        """
        result = self.ask()
        self.clock.advance(1.7)
        self.upstream.waiting[0].callback(FRESH)
        self.assertIs(self.successResultOf(result), FRESH)
        self.assertEqual((self.clock.getDelayedCalls(), self.chain.hurried), ([], 0))

    def test_staleAfterTheTime(self) -> None:
        """
        After it the stale answer is; the search goes on and fills the caches.
        """
        result = self.ask()
        self.clock.advance(1.8)
        self.assertIs(self.successResultOf(result), self.old)
        self.assertEqual(self.chain.hurried, 1)
        self.upstream.waiting[0].callback(FRESH)
        self.assertEqual(self.cache.offered, [FRESH])

    def test_failureInTime(self) -> None:
        """
        A failure within the time lets the stale answer go at once.
        """
        result = self.ask()
        self.upstream.waiting[0].callback(SERVFAIL)
        self.assertIs(self.successResultOf(result), self.old)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silentUpstreamIsntWaitedFor(self) -> None:
        """
        Once upstream was too slow, the next clients wait a moment only, until
        upstream answers something or half a minute is over.
        """
        self.ask()
        self.clock.advance(1.8)
        result = self.ask()
        self.clock.advance(0.1)
        self.assertIs(self.successResultOf(result), self.old)
        self.upstream.waiting[0].callback(FRESH)
        result = self.ask()
        self.clock.advance(1.7)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        self.assertIs(self.successResultOf(result), self.old)
        self.clock.advance(30)
        result = self.ask()
        self.clock.advance(1.7)
        self.assertNoResult(result)

    def test_storeIsAskedEvenInAHurry(self) -> None:
        """
        Also in a hurry there is time to ask a shared store, whose answer wins.
        """
        store = Later()
        self.chain = AnswererChain([self.cache, store, self.upstream], clock=self.clock)
        self.ask()
        self.clock.advance(1.8)
        result = self.ask()
        self.clock.advance(0.05)
        store.waiting[1].callback(LOCAL)
        self.assertIs(self.successResultOf(result), LOCAL)

    def test_staleAnswerThatComesLate(self) -> None:
        """
        The time also runs for a stale answer that a store takes its time to
        give.
        """
        store = Later()
        self.chain = AnswererChain([store, FixedAnswerer(), self.upstream], clock=self.clock)
        result = self.ask()
        self.clock.advance(5)
        store.waiting[0].callback(self.old)
        self.assertNoResult(result)
        self.clock.advance(1.8)
        self.assertIs(self.successResultOf(result), self.old)

    def test_youngerStaleAnswerFromAStore(self) -> None:
        """
        When the time is over, the best stale answer so far is given.
        """
        store, younger = Later(), stale(1)
        self.chain = AnswererChain([self.cache, store, self.upstream], clock=self.clock)
        result = self.ask()
        store.waiting[0].callback(younger)
        self.clock.advance(1.8)
        self.assertIs(self.successResultOf(result), younger)

    def test_withoutStaleAnswerNoTimer(self) -> None:
        """
        Who has nothing stale to get waits for upstream.
        """
        self.chain = AnswererChain([FixedAnswerer(), self.upstream], clock=self.clock)
        result = self.ask()
        self.clock.advance(60)
        self.assertNoResult(result)
        self.upstream.waiting[0].callback(FRESH)
        self.assertIs(self.successResultOf(result), FRESH)

    def test_withoutClockNoTimer(self) -> None:
        """
        Without a clock everybody does.
        """
        self.chain = AnswererChain([self.cache, self.upstream])
        result = self.ask()
        self.upstream.waiting[0].callback(FRESH)
        self.assertIs(self.successResultOf(result), FRESH)

    def test_cancelledBefore(self) -> None:
        """
        A client that goes away before the time is over takes search and timer
        with it.
        """
        result = self.ask()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual((self.upstream.cancelled, self.clock.getDelayedCalls()), (1, []))

    def test_searchThatBreaksAfterwards(self) -> None:
        """
        A search that breaks when the stale answer is out is counted and
        logged, and that is all.
        """
        result = self.ask()
        self.clock.advance(1.8)
        self.upstream.waiting[0].errback(KeyError("broken"))
        self.assertIs(self.successResultOf(result), self.old)
        self.assertEqual(self.chain.broken, 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_searchCancelledAfterwards(self) -> None:
        """
        If somebody else cancels the search then, that is logged.
        """
        result = self.ask()
        self.clock.advance(1.8)
        self.upstream.waiting[0].cancel()
        self.assertIs(self.successResultOf(result), self.old)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    def test_answerAtOnce(self) -> None:
        """
        An upstream whose Deferred has fired already needs no timer.
        """
        fired: Deferred[Answer | None] = Deferred()
        fired.callback(FRESH)
        chain = AnswererChain([self.cache, FixedAnswerer(lambda query: fired)], clock=self.clock)
        self.assertIs(askChain(chain, NAME), FRESH)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_askChainDoesNotWait(self) -> None:
        """
        The helper of these tests says so when there is no answer yet.
        """
        self.assertRaises(StillWaiting, askChain, self.chain, NAME)
