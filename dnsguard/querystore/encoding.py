# -*- test-case-name: tests.querystore.test_encoding -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What runs once a row.

These are the Python twins of functions in C{_rows.pyx} and C{_facts.pyx}: used
where those aren't built, and what they are tested against.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from dnsguard.notes import EntryNotes
from dnsguard.querystore.rows import ROW, SKIP

__all__ = ["SHARED_OVERHEAD", "ReplayedRows", "appendRow", "rowBinary"]

SHARED_OVERHEAD = 64
"""Octets that a replay entry's fragment takes in memory besides its own."""

# Records of replayed queries, see L{IReplayBatch}: address family and address are one.
_REPLAY = struct.Struct("=qQI2xB17s")
_CLIENT = struct.Struct("=23x17s")
_TIMES = struct.Struct("<ddd")
_MASK = 0xFFFFFFFFFFFFFFFF
_MAX_MICROSECONDS = 0xFFFFFFFF


def appendRow(
    rows: bytearray,
    finished: float,
    duration: float,
    cacheSeconds: float,
    writeSeconds: float,
    client: int,
    fact: int,
    protocol: int,
) -> None:
    """
    Append the row of one query.

    @param rows: Appended to.
    @param finished: Seconds since the epoch.
    @param duration: Seconds, as the two that follow.
    @param protocol: A place in L{dnsguard.querystore.rows.PROTOCOLS}.
    """
    rows += ROW.pack(
        int(finished * 1000 - duration * 1000),
        client,
        fact,
        _microseconds(duration),
        _microseconds(cacheSeconds),
        _microseconds(writeSeconds),
        protocol,
    )


def _microseconds(seconds: float) -> int:
    """
    Give a time as a row has it; an hour and more is as good as an hour.
    """
    return min(_MAX_MICROSECONDS, max(0, int(seconds * 1e6 + 0.5)))


class ReplayedRows:
    """
    Makes rows of replayed queries. It knows what was made of the entries it has
    met, and which of that is in the block at hand.

    @ivar octets: What it has put into the block, but for the rows.
    """

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        """
        @param encode: Makes the fragment of a replay entry's facts; an empty
            one leaves its queries out.
        """
        self._encode = encode
        self._facts: list[bytes] = []
        self._forget()
        self.begin(self._facts)

    def _forget(self) -> None:
        self._notes = EntryNotes(self._number)
        self._fragments: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        """
        How many fragments it knows.
        """
        return len(self._fragments)

    @property
    def met(self) -> int:
        """
        How many entries it knows.
        """
        return len(self._notes)

    def begin(self, facts: list[bytes], anew: bool = False) -> None:
        """
        Go on in another block.

        @param facts: Where that block's fact fragments are.
        @param anew: Forget all entries.
        """
        self._facts = facts
        self._placed: dict[int, int] = {}
        self._clients: dict[bytes, int] = {}
        self.octets = 0
        if anew:
            self._forget()

    @property
    def placed(self) -> int:
        """
        How many fragments it has put into the block.
        """
        return len(self._placed)

    def _number(self, entry: Any) -> int:
        """
        Number an entry's fragment. Those of many entries are equal: who asks
        with EDNS and who asks without have different ones.
        """
        made = self._encode(entry)
        if not made:
            return SKIP
        number = self._numbers.get(made)
        if number is None:
            number = self._numbers[made] = len(self._fragments)
            self._fragments.append(made)
        return number

    def meet(self, batch: Any, clientIndex: Callable[[bytes], int], most: int) -> int:
        """
        Get ready for some of a batch's entries and clients.

        @param batch: An L{dnsguard.interfaces.IReplayBatch}.
        @param clientIndex: As for L{translate}.
        @param most: Entries and clients at most that weren't met before.
        @return: How many there were. Fewer than C{most}: all is ready.
        """
        met = self._notes.meet(batch, most)
        asking = {key for (key,) in _CLIENT.iter_unpack(batch.records)}
        for key in sorted(asking - self._clients.keys()):
            if met >= most:
                break
            self._clients[key] = clientIndex(key)
            met += 1
        return met

    def _place(self, number: int) -> int:
        """
        Give a fragment's place in the block.
        """
        place = self._placed.get(number)
        if place is None:
            made = self._fragments[number]
            place = self._placed[number] = len(self._facts)
            self._facts.append(made)
            self.octets += len(made) + SHARED_OVERHEAD
        return place

    def translate(
        self,
        batch: Any,
        clientIndex: Callable[[bytes], int],
        rows: bytearray,
        room: int,
        threshold: int,
        seed: int,
    ) -> tuple[int, int]:
        """
        Append the rows of replayed queries.

        @param batch: An L{dnsguard.interfaces.IReplayBatch}.
        @param clientIndex: Called with one octet of address family (4 or 6) and
            16 of address; gives the client's place in this block, or L{SKIP}. It
            is called once for each client in a block.
        @param rows: Appended to.
        @param room: Rows to append at most.
        @param threshold: Of 2**32 rows how many are taken, less one at 2**32.
        @param seed: Where the random numbers for that begin.
        @return: How many rows were left out, and for how many there was no room.
        """
        leftOut = dropped = 0
        state = seed | 1
        pack, find, entries = ROW.pack, self._notes.find, batch.entries
        parts: list[bytes] = []
        clients = self._clients
        for when, number, took, transport, key in _REPLAY.iter_unpack(batch.records):
            if threshold < SKIP:
                # Marsaglia's xorshift, as in the compiled twin.
                state ^= (state << 13) & _MASK
                state ^= state >> 7
                state ^= (state << 17) & _MASK
                if state >> 32 >= threshold:
                    leftOut += 1
                    continue
            fact = find(number, entries)
            client = clients.get(key)
            if client is None:
                client = clients[key] = clientIndex(key)
            if fact == SKIP or client == SKIP:
                leftOut += 1
            elif len(parts) >= room:
                dropped += 1
            else:
                took = (took + 500) // 1000
                place = self._place(fact)
                parts.append(pack(when // 1_000_000, client, place, took, 0, 0, transport))
        rows += b"".join(parts)
        return leftOut, dropped


def rowBinary(
    rows: bytes | bytearray,
    clients: Sequence[bytes],
    facts: Sequence[bytes],
    protocols: Sequence[bytes],
    instance: bytes,
) -> bytes:
    """
    Encode rows as ClickHouse's RowBinary, in the order of
    L{dnsguard.querystore.rows.ENCODED_COLUMNS}.

    @param rows: Records of L{ROW}.
    @param clients: Client fragments.
    @param facts: Fact fragments.
    @param protocols: The fragments of the words for protocols.
    @param instance: The fragment of the server's name.
    @raise IndexError: A row refers to a fragment that isn't there.
    """
    parts: list[bytes | bytearray] = []
    times = _TIMES.pack
    for at, (_when, client, fact, took, cache, write, protocol) in enumerate(
        ROW.iter_unpack(rows)
    ):
        parts += (
            rows[at * 32 : at * 32 + 8],
            clients[client],
            facts[fact],
            protocols[protocol],
            times(took / 1000, cache / 1000, write / 1000),
            instance,
        )
    return b"".join(parts)
