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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dnsguard.querystore.block import Block
from dnsguard.querystore.entries import EntryFragments
from dnsguard.querystore.rows import (
    FRAGMENT_OVERHEAD,
    PROTOCOLS,
    ROW,
    SKIP,
    Frame,
    factFrame,
    fragment,
    framedFact,
    transportOf,
)

if TYPE_CHECKING:
    from dnsguard.observers.event import QueryEvent
    from dnsguard.policy.asker import Asker

try:
    from dnsguard.querystore._facts import appendRow  # type: ignore[import-not-found]
    from dnsguard.querystore._rows import ReplayedRows
except ImportError:
    from dnsguard.querystore.encoding import (  # type: ignore[assignment]
        ReplayedRows,
        appendRow,
    )

__all__ = ["RowBuffer", "octetsFor"]

_FEW_FRAGMENTS = 1000
"""Fragments of replay entries that are known on, however few are in use."""

_MOST_ENTRIES = 200_000
"""Replay entries whose fragments are known."""

_PROTOCOL_NUMBERS = {word: number for number, word in enumerate(PROTOCOLS)}

_FRAMES = 4096
"""Frames of facts that are held at once."""


def octetsFor(capacity: int) -> int:
    """
    Give a bound in octets for a number of rows: room for all of them, and for
    some ten thousand different texts. Blocks are taken out long before, unless
    the store and the spool are slow.
    """
    return capacity * ROW.size + (8 << 20)


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
        excludesName: Callable[[bytes], bool] | None = None,
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
        @param excludesName: Are queries for this name left out? L{None}: none is.
        @param sampleRate: The share of queries recorded.
        @param instance: This server's name.
        @param maxOctets: A bound for rows and shared texts together; 0 means
            what L{octetsFor} says.
        @param upstreamTransport: Tells how an upstream is spoken to.
        """
        self.capacity = capacity
        self.recorded = self.dropped = self.leftOut = 0
        self._maxOctets = maxOctets or octetsFor(capacity)
        self._clientOf = clientOf
        self._nameOf = nameOf
        self._excludesName = excludesName
        self._upstreamTransport = upstreamTransport
        self._instance = instance
        self._random = random.Random()
        self._threshold = min(SKIP, int(sampleRate * 2**32))
        self._replayed = ReplayedRows(EntryFragments(excludesName).fragment)
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
        self._factIndexes: dict[bytes, int] = {}
        # Most queries come from whoever sent the one before.
        self._lastAsker: Asker | None = None
        self._lastClient = SKIP
        self._frames: dict[tuple[Any, ...], Frame] = {}
        self._octets = 0
        replayed = self._replayed
        # Forget what has gone out of use, rather than hold it for ever.
        most = max(_FEW_FRAGMENTS, 4 * replayed.placed)
        replayed.begin(self._facts, anew=len(replayed) > most)

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
        rows = self._rows
        size = len(rows)
        if size >= self.capacity * ROW.size or self._octets + size >= self._maxOctets:
            self._refuse(event)
            return
        if asker is not self._lastAsker:
            self._lastClient = self._clientIndex(asker.address, asker.clientName)
            self._lastAsker = asker
        client = self._lastClient
        fact = SKIP if client == SKIP else self._eventIndex(event)
        if fact == SKIP:
            self.leftOut += 1
            return
        appendRow(
            rows,
            event.finished,
            event.duration,
            event.cacheSeconds,
            event.writeSeconds,
            client,
            fact,
            _PROTOCOL_NUMBERS[query.transport._value_],
        )
        self.recorded += 1

    def _refuse(self, event: QueryEvent) -> None:
        """
        Count a query that there is no room for. Nothing is noted of it: a full
        block may stay for as long as the store is away.
        """
        asker = event.query.asker
        if self._clientOf(asker.address, asker.clientName) is None or (
            self._excludesName is not None and self._excludesName(event.query.qname)
        ):
            self.leftOut += 1
        else:
            self.dropped += 1

    def meet(self, batch: Any, most: int) -> int:
        """
        Encode what wasn't met before of replayed queries; see
        L{dnsguard.interfaces.IEntryObserver.meet}.
        """
        replayed = self._replayed
        if replayed.met > _MOST_ENTRIES:
            # Here, as a full block may stay for as long as the store is away.
            replayed.begin(self._facts, anew=True)
        met: int = replayed.meet(batch, self._indexFor(self._room()), most)
        return met

    def addReplayed(self, batch: Any) -> None:
        """
        Take in queries answered from the replay store.

        @param batch: An L{dnsguard.interfaces.IReplayBatch}.
        """
        room = self._room()
        before, replayed = self.used, self._replayed
        if replayed.met > _MOST_ENTRIES + len(batch):
            replayed.begin(self._facts, anew=True)
        self._octets -= replayed.octets
        try:
            leftOut, dropped = replayed.translate(
                batch,
                self._indexFor(room),
                self._rows,
                room,
                self._threshold,
                self._random.getrandbits(64),
            )
        finally:
            self._octets += replayed.octets
        self.recorded += self.used - before
        self.leftOut += leftOut
        self.dropped += dropped

    def _room(self) -> int:
        """
        For how many rows there is room.
        """
        return 0 if self.octets >= self._maxOctets else self.capacity - self.used

    def _indexFor(self, room: int) -> Callable[[bytes], int]:
        """
        Give what tells of clients. Once there is no room there is none until
        the next block.
        """
        return self._packedIndex if room > 0 else self._unnotedIndex

    def take(self) -> Block | None:
        """
        Give all rows away, or L{None} if there are none.
        """
        if not self._rows:
            # Clients may have been noted whose queries were left out.
            self._begin()
            return None
        block = Block(
            os.urandom(16),
            self._instance,
            # As it is, and let go of: a copy would be megabytes on a busy server.
            self._rows,
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
            address = _unpacked(packed)
            index = self._packedIndexes[packed] = self._clientIndex(address, self._nameOf(address))
        return index

    def _unnotedIndex(self, packed: bytes) -> int:
        """
        Give L{SKIP} or anything else, as L{_packedIndex}, for a query that there
        is no room for; see L{_refuse}.
        """
        address = _unpacked(packed)
        return SKIP if self._clientOf(address, self._nameOf(address)) is None else 0

    def _eventIndex(self, event: QueryEvent) -> int:
        """
        Give the place of what an event shares with others, or L{SKIP}.
        """
        query, answer = event.query, event.answer
        if self._excludesName is not None and self._excludesName(query.qname):
            return SKIP
        made = framedFact(query.qname, query.type, query.cls, answer, self._frame(event))
        # Made first and looked up then: that costs no more than a key of all
        # that goes into it, and octets are nothing to the garbage collector.
        index = self._factIndexes.get(made)
        if index is None:
            index = self._factIndexes[made] = self._append(self._facts, made)
        return index

    def _frame(self, event: QueryEvent) -> Frame:
        """
        Encode what the facts of many names have in common, once for all.
        """
        query, answer = event.query, event.answer
        rCode = answer.rCode if event.replySize else None
        groupID = query.asker.groupID
        plain = answer.attribution is None and answer.extendedError is None
        key = (
            query.type,
            query.cls,
            answer.outcome,
            rCode,
            answer.upstream,
            groupID,
            answer.authenticData,
        )
        frame = self._frames.get(key) if plain else None
        if frame is None:
            frame = factFrame(
                query.type,
                query.cls,
                answer.outcome._value_,
                rCode,
                groupID,
                answer.attribution,
                answer,
                self._upstreamTransport(answer.upstream),
            )
            if plain and len(self._frames) < _FRAMES:
                self._frames[key] = frame
        return frame

    def _append(self, fragments: list[bytes], made: bytes) -> int:
        """
        Note a fragment and give its place.
        """
        fragments.append(made)
        self._octets += len(made) + FRAGMENT_OVERHEAD
        return len(fragments) - 1


def _unpacked(packed: bytes) -> str:
    """
    Give an address as text by its family's octet and its 16 octets.
    """
    if packed[0] == 4:
        return socket.inet_ntop(socket.AF_INET, packed[1:5])
    return socket.inet_ntop(socket.AF_INET6, packed[1:17])
