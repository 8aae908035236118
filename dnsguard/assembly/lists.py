# -*- test-case-name: tests.assembly.test_lists -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to block lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

from dnsguard.assembly.rules import sourceURLs
from dnsguard.config.model import Config
from dnsguard.services.blocklists import BlockLists, BlocklistService
from dnsguard.services.listcompiler import ListCompiler
from dnsguard.services.listfetch import Fetcher
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststore import ListStore

__all__ = ["listSources", "makeBlocklists"]


def listSources(config: Config) -> tuple[ListSource, ...]:
    """
    Say which lists are needed.

    @raise dnsguard.errors.PolicyError: Nothing can be read from a URL.
    """
    return tuple(ListSource(name, url) for url, name in sourceURLs(config).items())


def makeBlocklists(
    config: Config,
    reactor: Any,
    onChange: Callable[[BlockLists], object],
    now: Callable[[], float],
) -> BlocklistService:
    """
    Make the service that keeps the lists fresh.

    @param onChange: As L{BlocklistService} takes it.
    @param now: Seconds since the epoch.
    """
    blocklists = config.blocklists
    health = blocklists.healthCheck
    store = ListStore(config.statePath("lists"))

    def inThread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)

    fetcher = Fetcher(
        reactor,
        Agent(
            reactor,
            BrowserLikePolicyForHTTPS(),
            connectTimeout=min(10.0, blocklists.requestTimeout),
            pool=HTTPConnectionPool(reactor, persistent=False),
        ),
        store,
        inThread,
        timeout=blocklists.requestTimeout,
        maxSize=blocklists.maxSize,
        now=now,
    )
    return BlocklistService(
        reactor,
        store,
        fetcher,
        ListCompiler(reactor, inThread),
        inThread,
        onChange=onChange,
        sources=listSources(config),
        refreshInterval=blocklists.refreshInterval,
        failOnAny=health is not None and health.enabled and health.failOnAny,
        now=now,
    )
