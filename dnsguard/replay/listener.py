# -*- test-case-name: tests.integration.test_replaylistener -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
DNS over UDP with the replay store in front, compiled.

Hits are answered without the interpreter: by a thread that waits on the socket,
or by one call when the reactor finds the socket readable. Requests that the
store can't answer come to the reactor in batches, and go through the server's
door like any other. The plain listener that does the same without a compiler
is C{dnsguard.server.datagram}; both have the same surface.
"""

from __future__ import annotations

import enum
import errno
import os
import socket
import struct
from collections import deque
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements, implementer

from dnsguard.priority import comeForward, startAhead
from dnsguard.query import Transport
from dnsguard.replay._listener import DatagramWorker

if TYPE_CHECKING:
    from dnsguard.replay._store import CompiledReplayStore

__all__ = ["CompiledDatagramListener", "ListenerCounters", "ListenerMode"]

_MISSES = 64
"""Requests taken before the reactor may see to others."""

_BATCH = 64
"""Replies that one call of the system sends."""

_MAX_QUEUE = 1024
"""Replies that may wait for a socket whose buffer is full."""

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_UDP = Transport.UDP

_END_SECONDS = 5.0
"""How long the thread may take to end, in seconds; it takes microseconds."""

_TIMEOUT = struct.pack("@ll", 1, 0)
"""Should the thread not be woken to end, it looks around once a second."""


class ListenerMode(enum.Enum):
    """
    Who answers hits. The values are the words of the configuration.
    """

    THREAD = "thread"
    """A thread of its own: a busy reactor doesn't delay them."""

    REACTOR = "reactor"
    """The reactor, as part of its turn: no switch of threads for a miss."""


class Door(Protocol):
    """
    The way in for requests as octets.
    """

    def requestReceived(
        self, request: bytes, address: bytes, transport: Transport, respond: Any
    ) -> bool:
        """
        Answer one request, now or later. Never raises.
        """


@attrs.frozen
class ListenerCounters:
    """
    What has become of datagrams on one socket since the start. Each received
    one was replayed or recalled, went to the door, or is counted as portless,
    malformed, oversized or missesDropped.

    @ivar received: Datagrams read.
    @ivar replayed: Of those, answered from the replay store.
    @ivar recalled: Of those, answered from the replay store after they had waited
        for the reactor: it had an equal one answered meanwhile.
    @ivar portless: Of those, dropped for coming from port 0: nobody to answer.
    @ivar malformed: Of those, dropped for being shorter than a header, or
        themselves responses.
    @ivar oversized: Of those, dropped for being longer than any request.
    @ivar missesDropped: Of those, dropped with too many waiting for the
        reactor.
    @ivar sent: Replies sent.
    @ivar queued: Replies that had to wait for the socket.
    @ivar dropped: Replies dropped with too many waiting already.
    @ivar unsent: Replies the system refused to send.
    @ivar errors: Errors while receiving, such as a client's ICMP messages.
    @ivar segmented: Of the replies sent, those that were given to the system
        together with others of their length to the same client.
    @ivar unsegmented: How often the system didn't take several together: they
        were sent one by one then.
    """

    received: int = 0
    replayed: int = 0
    recalled: int = 0
    portless: int = 0
    malformed: int = 0
    oversized: int = 0
    missesDropped: int = 0
    sent: int = 0
    queued: int = 0
    dropped: int = 0
    unsent: int = 0
    errors: int = 0
    segmented: int = 0
    unsegmented: int = 0


@implementer(IReadWriteDescriptor)
class _Wake:
    """
    The descriptor that is readable when requests wait for the reactor.
    """

    def __init__(self, fileno: int, doRead: Any) -> None:
        self._fileno = fileno
        self.doRead = doRead

    def fileno(self) -> int:
        return self._fileno

    def logPrefix(self) -> str:
        return "CompiledDatagramListener"

    def doWrite(self) -> None:
        """
        Never asked for.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor is at its end, or the descriptor is: nothing to be done.
        """


class _Way:
    """
    The way back to one client.
    """

    __slots__ = ("_listener", "_peer")

    def __init__(self, listener: CompiledDatagramListener, peer: bytes) -> None:
        self._listener = listener
        self._peer = peer

    def send(self, reply: bytes) -> bool:
        """
        Send a reply.

        @return: Is it going to be sent?
        """
        return self._listener.respond(self._peer, reply)


class CompiledDatagramListener:
    """
    Reads requests from one UDP socket, and sends the replies.
    """

    log = Logger()

    def __init__(
        self,
        bound: socket.socket,
        door: Door,
        reactor: Any,
        *,
        replay: CompiledReplayStore,
        wildcard: bool = False,
        mode: ListenerMode = ListenerMode.THREAD,
    ) -> None:
        """
        @param bound: A bound socket; the listener closes it.
        @param door: Where requests go that the store can't answer.
        @param reactor: Provides C{IReactorFDSet}, C{IReactorTime} and
            C{IReactorFromThreads}.
        @param replay: Where finished replies may be found.
        @param wildcard: Is the socket bound to a wildcard address, and set to
            tell where datagrams were sent to?
        @param mode: Who answers hits.
        """
        self._socket = bound
        self._door = door
        self._reactor = reactor
        self._mode = mode
        self._worker = DatagramWorker(replay, bound.fileno(), wildcard)
        self._wake = _Wake(self._worker.wakeFileno, self._heard)
        self._outgoing: deque[tuple[bytes, bytes]] = deque()
        self._thread: Thread | None = None
        self._reading = self._flushing = self._full = self._closed = False
        self._queued = self._dropped = 0
        # A thread waits in the system; the reactor must not.
        bound.setblocking(mode is ListenerMode.THREAD)

    @property
    def counters(self) -> ListenerCounters:
        """
        What has become of datagrams so far.
        """
        return ListenerCounters(
            queued=self._queued, dropped=self._dropped, **self._worker.counters()
        )

    def startReading(self) -> None:
        """
        Take requests. Once.
        """
        self._reactor.addReader(self._wake)
        if self._mode is ListenerMode.REACTOR:
            self._reactor.addReader(self)
            return
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        self._thread = Thread(target=self._run, name="dnsguard replay", daemon=True)
        startAhead(self._thread)

    def stopReading(self) -> None:
        """
        Take no more requests; replies are still sent.
        """
        if self._mode is ListenerMode.REACTOR:
            self._reactor.removeReader(self)
        else:
            self._worker.stop()

    def close(self) -> None:
        """
        Close the socket; replies still to come are nobody's.
        """
        if self._closed:
            return
        self._closed = True
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._reactor.removeReader(self._wake)
        self._outgoing.clear()
        if self._thread is not None:
            self._worker.stop()
            self._thread.join(_END_SECONDS)
            if self._thread.is_alive():
                # Closing under it could let it read somebody else's socket.
                self.log.error("the listener thread doesn't end; its socket is left open")
                self._socket.detach()
                return
        self._socket.close()

    def getHost(self) -> tuple[str, int]:
        """
        The address and port it is bound to.
        """
        host, port = self._socket.getsockname()[:2]
        return host, port

    def _run(self) -> None:
        """
        Answer hits until told to stop. The listener's thread.
        """
        comeForward()
        number = self._worker.run()
        if number:
            self._reactor.callFromThread(
                self.log.error,
                "{host} can't be read any more: {reason}",
                host=self.getHost() if number != errno.EBADF else "a socket",
                reason=os.strerror(number),
            )

    # What the reactor asks.

    def fileno(self) -> int:
        """
        The socket's number, -1 when it is closed.
        """
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """
        What it is called in logs.
        """
        return "CompiledDatagramListener"

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor won't deal with the socket any more.
        """
        self.close()

    def doRead(self) -> None:
        """
        Answer what the socket holds. Not called while a thread does.
        """
        self._worker.poll()
        self._take()

    def doWrite(self) -> None:
        """
        Send what had to wait.
        """
        self._full = False
        self._flush()
        if not self._full:
            self._reactor.removeWriter(self)

    # Requests.

    def _heard(self) -> None:
        """
        There are requests that the store couldn't answer.
        """
        self._worker.hear()
        self._take()

    def _take(self) -> None:
        """
        Pass a batch of requests on, and send the replies that are made at once
        all together.
        """
        misses = self._worker.misses(_MISSES)
        if len(misses) == _MISSES:
            # There may be more; the reactor sees to others first.
            self._worker.wake()
        self._reading = True
        door, udp, recall = self._door, _UDP, self._worker.recall
        try:
            for request, address, peer, arrived in misses:
                # Of equal ones that wait here, the first has an answer made.
                reply = recall(request, address, arrived)
                if reply is not None:
                    self.respond(peer, reply)
                else:
                    door.requestReceived(request, address, udp, _Way(self, peer).send)
        finally:
            self._reading = False
            self._flush()

    # Replies.

    def respond(self, peer: bytes, reply: bytes) -> bool:
        """
        Send one reply together with the others of this turn.

        @return: Is it going to be sent?
        """
        if self._closed:
            return False
        if len(self._outgoing) >= _MAX_QUEUE:
            self._dropped += 1
            return False
        self._outgoing.append((reply, peer))
        if self._full:
            self._queued += 1
        elif len(self._outgoing) >= _BATCH:
            self._flush()
        elif not self._reading and not self._flushing:
            self._flushing = True
            self._reactor.callLater(0, self._flushLater)
        return True

    def _flushLater(self) -> None:
        self._flushing = False
        self._flush()

    def _flush(self) -> None:
        """
        Send what is to be sent, as far as the socket takes it.
        """
        if self._closed or self._full or not self._outgoing:
            return
        done = self._worker.send(list(self._outgoing))
        if done == len(self._outgoing):
            self._outgoing.clear()
            return
        for _ in range(done):
            self._outgoing.popleft()
        self._full = True
        self._queued += len(self._outgoing)
        self._reactor.addWriter(self)


# Not as a decorator: a compiled class takes none.
classImplements(CompiledDatagramListener, IReadWriteDescriptor)
