# -*- test-case-name: tests.assembly.test_guard -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Going over to another configuration while serving.

All that may fail is done first; what then is put into force can't fail, or is
put back.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from dnsguard.assembly.listeners import replayBounds, serverLimits, streamLimits
from dnsguard.assembly.lists import blocklistSettings, listSources
from dnsguard.assembly.querystore import exclusion
from dnsguard.assembly.redis import Redis, changedRedis
from dnsguard.assembly.served import controlSettings, prepareControl
from dnsguard.assembly.upstreams import upstreamFactory, upstreamSet, upstreamSpecs
from dnsguard.assembly.wishes import Wishes
from dnsguard.config.model import Config
from dnsguard.errors import ListenError

if TYPE_CHECKING:
    from dnsguard.assembly.guard import Guard

__all__ = ["Changes", "sameAnswers", "waiting"]

_NO_ANSWERS = frozenset({"requestLog", "logging", "control"})
"""What no finished reply, and nothing that is kept with one, depends on."""

_POLICY = frozenset(
    {
        "timezone",
        "blocklists",
        "safeSearch",
        "response",
        "clientIdentification",
        "clientGroups",
        "localRecords",
        "hostsFiles",
        "specialNames",
    }
)
"""What makes the policy, and nothing besides: policies are compared as such."""


class Changes:
    """
    Changes a running server. Whoever uses it sees to it that one thing is
    changed at a time.
    """

    log = Logger()

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def reload(self, config: Config) -> None:
        """
        Put another configuration into force, in all processes.

        @raise DNSGuardError: It can't be; nothing has changed.
        """
        guard = self._guard
        upstreamSpecs(config)
        exclusion(config)
        lists = guard.blocklists.lists
        sources = listSources(config)
        if sources != guard.blocklists.sources:
            # Those that can't be had at once are tried again later on; nobody
            # waits for them with a change of something else.
            lists = await guard.blocklists.load(sources, refetch=False)
        policy = await guard.makePolicy(config, lists)
        redis = changedRedis(guard.redis, config, guard.reactor, guard.now)
        await self._control(guard.config, config)
        try:
            await self.listeners(config)
        except ListenError:
            await self._control(config, guard.config)
            raise
        # From here on nothing fails.
        before = guard.config
        await guard.notes.change(config)
        guard.observers.configure(config, before)
        self._upstreams(config)
        await self._redis(redis)
        await self._caches(config)
        guard.caches.setMaxKeys(config.cache.redis.maxKeys)
        await guard.prepareHelpers(config)
        guard.server.limits = serverLimits(config)
        guard.blocklists.configure(**blocklistSettings(config))
        guard.config = config
        guard.wishes = Wishes()
        await guard.publish(policy, carry=sameAnswers(before, config))
        for key in waiting(before, config):
            self.log.warn("{key} changes when dnsguard is started again", key=key)
        await guard.whenFollowed()

    async def listeners(self, config: Config) -> None:
        """
        Listen elsewhere, or otherwise. If that can't be done, listen as before.

        @raise ListenError: It can't be done.
        """
        guard = self._guard
        if config.server == guard.config.server or not (guard.running and guard.role.binds):
            return
        before = guard.listeners
        await maybeDeferred(before.disownServiceParent)
        guard.server.streams.limits = streamLimits(config.server)
        guard.listeners = guard.gatedListeners(config)
        try:
            guard.listeners.setServiceParent(guard)
        except ListenError:
            await maybeDeferred(guard.listeners.disownServiceParent)
            guard.server.streams.limits = streamLimits(guard.config.server)
            guard.listeners = before
            before.setServiceParent(guard)
            raise

    async def _control(self, before: Config, config: Config) -> None:
        """
        Serve the API elsewhere, or otherwise. If that can't be done, serve it as
        before.
        """
        guard = self._guard
        control, pool = guard.control, guard.reactor.getThreadPool()
        if config.control == before.control:
            return
        if control is None:
            await prepareControl(config, partial(deferToThreadPool, guard.reactor, pool))
            guard.serveControl(config)
        elif config.control.enabled:
            await control.change(controlSettings(config))
        else:
            await maybeDeferred(control.disownServiceParent)
            guard.control = None

    def _upstreams(self, config: Config) -> None:
        guard = self._guard
        if config.network != guard.config.network:
            # All upstreams are made anew: they are set up by what changed.
            guard.upstreams = upstreamFactory(config, guard.reactor)
        guard.forwarder.timeout = config.network.upstreamTimeout
        used = guard.forwarder.upstreams
        guard.forwarder.replaceUpstreams(upstreamSet(config, guard.upstreams, used))

    async def _redis(self, redis: Redis | None) -> None:
        """
        Share answers elsewhere from now on. Whoever still has the old store
        finds it away.
        """
        guard = self._guard
        before, guard.redis = guard.redis, redis
        if before is redis:
            return
        if before is not None:
            await maybeDeferred(before.service.disownServiceParent)
        if redis is not None:
            redis.service.setServiceParent(guard)

    async def _caches(self, config: Config) -> None:
        """
        Cache otherwise. What is cached stays.
        """
        guard = self._guard
        if config.cache == guard.config.cache:
            return
        await guard.caches.reconfigure(config, guard.store)
        guard.chain = guard.makeChain(config)
        guard.server.resolver = guard.chain.resolver
        guard.observers.announce()


def sameAnswers(before: Config, after: Config) -> bool:
    """
    Is the policy all that answers, and what is kept with them, can differ by? All
    other sections count, whatever in them has changed: C{query_store} too, for
    finished replies have their rows ready.
    """
    sections = (field.name for field in attrs.fields(Config))
    return all(
        getattr(before, name) == getattr(after, name)
        for name in sections
        if name not in _NO_ANSWERS | _POLICY
    )


def waiting(used: Config, config: Config) -> list[str]:
    """
    Say which changed keys a reload doesn't put into force.
    """
    keys = []
    if config.dataDirectory != used.dataDirectory:
        keys.append("data_directory")
    if replayBounds(config) != replayBounds(used):
        keys.append("server.replay")
    served = used.control.enabled and config.control.enabled
    if served and config.control.passwordFile != used.control.passwordFile:
        keys.append("control.password_file")
    return keys
