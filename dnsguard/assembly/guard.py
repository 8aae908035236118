# -*- test-case-name: tests.assembly.test_guard -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The whole server as one service, put together as an operator reads it: rules,
upstreams, chain, server, listeners.

Every change, whether by SIGHUP or because a list has been refreshed, goes the
same way: all that may fail is done first and beside the reactor; what then is
put into force can't fail, or is put back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.assembly.chain import Chain, makeChain
from dnsguard.assembly.control import controlSettings, makeControl
from dnsguard.assembly.listeners import (
    makeListeners,
    makeReplayStore,
    replayBounds,
    serverLimits,
    streamLimits,
)
from dnsguard.assembly.lists import blocklistSettings, listSources, makeBlocklists
from dnsguard.assembly.metrics import makeExposition
from dnsguard.assembly.notes import Notes
from dnsguard.assembly.observers import Observers
from dnsguard.assembly.problems import problemsOf
from dnsguard.assembly.querystore import QueryStore, exclusion
from dnsguard.assembly.redis import Redis, changedRedis, makeRedis
from dnsguard.assembly.refreshing import Caches
from dnsguard.assembly.rules import makePolicy
from dnsguard.assembly.upstreams import upstreamFactory, upstreamSet, upstreamSpecs
from dnsguard.config.model import Config
from dnsguard.control.service import ControlService
from dnsguard.errors import ListenError, PolicyError
from dnsguard.interfaces import IAnswerStore, IReloadable, IReplayStore
from dnsguard.observers.requestlog import RequestLog
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.replay import pathInUse
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.server.factory import GuardServerFactory
from dnsguard.server.listeners import ListenerService
from dnsguard.services.blocklists import BlockLists
from dnsguard.services.collector import CollectorService, undisturbed
from dnsguard.services.gate import GateService
from dnsguard.services.heap import tuneHeap
from dnsguard.services.policyclock import PolicyClockService
from dnsguard.services.reactorlag import ReactorLagService
from dnsguard.services.replaydrain import ReplayDrainService
from dnsguard.services.threads import takeTurns

__all__ = ["Guard", "makeService", "problemsOf"]

LIST_PATIENCE = 1.0
"""
Seconds that listeners wait for the lists of the last run to be read from disk.
"""


@implementer(IReloadable)
class Guard(MultiService):
    """
    A whole server.

    @ivar config: What is in force.
    @ivar policies: Where the current policy is.
    @ivar replay: The replay store.
    @ivar forwarder: The end of the chain.
    @ivar redis: The answers shared with other instances, if there are any.
    @ivar caches: What is cached, and all that keeps it fresh.
    @ivar chain: The chain in use.
    @ivar server: What requests go through.
    @ivar blocklists: What keeps the lists fresh.
    @ivar control: The control API, if it is served.
    @ivar notes: What is written down of queries.
    @ivar rebuilds: How often a policy was made anew, and published.
    @ivar reactor: The reactor.
    @ivar observers: Those who are told of queries.
    @ivar lag: Measures how late the reactor is.
    @ivar exposition: All that is published of the server.
    """

    log = Logger()

    def __init__(self, config: Config, reactor: Any, now: Callable[[], float] = time.time) -> None:
        """
        @param now: Seconds since the epoch.
        @raise PolicyError: The configuration can't be put into force.
        """
        super().__init__()
        self.setName("dnsguard")
        self.config = config
        self.rebuilds = 0
        self.reactor = self._reactor = reactor
        self._now = now
        self._changing = DeferredLock()

        self.blocklists = makeBlocklists(config, reactor, self._listsChanged, now)
        policy, rejected = makePolicy(config, self.blocklists.lists.domains, now())
        self._complain(rejected)
        self.policies = Policies(policy, failed=self._subscriberFailed)

        self._upstreams = upstreamFactory(config, reactor)
        self.forwarder = ForwardingResolver(
            upstreamSet(config, self._upstreams),
            clock=reactor,
            timeout=config.network.upstreamTimeout,
        )
        self.redis = makeRedis(config, reactor, self._redisMissing, now)
        self.replay: IReplayStore = makeReplayStore(config)
        self.replay.adopt(self.policies.current)
        self.policies.subscribe(self.replay.adopt)
        self.caches = Caches(
            config, self.forwarder, reactor, now, replay=self.replay, store=self._store
        )
        self.chain = self._makeChain(config)
        self.server = GuardServerFactory(
            resolver=self.chain.resolver,
            policies=self.policies,
            clock=reactor,
            replay=self.replay,
            limits=serverLimits(config),
            streams=streamLimits(config.server),
            wallClock=now,
        )
        self.log.info("{path}", path=pathInUse()[1])

        # Started in this order, and stopped in the reverse one: those who note
        # queries before those who take them.
        self.observers = Observers(self.server, self.forwarder, self.caches)
        self.exposition = makeExposition(self)
        self.lag = ReactorLagService(reactor)
        self.lag.setServiceParent(self)
        self.notes = Notes(config, reactor, self.observers, self.policies, now)
        self.notes.setServiceParent(self)
        self.observers.configure(config)
        if self.redis is not None:
            self.redis.service.setServiceParent(self)
        CollectorService(reactor).setServiceParent(self)
        PolicyClockService(self.policies, reactor, now).setServiceParent(self)
        ReplayDrainService(self.replay, lambda: self.server.observers, reactor).setServiceParent(
            self
        )
        self.blocklists.setServiceParent(self)
        self.caches.setServiceParent(self)
        self.listeners = self._gated(makeListeners(config, reactor, self.server, self.replay))
        self.listeners.setServiceParent(self)
        self.control: ControlService | None = None
        self._serveControl(config)

    # What is put together once, and again when it changes.

    def _gated(self, listeners: ListenerService) -> GateService:
        gate = GateService(
            listeners,
            self._whenListed,
            LIST_PATIENCE,
            self._reactor,
            self._cannotListen,
        )
        gate.setName("listeners")
        return gate

    def _whenListed(self) -> Deferred[None]:
        """
        Wait until the lists of the last run are in force, if there are any,
        and what was cached then is so again.
        """
        ready = gatherResults([self.blocklists.whenRestored(), self.caches.whenLoaded()])
        return ready.addCallback(lambda _: self._settled())

    def _settled(self) -> Deferred[None]:
        """
        Wait until no change is under way.
        """
        return self._changing.run(lambda: None)

    def _cannotListen(self, reason: Failure) -> None:
        """
        End the process. Ports that are taken were told of before; this is for
        what happens to sockets that were bound.
        """
        self.log.critical("{reason}", reason=reason.getErrorMessage())
        self._reactor.stop()

    def _redisMissing(self, reason: str) -> None:
        """
        End the process, as that is what was asked for.
        """
        self.log.critical("{reason}, and degraded_on_unavailable is off", reason=reason)
        self._reactor.stop()

    @property
    def _store(self) -> IAnswerStore | None:
        return None if self.redis is None else self.redis.store

    def _makeChain(self, config: Config) -> Chain:
        return makeChain(
            config, self.policies, self.forwarder, self._reactor, self.caches, self._store
        )

    @property
    def queryStore(self) -> QueryStore | None:
        """
        The query store, unless there is none.
        """
        return self.notes.queryStore

    @property
    def requestLog(self) -> RequestLog | None:
        """
        The request log, unless it is switched off.
        """
        return self.notes.requestLog

    def _serveControl(self, config: Config) -> None:
        self.control = makeControl(self, config, self._reactor, self._now)
        if self.control is not None:
            self.control.setServiceParent(self)

    def _subscriberFailed(self, reason: Exception) -> None:
        self.log.failure("somebody couldn't take a new policy", Failure(reason))

    def _complain(self, rejected: Sequence[PolicyError]) -> None:
        for problem in rejected:
            self.log.warn("{problem}; left out", problem=str(problem))

    # Lists that were refreshed.

    def _listsChanged(self, lists: BlockLists) -> None:
        changing = self._changing.run(
            lambda: Deferred.fromCoroutine(self._publish(self.config, lists))
        )
        changing.addErrback(
            lambda reason: self.log.failure("lists were refreshed, but not taken over", reason)
        )

    def refreshLists(self) -> Deferred[None]:
        """
        Fetch all lists anew, and put them into force.

        @return: Fires when that is done; fails with L{PolicyError} when nothing
            has changed because of a list.
        """

        def publish(lists: BlockLists) -> Deferred[None]:
            return self._changing.run(
                lambda: Deferred.fromCoroutine(self._publish(self.config, lists))
            )

        return self.blocklists.refresh().addCallback(publish)

    async def _publish(self, config: Config, lists: BlockLists) -> None:
        """
        Make the policy anew, and put it into force.
        """
        policy = await self._make(config, lists)
        self.policies.publish(policy.at(self._now(), self.policies.current.pauses))
        self.rebuilds += 1

    async def _make(self, config: Config, lists: BlockLists) -> Policy:
        making: Deferred[tuple[Policy, list[PolicyError]]]
        making = self._inThread(undisturbed, makePolicy, config, lists.domains, self._now())
        policy, rejected = await making
        self._complain(rejected)
        return policy

    def _inThread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *arguments)

    # Another configuration.

    def reloadConfiguration(self, config: Config) -> Deferred[None]:
        """
        Put another configuration into force. See L{IReloadable}.
        """
        return self._changing.run(lambda: Deferred.fromCoroutine(self._reload(config)))

    async def _reload(self, config: Config) -> None:
        upstreamSpecs(config)
        exclusion(config)
        lists = self.blocklists.lists
        sources = listSources(config)
        if sources != self.blocklists.sources:
            # Those that can't be had at once are tried again later on; nobody
            # waits for them with a change of something else.
            lists = await self.blocklists.load(sources, refetch=False)
        policy = await self._make(config, lists)
        redis = changedRedis(self.redis, config, self._reactor, self._now)
        await self._changeControl(self.config, config)
        try:
            await self._changeListeners(config)
        except ListenError:
            await self._changeControl(config, self.config)
            raise
        # From here on nothing fails.
        await self.notes.change(config)
        self.observers.configure(config, self.config)
        self._changeUpstreams(config)
        await self._changeRedis(redis)
        await self._changeCaches(config)
        self.server.limits = serverLimits(config)
        self.blocklists.configure(**blocklistSettings(config))
        self.policies.publish(policy.at(self._now(), self.policies.current.pauses))
        self.rebuilds += 1
        for key in waiting(self.config, config):
            self.log.warn("{key} changes when dnsguard is started again", key=key)
        self.config = config

    async def _changeListeners(self, config: Config) -> None:
        """
        Listen elsewhere, or otherwise. If that can't be done, listen as before.
        """
        if config.server == self.config.server or not self.running:
            return
        before = self.listeners
        await maybeDeferred(before.disownServiceParent)
        self.server.streams.limits = streamLimits(config.server)
        self.listeners = self._gated(
            makeListeners(config, self._reactor, self.server, self.replay)
        )
        try:
            self.listeners.setServiceParent(self)
        except ListenError:
            await maybeDeferred(self.listeners.disownServiceParent)
            self.server.streams.limits = streamLimits(self.config.server)
            self.listeners = before
            before.setServiceParent(self)
            raise

    async def _changeControl(self, before: Config, config: Config) -> None:
        """
        Serve the API elsewhere, or otherwise. If that can't be done, serve it as
        before.
        """
        control = self.control
        if config.control == before.control:
            return
        if control is None:
            self._serveControl(config)
        elif config.control.enabled:
            await control.change(controlSettings(config))
        else:
            await maybeDeferred(control.disownServiceParent)
            self.control = None

    def _changeUpstreams(self, config: Config) -> None:
        if config.network != self.config.network:
            # All upstreams are made anew: they are set up by what changed.
            self._upstreams = upstreamFactory(config, self._reactor)
        self.forwarder.timeout = config.network.upstreamTimeout
        used = self.forwarder.upstreams
        self.forwarder.replaceUpstreams(upstreamSet(config, self._upstreams, used))

    async def _changeRedis(self, redis: Redis | None) -> None:
        """
        Share answers elsewhere from now on. Whoever still has the old store
        finds it away.
        """
        before, self.redis = self.redis, redis
        if before is redis:
            return
        if before is not None:
            await maybeDeferred(before.service.disownServiceParent)
        if redis is not None:
            redis.service.setServiceParent(self)

    async def _changeCaches(self, config: Config) -> None:
        """
        Cache otherwise. What is cached stays.
        """
        if config.cache == self.config.cache:
            return
        await self.caches.reconfigure(config, self._store)
        self.chain = self._makeChain(config)
        self.server.resolver = self.chain.resolver
        self.observers.announce()

    def stopService(self) -> Deferred[None]:
        """
        Stop taking queries, then all the rest.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(self.listeners.stopService)
        self.server.pending.close()
        await maybeDeferred(super().stopService)
        await self.forwarder.close()


def waiting(used: Config, config: Config) -> list[str]:
    """
    Say which changed keys a reload doesn't put into force.
    """
    keys = []
    if config.dataDirectory != used.dataDirectory:
        keys.append("data_directory")
    if replayBounds(config) != replayBounds(used):
        keys.append("server.replay")
    return keys


def makeService(config: Config, reactor: Any) -> Guard:
    """
    Make the server.

    @raise InvalidPolicy: The configuration can't be put into force: all that is
        wrong with it.
    """
    tuneHeap()
    takeTurns()
    try:
        return Guard(config, reactor)
    except (PolicyError, InvalidPolicy):
        raise InvalidPolicy(problemsOf(config)) from None
