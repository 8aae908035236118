# -*- test-case-name: tests.wire.test_summary -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What an answer says, in a line of text.

For people who read rows and logs: the first few answer records, read straight
off the message. Nothing is decoded that isn't shown.
"""

from __future__ import annotations

import socket
import struct

from dnsguard.wire.layout import Layout, MalformedMessage, readName
from dnsguard.wire.mnemonics import typeName
from dnsguard.wire.names import toText

__all__ = ["summarize"]

MAX_RECORDS = 4
"""Records spelled out; the rest is counted."""

MAX_TEXT = 250
"""Characters in a summary."""

MAX_STRING = 40
"""Octets shown of a TXT record."""

_RECORD = struct.Struct("!HHIH")

_A, _NS, _CNAME, _PTR, _MX, _TXT, _AAAA, _DNAME = 1, 2, 5, 12, 15, 16, 28, 39
_NAMES = frozenset([_NS, _CNAME, _PTR, _DNAME])


def summarize(message: bytes, layout: Layout) -> str:
    """
    Tell the records of the answer section, such as
    C{"CNAME www.example.net, A 192.0.2.1, +2"}; empty when there are none.

    @param message: A message.
    @param layout: Its scan; so offsets and counts in it are known to be good.
    """
    count = layout.counts[1]
    if not count:
        return ""
    at = layout.sections[0]
    told = []
    for _ in range(min(count, MAX_RECORDS)):
        while (length := message[at]) and length < 0xC0:
            at += length + 1
        at += 2 if length else 1
        type, _, _, size = _RECORD.unpack_from(message, at)
        at += 10
        told.append(_tell(message, type, at, size))
        at += size
    if count > MAX_RECORDS:
        told.append(f"+{count - MAX_RECORDS}")
    text = ", ".join(told)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def _tell(message: bytes, type: int, at: int, size: int) -> str:
    """
    Tell one record's type and data; the type alone where the data is broken or
    of no sort that is shown.
    """
    if type == _A and size == 4:
        return "A " + socket.inet_ntoa(message[at : at + 4])
    if type == _AAAA and size == 16:
        return "AAAA " + socket.inet_ntop(socket.AF_INET6, message[at : at + 16])
    word = typeName(type)
    try:
        if type in _NAMES:
            return f"{word} {toText(readName(message, at))}"
        if type == _MX and size > 2:
            (preference,) = struct.unpack_from("!H", message, at)
            return f"{word} {preference} {toText(readName(message, at + 2))}"
    except MalformedMessage:
        return word
    if type == _TXT and size:
        shown = message[at + 1 : at + 1 + min(message[at], size - 1, MAX_STRING)]
        return f'{word} "{"".join(map(_printable, shown))}"'
    return word


def _printable(octet: int) -> str:
    """
    Show one octet of a character string (RFC 1035 §5.1).
    """
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}"
