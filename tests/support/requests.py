# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Requests as a client would send them, and replies as it would read them.
"""

from __future__ import annotations

import struct

from dnsguard.query import ClientQuery, Transport
from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import AD, CD, RD, scan
from dnsguard.wire.names import fromText

__all__ = ["optOf", "queryOf", "requestFor"]


def requestFor(
    name: str | bytes = "www.example.org",
    type: int = 1,
    cls: int = 1,
    *,
    id: int = 0x1234,
    flags: int = RD,
    edns: EDNS | None = None,
    more: bytes = b"",
    counts: tuple[int, int, int, int] | None = None,
) -> bytes:
    """
    A request's octets.

    @param name: A name in text, lower-cased, or in wire form as it is.
    @param more: Octets behind the OPT record.
    @param counts: The counts to announce in place of the right ones.
    """
    wire = name if isinstance(name, bytes) else fromText(name)
    opt = b"" if edns is None else edns.encode()
    header = struct.pack("!HHHHHH", id, flags, *(counts or (1, 0, 0, 1 if opt else 0)))
    return header + wire + struct.pack("!HH", type, cls) + opt + more


def queryOf(request: bytes, transport: Transport = Transport.UDP) -> ClientQuery:
    """
    The query that a server makes of a request.
    """
    layout = scan(request)
    return ClientQuery(
        layout.name,
        layout.type,
        layout.cls,
        transport=transport,
        edns=layout.edns,
        recursionDesired=bool(layout.flags & RD),
        checkingDisabled=bool(layout.flags & CD),
        wantsAD=bool(layout.flags & AD),
    )


def optOf(reply: bytes) -> EDNS | None:
    """
    The OPT record of a reply.
    """
    return scan(reply).edns
