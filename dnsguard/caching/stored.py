# -*- test-case-name: tests.caching.test_stored -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
An entry as the values that a shared store holds.

Two forms: the documented hash of fields, which other programs read and write
too, and one packed value, which a store hands over in one piece. Times in both
are seconds since the epoch. What comes back from a store is input like any
other: it is checked before it becomes an L{Entry}.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from dnsguard.caching.entry import CompiledEntry, Entry, restoreEntry
from dnsguard.caching.key import Key
from dnsguard.caching.ttl import TTLPolicy, authTTL
from dnsguard.wire.edns import InvalidOPT
from dnsguard.wire.layout import AD, QR, TC, Layout, MalformedMessage, scan

__all__ = [
    "FIELDS",
    "InvalidEntry",
    "fromFields",
    "fromPacked",
    "fromValues",
    "fromWire",
    "toFields",
    "toPacked",
]

FIELDS = (b"msg", b"soft_expiry", b"created_at", b"stored_ttl", b"auth_ttl")
"""The documented fields."""

_PACKED = struct.Struct("!BddII")
_VERSION = 1
_TTL_LIMIT = 0x7FFFFFFF


class InvalidEntry(ValueError):
    """
    A stored value is no entry for its key: drop it and call it a miss.
    """


def toFields(entry: Entry, epoch: float) -> dict[bytes, bytes]:
    """
    Give the documented hash fields of an entry: C{msg}, C{soft_expiry},
    C{created_at}, C{stored_ttl} and, if it isn't 0, C{auth_ttl}.

    @param epoch: What to add to the entry's times to have seconds since the
        epoch.
    """
    fields = {
        b"msg": entry.wire,
        b"soft_expiry": b"%d" % (entry.softExpiry + epoch),
        b"created_at": b"%d" % (entry.createdAt + epoch),
        b"stored_ttl": b"%d" % entry.storedTTL,
    }
    if entry.authTTL > 0:
        fields[b"auth_ttl"] = b"%d" % entry.authTTL
    return fields


def fromFields(
    fields: Mapping[bytes, bytes | None], key: Key, now: float, epoch: float, policy: TTLPolicy
) -> Entry:
    """
    Read the documented hash fields.

    A field that is missing is worked out from the others: no C{soft_expiry}
    means that it has just stopped being fresh.

    @param key: The key it is filed under.
    @param now: Seconds of the clock the entry will be used with.
    @param epoch: What to add to that clock to have seconds since the epoch.
    @raise InvalidEntry: A field isn't what it should be.
    """
    return fromValues([fields.get(name) for name in FIELDS], key, now, epoch, policy)


def fromValues(
    values: Sequence[Any], key: Key, now: float, epoch: float, policy: TTLPolicy
) -> Entry:
    """
    Read the documented fields' values, in the order of L{FIELDS}.

    @param values: L{bytes}, or L{None} for a field that is missing; whatever
        else is in it is an error like any other.
    @param key: As for L{fromFields}, and so are the others.
    @raise InvalidEntry: A value isn't what it should be.
    """
    if CompiledEntry is not None and type(values) is list:
        found: Any = CompiledEntry.stored(values, *key[:3], epoch, policy)
        if found is not NotImplemented:
            return found  # type: ignore[no-any-return]
    if len(values) != len(FIELDS):
        raise InvalidEntry("not the fields asked for")
    wire, soft, created, stored, true = values
    if type(wire) is not bytes:
        raise InvalidEntry("no message")
    softExpiry = now if soft is None else _number(soft) - epoch
    return _checked(
        wire,
        key,
        policy,
        storedTTL=max(0, math.ceil(softExpiry - now)) if stored is None else int(_number(stored)),
        authTTL=0 if true is None else int(_number(true)),
        createdAt=now if created is None else _number(created) - epoch,
        softExpiry=softExpiry,
    )


def toPacked(entry: Entry, epoch: float) -> bytes:
    """
    Give an entry as one value: a version octet; soft expiry and creation as
    64-bit floats; stored and own TTL as 32-bit numbers, all in network order;
    the message.

    @param epoch: As for L{toFields}.
    """
    return (
        _PACKED.pack(
            _VERSION,
            entry.softExpiry + epoch,
            entry.createdAt + epoch,
            entry.storedTTL,
            entry.authTTL,
        )
        + entry.wire
    )


def fromPacked(value: bytes, key: Key, epoch: float, policy: TTLPolicy) -> Entry:
    """
    Read a packed value.

    @param key: The key it is filed under.
    @param epoch: As for L{fromFields}.
    @raise InvalidEntry: It isn't what L{toPacked} writes.
    """
    if len(value) <= _PACKED.size or value[0] != _VERSION:
        raise InvalidEntry("no packed entry of a known version")
    _, soft, created, stored, true = _PACKED.unpack_from(value)
    if not (math.isfinite(soft) and math.isfinite(created)):
        raise InvalidEntry("a time that is none")
    return _checked(
        value[_PACKED.size :],
        key,
        policy,
        storedTTL=stored,
        authTTL=true,
        createdAt=created - epoch,
        softExpiry=soft - epoch,
    )


def fromWire(wire: bytes, key: Key, seconds: int, now: float, policy: TTLPolicy) -> Entry:
    """
    Read the oldest form: a bare message, whose key expires by itself.

    @param seconds: How long the key has yet to live; taken as its whole time.
    @raise InvalidEntry: It is no answer for this key.
    """
    return _checked(
        wire, key, policy, storedTTL=seconds, authTTL=0, createdAt=now, softExpiry=now + seconds
    )


def _number(text: Any) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1e12:
        raise InvalidEntry(f"{repr(text)[:40]} is no time")
    return number


def _checked(
    wire: bytes,
    key: Key,
    policy: TTLPolicy,
    *,
    storedTTL: int,
    authTTL: int,
    createdAt: float,
    softExpiry: float,
) -> Entry:
    """
    Make an entry, if the message is one that answers the key's question.
    """
    try:
        layout = scan(wire)
    except (MalformedMessage, InvalidOPT) as error:
        raise InvalidEntry(f"message: {error}") from None
    if (layout.name, layout.type, layout.cls) != key[:3] or not layout.flags & QR:
        raise InvalidEntry("message: no answer to this key's question")
    if layout.flags & TC or not 0 <= storedTTL <= _TTL_LIMIT or not 0 <= authTTL <= _TTL_LIMIT:
        raise InvalidEntry("an answer that is never kept")
    entry = restoreEntry(
        wire,
        layout,
        layout.rCode,
        policy,
        storedTTL=storedTTL,
        authTTL=authTTL or _own(wire, layout, policy, storedTTL),
        createdAt=createdAt,
        softExpiry=softExpiry,
        authenticData=bool(layout.flags & AD),
    )
    if entry is None:
        raise InvalidEntry("message: not one that is kept")
    return entry


def _own(wire: bytes, layout: Layout, policy: TTLPolicy, storedTTL: int) -> int:
    """
    Work out the TTL an entry of another program lacks: what its records say.
    """
    return authTTL(wire, layout, layout.rCode, policy.negativeTTL) or storedTTL
