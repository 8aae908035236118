# -*- test-case-name: tests.integration.test_processes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A server in a helper process: the same chain over the same rules, with sockets
that the main process has bound, lists that it has compiled, and nothing of its
own to write to.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from dnsguard.assembly.cachestate import GuardCaches
from dnsguard.assembly.guard import Guard
from dnsguard.assembly.listeners import makeListeners
from dnsguard.assembly.lists import listSources
from dnsguard.assembly.logs import makeRequestLog
from dnsguard.assembly.notes import Notes
from dnsguard.assembly.querystore import QueryStore, engineOf, makeRecorder
from dnsguard.caching.candidate import Clearing
from dnsguard.observers.exposition import Sample
from dnsguard.observers.trace import TraceEvent, TraceRule
from dnsguard.processes.counts import Counts
from dnsguard.processes.lines import RemoteFile
from dnsguard.processes.lists import PublishedLists
from dnsguard.processes.orders import Orders
from dnsguard.processes.rows import HAND_OVER_SECONDS, RowCourier
from dnsguard.querystore.engines import Engine
from dnsguard.querystore.tail import LiveTail
from dnsguard.services.collector import undisturbed
from dnsguard.services.heap import tuneHeap

if TYPE_CHECKING:
    from dnsguard.config.model import Config
    from dnsguard.observers.anonymize import Anonymizer
    from dnsguard.observers.requestlog import RequestLog
    from dnsguard.processes.link import Link

__all__ = ["HelperRole", "HelperServer"]

_LOG_DROPPED = "dnsguard_application_log_dropped_total"
"""A helper has no application log, but what takes events to the main process's."""


class HelperNotes(Notes):
    """
    Has queries noted by the main process.
    """

    def __init__(self, link: Link, *arguments: Any) -> None:
        """
        @param link: What they are handed over by.
        @param arguments: As for L{Notes}.
        """
        self._link = link
        super().__init__(*arguments)

    def _makeStore(self, config: Config, identities: Anonymizer) -> QueryStore | None:
        engine, _ = engineOf(config)
        if engine is Engine.NONE:
            return None
        recorder = makeRecorder(config, identities, self._nameOf)
        inThread = partial(_inThread, self._reactor)
        courier: Any = RowCourier(recorder, self._hand("rows"), self._reactor, inThread)
        return QueryStore(recorder, courier, courier, None, LiveTail(), engine)

    def _makeLog(self, config: Config, identities: Anonymizer) -> RequestLog | None:
        file = RemoteFile(self._hand("lines"), self._reactor)
        return makeRequestLog(config, self._reactor, identities, file)

    def _hand(self, name: str) -> Callable[[bytes], Deferred[bool]]:
        def hand(octets: bytes) -> Deferred[bool]:
            handing = self._link.call(name, {}, octets, seconds=HAND_OVER_SECONDS)
            return handing.addCallback(lambda reply: bool(reply[0]["taken"]))

        return hand


class HelperRole:
    """
    What a L{MainRole <dnsguard.assembly.role.MainRole>} is to the main process.
    """

    binds = False

    def __init__(self, link: Link, lists: PublishedLists, sockets: Sequence[Any]) -> None:
        """
        @param link: The link to the main process.
        @param lists: The lists that it has compiled.
        @param sockets: The sockets that it has bound, with their addresses.
        """
        self._link = link
        self._lists = lists
        self._sockets = sockets

    def lists(self, *arguments: Any) -> PublishedLists:
        """
        Give the lists; they change with the main process's orders alone.
        """
        return self._lists

    def notes(self, guard: Guard, config: Config, now: Callable[[], float]) -> Notes:
        """
        Make what hands over what is to be noted of queries.
        """
        return HelperNotes(self._link, config, guard.reactor, guard.observers, guard.policies, now)

    def listeners(self, guard: Guard, config: Config) -> Any:
        """
        Make what listens.
        """
        return makeListeners(
            config,
            guard.reactor,
            guard.server,
            guard.replay,
            guard.pastSockets,
            inherited=self._sockets,
        )


class HelperServer:
    """
    Does as the main process says.

    @ivar guard: The server.
    """

    def __init__(
        self,
        guard: Guard,
        orders: Orders,
        setLevel: Callable[[str], object],
        dropped: Callable[[], int],
    ) -> None:
        """
        @param orders: What the server was made by.
        @param setLevel: Sets how serious must be what is logged.
        @param dropped: Gives how much of that couldn't be handed over.
        """
        self.guard = guard
        self._orders = orders
        self._setLevel = setLevel
        self._dropped = dropped
        self._obey(orders)

    @classmethod
    async def make(
        cls,
        reactor: Any,
        link: Link,
        orders: Orders,
        sockets: Sequence[Any],
        setLevel: Callable[[str], object],
        dropped: Callable[[], int],
    ) -> HelperServer:
        """
        Make a server that goes by orders, and doesn't serve yet.

        @raise PolicyError: They can't be put into force.
        """
        config: Config = pickle.loads(orders.config)
        lists = PublishedLists(partial(_inThread, reactor), listSources(config))
        await lists.adopt(orders.lists, orders.listsNumber)
        tuneHeap()
        guard = Guard(config, reactor, role=HelperRole(link, lists, sockets))
        return cls(guard, orders, setLevel, dropped)

    async def follow(self, orders: Orders) -> None:
        """
        Go over to other orders.

        @raise DNSGuardError: That can't be done.
        """
        guard = self.guard
        newLists = await guard.blocklists.adopt(orders.lists, orders.listsNumber)
        if orders.config != self._orders.config:
            config: Config = await _inThread(
                guard.reactor, undisturbed, pickle.loads, orders.config
            )
            await guard.reloadConfiguration(config)
        elif newLists:
            await guard.listsChanged(guard.blocklists.lists)
        self._obey(orders)
        self._orders = orders

    def _obey(self, orders: Orders) -> None:
        """
        Do what needs nothing to be read or made.
        """
        guard = self.guard
        current = guard.policies.current
        policy = current.at(guard.now(), orders.pauses)
        if policy is not current:
            guard.policies.publish(policy)
        self._setLevel(orders.level)
        traced, tracer = orders.traced, guard.observers.tracer
        wanted = TraceRule.of(
            map(TraceEvent, traced.events), traced.clients, traced.names, traced.groups
        )
        if tracer.rule != wanted:
            tracer.trace(wanted.events, wanted.clients, wanted.names, wanted.groups)
        configured = guard.config.cache.redis.maxKeys
        guard.caches.setMaxKeys(configured if orders.maxKeys is None else orders.maxKeys)

    def listen(self) -> None:
        """
        Serve.
        """
        self.guard.startService()

    async def clear(self, qname: bytes | None, below: bool) -> int:
        """
        Clear what is remembered here. The main process sees to the rest.
        """
        return await self.guard.caches.clearing.clearHere(Clearing(qname, below))

    async def count(self) -> bytes:
        """
        Give what was counted.
        """
        guard = self.guard
        caches = GuardCaches(guard)
        gathered = guard.exposition.gather()
        counts = Counts.of(gathered, caches.ownStats(), caches.refreshStats())
        dropped = (Sample((), self._dropped()),)
        return attrs.evolve(counts, samples={**counts.samples, _LOG_DROPPED: dropped}).encode()

    async def stop(self) -> bytes:
        """
        Serve no more, hand over what there is, and give what was counted.
        """
        await self.guard.stopService()
        return await self.count()


def _inThread(reactor: Any, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)
