# -*- test-case-name: tests.redis.test_sentinel -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The way to whichever server is the master now.

Sentinels are asked each time a connection is made, one after the other until
one knows. What it knows may be old, so the link asks the server itself whether
it is the master; if not, the next attempt begins with the next Sentinel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from dnsguard.errors import StoreError
from dnsguard.redis.client import Credentials, RedisConnection, RedisFactory, encode
from dnsguard.redis.endpoints import Place
from dnsguard.redis.replies import Command, Reply

__all__ = ["ASK_SECONDS", "SentinelEndpoint", "askOnce"]

ASK_SECONDS = 0.5
"""How long one Sentinel may take to connect to, to log in at, and to answer."""


class _Question:
    """
    The owner of a connection that one thing is asked over.
    """

    def __init__(self) -> None:
        self.answered: Deferred[Reply] = Deferred()

    def replyReceived(self, reply: Reply) -> None:
        """
        Take the answer.
        """
        if not self.answered.called:
            self.answered.callback(reply)

    def connectionGone(self, connection: Any, reason: str) -> None:
        """
        There won't be one.
        """
        if not self.answered.called:
            self.answered.errback(StoreError("sentinel", reason))


async def askOnce(
    endpoint: IStreamClientEndpoint,
    command: Command,
    clock: Any,
    make: Callable[..., Any] = RedisConnection,
    credentials: Credentials | None = None,
) -> Reply:
    """
    Ask a server one thing, and hang up.

    @param credentials: How to log in; without them it isn't tried.
    @raise StoreError: It couldn't be asked, or said nothing in time.
    """
    question = _Question()
    connection: Any = None
    try:
        factory = RedisFactory("sentinel", question, credentials, make)
        connecting: Any = endpoint.connect(factory)
        connection = await connecting.addTimeout(ASK_SECONDS, clock)
        await connection.ready.addTimeout(ASK_SECONDS, clock)
        connection.send(encode([command]))
        return await question.answered.addTimeout(ASK_SECONDS, clock)
    except (TimeoutError, ConnectError, DNSLookupError, OSError) as error:
        raise StoreError("sentinel", str(error) or "no answer") from None
    finally:
        if connection is not None:
            connection.abort("asked")


@implementer(IStreamClientEndpoint)
class SentinelEndpoint:
    """
    Connects to the master that Sentinels name.

    @ivar master: Where that was at last, or L{None}.
    """

    def __init__(
        self,
        sentinels: Sequence[Place],
        masterName: str,
        endpointOf: Callable[[Place], IStreamClientEndpoint],
        clock: Any,
        make: Callable[..., Any] = RedisConnection,
        credentials: Credentials | None = None,
    ) -> None:
        """
        @param endpointOf: Makes the endpoint of a place.
        @param credentials: How to log in at Sentinels, which isn't how one logs
            in at the master.
        @param make: The class of the connections to Sentinels.
        """
        self.master: Place | None = None
        self._sentinels = list(sentinels)
        self._masterName = masterName.encode("utf-8")
        self._endpointOf = endpointOf
        self._clock = clock
        self._make = make
        self._credentials = credentials

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """
        Find the master, and connect to it.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, protocolFactory: Any) -> Any:
        reason = "no Sentinel to ask"
        for sentinel in tuple(self._sentinels):
            # Whoever is asked stands last next time.
            self._sentinels.remove(sentinel)
            self._sentinels.append(sentinel)
            try:
                reply = await askOnce(
                    self._endpointOf(sentinel),
                    (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._masterName),
                    self._clock,
                    self._make,
                    self._credentials,
                )
                self.master = _place(reply)
            except StoreError as error:
                reason = f"Sentinel {sentinel}: {error.reason}"
                continue
            return await self._endpointOf(self.master).connect(protocolFactory)
        raise StoreError("sentinel", reason)


def _place(reply: Reply) -> Place:
    """
    Read where the master is.

    @raise StoreError: Nobody knows, or it can't be read.
    """
    if isinstance(reply, StoreError):
        raise reply
    if reply is None:
        raise StoreError("sentinel", "it knows no master of that name")
    try:
        host, port = reply
        return Place(host.decode("ascii"), int(port))
    except (TypeError, ValueError, AttributeError):
        raise StoreError("sentinel", "no address in its answer") from None
