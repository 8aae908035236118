# -*- test-case-name: tests.replay -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The replay store in pure Python.

Most requests of a name are octet for octet the same but for their id, so the
first thing looked up is the request itself: two dictionaries, a comparison and
a concatenation make the reply. Only a request that isn't found so is read. The
compiled twin is L{dnsguard.replay._store}.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from time import time_ns
from typing import Any

from zope.interface import implementer

from dnsguard.interfaces import IReplayStore
from dnsguard.replay.batch import ReplayBatch
from dnsguard.replay.bounds import DRAIN_LIMIT, LONGEST, STREAM_MOST, checkBounds
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.replay.held import HeldReplies
from dnsguard.replay.kept import Exact, KeptReply, isAnswer
from dnsguard.replay.key import LIMIT_MAX, requestKey
from dnsguard.replay.lives import Judge, Kept, Lives
from dnsguard.replay.views import MAPPED, NOBODY, ViewMap

__all__ = ["PythonReplayStore"]

_PLACES_MAX = 65536
_ALIASES_MAX = 4
_BURIED_WITH_EACH = 8
_BURIED_BY_DRAIN = 2000

_SHARED = struct.Struct("=qQIH18s")
_VIEW = struct.Struct("!I")

_Place = tuple[Exact, bytes, int]


def _since(arrived: int) -> int:
    """
    Nanoseconds that have passed, as a record has them.
    """
    took = time_ns() - arrived
    # 0 if somebody has set the clock meanwhile.
    return took if 0 <= took <= 0xFFFFFFFF else 0


@implementer(IReplayStore)
class PythonReplayStore(HeldReplies):
    """
    A bounded store of finished replies. Reactor thread only.

    An entry that the bounds push out is the oldest one not replayed since the
    hand of a clock last came by.
    """

    compiled = False

    def __init__(
        self,
        *,
        maxEntries: int = 100_000,
        maxBytes: int = 128 << 20,
        payloadLimit: int = 1232,
        ringSize: int = 1 << 18,
    ) -> None:
        """
        @param maxEntries: Replies kept at most.
        @param maxBytes: Octets they may cost, overhead included.
        @param payloadLimit: The most octets of UDP reply this server sends.
            Replies over L{LIMIT_MAX} aren't kept.
        @param ringSize: Records kept at most until L{drain}, a power of two or
            rounded up to one.
        @raise ValueError: An argument is out of range.
        """
        checkBounds(maxEntries, maxBytes, payloadLimit, ringSize)
        super().__init__(maxEntries, maxBytes)
        self.generation = 0
        self._payloadLimit = min(payloadLimit, LIMIT_MAX)
        self._ringSize = 1 << (ringSize - 1).bit_length()
        self._networks: tuple[Any, ...] = ()
        self._map = ViewMap.of((), 0)
        self._number = 0
        self._places: dict[bytes, _Place] = {}
        self._lives = Lives(self._change)
        self._log: list[bytes] = []
        self._touched: list[KeptReply] = []
        self._taken: list[bytes] = []
        self._takenFacts: dict[int, ReplayedAnswer] = {}
        self._changed: dict[int, ReplayedAnswer] = {}
        self._drained = self._dropped = self._misses = 0
        self._stored = self._replaced = self._refused = 0

    def lookup(
        self, datagram: bytes, address: bytes, now: float, stream: bool = False
    ) -> bytes | None:
        """
        Find the finished reply to a request. See L{IReplayStore.lookup}.

        @param stream: Came it over a stream? Records say so.
        """
        arrived = time_ns()
        place = self._places.get(address) or self._place(address)
        entry = place[0].get(datagram[2:])
        if (
            entry is not None
            and entry.until >= self._life
            and (entry.since <= now < entry.turns or entry.turn(now))
        ):
            reply = datagram[:2] + entry.body
        else:
            entry, reply = self._read(datagram, place, now)
            if entry is None:
                self._misses += 1
                return None
        log = self._log
        if len(log) >= self._ringSize:
            self._dropped += 1
            return reply
        if not entry.touched:
            entry.touched = entry.visited = True
            self._touched.append(entry)
        tail = b"\1" + place[1][1:] if stream else place[1]
        log.append(_SHARED.pack(arrived, entry.number, _since(arrived), len(reply), tail))
        return reply

    def lookupAll(
        self, datagrams: Sequence[bytes], addresses: Sequence[bytes], now: float
    ) -> tuple[list[bytes], list[int]]:
        """
        Find the finished replies to many requests. See
        L{IReplayStore.lookupAll}.
        """
        arrived = time_ns()
        places, life = self._places, self._life
        replies: list[bytes] = []
        missed: list[int] = []
        noted: list[tuple[int, bytes]] = []
        for datagram, address in zip(datagrams, addresses, strict=True):
            place = places.get(address) or self._place(address)
            entry = place[0].get(datagram[2:])
            if (
                entry is not None
                and entry.until >= life
                and (entry.since <= now < entry.turns or entry.turn(now))
            ):
                replies.append(datagram[:2] + entry.body)
            else:
                entry, reply = self._read(datagram, place, now)
                if entry is None:
                    missed.append(len(replies) + len(missed))
                    continue
                replies.append(reply)
            if not entry.touched:
                entry.touched = entry.visited = True
                self._touched.append(entry)
            noted.append((entry.number, place[1]))
        self._misses += len(missed)
        took = _since(arrived)
        room = max(0, self._ringSize - len(self._log))
        self._dropped += max(0, len(noted) - room)
        pack = _SHARED.pack
        self._log += [
            pack(arrived, number, took, len(reply), tail)
            for (number, tail), reply in zip(noted[:room], replies, strict=False)
        ]
        return replies, missed

    def lookupStream(
        self, octets: bytes | bytearray, start: int, address: bytes, now: float, most: int
    ) -> tuple[int, bytes, int]:
        """
        Find the finished replies to messages of a stream. See
        L{IReplayStore.lookupStream}.
        """
        if not 0 <= start <= len(octets):
            raise ValueError(f"{start} isn't within the octets")
        parts: list[bytes] = []
        written, size = 0, len(octets)
        most = min(max(most, 1), STREAM_MOST)
        while written < most:
            body = start + 2
            end = body + int.from_bytes(octets[start:body], "big")
            if size < body or size < end:
                break
            reply = self.lookup(bytes(octets[body:end]), address, now, True)
            if reply is None:
                break
            parts += (len(reply).to_bytes(2, "big"), reply)
            written += 2 + len(reply)
            start = end
        return start, b"".join(parts), len(parts) // 2

    def _place(self, address: bytes) -> _Place:
        """
        Find the view of a client, and what its records end with.
        """
        plain = address[12:] if len(address) == 16 and address.startswith(MAPPED) else address
        number = self._map.find(plain) if len(plain) in (4, 16) else NOBODY
        tail = bytes((0, 4 if len(plain) == 4 else 6)) + plain
        exact = {} if number <= NOBODY else self._exact.setdefault(number, {})
        if len(self._places) >= _PLACES_MAX:
            self._places.clear()
        place = self._places[address] = (exact, tail, number)
        return place

    def _read(
        self, datagram: bytes, place: _Place, now: float
    ) -> tuple[KeptReply, bytes] | tuple[None, bytes]:
        """
        Find the entry for a request that wasn't found by its very octets.
        """
        number = place[2]
        request = requestKey(datagram, self._payloadLimit)
        if request is None or number <= NOBODY:
            return None, b""
        entry = self._entries.get(request.octets + _VIEW.pack(number))
        if entry is None or entry.until < self._life:
            return None, b""
        if len(entry.reply) > request.limit or not entry.turn(now):
            if now >= entry.expires:
                self._expired += 1
                self._remove(entry)
            return None, b""
        name = datagram[12 : 12 + len(entry.qname)]
        if name == entry.qname and len(entry.aliases) < _ALIASES_MAX:
            self._alias(entry, datagram[2:])
        return entry, datagram[:2] + entry.body[:10] + name + entry.body[10 + len(name) :]

    def remember(
        self, datagram: bytes, reply: bytes, facts: ReplayedAnswer, seconds: float, now: float
    ) -> None:
        """
        Keep a finished reply. See L{IReplayStore.remember}.

        A reply made under another policy than L{generation}, or for a view
        that C{facts} doesn't name, isn't kept.
        """
        request = requestKey(datagram, self._payloadLimit)
        if (
            request is None
            or facts.viewNumber is None
            or facts.viewNumber <= NOBODY
            or facts.generation != self.generation
            or not seconds > 0
            or not isAnswer(reply, request)
        ):
            self._refused += 1
            return
        key = request.octets + _VIEW.pack(facts.viewNumber)
        old = self._entries.get(key)
        if old is not None:
            self._replaced += 1
            self._remove(old)
        self._number += 1
        self._stored += 1
        exact = self._exact.setdefault(facts.viewNumber, {})
        qname = request.question[:-4]
        expires = now + min(seconds, LONGEST)
        facts, until = self._lives.of(facts)
        entry = KeptReply(key, qname, self._number, reply, facts, now, expires, exact, until)
        self._hold(entry)
        self._alias(entry, datagram[2:12] + qname + datagram[12 + len(qname) :])
        self._evict(entry, now)
        self._bury(_BURIED_WITH_EACH)

    def beginCarrying(self, judge: Judge) -> None:
        """
        Begin to carry entries over to a policy to come. See
        L{IReplayStore.beginCarrying}.
        """
        self._lives.begin(judge, self._entries.values())

    def carryOn(self, most: int, now: float) -> bool:
        """
        Judge some more entries. See L{IReplayStore.carryOn}.
        """
        return self._lives.goOn(most, now)

    def _change(self, entry: KeptReply, facts: ReplayedAnswer) -> None:
        """
        Give an entry other facts, and another number: what was recorded keeps its.
        """
        if entry.touched:
            self._changed[entry.number] = entry.facts
        self._number += 1
        entry.number, entry.facts = self._number, facts

    def adopt(self, policy: Any, kept: Kept = Kept.NOTHING) -> None:
        """
        Turn to another policy. See L{IReplayStore.adopt}.
        """
        networks = (policy.defaultView.number, *policy.networks())
        if networks != self._networks:
            self._map = ViewMap.of(networks[1:], networks[0])
            self._networks = networks
        self.generation = policy.generation
        self._turn(kept)

    def _turn(self, kept: Kept) -> None:
        """
        Begin another life.
        """
        nothing = self._lives.turn(kept, len(self._entries))
        self._life = self._lives.current
        self._places = {}
        if nothing:
            self._clear()
        elif kept is not Kept.ALL:
            self._sweepLater()

    def forget(self, qname: bytes | None) -> None:
        """
        Drop all entries for a name, or all. See L{IReplayStore.forget}.
        """
        if qname is None:
            self._turn(Kept.NOTHING)
            return
        for entry in list(self._names.get(qname, ())):
            self._remove(entry)

    def drain(self) -> ReplayBatch:
        """
        Take the records. See L{IReplayStore.drain}.
        """
        if not self._taken:
            self._take()
        part = self._taken[:DRAIN_LIMIT]
        del self._taken[:DRAIN_LIMIT]
        self._drained += len(part)
        self._bury(_BURIED_BY_DRAIN)
        return ReplayBatch(b"".join(part), self._takenFacts.__getitem__)

    def _take(self) -> None:
        """
        Begin a new log; the one before is given away part by part.
        """
        self._taken, self._log = self._log, []
        touched, self._touched = self._touched, []
        self._takenFacts = {entry.number: entry.facts for entry in touched} | self._changed
        self._changed = {}
        for entry in touched:
            entry.touched = False

    def counters(self) -> dict[str, int]:
        """
        What there is, and what happened since the start. See
        L{dnsguard.replay}.
        """
        return {
            "entries": len(self._entries),
            "bytes": self._bytes,
            "hits": self._drained + len(self._taken) + len(self._log) + self._dropped,
            "misses": self._misses,
            "stored": self._stored,
            "replaced": self._replaced,
            "evicted": self._evicted,
            "expired": self._expired,
            "refused": self._refused,
            "carried": self._lives.carried,
            "ended": self._lives.ended,
            "ringDropped": self._dropped,
        }
