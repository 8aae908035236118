# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Messages for the tests of caches, made of octets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from dnsguard.caching.entry import Entry
from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import QR, RA, RD, Layout, scan
from dnsguard.wire.names import fromText

A, NS, CNAME, SOA, AAAA, RRSIG, ANY = 1, 2, 5, 6, 28, 46, 255

WWW = fromText("www.example.org")

Record = tuple[bytes, int, int, bytes]
"""Owner, type, TTL, data."""


def record(type: int, ttl: int, data: bytes = b"\xc0\x00\x02\x01", owner: bytes = WWW) -> Record:
    """
    One record.
    """
    return owner, type, ttl, data


def soa(ttl: int, minimum: int) -> Record:
    """
    The SOA record of example.org.
    """
    data = b"\x02ns\0\x01h\0" + struct.pack("!5I", 1, 2, 3, 4, minimum)
    return fromText("example.org"), SOA, ttl, data


def message(
    answers: Sequence[Record] = (),
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    rCode: int = 0,
    qname: bytes = WWW,
    type: int = A,
    cls: int = 1,
    id: int = 0x1234,
    flags: int = QR | RD | RA,
    edns: EDNS | None = None,
    optFirst: bool = False,
) -> tuple[bytes, Layout]:
    """
    A whole response and its scan.
    """
    records = [
        owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data
        for owner, kind, ttl, data in [*answers, *authority, *additional]
    ]
    extra = len(additional)
    if edns is not None:
        extra += 1
        records.insert(len(answers) + len(authority) if optFirst else len(records), edns.encode())
    wire = (
        struct.pack("!HHHHHH", id, flags | rCode, 1, len(answers), len(authority), extra)
        + qname
        + struct.pack("!HH", type, cls)
        + b"".join(records)
    )
    return wire, scan(wire)


def ttls(wire: bytes) -> list[int]:
    """
    The TTLs of a message's records, in order.
    """
    return [int.from_bytes(wire[at : at + 4], "big") for at in scan(wire).ttls]


def facts(entry: Entry) -> dict[str, object]:
    """
    All that an entry holds, and what it shows at some ages.
    """
    names = (
        "wire layout rCode authenticData extendedError upstream storedTTL authTTL createdAt"
        " softExpiry expiry"
    )
    held: dict[str, object] = {name: getattr(entry, name) for name in names.split()}
    for ttl in (0, 1, entry.storedTTL // 2, entry.storedTTL):
        held[f"at {ttl}"] = entry.wireWith(ttl), entry.wireWith(ttl, stale=True)
    return held
