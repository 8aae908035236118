# -*- test-case-name: tests.server.test_failure -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a failed lookup tells the client.

Stock Twisted Names makes NXDOMAIN of every L{DomainError}, and what an
upstream says with SERVFAIL or REFUSED is one: the client is told that a name
doesn't exist, and remembers it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import defer
from twisted.internet import error as internetError
from twisted.names import dns, error
from twisted.python.failure import Failure

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import UpstreamError
from dnsguard.wire.edns import ExtendedError

__all__ = ["NOT_MINE", "answerOf"]

NOT_MINE = Answer.failure(
    dns.EREFUSED, Outcome.REFUSED, extendedError=ExtendedError(20, "no resolver for this name")
)
"""
What is said when nobody in the chain takes the question on. REFUSED, as a
server says that was asked for what it doesn't serve: the client asks its next
server, where SERVFAIL would have it ask here again (RFC 8914 §4.21 for the
extended error).
"""

_NO_ANSWER = Answer.failure(
    dns.ESERVER, Outcome.UPSTREAM_ERROR, extendedError=ExtendedError(22, "no upstream answered")
)
_BY_CLASS = (
    (error.AuthoritativeDomainError, Answer.failure(dns.ENAME, Outcome.UPSTREAM)),
    (error.DNSNameError, Answer.failure(dns.ENAME, Outcome.UPSTREAM)),
    (error.DNSQueryRefusedError, Answer.failure(dns.EREFUSED, Outcome.REFUSED)),
    (error.DNSServerError, Answer.failure(dns.ESERVER, Outcome.SERVFAIL)),
    (error.DNSFormatError, Answer.failure(dns.ESERVER, Outcome.SERVFAIL)),
    (error.DNSNotImplementedError, Answer.failure(dns.ESERVER, Outcome.SERVFAIL)),
    (error.DNSUnknownError, Answer.failure(dns.ESERVER, Outcome.SERVFAIL)),
    (error.DomainError, NOT_MINE),
    (NotImplementedError, NOT_MINE),
)
"""
What failures without an answer or a message in them stand for, first match.
"""

_TIMEOUTS = (defer.TimeoutError, internetError.TimeoutError, error.DNSQueryTimeoutError)


def answerOf(failure: Failure) -> Answer | None:
    """
    The answer that a failure of C{IResolver.query} or C{IAnswerer.answer}
    stands for.

    @return: L{None} when it stands for none: something is broken.
    """
    reason: Any = failure.value
    answer = getattr(reason, "answer", None)
    if isinstance(answer, Answer):
        return answer
    if isinstance(reason, UpstreamError) or failure.check(*_TIMEOUTS):
        return _NO_ANSWER
    message = reason.args[0] if reason.args else None
    if isinstance(reason, error.DomainError | error.ResolverError) and isinstance(
        message, dns.Message
    ):
        # This is how twisted.names.client.Resolver reports a response code.
        return _fromMessage(message)
    for kind, meaning in _BY_CLASS:
        if isinstance(reason, kind):
            return meaning
    return None


def _fromMessage(message: dns.Message) -> Answer:
    outcomes = {dns.ESERVER: Outcome.SERVFAIL, dns.EREFUSED: Outcome.REFUSED}
    rCode = message.rCode
    if rCode in (dns.EFORMAT, dns.ENOTIMP):
        # Between us and the upstream; the client's request had no such fault.
        return Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
    return Answer.fromRecords(
        message.answers,
        message.authority,
        [record for record in message.additional if record.type != dns.OPT],
        rCode=rCode,
        outcome=outcomes.get(rCode, Outcome.UPSTREAM),
    )
