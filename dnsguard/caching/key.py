# -*- test-case-name: tests.caching.test_key -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a cached answer is filed under.

Two forms of one key: a tuple that costs next to nothing to make for each query,
and the text that names a key in a shared store. Both tell apart everything that
changes an upstream's answer, the DO and CD bits included (RFC 4035 §3.2), and
nothing else: neither who asks nor the letter case of the name.
"""

from __future__ import annotations

import re
from typing import Protocol

from dnsguard.wire.edns import EDNS
from dnsguard.wire.names import ROOT, InvalidName, fromText, toText

__all__ = [
    "CHECKING_DISABLED",
    "DNSSEC_OK",
    "InvalidKey",
    "Key",
    "Question",
    "fromStoreText",
    "keyOf",
    "storeText",
]

Key = tuple[bytes, int, int, int]
"""
The name (lower-cased, wire form), the type, the class, and the sum of
L{DNSSEC_OK} and L{CHECKING_DISABLED} where they are set.
"""

DNSSEC_OK = 1
CHECKING_DISABLED = 2

_SUFFIXES = ("", ":do", ":cd", ":do:cd")

_PLAIN = re.compile(rb"[a-z0-9_.-]+").fullmatch

# What names escape already, and besides: the colon parts the fields, braces
# choose the slot in a cluster, so a name must not bring its own.
_SPECIAL = str.maketrans({":": "\\058", "{": "\\123", "}": "\\125"})

_TEXT = re.compile(
    r"dns:(?P<name>[^:]*):(?P<type>[0-9]{1,5}):(?P<cls>[0-9]{1,5})(?P<do>:do)?(?P<cd>:cd)?"
).fullmatch


class InvalidKey(ValueError):
    """
    A text is no cache key.
    """


class Question(Protocol):
    """
    What a key is made of: a L{dnsguard.query.ClientQuery}, or its like.
    """

    @property
    def qname(self) -> bytes: ...

    @property
    def type(self) -> int: ...

    @property
    def cls(self) -> int: ...

    @property
    def edns(self) -> EDNS | None: ...

    @property
    def checkingDisabled(self) -> bool: ...


def keyOf(query: Question) -> Key:
    """
    Give the key that answers to a query are filed under.
    """
    edns = query.edns
    flags = 1 if edns is not None and edns.dnssecOK else 0
    if query.checkingDisabled:
        flags |= CHECKING_DISABLED
    return query.qname, query.type, query.cls, flags


def storeText(key: Key) -> str:
    """
    Give a key's text in a shared store: C{dns:<qname>:<qtype>:<qclass>}, then
    C{:do} and C{:cd} where they are set.

    The name stands in presentation form without the final dot, with numbers
    for type and class; the root's name is empty, so its NS key is C{dns::2:1}.
    Colons and braces inside a name are escaped as C{\\DDD}, so that no two keys
    have the same text.
    """
    qname, type, cls, flags = key
    return f"dns:{_nameText(qname)}:{type}:{cls}{_SUFFIXES[flags]}"


def _nameText(qname: bytes) -> str:
    # Dots for the length octets: once for each lookup, so not label by label.
    text = bytearray(qname)
    at = parts = 0
    while size := text[at]:
        text[at] = 0x2E
        at += size + 1
        parts += 1
    if not parts:
        return ""
    plain = bytes(text[1:at])
    # Another dot would be one inside a label.
    if _PLAIN(plain) and plain.count(b".") == parts - 1:
        return plain.decode("ascii")
    return toText(qname).translate(_SPECIAL)


def fromStoreText(text: str) -> Key:
    """
    Read a key's text.

    @raise InvalidKey: It isn't what L{storeText} writes.
    """
    match = _TEXT(text)
    if match is None:
        raise InvalidKey(f"{text[:80]!r}: no cache key")
    try:
        qname = fromText(match["name"]) if match["name"] else ROOT
    except InvalidName as error:
        raise InvalidKey(str(error)) from None
    flags = (DNSSEC_OK if match["do"] else 0) | (CHECKING_DISABLED if match["cd"] else 0)
    key = (qname, int(match["type"]), int(match["cls"]), flags)
    if max(key[1:3]) > 0xFFFF or storeText(key) != text:
        raise InvalidKey(f"{text[:80]!r}: no cache key")
    return key
