# -*- test-case-name: tests.processes.test_lists -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Block lists that the main process has compiled, in a helper.

It maps the same file, so that all processes share one copy in memory, and
fetches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed

from dnsguard.policy.domainset import DomainSet
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststatus import BlockLists, Statistics

__all__ = ["PublishedLists"]


class PublishedLists(Service):
    """
    In a helper, what a L{BlocklistService
    <dnsguard.services.blocklists.BlocklistService>} is to the main process.

    @ivar lists: What is mapped.
    @ivar sources: The lists that the configuration names.
    """

    name = "blocklists"
    file = ""

    def __init__(
        self, inThread: Callable[..., Deferred[Any]], sources: Iterable[ListSource] = ()
    ) -> None:
        """
        @param inThread: Calls a function in a thread.
        """
        self.lists = BlockLists(DomainSet.build([]), ())
        self.sources = tuple(sources)
        self._inThread = inThread

    @property
    def statistics(self) -> Statistics:
        """
        How much there is.
        """
        domains = self.lists.domains
        return Statistics(names=len(domains), octets=domains.header.size)

    async def adopt(self, file: str, number: int) -> bool:
        """
        Map what the main process has compiled: this set, or one that is newer
        still.

        @param file: Where it is; empty: there are no lists.
        @param number: What the main process counts it as.
        @return: Is it another one than before?
        @raise PolicyError: It can't be mapped.
        """
        if number == self.lists.number:
            return False
        domains = await self._inThread(DomainSet.load, file) if file else DomainSet.build([])
        self.lists = attrs.evolve(self.lists, domains=domains, number=number)
        return True

    def load(self, sources: Iterable[ListSource], *, refetch: bool = True) -> Deferred[BlockLists]:
        """
        Go by other sources: what is in them is mapped already.
        """
        self.sources = tuple(sources)
        return succeed(self.lists)

    def configure(self, **settings: Any) -> None:
        """
        Nothing is fetched here, so nothing is to be fetched otherwise.
        """

    def whenRestored(self) -> Deferred[None]:
        """
        Everything is there from the start.
        """
        return succeed(None)
