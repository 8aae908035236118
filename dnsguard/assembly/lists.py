# -*- test-case-name: tests.assembly.test_guard -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to block lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool

from dnsguard.assembly.rules import sourceURLs
from dnsguard.config.model import Config
from dnsguard.services.blocklists import BlockLists, BlocklistService
from dnsguard.services.listsource import ListSource

__all__ = ["blocklistSettings", "listSources", "makeBlocklists"]


def listSources(config: Config) -> tuple[ListSource, ...]:
    """
    Say which lists are needed.

    @raise dnsguard.errors.PolicyError: Nothing can be read from a URL.
    """
    return tuple(ListSource(name, url) for url, name in sourceURLs(config).items())


def blocklistSettings(config: Config) -> dict[str, Any]:
    """
    Say how lists are kept fresh, as L{BlocklistService.configure} takes it.
    """
    blocklists = config.blocklists
    health = blocklists.healthCheck
    return {
        "refreshInterval": blocklists.refreshInterval,
        "failOnAny": health is not None and health.enabled and health.failOnAny,
        "timeout": blocklists.requestTimeout,
        "maxSize": blocklists.maxSize,
    }


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
    settings = blocklistSettings(config)
    agent = Agent(
        reactor,
        BrowserLikePolicyForHTTPS(),
        connectTimeout=min(10.0, settings["timeout"]),
        pool=HTTPConnectionPool(reactor, persistent=False),
    )
    return BlocklistService.over(
        reactor,
        agent,
        str(config.statePath("lists")),
        onChange=onChange,
        sources=listSources(config),
        now=now,
        **settings,
    )
