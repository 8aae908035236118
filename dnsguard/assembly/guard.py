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
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock, gatherResults, maybeDeferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.assembly.chain import Chain, makeChain
from dnsguard.assembly.changes import Changes
from dnsguard.assembly.listeners import makeReplayStore, serverLimits, streamLimits
from dnsguard.assembly.metrics import makeExposition
from dnsguard.assembly.notes import Notes
from dnsguard.assembly.observers import Observers
from dnsguard.assembly.problems import problemsOf
from dnsguard.assembly.querystore import QueryStore
from dnsguard.assembly.redis import makeRedis
from dnsguard.assembly.refreshing import Caches
from dnsguard.assembly.role import MainRole
from dnsguard.assembly.rules import makePolicy
from dnsguard.assembly.served import makeControl
from dnsguard.assembly.together import ListeningTogether
from dnsguard.assembly.upstreams import upstreamFactory, upstreamSet
from dnsguard.assembly.wishes import Wishes
from dnsguard.config.model import Config
from dnsguard.errors import PolicyError
from dnsguard.interfaces import IAnswerStore, IReloadable, IReplayStore
from dnsguard.observers.requestlog import RequestLog
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.processes.pool import HelperPool, Past
from dnsguard.replay import pathInUse
from dnsguard.replay.carrier import ReplyCarrier
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.server.counters import PastSockets
from dnsguard.server.factory import GuardServerFactory
from dnsguard.services.blocklists import BlockLists
from dnsguard.services.collector import CollectorService, undisturbed
from dnsguard.services.gate import GateService
from dnsguard.services.heap import tuneHeap
from dnsguard.services.policyclock import PolicyClockService
from dnsguard.services.reactorlag import ReactorLagService
from dnsguard.services.replaydrain import ReplayDrainService
from dnsguard.services.threads import giveWay, takeTurns

if TYPE_CHECKING:
    from dnsguard.control.service import ControlService

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
    @ivar carrier: Lets its replies live on under policies that leave them be.
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
    @ivar now: Gives the seconds since the epoch.
    @ivar upstreams: Makes upstreams.
    @ivar listeners: What listens, once there is something to filter by.
    @ivar role: What of it depends on whether it serves alone.
    @ivar past: What helper processes counted that have ended.
    @ivar pastSockets: What was counted on sockets that are closed.
    @ivar wishes: What somebody set by hand, until the next reload.
    @ivar observers: Those who are told of queries.
    @ivar lag: Measures how late the reactor is.
    @ivar exposition: All that is published of the server.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        now: Callable[[], float] = time.time,
        role: Any = MainRole(),  # noqa: B008
    ) -> None:
        """
        @param now: Seconds since the epoch.
        @param role: What of it depends on whether it serves alone: a
            L{MainRole}, or a L{HelperRole
            <dnsguard.assembly.helper.HelperRole>}.
        @raise PolicyError: The configuration can't be put into force.
        """
        super().__init__()
        self.setName("dnsguard")
        self.config = config
        self.rebuilds = 0
        self.reactor = reactor
        self.now = now
        self.wishes = Wishes()
        self.past = Past()
        self.pastSockets = PastSockets()
        self.role = role
        self._changing = DeferredLock()

        self.blocklists = role.lists(config, reactor, self._listsChanged, now)
        policy, rejected = makePolicy(config, self.blocklists.lists.domains, now())
        self._complain(rejected)
        self.policies = Policies(policy, failed=self._subscriberFailed)

        self.upstreams = upstreamFactory(config, reactor)
        self.forwarder = ForwardingResolver(
            upstreamSet(config, self.upstreams),
            clock=reactor,
            timeout=config.network.upstreamTimeout,
        )
        self.redis = makeRedis(config, reactor, self._redisMissing, now)
        self.replay: IReplayStore = makeReplayStore(config)
        self.carrier = ReplyCarrier(self.replay, self.policies, reactor, self._inThread)
        self.carrier.adopt(self.policies.current)
        self.policies.subscribe(self.carrier.adopt)
        self.policies.subscribe(lambda policy: self.tellHelpers())
        self.caches = Caches(
            config, self.forwarder, reactor, now, replay=self.replay, store=self.store
        )
        self.chain = self.makeChain(config)
        self.server = GuardServerFactory(
            resolver=self.chain.resolver,
            policies=self.policies,
            clock=reactor,
            replay=self.replay,
            limits=serverLimits(config),
            streams=streamLimits(config.server),
            wallClock=now,
        )
        compiled, path = pathInUse()
        self.log.info("{path}", path=path)

        # Started in this order, and stopped in the reverse one: those who note
        # queries before those who take them.
        self.observers = Observers(self.server, self.forwarder, self.caches)
        self.exposition = makeExposition(self)
        self.lag = ReactorLagService(reactor)
        self.lag.setServiceParent(self)
        self.notes: Notes = role.notes(self, config, now)
        self.notes.setServiceParent(self)
        self.observers.configure(config)
        if self.redis is not None:
            self.redis.service.setServiceParent(self)
        CollectorService(reactor).setServiceParent(self)
        PolicyClockService(self.policies, reactor, now).setServiceParent(self)
        ReplayDrainService(
            self.replay, lambda: self.server.observers, reactor, besideThread=compiled
        ).setServiceParent(self)
        self.blocklists.setServiceParent(self)
        self.caches.setServiceParent(self)
        self.listeners = self.gatedListeners(config)
        self.listeners.setServiceParent(self)
        self.control: ControlService | None = None
        self.serveControl(config)

    # What is put together once, and again when it changes.

    def gatedListeners(self, config: Config) -> GateService:
        """
        Make what listens, once there is something to filter by.
        """
        gate = GateService(
            self.role.listeners(self, config),
            self._whenListed,
            LIST_PATIENCE,
            self.reactor,
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
        self.reactor.stop()

    def _redisMissing(self, reason: str) -> None:
        """
        End the process, as that is what was asked for.
        """
        self.log.critical("{reason}, and degraded_on_unavailable is off", reason=reason)
        self.reactor.stop()

    @property
    def store(self) -> IAnswerStore | None:
        """
        The answers shared with other instances, if there are any.
        """
        return None if self.redis is None else self.redis.store

    def makeChain(self, config: Config) -> Chain:
        """
        Put the chain together.
        """
        return makeChain(
            config, self.policies, self.forwarder, self.reactor, self.caches, self.store
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

    def serveControl(self, config: Config) -> None:
        """
        Serve the control API, if it is to be.
        """
        self.control = makeControl(self, config, self.reactor, self.now)
        if self.control is not None:
            self.control.setServiceParent(self)

    # Other processes.

    @property
    def helpers(self) -> HelperPool | None:
        """
        The processes that serve with this one, if there are any.
        """
        helpers: HelperPool | None = getattr(self.listeners.inner, "helpers", None)
        return helpers

    async def prepareHelpers(self, config: Config) -> None:
        """
        Get ready to tell other processes, if there are to be any, of another
        configuration.
        """
        inner = self.listeners.inner
        if isinstance(inner, ListeningTogether):
            await inner.prepare(config)

    def tellHelpers(self) -> None:
        """
        Tell other processes, if there are any, what holds now.
        """
        if self.helpers is not None:
            self.helpers.changed()

    def whenFollowed(self) -> Deferred[None]:
        """
        Wait until no process answers by anything but what holds now.
        """
        return succeed(None) if self.helpers is None else self.helpers.settled()

    def _subscriberFailed(self, reason: Exception) -> None:
        self.log.failure("somebody couldn't take a new policy", Failure(reason))

    def _complain(self, rejected: Sequence[PolicyError]) -> None:
        for problem in rejected:
            self.log.warn("{problem}; left out", problem=str(problem))

    # Lists that were refreshed.

    def listsChanged(self, lists: BlockLists) -> Deferred[None]:
        """
        Put other lists into force.

        @return: Fires when they are, in all processes.
        """
        changing: Deferred[None] = self._changing.run(
            lambda: Deferred.fromCoroutine(self._publish(self.config, lists))
        )
        return changing

    def _listsChanged(self, lists: BlockLists) -> None:
        self.listsChanged(lists).addErrback(
            lambda reason: self.log.failure("lists were refreshed, but not taken over", reason)
        )

    def refreshLists(self) -> Deferred[None]:
        """
        Fetch all lists anew, and put them into force.

        @return: Fires when that is done; fails with L{PolicyError} when nothing
            has changed because of a list.
        """
        refreshing: Deferred[BlockLists] = self.blocklists.refresh()
        return refreshing.addCallback(self.listsChanged)

    async def _publish(self, config: Config, lists: BlockLists) -> None:
        """
        Make the policy anew, and put it into force.
        """
        await self.publish(await self.makePolicy(config, lists))
        await self.whenFollowed()

    async def publish(self, policy: Policy, carry: bool = True) -> None:
        """
        Put a policy made anew into force, with the pauses there are then.

        @param carry: Is it all that changes, so that finished replies which it
            leaves as they are may live on?
        """
        policy = policy.at(self.now(), self.policies.current.pauses)
        if carry:
            await self.carrier.prepare(policy)
        self.policies.publish(policy.at(self.now(), self.policies.current.pauses))
        self.rebuilds += 1

    async def makePolicy(self, config: Config, lists: BlockLists) -> Policy:
        """
        Make the policy anew.

        @raise InvalidPolicy: It can't be made.
        """
        making: Deferred[tuple[Policy, list[PolicyError]]]
        making = self._inThread(undisturbed, makePolicy, config, lists.domains, self.now())
        policy, rejected = await making
        self._complain(rejected)
        return policy

    def _inThread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        pool = self.reactor.getThreadPool()
        return deferToThreadPool(self.reactor, pool, function, *arguments)

    # Another configuration.

    def reloadConfiguration(self, config: Config) -> Deferred[None]:
        """
        Put another configuration into force. See L{IReloadable}.
        """
        changes = Changes(self)
        return self._changing.run(lambda: Deferred.fromCoroutine(changes.reload(config)))

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


def makeService(config: Config, reactor: Any) -> Guard:
    """
    Make the server.

    @raise InvalidPolicy: The configuration can't be put into force: all that is
        wrong with it.
    """
    tuneHeap()
    takeTurns()
    giveWay(reactor.getThreadPool())
    try:
        return Guard(config, reactor)
    except (PolicyError, InvalidPolicy):
        raise InvalidPolicy(problemsOf(config)) from None
