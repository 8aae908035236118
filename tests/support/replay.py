# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Requests, replies and policies for tests of the replay store.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import attrs

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.view import View
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.replay.views import Network
from dnsguard.wire.names import fromText

CLIENT = b"\xc0\0\2\1"
"""192.0.2.1."""

_DEFAULT = View()


def compiled(name: str) -> Any:
    """
    A compiled module of the replay package; L{None} where it isn't built.
    """
    try:
        return import_module(f"dnsguard.replay.{name}")
    except ImportError:
        return None


@attrs.frozen
class FakePolicy:
    """
    The part of a policy that the replay store looks at.
    """

    generation: int = 1
    clients: tuple[Network, ...] = ()
    defaultView: View = _DEFAULT

    def networks(self) -> Iterator[Network]:
        """
        The clients' networks.
        """
        return iter(self.clients)


def request(
    name: str | bytes = "www.example.org",
    type: int = 1,
    *,
    id: int = 0x1234,
    flags: int = 0x0100,
    edns: int | None = None,
    dnssecOK: bool = False,
    cls: int = 1,
) -> bytes:
    """
    Make a request as resolvers of operating systems send it.

    @param name: Text, or wire form in any letter case.
    @param edns: The payload size of an OPT record; L{None} for none.
    """
    wire = fromText(name) if isinstance(name, str) else name
    opt = b""
    if edns is not None:
        opt = struct.pack("!BHHBBHH", 0, 41, edns, 0, 0, 0x8000 if dnssecOK else 0, 0)
    return (
        struct.pack("!HHHHHH", id, flags, 1, 0, 0, 1 if opt else 0)
        + wire
        + struct.pack("!HH", type, cls)
        + opt
    )


def questionEnd(message: bytes) -> int:
    """
    The offset behind a message's one, uncompressed question.
    """
    at = 12
    while message[at]:
        at += message[at] + 1
    return at + 5


def reply(
    datagram: bytes, *ttls: int, flags: int = 0x8080, data: bytes = b"\xc0\0\2\x35"
) -> bytes:
    """
    Make the reply to a request: one A record for each TTL, and an OPT record
    if the request has one.
    """
    end = questionEnd(datagram)
    records = b"".join(struct.pack("!HHHIH", 0xC00C, 1, 1, ttl, len(data)) + data for ttl in ttls)
    (asked,) = struct.unpack_from("!H", datagram, 2)
    opt = b""
    if datagram[11]:
        opt = struct.pack("!BHHBBHH", 0, 41, 1232, 0, 0, datagram[end + 7] << 8, 0)
    return (
        datagram[:2]
        + struct.pack("!HHHHH", flags | (asked & 0x0110), 1, len(ttls), 0, 1 if opt else 0)
        + datagram[12:end]
        + records
        + opt
    )


def facts(datagram: bytes, view: int | None = 0, generation: int | None = 0) -> ReplayedAnswer:
    """
    Make the facts of an answer to a request.
    """
    end = questionEnd(datagram)
    type, cls = struct.unpack_from("!HH", datagram, end - 4)
    return ReplayedAnswer(
        datagram[12 : end - 4].lower(),
        type,
        cls,
        Outcome.CACHED,
        0,
        "",
        None,
        Answer.failure(0, Outcome.CACHED),
        view,
        generation,
    )
