# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The real chain and server, as they are put together for operators, behind both
replay stores: on a clock that tests set, with an upstream they know.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from dnsguard.answer import Outcome
from dnsguard.assembly.chain import makeChain
from dnsguard.assembly.listeners import serverLimits
from dnsguard.assembly.refreshing import Caches
from dnsguard.config.model import Config
from dnsguard.interfaces import IPolicies, IQueryObserver, IReplayStore
from dnsguard.observers.event import QueryEvent
from dnsguard.query import Transport
from dnsguard.replay.carrier import ReplyCarrier
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.server.factory import GuardServerFactory
from dnsguard.testing import Asked, FakeUpstream
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import Strategy
from dnsguard.wire.layout import scan
from dnsguard.wire.names import ROOT
from tests.support.differential import Mismatch

__all__ = ["ComposedServer", "TruthfulUpstream"]

_REPLAYED = frozenset({Outcome.CACHED, Outcome.LOCAL, Outcome.BLOCKED, Outcome.SAFE_SEARCH})

_A, _CNAME, _SOA, _AAAA = 1, 5, 6, 28
_SOA_DATA = b"\2ns\xc0\x0c\1h\xc0\x0c" + struct.pack("!5I", 1, 7200, 900, 86400, 15)
_FAILURES = {b"fail": 2, b"refused": 5}


class TruthfulUpstream:
    """
    Answers every question differently each time it is asked, so that a reply
    made of an older answer is told from one made of the newest.

    What the first label says is how: C{t<TTL>}, C{many}, C{alias}, C{nx}, C{empty},
    C{fail}, C{refused}; C{slow} to wait until C{settle} is called.
    """

    def __init__(self, clock: Any) -> None:
        self.upstream = FakeUpstream(answer=self._answer, clock=clock)
        self._clock = clock
        self._waiting: list[Asked] = []
        self._serial = 0

    def settle(self) -> None:
        """
        Answer what waits.
        """
        waiting, self._waiting = self._waiting, []
        for asked in waiting:
            self._say(asked)

    def _answer(self, asked: Asked) -> None:
        if asked.question[:5] == b"\4slow":
            self._waiting.append(asked)
        else:
            # No upstream answers while it is being asked.
            self._clock.callLater(0, self._say, asked)

    def _say(self, asked: Asked) -> None:
        if asked.pending:
            asked.replyWire(self._reply(asked.question))

    def _reply(self, question: bytes) -> bytes:
        self._serial += 1
        label = question[1 : 1 + question[0]]
        (type,) = struct.unpack_from("!H", question, len(question) - 4)
        rCode, answers, authority = _FAILURES.get(label, 0), b"", b""
        count = 0
        if label in (b"nx", b"empty") or (not rCode and type not in (_A, _CNAME, _AAAA, 16)):
            rCode = 3 if label == b"nx" else rCode
            authority = self._record(_SOA, 40, _SOA_DATA)
        elif not rCode:
            ttl = int(label[1:]) if label[:1] == b"t" and label[1:].isdigit() else 20
            if label == b"alias":
                count += 1
                answers += self._record(_CNAME, 30, b"\2t5\xc0\x12")
                ttl = 5
            for number in range(40 if label == b"many" else 1):
                count += 1
                answers += self._record(type, ttl + number % 3, self._data(type, number))
        header = struct.pack("!HHHHHH", 0, 0x8180 | rCode, 1, count, bool(authority), 0)
        return header + question + answers + authority

    def _record(self, type: int, ttl: int, data: bytes) -> bytes:
        return struct.pack("!HHHIH", 0xC00C, type, 1, ttl, len(data)) + data

    def _data(self, type: int, number: int) -> bytes:
        if type == _CNAME:
            return b"\3t%02d\xc0\x0c" % (self._serial % 100)
        if type == 16:
            return b"\x08%08d" % self._serial
        address = struct.pack("!BBH", 10, number, self._serial & 0xFFFF)
        return address if type == _A else bytes(12) + address


@implementer(IReplayStore)
class _Behind:
    """
    What the server takes for its replay store: those that are to hear of what it
    makes.
    """

    generation = 0

    def __init__(self, stores: list[Any]) -> None:
        self.stores = stores
        self.open: list[Any] = []

    def lookup(
        self, datagram: bytes, address: bytes, now: float, stream: bool = False
    ) -> bytes | None:
        return None

    def lookupAll(
        self, datagrams: Sequence[bytes], addresses: Sequence[bytes], now: float
    ) -> tuple[list[bytes], list[int]]:
        return [], list(range(len(datagrams)))

    def lookupStream(
        self, octets: bytes, start: int, address: bytes, now: float, most: int
    ) -> tuple[int, bytes, int]:
        return start, b"", 0

    def remember(self, *arguments: Any) -> None:
        for store in self.open:
            store.remember(*arguments)

    def beginCarrying(self, judge: Any) -> None:
        raise AssertionError("each store is gone through by itself")

    def carryOn(self, most: int, now: float) -> bool:
        raise AssertionError("each store is gone through by itself")

    def adopt(self, policy: Any, kept: Any = None) -> None:
        self.generation = policy.generation

    def forget(self, qname: bytes | None) -> None:
        for store in self.stores:
            store.forget(qname)

    def drain(self) -> Any:
        raise AssertionError("each store is drained by itself")


@implementer(IQueryObserver)
class _Heard:
    """
    Hears of the last query answered.
    """

    last: QueryEvent | None = None

    def queryAnswered(self, event: QueryEvent) -> None:
        self.last = event

    def queriesReplayed(self, batch: Any) -> None:
        raise AssertionError("told of nothing but queries")


class ComposedServer:
    """
    A server, and the stores before it.

    @ivar clock: The time.
    @ivar carriers: What lets the replies of each store live on.
    @ivar asked: How many requests there were.
    @ivar replayed: How many replies each store gave.
    @ivar outcomes: How what was replayed had been answered.
    """

    def __init__(self, config: Config, policies: Any, stores: list[Any]) -> None:
        """
        @param policies: An L{IPolicies}.
        @param stores: The replay stores.
        """
        assert IPolicies.providedBy(policies)
        self.clock = MemoryReactorClock()
        self.clock.advance(1000.0)
        self.stores = stores
        self.policies = policies
        self.truth = TruthfulUpstream(self.clock)
        self._behind = _Behind(self.stores)
        self.carriers = [ReplyCarrier(store, policies, self.clock) for store in stores]
        followers: list[Any] = [self._behind, *self.carriers]
        for each in followers:
            each.adopt(policies.current)
            policies.subscribe(each.adopt)
        group = Group.of(Strategy.FAILOVER, [self.truth.upstream])
        forwarder = ForwardingResolver(UpstreamSet({ROOT: group}), clock=self.clock)
        self.caches = Caches(
            config, forwarder, self.clock, self.clock.seconds, replay=self._behind
        )
        self.caches.startService()
        self._heard = _Heard()
        self.server = GuardServerFactory(
            resolver=makeChain(config, policies, forwarder, self.clock, self.caches).resolver,
            policies=policies,
            clock=self.clock,
            replay=self._behind,
            limits=serverLimits(config),
            observers=(self.caches.counter, self._heard),
            wallClock=self.clock.seconds,
        )
        self.asked = 0
        self.replayed = [0] * len(self.stores)
        self.outcomes: set[Outcome] = set()

    def close(self) -> None:
        """
        End what was begun.
        """
        self.caches.stopService()

    def ask(self, datagram: bytes, address: bytes) -> None:
        """
        Ask each store, and the chain what it says to the same request at this
        moment. Stores that had nothing hear of what it says.

        @raise Mismatch: A store said something else.
        """
        self.asked += 1
        now = self.clock.seconds()
        found = [store.lookup(datagram, address, now) for store in self.stores]
        self._behind.open = [
            store for store, reply in zip(self.stores, found, strict=True) if reply is None
        ]
        said: list[bytes] = []
        self._heard.last = None

        def respond(reply: bytes) -> bool:
            said.append(reply)
            return True

        self.server.requestReceived(datagram, address, Transport.UDP, respond)
        self.clock.advance(0)
        self._behind.open = []
        for number, reply in enumerate(found):
            if reply is not None:
                self.replayed[number] += 1
                self._check(reply, said, f"store {number}, {datagram!r}")

    def _check(self, found: bytes, said: list[bytes], where: str) -> None:
        event = self._heard.last
        if not said or event is None:
            raise Mismatch(f"{where}: the chain has nothing to say yet")
        outcome = event.answer.outcome
        if outcome not in _REPLAYED:
            raise Mismatch(f"{where}: the chain had to ask, and says {outcome}")
        self.outcomes.add(outcome)
        compare(found, said[0], outcome is Outcome.CACHED, where)

    def drain(self) -> None:
        """
        Have the first store's hits counted as the server does, and the other's
        as well taken from it.
        """
        for number, store in enumerate(self.stores):
            batch = store.drain()
            if not number:
                self.caches.counter.queriesReplayed(batch)

    def clear(self, qname: bytes | None) -> None:
        """
        Clear the caches of a name, or of everything.
        """
        clearing = self.caches.clearing
        done: list[Any] = []
        (clearing.clear() if qname is None else clearing.forget(qname)).addBoth(done.append)
        for _ in range(1000):
            if done:
                break
            self.clock.advance(0)
        assert isinstance(done[0], int), done


def compare(found: bytes, expected: bytes, counted: bool, where: str = "") -> None:
    """
    Compare a store's reply with the chain's: equal but for TTLs.

    @param counted: Does the chain count all TTLs down? Otherwise the store's may be
        less, as it was made earlier. Each may be off by the one second that is
        lost when two parts of a time are rounded by themselves.
    @raise Mismatch: They aren't.
    """
    ours, theirs = scan(found), scan(expected)
    if ours.ttls != theirs.ttls or ours.size != theirs.size:
        raise Mismatch(f"{where}: {found!r} isn't laid out like {expected!r}")
    blank = [bytearray(found), bytearray(expected)]
    for at in ours.ttls:
        said, now = (int.from_bytes(m[at : at + 4], "big") for m in (expected, found))
        if now > said + 1 or (counted and now < said - 1):
            raise Mismatch(f"{where}: a TTL of {now}, and not {said}")
        for message in blank:
            message[at : at + 4] = bytes(4)
    if blank[0] != blank[1]:
        raise Mismatch(f"{where}: {found!r} isn't {expected!r}")
