# -*- test-case-name: tests.resolvers.test_cached -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Answers made of cache entries, whatever store the entries are in.

A cached answer carries its entry, so that one cache can take it over from
another with its times: an answer from a shared store must not start a new life
in this process.
"""

from __future__ import annotations

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.entry import Entry, makeEntry
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.query import ClientQuery
from dnsguard.wire.edns import ExtendedError

__all__ = ["CachedAnswer", "entryOf", "freshAnswer", "staleAnswer"]

_NXDOMAIN = 3

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_CACHED, _UPSTREAM = Outcome.CACHED, Outcome.UPSTREAM

STALE_ANSWER = ExtendedError(3, "Stale Answer")
STALE_NXDOMAIN = ExtendedError(19, "Stale NXDOMAIN Answer")
"""RFC 8914 §4.4 and §4.20."""


class CachedAnswer(Answer):
    """
    An answer from a cache.

    Its layout's C{leastTTL} and C{negativeTTL} are those of the entry as
    received; what counts is C{cacheSeconds}.

    @ivar entry: The entry it was made of.
    """

    __slots__ = ("entry",)

    # Set behind construction: a constructor of its own would cost each hit
    # another call with a dozen keywords.
    entry: Entry

    @property
    def lasting(self) -> bytes:
        """
        The entry's message.
        """
        return self.entry.wire


def freshAnswer(entry: Entry, remaining: float, replaySeconds: float) -> CachedAnswer:
    """
    Make the answer of an entry that is fresh.

    @param remaining: For how many seconds it still is, above 0.
    @param replaySeconds: See L{Answer}.
    """
    # A client told 0 would ask again at once, for what is still fresh.
    left = int(remaining) or 1
    answer = CachedAnswer(
        rCode=entry.rCode,
        outcome=_CACHED,
        wire=entry.wireWith(left),
        layout=entry.layout,
        upstream=entry.upstream,
        authenticData=entry.authenticData,
        extendedError=entry.extendedError,
        cacheSeconds=left,
        replaySeconds=replaySeconds,
    )
    answer.entry = entry
    return answer


def staleAnswer(entry: Entry, remaining: float, ttl: int) -> CachedAnswer:
    """
    Make the answer of an entry that is no longer fresh: to be used if nobody
    has a better one (RFC 8767).

    @param remaining: For how many seconds it has been stale, as a number below
        0. As C{cacheSeconds} it lets the chain choose between two stale ones.
    @param ttl: The TTL that its records get, at least 1.
    """
    answer = CachedAnswer(
        rCode=entry.rCode,
        outcome=Outcome.STALE,
        wire=entry.wireWith(ttl, stale=True),
        layout=entry.layout,
        upstream=entry.upstream,
        authenticData=entry.authenticData,
        extendedError=STALE_NXDOMAIN if entry.rCode == _NXDOMAIN else STALE_ANSWER,
        cacheSeconds=int(remaining),
        final=False,
    )
    answer.entry = entry
    return answer


def entryOf(
    query: ClientQuery,
    answer: Answer,
    now: float,
    policy: TTLPolicy,
    hot: bool = False,
    createdAt: float | None = None,
) -> Entry | None:
    """
    Make the entry to keep of an answer.

    @param now: Seconds of the clock that the entry will be used with.
    @param hot: See L{Entry.make}; so for C{createdAt}.
    @return: L{None} if it isn't to be kept: because of its code or TTL, or
        because it is no upstream's word but ours, or answers another question.
    """
    outcome = answer.outcome
    if isinstance(answer, CachedAnswer):
        return answer.entry if outcome is _CACHED else None
    if outcome is not _UPSTREAM and outcome is not _CACHED:
        return None
    wire, layout = answer.wire, answer.layout
    if wire is None or layout is None:
        wire, layout = answer.encoded(query.question)
    # One without any TTL of its own can't say that it isn't to be kept.
    timeless = layout.leastTTL is None and layout.negativeTTL is None
    if answer.cacheSeconds <= 0 and not timeless:
        return None
    if layout.name != query.qname or layout.type != query.type:
        return None
    return makeEntry(
        wire,
        layout,
        answer.rCode,
        now,
        policy,
        hot,
        createdAt,
        answer.authenticData,
        answer.extendedError,
        answer.upstream,
    )
