# -*- test-case-name: tests.caching.test_snapshot -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A cache as one sequence of octets, to be written to a file and read again.

A line that says what it is and of which version; the number of the last clearing
that it knows of, where several instances tell each other of these; the entries,
the most popular ones first, so that whoever has no time for all of them has the
best; and a digest over all of that. What a file says is input like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import attrs

from dnsguard.caching.entry import Entry, retimed
from dnsguard.caching.key import Key
from dnsguard.caching.stored import InvalidEntry, fromPacked, toPacked
from dnsguard.caching.ttl import TTLPolicy

__all__ = ["InvalidSnapshot", "Saved", "readClearings", "readSnapshot", "writeSnapshot"]

MAGIC = b"dnsguard cache 2\n"
_FIRST = b"dnsguard cache 1\n"
"""Without a number, but else the same."""

_NUMBER = struct.Struct("!q")

_RECORD = struct.Struct("!BHHBfI")
_DIGEST = 32
_PART = 3000
"""Pieces put together at a time: little enough that others get their turn."""


class InvalidSnapshot(ValueError):
    """
    It is no snapshot, not of a version known here, or damaged.
    """


@attrs.frozen
class Saved:
    """
    One entry, and how popular it was.

    @ivar key: What it is filed under.
    @ivar entry: The entry.
    @ivar hits: Its hits in the hit window.
    """

    key: Key
    entry: Entry
    hits: float = 0.0


def writeSnapshot(
    saved: Iterable[Saved], epoch: float, limit: int, clearings: int | None = None
) -> Iterator[bytes]:
    """
    Write a snapshot, in parts.

    @param saved: The entries, the most important first.
    @param epoch: What to add to the entries' times to have seconds since the
        epoch.
    @param limit: The most octets; what is beyond is left out.
    @param clearings: The number of the last clearing that the entries have
        seen; L{None}: nobody counts.
    """
    header = MAGIC + _NUMBER.pack(-1 if clearings is None else clearings)
    digest = blake2b(header, digest_size=_DIGEST)
    room = limit - len(header) - _DIGEST
    yield header
    part: list[bytes] = []
    for each in saved:
        packed = toPacked(each.entry, epoch)
        qname, type, cls, flags = each.key
        record = _RECORD.pack(len(qname), type, cls, flags, each.hits, len(packed))
        room -= len(record) + len(qname) + len(packed)
        if room < 0:
            break
        part += (record, qname, packed)
        if len(part) >= _PART:
            octets = b"".join(part)
            digest.update(octets)
            yield octets
            part.clear()
    octets = b"".join(part)
    digest.update(octets)
    yield octets + digest.digest()


def readSnapshot(octets: bytes, now: float, epoch: float, policy: TTLPolicy) -> Iterator[Saved]:
    """
    Read a snapshot. Entries past all use are left out, and so are those that
    are no answers; one whose times can't be true, since the clock was set back,
    is taken as having just expired.

    @param now: Seconds of the clock that the entries will be used with.
    @param epoch: What to add to that clock to have seconds since the epoch.
    @raise InvalidSnapshot: Before the first entry: it isn't what
        L{writeSnapshot} writes.
    """
    start = _start(octets)
    end = len(octets) - _DIGEST
    if not start:
        raise InvalidSnapshot("not a snapshot of a known version")
    if end < start:
        raise InvalidSnapshot("cut off")
    if blake2b(memoryview(octets)[:end], digest_size=_DIGEST).digest() != octets[end:]:
        raise InvalidSnapshot("damaged: its digest is another")
    return _entries(octets, start, end, now, epoch, policy)


def readClearings(octets: bytes) -> int | None:
    """
    Read which clearing a snapshot is the last to know of; L{None} if it doesn't
    say.

    @param octets: What L{readSnapshot} can read.
    """
    if not octets.startswith(MAGIC):
        return None
    (number,) = _NUMBER.unpack_from(octets, len(MAGIC))
    return number if number >= 0 else None


def _start(octets: bytes) -> int:
    """
    Find where entries begin; 0: it is of no known version.
    """
    if octets.startswith(MAGIC):
        return len(MAGIC) + _NUMBER.size
    return len(_FIRST) if octets.startswith(_FIRST) else 0


def _entries(
    octets: bytes, at: int, end: int, now: float, epoch: float, policy: TTLPolicy
) -> Iterator[Saved]:
    while at + _RECORD.size <= end:
        size, type, cls, flags, hits, length = _RECORD.unpack_from(octets, at)
        at += _RECORD.size
        key = (octets[at : at + size], type, cls, flags & 3)
        at += size
        packed = octets[at : at + length]
        at += length
        try:
            entry = fromPacked(packed, key, epoch, policy)
        except InvalidEntry:
            continue
        if entry.softExpiry - now > entry.storedTTL:
            entry = retimed(entry, policy, softExpiry=now, createdAt=min(entry.createdAt, now))
        if entry.expiry > now:
            yield Saved(key, entry, hits)
