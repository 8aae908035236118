# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.failure}.
"""

from __future__ import annotations

from twisted.internet import defer
from twisted.internet import error as internetError
from twisted.names import dns, error
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import AnswerFailed, NameDenied, UpstreamError
from dnsguard.server.failure import NOT_MINE, answerOf

RECORD = dns.RRHeader(b"example.org", dns.SOA, dns.IN, 60, dns.Record_SOA())


def messageWith(rCode: int) -> dns.Message:
    """
    A response as the stock client gives it in its failures.
    """
    message = dns.Message(answer=1, rCode=rCode)
    message.authority = [RECORD]
    message.additional = [dns.RRHeader(b"", dns.OPT, payload=dns.UnknownRecord(b""))]
    return message


class AnswerOfTests(SynchronousTestCase):
    """
    Tests for L{answerOf}.
    """

    def rCodeOf(self, reason: Exception) -> int:
        """
        The response code of the answer that a failure stands for.
        """
        answer = answerOf(Failure(reason))
        assert answer is not None
        return answer.rCode

    def test_ours(self) -> None:
        """
        Failures of ours bring their answer along.
        """
        answer = Answer.failure(dns.ENAME, Outcome.BLOCKED)
        self.assertIs(answerOf(Failure(NameDenied(answer))), answer)
        self.assertIs(answerOf(Failure(AnswerFailed(answer))), answer)

    def test_classes(self) -> None:
        """
        What a stock failure means is what its class says.
        """
        for reason, rCode in (
            (error.AuthoritativeDomainError("x"), dns.ENAME),
            (error.DNSNameError("x"), dns.ENAME),
            (error.DNSServerError("x"), dns.ESERVER),
            (error.DNSQueryRefusedError("x"), dns.EREFUSED),
            (error.DNSFormatError("x"), dns.ESERVER),
            (error.DNSNotImplementedError("x"), dns.ESERVER),
            (error.DNSUnknownError("x"), dns.ESERVER),
        ):
            self.assertEqual(self.rCodeOf(reason), rCode, reason)

    def test_messages(self) -> None:
        """
        The stock client's failures carry a response, SOA and all, whose code
        it is; what is between it and its upstream is SERVFAIL to the client.
        """
        for kind, rCode, expected in (
            (error.DNSNameError, dns.ENAME, dns.ENAME),
            (error.DNSServerError, dns.ESERVER, dns.ESERVER),
            (error.DNSQueryRefusedError, dns.EREFUSED, dns.EREFUSED),
            (error.DNSFormatError, dns.EFORMAT, dns.ESERVER),
            (error.DNSNotImplementedError, dns.ENOTIMP, dns.ESERVER),
        ):
            self.assertEqual(self.rCodeOf(kind(messageWith(rCode))), expected)
        answer = answerOf(Failure(error.DNSNameError(messageWith(dns.ENAME))))
        assert answer is not None
        self.assertEqual(list(answer), [[], [RECORD], []])

    def test_notMine(self) -> None:
        """
        A bare domain error, or a lookup that isn't implemented, means that
        nobody takes the question on: REFUSED.
        """
        self.assertIs(answerOf(Failure(error.DomainError("x"))), NOT_MINE)
        self.assertIs(answerOf(Failure(NotImplementedError("x"))), NOT_MINE)
        self.assertEqual(NOT_MINE.rCode, dns.EREFUSED)

    def test_silence(self) -> None:
        """
        A timeout or an upstream's failure is SERVFAIL that says so.
        """
        for reason in (
            defer.TimeoutError(),
            internetError.TimeoutError(),
            error.DNSQueryTimeoutError(1),
            UpstreamError("one", "no reply within 2 s"),
            UpstreamError("", "no upstream is left to try"),
        ):
            answer = answerOf(Failure(reason))
            assert answer is not None
            assert answer.extendedError is not None
            self.assertEqual((answer.rCode, answer.extendedError.code), (dns.ESERVER, 22))
            self.assertIs(answer.outcome, Outcome.UPSTREAM_ERROR)

    def test_defects(self) -> None:
        """
        Anything else is no answer but a defect.
        """
        for reason in (ValueError("x"), KeyError(), error.ResolverError("x")):
            self.assertIsNone(answerOf(Failure(reason)))
