# -*- test-case-name: tests.assembly.test_chain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The chain: which element comes before which, and why.
"""

from __future__ import annotations

from typing import Any

import attrs

from dnsguard.caching.key import Key
from dnsguard.caching.servfail import BackoffTable
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.config.model import Config
from dnsguard.config.sections.caching import CacheConfig
from dnsguard.interfaces import IAnswerStore, IPolicies
from dnsguard.resolvers.backoff import BackoffResolver
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.resolvers.localrecords import LocalRecordsResolver
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.resolvers.rediscache import RedisCacheResolver
from dnsguard.resolvers.safesearch import SafeSearchResolver

__all__ = ["Chain", "makeChain", "ttlPolicy"]


@attrs.frozen
class Chain:
    """
    The chain, and those of its elements that others must know of.

    @ivar resolver: The whole chain.
    @ivar memory: L0, unless it is switched off.
    @ivar shared: L1, if there is a store of shared answers.
    @ivar backoff: The element that spares upstream questions that just failed.
    @ivar settings: The part of the configuration it was made of.
    """

    resolver: AnswererChain
    memory: MemoryCacheResolver | None
    shared: RedisCacheResolver | None
    backoff: BackoffResolver
    settings: CacheConfig


def ttlPolicy(cache: CacheConfig) -> TTLPolicy:
    """
    Say for how long answers are kept.
    """
    refresh = cache.refresh
    return TTLPolicy(
        minTTL=int(cache.minTTL),
        maxTTL=int(cache.maxTTL),
        negativeTTL=int(cache.negativeTTL),
        respectSourceTTL=cache.respectSourceTTL,
        grace=int(cache.lruGracePeriod),
        staleTTL=int(refresh.staleTTL) if refresh.serveStale else 0,
    )


def makeChain(
    config: Config,
    policies: IPolicies,
    forwarder: ForwardingResolver,
    clock: Any,
    store: IAnswerStore | None = None,
) -> Chain:
    """
    Put the chain together.

    @param clock: The reactor, or something that tells the time as it does.
    @param store: The answers shared with other instances, if there are any.
    """
    cache = config.cache
    table: BackoffTable[Key] = BackoffTable(
        cache.servfailBackoff,
        refreshThreshold=cache.servfailRefreshThreshold,
        logInterval=cache.servfailLogInterval,
    )
    memory = None
    if cache.lruSize:
        memory = MemoryCacheResolver(
            cache.lruSize,
            maxBytes=cache.maxBytes,
            clock=clock,
            ttlPolicy=ttlPolicy(cache),
            expiredEntryTTL=int(cache.refresh.expiredEntryTTL),
        )
    shared = None
    if store is not None:
        shared = RedisCacheResolver(
            store,
            clock=clock,
            ttlPolicy=ttlPolicy(cache),
            expiredEntryTTL=int(cache.refresh.expiredEntryTTL),
        )
    backoff = BackoffResolver(table, clock=clock)
    # What was asked lately costs nothing; what failed lately is not asked
    # again at once, but only after the caches were looked into, which may have
    # a stale answer that is better than SERVFAIL.
    caches = [each for each in (memory, shared) if each is not None]
    behind = [*caches, backoff, forwarder]
    # Where our own rules lead a name elsewhere, these are asked for that.
    tail = AnswererChain(behind, clock=clock)
    resolver = AnswererChain(
        [
            # The operator's own words come first: they hold against every list.
            # Special names, which must not leave the house, are with them.
            LocalRecordsResolver(policies, resolver=tail),
            # Before the lists: a list that blocks a search engine's names is
            # not to be answered by its unsafe ones, nor a rewritten name by
            # the lists of the name it is led to.
            SafeSearchResolver(policies, resolver=tail),
            # Before the caches: these hold what upstream says, whoever asks,
            # so that a change of the lists holds at once.
            BlocklistResolver(policies),
            # Not the tail: a chain in a chain does everything twice.
            *behind,
        ],
        clock=clock,
    )
    return Chain(resolver, memory, shared, backoff, cache)
