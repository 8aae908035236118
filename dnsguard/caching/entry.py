# -*- test-case-name: tests.caching.test_entry -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One cached answer, wherever it is kept.

The octets of the message, where its TTLs stand, and four times. Nothing here
knows whether it is held in this process or in a store: times are seconds of
whatever clock its holder uses, and L{dnsguard.caching.stored} turns an entry
into the values that a shared store holds and back.
"""

from __future__ import annotations

from typing import Any

import attrs

from dnsguard.caching.ttl import TTLPolicy, authTTL
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import AD, HEADER, HEADER_SIZE, QR, RA, RD, Layout

try:
    from dnsguard.caching._entry import CompiledEntry  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: the long way, always.
    CompiledEntry = None

__all__ = ["OVERHEAD", "CompiledEntry", "Entry", "makeEntry", "restoreEntry", "retimed"]

OVERHEAD = 1000
"""
Octets an entry takes besides its message: objects, key, place in the queue; 560
if it is compiled. Measured with C{tracemalloc} over answers of four records on CPython 3.11.
"""

_CACHEABLE = (0, 3)  # NOERROR, NXDOMAIN
_TTL_LIMIT = 0x7FFFFFFF


@attrs.frozen(slots=True, eq=False)
class Entry:
    """
    One cached answer.

    @ivar wire: The message: id 0, one question, no OPT record (it is
        hop-by-hop), TTLs as received, flags normalised.
    @ivar layout: The scan of C{wire}.
    @ivar rCode: NOERROR or NXDOMAIN; nothing else is kept.
    @ivar authenticData: Did a validator vouch for it?
    @ivar extendedError: What upstream said of it (RFC 8914), or L{None}.
    @ivar upstream: Where it came from, or empty.
    @ivar storedTTL: For how many seconds it was kept as fresh.
    @ivar authTTL: For how many seconds it was true by its own records.
    @ivar createdAt: When its key was first kept. A refresh doesn't change it:
        it is the age of the key, not of the data.
    @ivar softExpiry: Until when it is fresh.
    @ivar expiry: Until when it is kept at all.
    """

    wire: bytes
    layout: Layout
    rCode: int
    authenticData: bool
    extendedError: ExtendedError | None
    upstream: str
    storedTTL: int
    authTTL: int
    createdAt: float
    softExpiry: float
    expiry: float
    _shorter: tuple[tuple[int, int], ...]

    @classmethod
    def make(
        cls,
        wire: bytes,
        layout: Layout,
        rCode: int,
        now: float,
        policy: TTLPolicy,
        *,
        hot: bool = False,
        createdAt: float | None = None,
        **facts: Any,
    ) -> Entry | None:
        """
        Make an entry of an answer that has just come.

        @param layout: The scan of C{wire}.
        @param hot: See L{TTLPolicy.storedTTL}.
        @param createdAt: When its key was first kept, if that isn't now.
        @param facts: C{authenticData}, C{extendedError} and C{upstream}.
        @return: L{None} if it isn't to be kept.
        """
        if rCode not in _CACHEABLE:
            return None
        true = authTTL(wire, layout, rCode, policy.negativeTTL)
        stored = policy.storedTTL(true, hot)
        if stored <= 0:
            return None
        return cls.restore(
            wire,
            layout,
            rCode,
            policy,
            storedTTL=stored,
            authTTL=true,
            createdAt=now if createdAt is None else createdAt,
            softExpiry=now + stored,
            **facts,
        )

    @classmethod
    def restore(
        cls,
        wire: bytes,
        layout: Layout,
        rCode: int,
        policy: TTLPolicy,
        *,
        storedTTL: int,
        authTTL: int,
        createdAt: float,
        softExpiry: float,
        authenticData: bool = False,
        extendedError: ExtendedError | None = None,
        upstream: str = "",
    ) -> Entry | None:
        """
        Make an entry whose times are known already.

        @return: L{None} if the message has an OPT record somewhere in its
            middle, which can't be taken out, isn't one question's answer, or
            has another code than NOERROR and NXDOMAIN.
        """
        normal = _normalised(wire, layout, rCode, authenticData) if rCode in _CACHEABLE else None
        if normal is None:
            return None
        wire, layout = normal
        return cls(
            wire,
            layout,
            rCode,
            authenticData,
            extendedError,
            upstream,
            storedTTL,
            authTTL,
            createdAt,
            softExpiry,
            softExpiry + policy.retention(storedTTL),
            () if storedTTL > authTTL else _shorter(wire, layout, storedTTL),
        )

    @property
    def size(self) -> int:
        """
        The octets it takes in memory, as good as they can be told.
        """
        return len(self.wire) + OVERHEAD

    def remaining(self, now: float) -> float:
        """
        For how many seconds it is still fresh; less than 0: how long it hasn't
        been.
        """
        return self.softExpiry - now

    def wireWith(self, ttl: int, stale: bool = False) -> bytes:
        """
        Give the message with its TTLs counted down.

        Every record gets the time the whole answer has left; a record of the
        authority or additional section that had less than the answer keeps
        having less. An answer kept longer than it was true (C{minTTL}) shows
        the time it is kept.

        @param ttl: The seconds the answer has left, 0 or more.
        @param stale: Give every record that TTL: nothing in it is true any
            more, and how long the client may keep it is decided elsewhere.
        """
        octets = ttl.to_bytes(4, "big")
        message = bytearray(self.wire)
        for at in self.layout.ttls:
            message[at : at + 4] = octets
        if stale:
            return bytes(message)
        for at, own in self._shorter:
            left = max(own - max(self.storedTTL - ttl, 0), 0)
            message[at : at + 4] = min(left, ttl).to_bytes(4, "big")
        return bytes(message)


def makeEntry(
    wire: bytes, layout: Layout, rCode: int, now: float, policy: TTLPolicy, **facts: Any
) -> Entry | None:
    """
    Make an entry as L{Entry.make} does; a compiled one, where there are such.
    """
    if CompiledEntry is not None:
        entry: Any = CompiledEntry.make(wire, rCode, now, policy, **facts)
        if entry is not NotImplemented:
            return entry  # type: ignore[no-any-return]
    return Entry.make(wire, layout, rCode, now, policy, **facts)


def restoreEntry(
    wire: bytes, layout: Layout, rCode: int, policy: TTLPolicy, **facts: Any
) -> Entry | None:
    """
    Make an entry as L{Entry.restore} does; a compiled one, where there are such.
    """
    if CompiledEntry is not None:
        entry: Any = CompiledEntry.restore(wire, rCode, policy, **facts)
        if entry is not NotImplemented:
            return entry  # type: ignore[no-any-return]
    return Entry.restore(wire, layout, rCode, policy, **facts)


def retimed(
    entry: Entry,
    policy: TTLPolicy,
    *,
    softExpiry: float,
    storedTTL: int | None = None,
    createdAt: float | None = None,
) -> Entry:
    """
    Give the same answer with other times. What isn't said stays.

    @param policy: Says for how long it is kept beyond C{softExpiry}.
    """
    other = restoreEntry(
        entry.wire,
        entry.layout,
        entry.rCode,
        policy,
        storedTTL=entry.storedTTL if storedTTL is None else storedTTL,
        authTTL=entry.authTTL,
        createdAt=entry.createdAt if createdAt is None else createdAt,
        softExpiry=softExpiry,
        authenticData=entry.authenticData,
        extendedError=entry.extendedError,
        upstream=entry.upstream,
    )
    # What is an entry already is in no form that couldn't be one.
    assert other is not None
    return other


def _shorter(wire: bytes, layout: Layout, storedTTL: int) -> tuple[tuple[int, int], ...]:
    """
    Find the records that expire before the answer does.

    @return: For each, where its TTL stands and what it is.
    """
    found = []
    for at in layout.ttls:
        ttl = int.from_bytes(wire[at : at + 4], "big")
        if ttl > _TTL_LIMIT:
            # RFC 2181 §8: with the top bit set it counts as 0.
            ttl = 0
        if ttl < storedTTL:
            found.append((at, ttl))
    return tuple(found)


def _normalised(
    wire: bytes, layout: Layout, rCode: int, authenticData: bool
) -> tuple[bytes, Layout] | None:
    """
    Take the OPT record out and write id and flags anew, so that an answer has
    one form however it came.
    """
    questions, answers, authorities, additionals = layout.counts
    end = layout.size
    if layout.opt is not None:
        if not layout.optLast:
            return None
        end = layout.opt[0]
        additionals -= 1
    if questions != 1:
        return None
    counts = (questions, answers, authorities, additionals)
    flags = QR | RD | RA | (AD if authenticData else 0) | rCode
    if layout.flags == flags and layout.id == 0 and layout.opt is None:
        return wire, layout
    changed = layout._replace(
        id=0, flags=flags, counts=counts, opt=None, optLast=False, edns=None, size=end
    )
    return HEADER.pack(0, flags, *counts) + wire[HEADER_SIZE:end], changed
