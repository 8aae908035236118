# -*- test-case-name: tests.assembly.test_chain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The chain: which element comes before which, and why.
"""

from __future__ import annotations

from typing import Any

import attrs

from dnsguard.assembly.cacherules import ttlPolicy
from dnsguard.assembly.refreshing import Caches
from dnsguard.config.model import Config
from dnsguard.interfaces import IAnswerStore, IPolicies
from dnsguard.resolvers.backoff import BackoffResolver
from dnsguard.resolvers.blocklist import BlocklistResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.resolvers.localrecords import LocalRecordsResolver
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.resolvers.rediscache import RedisCacheResolver
from dnsguard.resolvers.safesearch import SafeSearchResolver

__all__ = ["Chain", "makeChain"]


@attrs.frozen
class Chain:
    """
    The chain, and those of its elements that others must know of.

    @ivar resolver: The whole chain.
    @ivar memory: L0, unless it is switched off.
    @ivar shared: L1, if there is a store of shared answers.
    @ivar backoff: The element that spares upstream questions that just failed.
    """

    resolver: AnswererChain
    memory: MemoryCacheResolver | None
    shared: RedisCacheResolver | None
    backoff: BackoffResolver


def makeChain(
    config: Config,
    policies: IPolicies,
    forwarder: ForwardingResolver,
    clock: Any,
    caches: Caches | None = None,
    store: IAnswerStore | None = None,
) -> Chain:
    """
    Put the chain together.

    @param clock: The reactor, or something that tells the time as it does.
    @param caches: The caches; by default, new ones.
    @param store: The answers shared with other instances, if there are any.
    """
    if caches is None:
        caches = Caches(config, forwarder, clock, clock.seconds)
    memory, backoff = caches.memory, caches.backoff
    refresh = config.cache.refresh
    shared = None
    if store is not None:
        shared = RedisCacheResolver(
            store,
            clock=clock,
            ttlPolicy=ttlPolicy(config.cache),
            expiredEntryTTL=int(refresh.expiredEntryTTL),
            clears=caches.clears,
        )
        shared.watch(caches.watch())
    # What was asked lately costs nothing; what failed lately is not asked
    # again at once, but only after the caches were looked into, which may have
    # a stale answer that is better than SERVFAIL.
    found = [each for each in (memory, shared) if each is not None]
    behind = [*found, backoff, forwarder]
    staleAfter = refresh.clientResponseTimeout
    # Where our own rules lead a name elsewhere, these are asked for that.
    tail = AnswererChain(behind, clock=clock, staleAfter=staleAfter)
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
        staleAfter=staleAfter,
    )
    return Chain(resolver, memory, shared, backoff)
