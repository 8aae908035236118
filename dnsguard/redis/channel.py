# -*- test-case-name: tests.redis.test_channel -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tell other instances what was cleared, and hear of it from them.

A message that is published while nobody listens is gone. So clearings are
numbered in Redis: an instance that was away, and finds the number changed, or
hears of one number and missed another, drops everything rather than go on
serving what an operator wanted gone. The number is looked at now and then as
well, since a cluster's nodes pass messages on without making sure.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.caching.candidate import Clearing
from dnsguard.errors import StoreError
from dnsguard.redis.client import Credentials, RedisConnection, RedisFactory, encode
from dnsguard.redis.keys import Names
from dnsguard.redis.reconnector import Reconnector
from dnsguard.redis.replies import IRedis, Reply, orRaise
from dnsguard.redis.scripts import ANNOUNCE, run
from dnsguard.wire.names import InvalidName, fromText, toText

__all__ = ["ClearingChannel", "readMessage", "writeMessage"]

LISTEN_SECONDS = 5.0
"""
How often the connection is tried out; one from which nothing came in that time
is made anew.
"""

AGAIN_SECONDS = 0.25
"""How soon after a failure the number of the last clearing is asked for anew."""


def writeMessage(origin: bytes, clearing: Clearing) -> bytes:
    """
    Write what is published behind the clearing's number: who ordered it,
    C{all}, C{name} or C{below}, and the name in presentation form, parted by
    spaces.
    """
    if clearing.qname is None:
        return b"%s all" % origin
    word = b"below" if clearing.below else b"name"
    name = toText(clearing.qname).replace(" ", "\\032").encode("ascii")
    return b"%s %s %s" % (origin, word, name)


def readMessage(message: bytes) -> tuple[int, bytes, Clearing] | None:
    """
    Read what was published: number, origin and clearing; L{None} if it is no
    such message.
    """
    words = message.split(b" ")
    if len(words) < 3 or not words[0].isdigit() or len(words[0]) > 18:
        return None
    number, origin = int(words[0]), words[1]
    if words[2:] == [b"all"]:
        return number, origin, Clearing()
    if len(words) != 4 or words[2] not in (b"name", b"below"):
        return None
    try:
        qname = fromText(words[3].decode("ascii"))
    except (UnicodeDecodeError, InvalidName):
        return None
    return number, origin, Clearing(qname, words[2] == b"below")


class ClearingChannel:
    """
    A connection that listens.

    @ivar origin: What this instance calls itself.
    @ivar listening: Does it?
    @ivar number: The number of the last clearing known of; L{None}: none yet.
    @ivar heard: How many clearings of others it heard of.
    @ivar missed: How often it may have missed some.
    """

    log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        redis: IRedis,
        clock: Any,
        told: Callable[[Clearing], None],
        *,
        names: Names | None = None,
        name: str = "redis",
        credentials: Credentials | None = None,
        make: Callable[..., Any] = RedisConnection,
    ) -> None:
        """
        @param endpoint: Where to listen: any one server.
        @param redis: What numbers and messages are given to.
        @param told: Called with each clearing of another instance.
        """
        self.origin = secrets.token_hex(8).encode("ascii")
        self.listening = False
        self.heard = self.missed = 0
        self._redis = redis
        self._clock = clock
        self._told = told
        self._names = names or Names()
        self._connection: Any = None
        self.number: int | None = None
        # Since when this process has what it has; nothing before it was missed.
        self._since = float(clock.seconds())
        # Is the number known to be the latest since this connection listens?
        self._checked = False
        # The number that was another one in Redis at the last look.
        self._doubted: int | None = None
        self._octets = 0
        self._again: IDelayedCall | None = None
        self._watch = LoopingCall(self._look)
        self._watch.clock = clock
        self._reconnector = Reconnector(
            endpoint,
            RedisFactory(name, self, credentials, make),
            clock,
            self._subscribe,
            # The links to the same servers say what is the matter.
            lambda reason: None,
        )

    def start(self) -> None:
        """
        Begin to listen.
        """
        self._since = max(self._since, float(self._clock.seconds()))
        self._reconnector.start()
        self._watch.start(LISTEN_SECONDS, now=False)

    def stop(self) -> Deferred[None]:
        """
        End it.
        """
        if self._watch.running:
            self._watch.stop()
        self._notAgain()
        return self._reconnector.stop()

    def resume(self, number: int | None) -> None:
        """
        See L{dnsguard.interfaces.IAnswerStore.resume}.
        """
        if self.number is None:
            self.number = number
            if number is None:
                self._since = float("-inf")
        elif number != self.number:
            self._miss()

    def _subscribe(self, connection: Any) -> Deferred[None]:
        self._connection = connection
        connection.send(encode([(b"SUBSCRIBE", self._names.channel)]))
        return succeed(None)

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish.
        """
        return {"listening": int(self.listening), "heard": self.heard, "missed": self.missed}

    def replyReceived(self, reply: Reply) -> None:
        """
        Take what Redis pushes.
        """
        if isinstance(reply, Exception):
            self._connection.abort(str(reply))
        elif not isinstance(reply, list) or not reply:
            return
        elif reply[0] == b"subscribe":
            self.listening, self._checked = True, False
            self._check()
        elif reply[0] == b"message" and len(reply) == 3 and isinstance(reply[2], bytes):
            self._hear(reply[2])

    def connectionGone(self, connection: Any, reason: str) -> None:
        """
        Note that nothing is heard any more.
        """
        if connection is self._connection:
            self._connection = None
            if self.listening and self.number is None:
                # What is cleared from now on can't be told by the number.
                self._since = float("-inf")
            self.listening = self._checked = False
            self._notAgain()

    def _hear(self, message: bytes) -> None:
        read = readMessage(message)
        if read is None:
            return
        number, origin, clearing = read
        before, self.number = self.number, max(number, self.number or 0)
        own = origin == self.origin
        self.heard += not own
        # The number of one's own clearing tells of those before it as well.
        if number > before + 1 if before is not None else number > 1 and self._isOld():
            self._miss()
        elif not own:
            self._told(clearing)

    def _isOld(self) -> bool:
        """
        Has this process had things for so long that something may have been
        cleared since?
        """
        return bool(self._clock.seconds() - self._since > LISTEN_SECONDS)

    def _miss(self) -> None:
        self.missed += 1
        self.log.info("clearings of other instances may have been missed: everything is cleared")
        self._told(Clearing())

    def _look(self) -> None:
        """
        See if the connection is alive.
        """
        connection = self._connection
        if connection is None:
            return
        if connection.received == self._octets:
            connection.abort("it stalls")
            return
        self._octets = connection.received
        connection.send(encode([(b"PING",)]))
        if self.listening and self._again is None:
            self._check()

    def _check(self) -> None:
        """
        Find out if something was missed.
        """
        self._again = None
        checking: Any = Deferred.fromCoroutine(self._compare(self.number))
        checking.addErrback(self._notChecked)
        checking.addErrback(lambda reason: self.log.failure("can't check clearings", reason))

    def _notChecked(self, reason: Failure) -> None:
        """
        Try again before long: as long as it isn't known which clearing was the
        last, one can't tell later that some were missed.
        """
        reason.trap(StoreError)
        if self.listening and self._again is None:
            self._again = self._clock.callLater(AGAIN_SECONDS, self._check)

    def _notAgain(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    async def _compare(self, before: int | None) -> None:
        replies = await self._redis.execute([(b"GET", self._names.clearings)])
        text = orRaise(replies[0])
        number = int(text) if isinstance(text, bytes) and text.isdigit() else 0
        away, self._checked = not self._checked, True
        doubted, self._doubted = self._doubted, None
        if self.number != before:
            # A message came meanwhile, and tells more.
            return
        if number == before or (before is None and not (number and self._isOld())):
            self.number = number
        elif away or doubted == before:
            self.number = number
            self._miss()
        else:
            # Its message may be on its way.
            self._doubted = before

    async def announce(self, clearing: Clearing) -> None:
        """
        Tell the others.

        @raise StoreError: They couldn't be told.
        """
        message = writeMessage(self.origin, clearing)
        call = ANNOUNCE.call([self._names.clearings], self._names.channel, message)
        number = orRaise((await run(self._redis, [call]))[0])
        if self.number is not None and number == self.number + 1:
            # Nothing was missed by not hearing oneself.
            self.number = number
