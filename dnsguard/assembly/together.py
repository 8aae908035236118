# -*- test-case-name: tests.assembly.test_together -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Listening in several processes: this one, and the helpers that it starts.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogPublisher, globalLogPublisher

import dnsguard
from dnsguard.assembly.listeners import makeListeners, processCount
from dnsguard.assembly.metrics import METRICS
from dnsguard.assembly.querystore import anonymizeKey
from dnsguard.config.model import Config
from dnsguard.config.sections.server import ServerConfig
from dnsguard.errors import HelperError
from dnsguard.processes.events import eventsIn
from dnsguard.processes.orders import Orders, Traced
from dnsguard.processes.pool import HelperPool, Outfit
from dnsguard.processes.process import launch
from dnsguard.processes.rows import RecentBlocks
from dnsguard.processes.standin import SocketStandIn
from dnsguard.querystore.block import Block, BrokenBlock
from dnsguard.server.datagram import DatagramListener
from dnsguard.server.listeners import ListenerService

if TYPE_CHECKING:
    from dnsguard.assembly.guard import Guard

__all__ = ["ListeningTogether", "helperConfig", "listenTogether", "ordersFor"]


def listenTogether(guard: Guard, config: Config) -> ListenerService | ListeningTogether:
    """
    Make what listens: in this process alone, or in helpers as well.
    """
    listeners = makeListeners(config, guard.reactor, guard.server, guard.replay, guard.pastSockets)
    if processCount(config.server) == 1:
        return listeners
    return ListeningTogether(listeners, guard, config.server)


def helperConfig(config: Config) -> Config:
    """
    Say what a helper goes by: the same, without what only one process may do.
    """
    cache = attrs.evolve(
        config.cache,
        # One file has one writer.
        snapshot=attrs.evolve(config.cache.snapshot, enabled=False),
        # The main process has seen to it that there is one, if there must be.
        redis=attrs.evolve(config.cache.redis, degradedOnUnavailable=True),
    )
    return attrs.evolve(
        config,
        cache=cache,
        control=attrs.evolve(config.control, enabled=False),
        # A client has the same hash whoever answers it.
        queryStore=attrs.evolve(config.queryStore, anonymizeKey=anonymizeKey(config)),
    )


def ordersFor(guard: Guard, revision: int, config: bytes) -> Orders:
    """
    Say what helpers are to go by now.

    @param config: The configuration in force, for helpers, pickled.
    """
    rule = guard.observers.tracer.rule
    return Orders(
        revision,
        config,
        guard.blocklists.file,
        guard.blocklists.lists.number,
        guard.policies.current.pauses,
        guard.wishes.level or guard.config.logging.level.value,
        Traced(
            tuple(sorted(event.value for event in rule.events)),
            rule.clients,
            tuple(sorted(rule.names)),
            tuple(sorted(rule.groups)),
        ),
        guard.wishes.maxKeys,
    )


class ListeningTogether(Service):
    """
    The listeners of this process, and the helpers that have the same addresses.

    @ivar listeners: Those of this process.
    @ivar helpers: The helpers, while they run.
    """

    def __init__(self, listeners: ListenerService, guard: Guard, server: ServerConfig) -> None:
        """
        @param server: What the listeners were made by.
        """
        self._server = server
        self._config: Config | None = None
        self._octets = b""
        self.listeners = listeners
        self.helpers: HelperPool | None = None
        self._guard = guard

    def privilegedStartService(self) -> None:
        """
        Bind the sockets of all.
        """
        super().privilegedStartService()
        self.listeners.privilegedStartService()

    def startService(self) -> None:
        """
        Listen, and start the helpers.
        """
        self.listeners.startService()
        super().startService()
        self.helpers = self._makePool()
        self.helpers.startService()

    def stopService(self) -> Deferred[None]:
        """
        Take no more queries, in no process.

        @return: Fires when helpers have handed over what they had, and ended.
        """
        super().stopService()
        stopping = [maybeDeferred(self.listeners.stopService)]
        helpers = self.helpers
        if helpers is not None:
            stopping.append(helpers.stopService())

        def stopped(_: Any) -> None:
            self.helpers = None

        return DeferredList(stopping).addCallback(stopped)

    @property
    def datagramCounters(self) -> list[Any]:
        """
        The counters of the UDP sockets that this process reads.
        """
        standIns = [] if self.helpers is None else self.helpers.standInCounters()
        return [*self.listeners.datagramCounters, *standIns]

    @property
    def udpSockets(self) -> int:
        """
        How many UDP sockets this process reads.
        """
        standIns = 0 if self.helpers is None else self.helpers.standInSockets()
        return self.listeners.udpSockets + standIns

    def getHosts(self) -> Any:
        """
        See L{ListenerService.getHosts}.
        """
        return self.listeners.getHosts()

    def _makePool(self) -> HelperPool:
        guard = self._guard
        outfits = [
            Outfit(
                share,
                SocketStandIn(share, self._standInListener, guard.reactor, guard.pastSockets.bury),
            )
            for share in self.listeners.takeShares()
        ]
        return HelperPool(
            outfits,
            lambda sockets, handlers, ended: launch(guard.reactor, sockets, handlers, ended),
            lambda revision: ordersFor(guard, revision, self._pickled(guard.config)),
            METRICS,
            guard.reactor,
            Desk(guard).handlers(),
            dnsguard.__version__,
            guard.past,
        )

    async def prepare(self, config: Config) -> None:
        """
        Have a configuration ready as octets when it comes into force: that of
        a large one takes a while.
        """
        reactor = self._guard.reactor
        octets: bytes = await deferToThreadPool(
            reactor, reactor.getThreadPool(), self._pickle, config
        )
        self._config, self._octets = config, octets

    def _pickled(self, config: Config) -> bytes:
        """
        Give a configuration as octets: once for each.
        """
        if self._config is not config:
            self._config, self._octets = config, self._pickle(config)
        return self._octets

    def _pickle(self, config: Config) -> bytes:
        """
        Give a configuration as octets. Any thread.

        While one comes into force, its listeners are there before the rest of
        it, and helpers go by these.
        """
        return pickle.dumps(helperConfig(attrs.evolve(config, server=self._server)))

    def _standInListener(self, bound: Any, address: Any) -> DatagramListener:
        """
        Read a helper's socket: for a while only, and so without a thread.
        """
        guard = self._guard
        return DatagramListener(
            bound,
            guard.server,
            guard.reactor,
            wildcard=address.isWildcard,
            replay=guard.replay,
            now=guard.reactor.seconds,
        )


class Desk:
    """
    Where helpers hand over what only the main process keeps.
    """

    def __init__(self, guard: Guard, publisher: LogPublisher = globalLogPublisher) -> None:
        """
        @param publisher: Where log events go.
        """
        self._guard = guard
        self._publisher = publisher
        self._recent = RecentBlocks()

    def handlers(self) -> dict[str, Callable[[int, dict[str, Any], bytes], Any]]:
        """
        By name: what is done with it.
        """
        return {"rows": self.rows, "lines": self.lines, "events": self.events}

    async def _rows(self, octets: bytes) -> dict[str, Any]:
        reactor = self._guard.reactor
        try:
            block: Block = await deferToThreadPool(
                reactor, reactor.getThreadPool(), Block.decode, octets
            )
        except BrokenBlock as reason:
            raise HelperError(f"rows: {reason}") from None
        store = self._guard.queryStore
        if block in self._recent or store is None:
            # It came before, or nobody wants it any more.
            return {"taken": True}
        taken = store.flush.take(block)
        if taken:
            self._recent.note(block)
        return {"taken": taken}

    def rows(self, number: int, fields: dict[str, Any], octets: bytes) -> Deferred[Any]:
        """
        Take a block of rows.
        """
        return Deferred.fromCoroutine(self._rows(octets))

    def lines(self, number: int, fields: dict[str, Any], octets: bytes) -> dict[str, Any]:
        """
        Take lines of the request log.
        """
        log = self._guard.requestLog
        return {"taken": log is None or log.take(octets)}

    def events(self, number: int, fields: dict[str, Any], octets: bytes) -> None:
        """
        Take events of the application log.
        """
        for event in eventsIn(octets, number):
            self._publisher(event)
