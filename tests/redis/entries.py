# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Answers and keys for the tests of the shared store.
"""

from __future__ import annotations

from dnsguard.caching.entry import Entry
from dnsguard.caching.key import Key
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.wire.names import fromText
from tests.caching.messages import A, message, record

__all__ = ["POLICY", "entryFor", "keyFor"]

POLICY = TTLPolicy(minTTL=60)


def keyFor(name: str = "www.example.org", type: int = A, flags: int = 0) -> Key:
    """
    The key of a name.
    """
    return fromText(name), type, 1, flags


def entryFor(key: Key, now: float, ttl: int = 300, address: str = "192.0.2.1") -> Entry:
    """
    An answer to a key's question, stored now.
    """
    data = bytes(map(int, address.split(".")))
    wire, layout = message([record(A, ttl, data, owner=key[0])], qname=key[0], type=key[1])
    entry = Entry.make(wire, layout, 0, now, POLICY)
    assert entry is not None
    return entry
