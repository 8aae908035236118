# -*- test-case-name: tests.assembly.test_redis -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which connections there are to Redis, for each way it can be set up.

In a module of its own because txredisapi brings the reactor in: it is imported
when there is a Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from dnsguard.config.sections.redis import RedisConfig, RedisMode, RedisServer
from dnsguard.redis.cachestore import RedisAnswerStore
from dnsguard.redis.channel import ClearingChannel
from dnsguard.redis.client import Credentials
from dnsguard.redis.cluster import Cluster
from dnsguard.redis.endpoints import ClientTLS, Place, TurnsEndpoint, endpointOf
from dnsguard.redis.keys import Names
from dnsguard.redis.link import Link
from dnsguard.redis.sentinel import SentinelEndpoint

__all__ = ["Wiring"]

_PORT = 6379
_SENTINEL_PORT = 26379


class Wiring:
    """
    Makes the connections of one configuration.

    @ivar name: What the store is called in log lines.
    """

    def __init__(self, settings: RedisConfig, tls: ClientTLS | None, reactor: Any) -> None:
        """
        @param tls: How to be sure of the servers, or L{None}.
        """
        self._settings = settings
        self._tls = tls
        self._reactor = reactor
        self._credentials = Credentials(settings.username, settings.password, settings.db)
        sentinel = settings.mode is RedisMode.SENTINEL
        self._places = (
            (Place(path=settings.unixSocket),)
            if settings.unixSocket
            else _places(settings.servers, _SENTINEL_PORT if sentinel else _PORT)
        )
        if settings.mode is RedisMode.STANDALONE:
            self.name = f"Redis at {self._places[0]}"
        else:
            self.name = f"Redis {settings.mode.value}"

    @property
    def names(self) -> Names:
        """
        What things are called there.
        """
        return Names(self._settings.mode is RedisMode.CLUSTER)

    def asking(self, deadline: float) -> Link | Cluster:
        """
        Make what is asked.

        @param deadline: How long a request may take, in seconds.
        """
        if self._settings.mode is not RedisMode.CLUSTER:
            return self._link(self._endpoint(), deadline, self.name)

        def node(place: Place, changed: Callable[[Link, bool, str], None]) -> Link:
            name = f"Redis node {place}"
            return self._link(self._endpointOf(place), deadline, name, changed)

        return Cluster(self._places, node, self._reactor, self.name, deadline)

    def listening(self, background: Link | Cluster, store: RedisAnswerStore) -> ClearingChannel:
        """
        Make what listens for clearings, and announces them.
        """
        return ClearingChannel(
            self._endpoint(),
            background,
            self._reactor,
            store.cleared,
            names=self.names,
            name=self.name,
            credentials=self._credentials,
        )

    def _endpointOf(self, place: Place) -> IStreamClientEndpoint:
        return endpointOf(place, self._reactor, self._tls)

    def _endpoint(self) -> IStreamClientEndpoint:
        """
        The way to one server that will do.
        """
        settings = self._settings
        if settings.mode is RedisMode.SENTINEL:
            return SentinelEndpoint(
                self._places,
                settings.masterName,
                self._endpointOf,
                self._reactor,
                credentials=Credentials(settings.sentinelUsername, settings.sentinelPassword),
            )
        return TurnsEndpoint([self._endpointOf(place) for place in self._places])

    def _link(
        self,
        endpoint: IStreamClientEndpoint,
        deadline: float,
        name: str,
        changed: Callable[[Link, bool, str], None] | None = None,
    ) -> Link:
        return Link(
            endpoint,
            self._reactor,
            name=name,
            credentials=self._credentials,
            deadline=deadline,
            master=self._settings.mode is RedisMode.SENTINEL,
            changed=changed,
        )


def _places(servers: Sequence[RedisServer], port: int) -> tuple[Place, ...]:
    return tuple(Place(server.host, server.port or port) for server in servers)
