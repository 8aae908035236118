# -*- test-case-name: tests.server.test_factory -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The server, as Twisted Names knows servers.

L{GuardServerFactory} can stand wherever a stock C{DNSServerFactory} stands,
behind a stock C{DNSDatagramProtocol} or C{DNSProtocol} in a C{.tac}; its stock
door leads into the same L{Corridor} as the door for octets that our own
listeners use. So what stock code forgets in its replies is made good for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.names import dns, server
from twisted.python.failure import Failure

from dnsguard.interfaces import IAnswerer, IPolicies, IQueryObserver, IReplayStore
from dnsguard.query import Transport
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.server.address import pack
from dnsguard.server.corridor import Corridor, ServerLimits
from dnsguard.server.door import Respond
from dnsguard.server.reply import refuse
from dnsguard.server.stream import StreamFactory, StreamLimits
from dnsguard.wire.edns import InvalidOPT
from dnsguard.wire.layout import MalformedMessage, scan

__all__ = ["GuardServerFactory", "Reply"]


class Reply:
    """
    A finished reply in the shape in which stock protocols' C{writeMessage}
    takes messages.
    """

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def toStr(self) -> bytes:
        """
        The octets.
        """
        return self.octets


class GuardServerFactory(Corridor, server.DNSServerFactory):
    """
    A DNS server that knows who asks, and says what its answerers mean.

    @ivar streams: The L{StreamFactory} that makes protocols for connections
        accepted by this factory itself.
    """

    noisy = False

    def __init__(
        self,
        authorities: Sequence[Any] | None = None,
        caches: Sequence[Any] | None = None,
        clients: Sequence[Any] | None = None,
        verbose: int = 0,
        *,
        resolver: Any = None,
        policies: IPolicies | None = None,
        clock: IReactorTime | None = None,
        observers: Sequence[IQueryObserver] = (),
        replay: IReplayStore | None = None,
        limits: ServerLimits | None = None,
        streams: StreamLimits | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        @param authorities: As the stock factory takes them, likewise
            C{caches}, C{clients} and C{verbose}.
        @param resolver: In place of those three, the one to ask: anything
            with an C{answer} method, or a stock resolver.
        @param policies: As L{Corridor} takes them, likewise C{clock},
            C{observers}, C{replay}, C{limits} and C{wallClock}.
        @param streams: The limits of connections that this factory accepts.
        @raise TypeError: A stock resolver, or the three lists, can't be
            adapted to L{IAnswerer}, or both forms are used.
        """
        elements = [*(authorities or ()), *(caches or ()), *(clients or ())]
        if resolver is not None and elements:
            raise TypeError("give either resolver= or authorities, caches and clients")
        server.DNSServerFactory.__init__(self, authorities, caches, clients, verbose)
        # The stock chain makes plain queries of ours, and of the caches only
        # the last is ever filled: the chain in its place fills them all.
        self.cache = None
        if resolver is None:
            resolver = AnswererChain(elements)
        else:
            self.canRecurse = True
        limits = ServerLimits() if limits is None else limits
        if not self.canRecurse:
            replies = attrs.evolve(limits.replies, recursionAvailable=False)
            limits = attrs.evolve(limits, replies=replies)
        Corridor.__init__(
            self,
            resolver if hasattr(resolver, "answer") else IAnswerer(resolver),
            policies=policies,
            clock=clock,
            observers=observers,
            replay=replay,
            limits=limits,
            wallClock=wallClock,
        )
        self.streams = StreamFactory(self, Transport.TCP, streams, clock, replay)

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """
        Make the protocol for one accepted connection, or L{None} when there
        are too many.
        """
        return self.streams.buildProtocol(addr)

    def messageReceived(
        self, message: dns.Message, proto: Any, address: tuple[Any, ...] | None = None
    ) -> None:
        """
        Take a decoded request from a stock protocol.
        """
        if message.answer:
            # RFC 8906 §3: answering answers makes two servers talk for ever.
            self.counters.received += 1
            self.counters.dropped += 1
            return
        super().messageReceived(message, proto, address)

    def allowQuery(
        self, message: dns.Message, protocol: Any, address: tuple[Any, ...] | None
    ) -> bool:
        """
        Let everything in: what must be refused is refused behind this door
        and the other one alike. Override it to answer some with REFUSED.
        """
        return True

    def handleQuery(
        self, message: dns.Message, protocol: Any, address: tuple[Any, ...] | None
    ) -> None:
        """
        Have a query answered.
        """
        self.requestReceived(message.toStr(), *self._way(protocol, message, address))

    def gotResolverResponse(
        self,
        response: Any,
        protocol: Any,
        message: dns.Message,
        address: tuple[Any, ...] | None,
    ) -> None:
        """
        Reply with an answer that a subclass has found its own way.

        @param response: An L{dnsguard.answer.Answer}, or a stock resolver's
            three lists.
        """
        self._conclude(response, protocol, message, address)

    def gotResolverError(
        self,
        failure: Failure,
        protocol: Any,
        message: dns.Message,
        address: tuple[Any, ...] | None,
    ) -> None:
        """
        Reply with what a failure stands for that a subclass has got.
        """
        self._conclude(failure, protocol, message, address)

    def sendReply(self, protocol: Any, message: Any, address: tuple[Any, ...] | None) -> None:
        """
        Send a reply. A message that is still marked as a query, as stock code
        sends REFUSED and NOTIMP, is made a proper reply first.
        """
        if not isinstance(message, Reply) and not message.answer:
            message = Reply(self._refusal(message))
        if address is None:
            protocol.writeMessage(message)
        else:
            protocol.writeMessage(message, address)

    def _way(
        self, protocol: Any, message: dns.Message, address: tuple[Any, ...] | None
    ) -> tuple[bytes, Transport, Respond]:
        """
        Who asks through a stock protocol, over what, and the way back.
        """
        respond = partial(self._write, protocol, message, address)
        if address is not None:
            return pack(address[0]), Transport.UDP, respond
        peer = getattr(protocol.transport.getPeer(), "host", "")
        return pack(peer), Transport.TCP, respond

    def _conclude(
        self, result: Any, protocol: Any, message: dns.Message, address: tuple[Any, ...] | None
    ) -> None:
        """
        Reply with a result that was found elsewhere.
        """
        request = message.toStr()
        layout = scan(request)
        if layout.counts[0] != 1:
            message.rCode = dns.EFORMAT
            self.sendReply(protocol, message, address)
            return
        self.counters.received += 1
        exchange = self._exchange(request, layout, *self._way(protocol, message, address))
        if isinstance(result, Failure):
            result = self._answerOf(exchange, result)
        self._finish(exchange, result)

    def _write(
        self, protocol: Any, message: dns.Message, address: tuple[Any, ...] | None, reply: bytes
    ) -> bool:
        """
        Send a reply's octets through the stock protocol.
        """
        if not protocol.transport or not getattr(protocol, "connected", True):
            return False
        self.sendReply(protocol, Reply(reply), address)
        return True

    def _refusal(self, message: dns.Message) -> bytes:
        """
        The reply to a request that stock code turns away.
        """
        request = message.toStr()
        try:
            layout = scan(request)
        except (MalformedMessage, InvalidOPT):
            layout = None
        self.counters.received += 1
        self.counters.refused += 1
        return refuse(request, message.rCode or dns.EREFUSED, self.limits.replies, layout)
