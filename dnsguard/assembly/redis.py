# -*- test-case-name: tests.assembly.test_redis -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to the store of shared answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from dnsguard.assembly.chain import ttlPolicy
from dnsguard.config.model import Config
from dnsguard.config.sections.redis import RedisConfig, RedisMode, RedisServer
from dnsguard.errors import PolicyError
from dnsguard.redis.endpoints import ClientTLS
from dnsguard.services.redishealth import RedisHealthService

if TYPE_CHECKING:
    from dnsguard.redis.cachestore import RedisAnswerStore

__all__ = ["Redis", "changedRedis", "makeRedis", "redisTLS"]

BACKGROUND_SECONDS = 2.0
"""How long one step of writing, counting and sweeping may take: no query waits
for it."""

_PORT = 6379
_SENTINEL_PORT = 26379


@attrs.frozen
class Redis:
    """
    The store of shared answers, and what keeps it going.

    @ivar store: The store.
    @ivar service: What connects it, and looks after it.
    @ivar settings: The part of the configuration it was made of.
    """

    store: RedisAnswerStore
    service: RedisHealthService
    settings: RedisConfig


def redisTLS(config: Config) -> ClientTLS | None:
    """
    Read the files that say how to be sure of the server, if it is encrypted.

    @raise PolicyError: One can't be used.
    """
    settings = config.cache.redis.tls
    if not settings.enabled:
        return None
    try:
        return ClientTLS.load(
            settings.caFile, settings.certificateFile, settings.keyFile, settings.serverName
        )
    except ValueError as error:
        raise PolicyError("cache.redis.tls", str(error)) from None


def makeRedis(
    config: Config,
    reactor: Any,
    failed: Callable[[str], None] | None,
    now: Callable[[], float] = time.time,
) -> Redis | None:
    """
    Make the store, if there is to be one.

    @param failed: Called with the reason if it isn't there at the start, and
        must be.
    @param now: Seconds since the epoch.
    @raise PolicyError: A file that the configuration names can't be used.
    """
    settings = config.cache.redis
    if not settings.enabled:
        return None
    # Not before it is needed: txredisapi brings the reactor in.
    from dnsguard.redis.cachestore import RedisAnswerStore
    from dnsguard.redis.channel import ClearingChannel
    from dnsguard.redis.client import Credentials
    from dnsguard.redis.endpoints import Place, endpointOf
    from dnsguard.redis.keys import Names
    from dnsguard.redis.link import Link

    tls = redisTLS(config)
    credentials = Credentials(settings.username, settings.password, settings.db)
    names = Names(settings.mode is RedisMode.CLUSTER)

    def place(server: RedisServer, port: int) -> Place:
        return Place(server.host, server.port or port)

    if settings.unixSocket:
        where = Place(path=settings.unixSocket)
    else:
        where = place(settings.address[0], _PORT)
    endpoint = endpointOf(where, reactor, tls)
    name = f"Redis at {where}"

    def link(deadline: float) -> Link:
        return Link(endpoint, reactor, name=name, credentials=credentials, deadline=deadline)

    front, back = link(settings.timeout), link(max(BACKGROUND_SECONDS, settings.timeout))
    store = RedisAnswerStore(
        front, back, reactor, names=names, ttlPolicy=ttlPolicy(config.cache), wallClock=now
    )
    channel = ClearingChannel(
        endpoint, back, reactor, store.cleared, names=names, name=name, credentials=credentials
    )
    store.announcer = channel
    service = RedisHealthService(
        front,
        (back,),
        (channel,),
        reactor,
        flush=store.stop,
        failed=None if settings.degradedOnUnavailable else failed,
    )
    return Redis(store, service, settings)


def changedRedis(
    redis: Redis | None, config: Config, reactor: Any, now: Callable[[], float] = time.time
) -> Redis | None:
    """
    Make the store anew if its part of the configuration has changed.

    Nothing is fatal any more: whoever reloads is serving.

    @param redis: What there is.
    @raise PolicyError: As by L{makeRedis}.
    """
    if redis is None or redis.settings != config.cache.redis:
        return makeRedis(config, reactor, None, now)
    redis.store.ttlPolicy = ttlPolicy(config.cache)
    return redis
