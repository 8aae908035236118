# -*- test-case-name: tests.test_tap -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Every exception dnsguard raises, under one root, by layer.

Callers raise these with values and the class words the message, so that one
kind of failure reads the same wherever it is logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.names import error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnsguard.answer import Answer
    from dnsguard.config.problem import Problem

__all__ = [
    "AnswerFailed",
    "ConfigError",
    "DNSGuardError",
    "HelperError",
    "ListenError",
    "NameDenied",
    "PolicyError",
    "StoreError",
    "UpstreamError",
]


class DNSGuardError(Exception):
    """
    The root of every exception that dnsguard raises on purpose.
    """


class ConfigError(DNSGuardError):
    """
    A configuration can't be used.

    @ivar problems: Everything that is wrong with it, warnings included, in the
        order it was found.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class PolicyError(DNSGuardError):
    """
    A rule, list, record or group can't be made into a policy.

    @ivar place: Where it stands: a key path, or C{file:line}.
    @ivar reason: What is wrong with it, in a few words.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class ListenError(DNSGuardError):
    """
    An address can't be listened on.

    @ivar address: The address and port, in text.
    @ivar protocol: C{"udp"}, C{"tcp"} or whatever else was to be spoken there.
    @ivar reason: Why, in a few words.
    """

    def __init__(self, address: str, protocol: str, reason: str) -> None:
        super().__init__(address, protocol, reason)
        self.address = address
        self.protocol = protocol
        self.reason = reason

    def __str__(self) -> str:
        return f"can't listen on {self.address} ({self.protocol}): {self.reason}"


class UpstreamError(DNSGuardError):
    """
    An upstream gave no usable reply.

    For elements that ask somebody on their own: the client is told SERVFAIL, and
    that no upstream answered. dnsguard's own forwarder gives such an answer
    itself.

    @ivar upstream: The upstream's name, empty when none was reached.
    @ivar reason: Why, in a few words.
    """

    def __init__(self, upstream: str, reason: str) -> None:
        super().__init__(upstream, reason)
        self.upstream = upstream
        self.reason = reason

    def __str__(self) -> str:
        if not self.upstream:
            return self.reason
        return f"upstream {self.upstream}: {self.reason}"


class StoreError(DNSGuardError):
    """
    A store (Redis, the query store, a cache file) failed or took too long.

    @ivar store: The store's name.
    @ivar reason: Why, in a few words.
    """

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(store, reason)
        self.store = store
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.store}: {self.reason}"


class HelperError(DNSGuardError):
    """
    The other one of two processes that serve together said no, or nothing.

    @ivar reason: Why, in a few words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NameDenied(DNSGuardError, error.AuthoritativeDomainError):
    """
    One of our answerers says NXDOMAIN to stock Twisted Names code: ask nobody
    else.

    @ivar answer: The whole answer, with SOA, extended error and outcome.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.outcome.value)
        self.answer = answer


class AnswerFailed(DNSGuardError, error.ResolverError):
    """
    One of our answerers gives stock Twisted Names code an answer whose
    response code is neither NOERROR nor NXDOMAIN.

    @ivar answer: The whole answer.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.outcome.value, answer.rCode)
        self.answer = answer
