# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.exchange}.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IUpstream
from dnsguard.upstream.selection import FailureKind, Strategy
from dnsguard.wire.edns import ExtendedError
from tests.support.upstreams import QNAME, Asked, FakeUpstream, opt, read


def bogus(code: int) -> bytes:
    """
    An OPT record with an extended error.
    """
    return opt(options=struct.pack("!HHH", 15, 2, code))


SOA_DATA = b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, 30)
SOA = b"\xc0\x10\0\6\0\1\0\0\1\0" + struct.pack("!H", len(SOA_DATA)) + SOA_DATA


class ExchangeTests(SynchronousTestCase):
    """
    Tests for L{Exchange<dnsguard.upstream.exchange.Exchange>}.
    """

    def setUp(self) -> None:
        self.first = FakeUpstream("first")
        self.second = FakeUpstream("second")

    def test_fakeIsAnUpstream(self) -> None:
        """
        The stand-in provides what it stands for.
        """
        verifyObject(IUpstream, self.first)

    def test_goodReply(self) -> None:
        """
        A good reply becomes an answer that knows its upstream, AD and TTL.
        """
        asked = Asked(self.first, self.second)
        self.first.attempts[0].succeed(read(flags=0x81A0), 0.01)
        answer = asked.answer
        self.assertEqual(
            (answer.rCode, answer.outcome, answer.upstream), (0, Outcome.UPSTREAM, "first")
        )
        self.assertTrue(answer.authenticData)
        self.assertTrue(answer.final)
        self.assertEqual((answer.cacheSeconds, answer.replaySeconds), (60, 0))
        self.assertEqual((asked.ended, self.second.attempts), (1, []))

    def test_lifetimes(self) -> None:
        """
        A negative answer holds as long as its SOA record says, an answer of
        an alias alone as long as the shorter of both, and a negative one
        without SOA isn't kept.
        """
        alias = b"\xc0\x0c\0\5\0\1\0\0\0\x14\0\x08\5other\xc0\x10"
        cases: list[tuple[dict[str, Any], int]] = [
            ({"answers": (), "rCode": 3, "authority": [SOA]}, 30),
            ({"answers": (), "authority": [SOA]}, 30),
            ({"answers": [alias], "authority": [SOA]}, 20),
            ({"answers": [alias], "rCode": 3, "authority": [SOA]}, 20),
            ({"answers": (), "rCode": 3}, 0),
            ({"answers": [alias], "rCode": 3}, 0),
            ({"answers": ()}, 0),
            ({"answers": [alias]}, 20),
        ]
        for parts, seconds in cases:
            asked = Asked(self.first)
            self.first.attempts.pop().succeed(read(**parts), 0.01)
            self.assertEqual(asked.answer.cacheSeconds, seconds, parts)
            self.assertEqual(asked.answer.rCode, parts.get("rCode", 0))
            self.assertTrue(asked.answer.final)

    def test_failureAsksTheNext(self) -> None:
        """
        An upstream without usable reply makes room for the next.
        """
        asked = Asked(self.first, self.second)
        self.first.attempts[0].fail(FailureKind.TIMEOUT, "no reply", 2.5)
        self.assertEqual(asked.answers, [])
        self.second.attempts[0].succeed(read(), 2.6)
        self.assertEqual(asked.answer.upstream, "second")

    def test_atOnceFailureAsksTheNext(self) -> None:
        """
        So does one that can't even be sent to.
        """
        self.first.refusing = "no route"
        asked = Asked(self.first, self.second)
        self.second.attempts[0].succeed(read(), 0.1)
        self.assertEqual(asked.answer.upstream, "second")

    def test_nobodyReached(self) -> None:
        """
        When all have failed, the answer is a SERVFAIL that says why, and that
        a stale answer may replace.
        """
        self.first.refusing = self.second.refusing = "no route"
        answer = Asked(self.first, self.second).answer
        self.assertEqual((answer.rCode, answer.outcome), (dns.ESERVER, Outcome.UPSTREAM_ERROR))
        self.assertEqual(answer.extendedError, ExtendedError(23, "second: no route"))
        self.assertFalse(answer.final)
        self.assertEqual(answer.cacheSeconds, 0)

    def test_refusalAsksTheNext(self) -> None:
        """
        SERVFAIL and REFUSED let the next upstream be asked, whose good reply
        is what counts. The refusing one isn't held to be down.
        """
        for code in (dns.ESERVER, dns.EREFUSED, dns.ENOTIMP):
            asked = Asked(self.first, self.second)
            self.first.attempts.pop().succeed(read(rCode=code, answers=()), 0.1)
            self.second.attempts.pop().succeed(read(), 0.2)
            self.assertEqual(asked.answer.upstream, "second")
        self.assertTrue(self.first.standing.usable(0.1))
        self.assertEqual(self.first.standing.refusals, 3)

    def test_codesOfTheHop(self) -> None:
        """
        BADVERS and BADCOOKIE are between the upstream and us: who asked is
        told SERVFAIL, and which code it was.
        """
        for high, low in ((1, 0), (1, 7)):
            asked = Asked(self.first)
            bad = read(rCode=low, answers=(), additional=[opt(high)])
            self.first.attempts.pop().succeed(bad, 0.1)
            answer = asked.answer
            self.assertEqual((answer.rCode, answer.outcome), (dns.ESERVER, Outcome.SERVFAIL))
            assert answer.extendedError is not None
            self.assertIn(str(16 + low), answer.extendedError.text)

    def test_firstRefusalIsKept(self) -> None:
        """
        If nobody has a better one, the first refusal is the answer.
        """
        for code, outcome in [
            (dns.ESERVER, Outcome.SERVFAIL),
            (dns.EREFUSED, Outcome.REFUSED),
            (dns.ENOTIMP, Outcome.UPSTREAM),
        ]:
            asked = Asked(self.first, self.second)
            self.first.attempts.pop().succeed(read(rCode=code, answers=()), 0.1)
            self.second.attempts.pop().fail(FailureKind.TIMEOUT, "no reply", 5.0)
            self.assertEqual((asked.answer.rCode, asked.answer.outcome), (code, outcome))
            self.assertEqual(asked.answer.upstream, "first")
            self.assertFalse(asked.answer.final)
            self.second.standing.backoffUntil = 0.0

    def test_bogusIsFinal(self) -> None:
        """
        A SERVFAIL that blames DNSSEC isn't shopped around with; its extended
        error is passed on.
        """
        asked = Asked(self.first, self.second)
        self.first.attempts[0].succeed(read(rCode=2, answers=(), additional=[bogus(6)]), 0.1)
        self.assertEqual(asked.answer.extendedError, ExtendedError(6))
        self.assertEqual(self.second.attempts, [])

    def test_otherExtendedErrorIsNot(self) -> None:
        """
        A SERVFAIL for another reason is.
        """
        Asked(self.first, self.second)
        self.first.attempts[0].succeed(read(rCode=2, answers=(), additional=[bogus(22)]), 0.1)
        self.assertEqual(len(self.second.attempts), 1)

    def test_timeIsShared(self) -> None:
        """
        The first upstream gets a share of the time, 2.5 seconds at most; the
        last one all that is left.
        """
        asked = Asked(self.first, self.second, timeout=3.0)
        (attempt,) = self.first.attempts
        self.assertEqual(attempt.deadline, 1.5)
        attempt.fail(FailureKind.TIMEOUT, "no reply", 1.5)
        self.assertEqual(self.second.attempts[0].deadline, 3.0)
        self.assertEqual(asked.answers, [])
        Asked(self.first, self.second, timeout=10.0)

    def test_timeIsUp(self) -> None:
        """
        Behind the deadline nobody else is asked.
        """
        asked = Asked(self.first, self.second, timeout=3.0)
        self.first.attempts[0].fail(FailureKind.TIMEOUT, "no reply", 3.0)
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertEqual(self.second.attempts, [])

    def test_noUpstreams(self) -> None:
        """
        Without any upstream there is an answer, too.
        """
        for strategy in Strategy:
            answer = Asked(strategy=strategy).answer
            self.assertEqual(answer.extendedError, ExtendedError(22, "no reply in time"))

    def test_manyUpstreams(self) -> None:
        """
        However many there are, each is asked once.
        """
        for strategy in Strategy:
            upstreams = [FakeUpstream(str(number)) for number in range(130)]
            for upstream in upstreams:
                upstream.refusing = "no route"
            answer = Asked(*upstreams, strategy=strategy).answer
            self.assertEqual(answer.outcome, Outcome.UPSTREAM_ERROR)
            self.assertEqual({len(each.attempts) for each in upstreams}, {1}, strategy)

    def test_parallel(self) -> None:
        """
        Parallel asks all; the first good reply wins and the others are let
        go.
        """
        asked = Asked(self.first, self.second, strategy=Strategy.PARALLEL)
        self.first.attempts[0].succeed(read(rCode=2, answers=()), 0.1)
        self.assertEqual(asked.answers, [])
        self.second.attempts[0].succeed(read(), 0.2)
        self.assertEqual(asked.answer.upstream, "second")

        asked = Asked(self.first, self.second, strategy=Strategy.PARALLEL)
        self.first.attempts[1].succeed(read(), 0.1)
        self.assertEqual(asked.answer.upstream, "first")
        self.assertEqual(self.second.abandoned, [self.second.attempts[1]])
        self.assertEqual(asked.ended, 1)

    def test_parallelFailsAtOnce(self) -> None:
        """
        One that can't be sent to doesn't end it for the others.
        """
        self.first.refusing = "no route"
        asked = Asked(self.first, self.second, strategy=Strategy.PARALLEL)
        self.second.attempts[0].succeed(read(), 0.2)
        self.assertEqual(asked.answer.upstream, "second")

    def test_cancel(self) -> None:
        """
        The question is given up when the last who waits gives up, and not
        before; who has given up isn't told.
        """
        asked = Asked(self.first)
        other = asked.exchange.join(asked.answers.append)
        asked.waiter.cancel()
        self.assertEqual(self.first.abandoned, [])
        asked.waiter.cancel()
        self.assertEqual(self.first.abandoned, [])
        other.cancel()
        self.assertEqual(self.first.abandoned, self.first.attempts)
        self.assertEqual((asked.ended, asked.answers), (1, []))

    def test_cancelTooLate(self) -> None:
        """
        One who has been told may cancel, to no effect.
        """
        asked = Asked(self.first)
        self.first.attempts[0].succeed(read(), 0.1)
        asked.waiter.cancel()
        self.assertEqual((asked.ended, len(asked.answers), self.first.abandoned), (1, 1, []))

    def test_cancelAmongTheTold(self) -> None:
        """
        One who is told may cancel another who waits.
        """
        asked = Asked(self.first)
        asked.exchange.join(lambda _: other.cancel())
        told: list[Answer] = []
        other = asked.exchange.join(told.append)
        asked.exchange.join(told.append)
        self.first.attempts[0].succeed(read(), 0.1)
        self.assertEqual(told, [asked.answer])
        self.assertEqual((asked.ended, self.first.abandoned), (1, []))

    def test_brokenReceiver(self) -> None:
        """
        One who breaks on the answer doesn't keep it from the others.
        """
        asked = Asked(self.first)
        asked.exchange.join(lambda _: 1 / 0)
        told: list[Answer] = []
        asked.exchange.join(told.append)
        self.first.attempts[0].succeed(read(), 0.1)
        self.assertEqual(told, [asked.answer])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_trace(self) -> None:
        """
        Who traces is told whom it asked, whom it passed over, and what became
        of it.
        """
        told: list[tuple[Any, ...]] = []
        third = FakeUpstream("third")
        self.second.standing.backoffUntil = 50.0
        Asked(self.first, self.second, third, trace=lambda *facts: told.append(facts))
        self.first.attempts[0].fail(FailureKind.TIMEOUT, "no reply in time", 2.5)
        third.attempts[0].succeed(read(rCode=3), 2.75)
        skipped = (QNAME, 1, "second", "skipped: left alone after a failure", 0.0)
        self.assertEqual(
            told,
            [
                (*skipped, 0),
                (QNAME, 1, "first", "failed: no reply in time", 2.5, 1),
                (*skipped, 1),
                (QNAME, 1, "third", "NXDOMAIN", 0.25, 2),
            ],
        )
