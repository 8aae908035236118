# -*- test-case-name: tests.assembly.test_redis -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to the store of shared answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from dnsguard.assembly.cacherules import ttlPolicy
from dnsguard.config.model import Config
from dnsguard.config.sections.redis import RedisConfig
from dnsguard.errors import PolicyError
from dnsguard.redis.endpoints import ClientTLS
from dnsguard.services.redishealth import RedisHealthService

if TYPE_CHECKING:
    from dnsguard.redis.cachestore import RedisAnswerStore

__all__ = ["Redis", "changedRedis", "makeRedis", "redisTLS"]

BACKGROUND_SECONDS = 2.0
"""How long one step of writing, counting and sweeping may take: no query waits
for it."""


class Counted(Protocol):
    """
    What has numbers to publish.
    """

    def counters(self) -> dict[str, int]: ...


@attrs.frozen
class Redis:
    """
    The store of shared answers, and what keeps it going.

    @ivar store: The store.
    @ivar service: What connects it, and looks after it.
    @ivar settings: The part of the configuration it was made of.
    @ivar connections: What is asked, by what for.
    @ivar clearings: What listens for clearings.
    """

    store: RedisAnswerStore
    service: RedisHealthService
    settings: RedisConfig
    connections: Mapping[str, Counted]
    clearings: Counted


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
    tls = redisTLS(config)
    # Not before it is needed: txredisapi brings the reactor in.
    from dnsguard.assembly.rediswiring import Wiring
    from dnsguard.redis.cachestore import RedisAnswerStore

    wiring = Wiring(settings, tls, reactor)
    front = wiring.asking(settings.timeout)
    back = wiring.asking(max(BACKGROUND_SECONDS, settings.timeout))
    store = RedisAnswerStore(
        front, back, reactor, names=wiring.names, ttlPolicy=ttlPolicy(config.cache), wallClock=now
    )
    channel = store.announcer = wiring.listening(back, store)
    service = RedisHealthService(
        front,
        (back,),
        (channel,),
        reactor,
        flush=store.stop,
        failed=None if settings.degradedOnUnavailable else failed,
    )
    return Redis(store, service, settings, {"lookups": front, "background": back}, channel)


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
