# -*- test-case-name: tests.redis.test_link -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A connection to one Redis server that is kept up, and never waited for.

Commands of one reactor turn go out in one write, and have one deadline. What
isn't answered by then has failed for whoever asked; its reply, when it comes, is
read and thrown away. A server that says nothing at all for longer is cut off
and connected to anew, and one that fails is left alone by the breaker until it
answers a probe. Nothing is ever queued for a server that isn't there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger

from dnsguard.errors import StoreError
from dnsguard.redis.breaker import Breaker
from dnsguard.redis.client import Credentials, RedisConnection, RedisFactory, encode
from dnsguard.redis.reconnector import LOG_IN_SECONDS, Reconnector, words
from dnsguard.redis.replies import UNUSABLE, Command, ErrorReply, Reply
from dnsguard.redis.requests import Batch, LinkCounters, Request

__all__ = ["COUNTERS", "Link"]

COUNTERS = (*LinkCounters.__slots__, "waiting", "trips", "failures", "probes")
"""What L{Link.counters} has numbers for."""

STALL_SECONDS = 1.0
"""How long a server that owes replies may say nothing before it is cut off."""

LATE_SECONDS = 0.01
"""
A deadline that is noticed so much too late says that this process was busy, and
that replies may be waiting to be read: they get as much time again.
"""

MAX_COMMANDS = 20_000
MAX_OCTETS = 32 << 20
"""The most that may wait for replies."""


class Link:
    """
    One server.

    @ivar name: What it is called in errors and log lines.
    @ivar available: Is it connected to, and not left alone?
    @ivar breaker: What is known of it.
    @ivar counted: What happened so far.
    """

    log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: Any,
        *,
        name: str = "redis",
        credentials: Credentials | None = None,
        deadline: float = 0.05,
        breaker: Breaker | None = None,
        master: bool = False,
        changed: Callable[[Link, bool, str], None] | None = None,
        make: Callable[..., Any] = RedisConnection,
    ) -> None:
        """
        @param endpoint: Where to connect to.
        @param clock: The reactor, or something that keeps time as it does.
        @param deadline: Seconds that a request may take.
        @param master: Must it be a master? One that turns out to be a replica
            is left, and the endpoint asked again where to go.
        @param changed: Told when the server becomes available, or no longer
            is, and why.
        @param make: The class of the connections.
        """
        self.name = name
        self.breaker = breaker or Breaker()
        self.counted = LinkCounters()
        self.available = False
        self.deadline = deadline
        self._clock = clock
        self._master = master
        self._changed = changed
        self._connection: Any = None
        self._reason = "not connected yet"
        self._sent: deque[Request] = deque()
        self._queued: list[Request] = []
        self._waiting = self._octets = 0
        self._stall: IDelayedCall | None = None
        self._reconnector = Reconnector(
            endpoint,
            RedisFactory(name, self, credentials, make),
            clock,
            self._examine,
            self._failed,
        )

    def servers(self) -> Sequence[Link]:
        """
        See L{dnsguard.redis.replies.IRedis}.
        """
        return (self,)

    # Coming and going.

    def start(self) -> None:
        """
        Connect, and stay so.
        """
        self._reason = "not connected yet"
        self._reconnector.start()

    def stop(self) -> Deferred[None]:
        """
        End it. What is waited for fails.
        """
        self._reason = "closed"
        return self._reconnector.stop()

    def _examine(self, connection: Any) -> Deferred[Any]:
        """
        Ask a new connection's server whether it is fit to be asked.
        """
        self._connection = connection
        command = (b"ROLE",) if self._master else (b"PING",)

        def judge(replies: list[Reply]) -> Any:
            reply = replies[0]
            if _isUnusable(reply):
                raise reply
            if self._master and (not isinstance(reply, list) or reply[:1] != [b"master"]):
                raise StoreError(self.name, "not the master")
            self.counted.connected += 1
            self.breaker.hurry(self._clock.seconds())
            self.breaker.mayProbe(self._clock.seconds())
            self._worked()
            self._setAvailable()
            return connection

        return self._send([command], LOG_IN_SECONDS).addCallback(judge)

    def connectionGone(self, connection: Any, reason: str) -> None:
        """
        Fail what was waited for.
        """
        if connection is not self._connection:
            return
        self._connection = None
        self.counted.lost += 1
        waiting = [*self._sent, *self._queued]
        self._sent.clear()
        self._queued = []
        self._waiting = self._octets = 0
        self._cancelStall()
        self._reason = reason if self._reason != "closed" else "closed"
        self._failed(reason)
        for request in waiting:
            self._fail(request, reason)

    def _failed(self, reason: str) -> None:
        """
        Note a failure of the server.
        """
        self.breaker.failed(self._clock.seconds(), reason)
        self._setAvailable()

    def _worked(self) -> None:
        self.breaker.succeeded(self._clock.seconds())

    def _setAvailable(self) -> None:
        available = self._connection is not None and self.breaker.closed
        if available != self.available:
            self.available = available
            if self._changed is not None:
                self._changed(self, available, self.reason)

    @property
    def reason(self) -> str:
        """
        Why it isn't available; empty if it is.
        """
        if self.available:
            return ""
        return self.breaker.reason or self._reason

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish.
        """
        return {
            **{name: getattr(self.counted, name) for name in LinkCounters.__slots__},
            "waiting": self._waiting,
            "trips": self.breaker.trips,
            "failures": self.breaker.failures,
            "probes": self.breaker.probes,
        }

    # Requests.

    def execute(self, commands: Sequence[Command], octets: bytes = b"") -> Deferred[list[Reply]]:
        """
        See L{dnsguard.redis.replies.IRedis}.
        """
        if not self.available:
            self.counted.refused += 1
            return fail(StoreError(self.name, self.reason))
        return self._send(commands, self.deadline, octets)

    def probe(self) -> Deferred[bool]:
        """
        Find out if the server is there, if it is time to.

        @return: Is it?
        """
        connection, now = self._connection, self._clock.seconds()
        if self.breaker.closed or connection is None or not self.breaker.mayProbe(now):
            return succeed(self.available)

        def judge(replies: list[Reply]) -> bool:
            if _isUnusable(replies[0]):
                raise replies[0]
            self._worked()
            self._setAvailable()
            return True

        def failed(reason: Any) -> bool:
            # Whatever it was: who has leave to probe must tell of the outcome.
            self._failed(words(reason.value))
            return False

        probed: Any = self._send([(b"PING",)], self.deadline)
        probed.addCallback(judge)
        probed.addErrback(failed)
        result: Deferred[bool] = probed
        return result

    def ping(self) -> Deferred[None]:
        """
        Find out if a server that seems to be there is.
        """
        if not self.available:
            return succeed(None)
        pinged: Any = self.execute([(b"PING",)])
        # Either way it has been noted.
        pinged.addBoth(lambda _: None)
        result: Deferred[None] = pinged
        return result

    def _send(
        self, commands: Sequence[Command], deadline: float, octets: bytes = b""
    ) -> Deferred[list[Reply]]:
        """
        Have commands sent with this turn's.
        """
        octets = octets or encode(commands)
        count = len(commands)
        if self._waiting + count > MAX_COMMANDS or self._octets + len(octets) > MAX_OCTETS:
            self.counted.overflows += 1
            return fail(StoreError(self.name, "too much waits for it already"))
        deferred: Deferred[list[Reply]] = Deferred()
        self._waiting += count
        self._octets += len(octets)
        if not self._queued:
            self._clock.callLater(0, self._flush, deadline)
        self._queued.append(Request(octets, count, deferred))
        return deferred

    def _flush(self, deadline: float) -> None:
        requests, self._queued = self._queued, []
        if self._connection is None or not requests:
            return
        now = self._clock.seconds()
        batch = Batch(requests, now, now + deadline)
        for request in requests:
            request.batch = batch
        self._sent.extend(requests)
        self.counted.writes += 1
        self.counted.commands += sum(request.count for request in requests)
        batch.timer = self._clock.callLater(deadline, self._timedOut, batch)
        if len(requests) == 1:
            self._connection.send(requests[0].octets)
        else:
            self._connection.send(b"".join([request.octets for request in requests]))

    def replyReceived(self, reply: Reply) -> None:
        """
        Take the next reply.
        """
        if not self._sent:
            self._connection.abort("a reply to nothing")
            return
        request = self._sent[0]
        replies = request.replies
        replies.append(reply)
        if isinstance(reply, ErrorReply):
            self._refusedBy(reply)
        if len(replies) < request.count:
            return
        # What it says of the server may have ended the connection.
        if not self._sent or self._sent[0] is not request:
            return
        self._sent.popleft()
        self._waiting -= request.count
        self._octets -= len(request.octets)
        deferred, request.deferred = request.deferred, None
        if deferred is None:
            self.counted.late += 1
            return
        batch = request.batch
        assert batch is not None
        batch.left -= 1
        if not batch.left and batch.timer is not None:
            batch.timer.cancel()
            batch.timer = None
        deferred.callback(replies)

    def _refusedBy(self, reply: ErrorReply) -> None:
        """
        See if an error reply says something of the whole server.
        """
        if _isUnusable(reply):
            self._failed(words(reply))
        elif reply.code == "READONLY" and self._master and self._connection is not None:
            self._connection.abort("not the master any more")

    def _timedOut(self, batch: Batch) -> None:
        """
        Fail what had no reply in time.
        """
        batch.timer = None
        now = self._clock.seconds()
        if now - batch.due > LATE_SECONDS and not batch.lenient:
            batch.lenient = True
            batch.timer = self._clock.callLater(LATE_SECONDS, self._timedOut, batch)
            return
        self.counted.timeouts += batch.left
        reason = f"no reply within {batch.due - batch.sent:.3g} s"
        self._failed(reason)
        if self._stall is None and self._connection is not None:
            self._stall = self._clock.callLater(
                STALL_SECONDS, self._stalled, self._connection, self._connection.received
            )
        for request in batch.requests:
            self._fail(request, reason)

    def _stalled(self, connection: Any, received: int) -> None:
        """
        Cut off a server from which nothing came since.
        """
        self._stall = None
        if connection is self._connection and connection.received == received and self._sent:
            self.counted.stalls += 1
            connection.abort("it stalls")

    def _cancelStall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _fail(self, request: Request, reason: str) -> None:
        deferred, request.deferred = request.deferred, None
        batch = request.batch
        if batch is not None and batch.timer is not None:
            batch.timer.cancel()
            batch.timer = None
        if deferred is not None:
            deferred.errback(StoreError(self.name, reason))


def _isUnusable(reply: Reply) -> bool:
    """
    Does a reply say that its server can do nothing? Any other error, such as
    that we may not ask this, is still a sign of life.
    """
    return isinstance(reply, ErrorReply) and reply.code in UNUSABLE
