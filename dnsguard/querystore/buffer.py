# -*- test-case-name: tests.querystore.test_buffer -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rows on their way to the store.

Rows are gathered as the octets they will travel as (see L{Block}), so that a
buffered query costs 32 octets and no object, and replayed queries are taken
over thousands at a time. The buffer is bounded; what it has no room for is
counted, never waited for.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dnsguard.querystore.rows import (
    PROTOCOLS,
    ROW,
    SKIP,
    Block,
    factFragment,
    fragment,
    transportOf,
)

if TYPE_CHECKING:
    from dnsguard.observers.event import QueryEvent
    from dnsguard.replay.entry import ReplayedAnswer

try:
    from dnsguard.querystore._rows import translate
except ImportError:
    from dnsguard.querystore.encoding import translate

__all__ = ["RowBuffer"]

_PROTOCOL_NUMBERS = {word: number for number, word in enumerate(PROTOCOLS)}
_MAX_MICROSECONDS = 0xFFFFFFFF


class RowBuffer:
    """
    Gathers rows and gives them away in blocks. One thread.

    @ivar capacity: Rows it holds at most.
    @ivar recorded: Rows taken in since the start.
    @ivar dropped: Rows there was no room for since the start.
    @ivar leftOut: Rows excluded or not sampled since the start.
    """

    def __init__(
        self,
        capacity: int,
        clientOf: Callable[[str, str], tuple[str, str] | None] = lambda *client: client,
        nameOf: Callable[[str], str] = lambda address: "",
        excludesName: Callable[[bytes], bool] = lambda qname: False,
        sampleRate: float = 1.0,
        instance: str = "",
        maxOctets: int = 0,
        upstreamTransport: Callable[[str], str] = transportOf,
    ) -> None:
        """
        @param clientOf: Turns a client's address and name into what is stored
            of them, or L{None}: leave its queries out.
        @param nameOf: Gives the configured name of a client's address, for
            replayed queries, which know only that.
        @param excludesName: Are queries for this name left out?
        @param sampleRate: The share of queries recorded.
        @param instance: This server's name.
        @param maxOctets: A bound for rows and shared texts together; 0 means
            256 octets a row.
        @param upstreamTransport: Tells how an upstream is spoken to.
        """
        self.capacity = capacity
        self.recorded = self.dropped = self.leftOut = 0
        self._maxOctets = maxOctets or capacity * 256
        self._clientOf = clientOf
        self._nameOf = nameOf
        self._excludesName = excludesName
        self._upstreamTransport = upstreamTransport
        self._instance = instance
        self._random = random.Random()
        self._threshold = min(SKIP, int(sampleRate * 2**32))
        self._begin()

    def _begin(self) -> None:
        """
        Start a new block.
        """
        self._rows = bytearray()
        self._clients: list[bytes] = []
        self._facts: list[bytes] = []
        self._clientIndexes: dict[tuple[str, str], int] = {}
        self._packedIndexes: dict[bytes, int] = {}
        self._factIndexes: dict[Any, int] = {}
        self._entryIndexes: dict[int, tuple[ReplayedAnswer, int]] = {}
        self._octets = 0

    @property
    def used(self) -> int:
        """
        Rows held.
        """
        return len(self._rows) // ROW.size

    @property
    def octets(self) -> int:
        """
        Octets of the rows and texts held.
        """
        return self._octets + len(self._rows)

    def add(self, event: QueryEvent) -> None:
        """
        Take in one query that went through the chain.
        """
        if self._threshold < SKIP and self._random.getrandbits(32) >= self._threshold:
            self.leftOut += 1
            return
        query = event.query
        asker = query.asker
        client = self._clientIndex(asker.address, asker.clientName)
        fact = SKIP if client == SKIP else self._eventIndex(event)
        if fact == SKIP:
            self.leftOut += 1
            return
        if self.used >= self.capacity or self.octets >= self._maxOctets:
            self.dropped += 1
            return
        self._rows += ROW.pack(
            int(event.finished * 1000 - event.duration * 1000),
            client,
            fact,
            _microseconds(event.duration),
            _microseconds(event.cacheSeconds),
            _microseconds(event.writeSeconds),
            _PROTOCOL_NUMBERS[query.transport.value],
        )
        self.recorded += 1

    def addReplayed(self, batch: Any) -> None:
        """
        Take in queries answered from the replay store.

        @param batch: An L{dnsguard.interfaces.IReplayBatch}.
        """
        facts = self._entryFacts(batch.hits, batch.entries)
        room = 0 if self.octets >= self._maxOctets else self.capacity - self.used
        before = self.used
        leftOut, dropped = translate(
            batch.records,
            facts,
            self._packedIndex,
            self._rows,
            room,
            self._threshold,
            self._random.getrandbits(64),
        )
        self.recorded += self.used - before
        self.leftOut += leftOut
        self.dropped += dropped

    def take(self) -> Block | None:
        """
        Give all rows away, or L{None} if there are none.
        """
        if not self._rows:
            # Clients and facts may have been noted for rows that had no room.
            self._begin()
            return None
        block = Block(
            os.urandom(16),
            self._instance,
            bytes(self._rows),
            tuple(self._clients),
            tuple(self._facts),
        )
        self._begin()
        return block

    def _clientIndex(self, address: str, name: str) -> int:
        """
        Give a client's place in the block, or L{SKIP}.
        """
        index = self._clientIndexes.get((address, name))
        if index is None:
            shown = self._clientOf(address, name)
            index = SKIP if shown is None else self._append(self._clients, fragment(shown))
            self._clientIndexes[address, name] = index
        return index

    def _packedIndex(self, packed: bytes) -> int:
        """
        Give a client's place in the block by its address family's octet and
        the 16 octets of its address.
        """
        index = self._packedIndexes.get(packed)
        if index is None:
            if packed[0] == 4:
                address = socket.inet_ntop(socket.AF_INET, packed[1:5])
            else:
                address = socket.inet_ntop(socket.AF_INET6, packed[1:17])
            index = self._packedIndexes[packed] = self._clientIndex(address, self._nameOf(address))
        return index

    def _eventIndex(self, event: QueryEvent) -> int:
        """
        Give the place of what an event shares with others, or L{SKIP}.
        """
        query, answer = event.query, event.answer
        rCode = answer.rCode if event.replySize else None
        # The reply was made of these octets, so they are there already.
        wire, _ = answer.encoded(query.question)
        key = (
            query.qname,
            query.type,
            query.cls,
            answer.outcome,
            rCode,
            query.asker.groupID,
            answer.upstream,
            answer.authenticData,
            answer.attribution,
            wire,
        )
        index = self._factIndexes.get(key)
        if index is None:
            if self._excludesName(query.qname):
                index = SKIP
            else:
                index = self._append(
                    self._facts,
                    factFragment(
                        query.qname,
                        query.type,
                        query.cls,
                        answer.outcome.value,
                        rCode,
                        query.asker.groupID,
                        answer.attribution,
                        answer,
                        self._upstreamTransport(answer.upstream),
                    ),
                )
            self._factIndexes[key] = index
        return index

    def _entryFacts(
        self, hits: Iterable[int], entries: Mapping[int, ReplayedAnswer]
    ) -> dict[int, int]:
        """
        Give the places of the facts of replay entries in the block, or L{SKIP}.

        The loop has no calls for entries met before in the block: there may be
        as many of them as rows.
        """
        known = self._entryIndexes
        facts = {}
        for number in hits:
            entry = entries[number]
            met = known.get(number)
            # The store may give the number of an entry it evicted to another.
            if met is None or met[0] is not entry:
                met = known[number] = (entry, self._entryIndex(entry))
            facts[number] = met[1]
        return facts

    def _entryIndex(self, entry: ReplayedAnswer) -> int:
        """
        Note a replay entry's facts, or give L{SKIP} for one left out. They are
        encoded once, and kept with the entry for blocks to come; no entry
        outlives a change of what is left out.
        """
        made = entry.row
        if made is None:
            made = entry.row = self._entryFragment(entry)
        return self._append(self._facts, made) if made else SKIP

    def _entryFragment(self, entry: ReplayedAnswer) -> bytes:
        """
        Encode a replay entry's facts; of one left out, nothing. What is
        replayed came from no upstream this time.
        """
        if self._excludesName(entry.qname):
            return b""
        return factFragment(
            entry.qname,
            entry.type,
            entry.cls,
            entry.outcome.value,
            entry.rCode,
            entry.groupID,
            entry.attribution,
            entry.answer,
            "",
        )

    def _append(self, fragments: list[bytes], made: bytes) -> int:
        """
        Note a fragment and give its place.
        """
        fragments.append(made)
        self._octets += len(made) + 64
        return len(fragments) - 1


def _microseconds(seconds: float) -> int:
    """
    Give a time as a row has it; an hour and more is as good as an hour.
    """
    return min(_MAX_MICROSECONDS, max(0, int(seconds * 1e6 + 0.5)))
