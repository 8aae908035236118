# -*- test-case-name: tests.wire.test_names -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Domain names in wire form (RFC 1035 §3.1) and their presentation text.

Inside dnsguard a name is C{bytes} in uncompressed wire form, lower-cased and
ending with the root's zero octet: C{b"\\x03www\\x07example\\x03org\\x00"}. Unlike
text joined by dots it can't be ambiguous, whatever octets a label holds; a
parent is a plain slice of it; and it is what packets carry.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = [
    "MAX_LABEL",
    "MAX_NAME",
    "ROOT",
    "InvalidName",
    "fromText",
    "isAtOrBelow",
    "labels",
    "lower",
    "parent",
    "parents",
    "toText",
]

ROOT = b"\0"

MAX_LABEL = 63
"""Octets in a label (RFC 1035 §2.3.4)."""

MAX_NAME = 255
"""Octets in a name in wire form, length octets and root included (RFC 1035 §2.3.4)."""

_ESCAPED = frozenset(b'."\\();@$')


class InvalidName(ValueError):
    """
    A text or wire form is no domain name.
    """


def lower(name: bytes) -> bytes:
    """
    Lower-case a name's ASCII letters (RFC 4343).

    Length octets are at most 63 and so never in the range of C{A-Z}.

    @param name: A name in wire form.
    """
    return name.lower()


def parent(name: bytes) -> bytes:
    """
    Cut a name's first label off.

    @param name: A name in wire form, not the root.
    """
    return name[name[0] + 1 :]


def parents(name: bytes) -> Iterator[bytes]:
    """
    Walk from a name up to, and without, the root.

    @param name: A name in wire form; it is itself the first one given.
    """
    start = 0
    while name[start]:
        yield name[start:]
        start += name[start] + 1


def labels(name: bytes) -> list[bytes]:
    """
    The labels of a name in wire form, most specific first, without the root.
    """
    found = []
    start = 0
    while length := name[start]:
        found.append(name[start + 1 : start + 1 + length])
        start += length + 1
    return found


def isAtOrBelow(name: bytes, apex: bytes) -> bool:
    """
    Is C{name} the same as C{apex} or a descendant of it?

    Both are lower-cased names in wire form.
    """
    if not name.endswith(apex):
        return False
    start = 0
    end = len(name) - len(apex)
    while start < end:
        start += name[start] + 1
    return start == end


def toText(name: bytes) -> str:
    """
    Give a name's presentation form, without the final dot (the root is C{"."}).

    Octets that aren't printable ASCII become C{\\DDD}; dots, quotes,
    parentheses, semicolons, C{@}, C{$} and backslashes inside a label get a
    backslash (RFC 4343 §2.1, RFC 1035 §5.1).

    @param name: A name in wire form.
    """
    if name == ROOT:
        return "."
    parts = []
    for label in labels(name):
        if label.isalnum():
            parts.append(label.decode("ascii"))
        else:
            parts.append("".join(map(_escape, label)))
    return ".".join(parts)


def _escape(octet: int) -> str:
    if octet in _ESCAPED:
        return "\\" + chr(octet)
    if 0x21 <= octet <= 0x7E:
        return chr(octet)
    return f"\\{octet:03d}"


def fromText(text: str) -> bytes:
    """
    Give the lower-cased wire form of a presentation name, absolute or not.

    Escapes are read as L{toText} writes them. Letters outside ASCII are
    refused: turn them into A-labels first (RFC 5891).

    @raise InvalidName: An empty label, a label over 63 octets, a name over 255
        octets, a bad escape or a letter outside ASCII.
    """
    if text in ("", "."):
        return ROOT
    wire = bytearray()
    label = bytearray()
    ended = False
    octets = iter(_octets(text))
    for octet, escaped in octets:
        ended = octet == 0x2E and not escaped
        if not ended:
            label.append(octet)
            continue
        _append(wire, label, text)
        label.clear()
    if not ended:
        _append(wire, label, text)
    wire.append(0)
    if len(wire) > MAX_NAME:
        raise InvalidName(f"{text[:80]!r}: name over {MAX_NAME} octets")
    return bytes(wire).lower()


def _append(wire: bytearray, label: bytearray, text: str) -> None:
    if not label:
        raise InvalidName(f"{text[:80]!r}: empty label")
    if len(label) > MAX_LABEL:
        raise InvalidName(f"{text[:80]!r}: label over {MAX_LABEL} octets")
    wire.append(len(label))
    wire += label


def _octets(text: str) -> Iterator[tuple[int, bool]]:
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        raise InvalidName(f"{text[:80]!r}: letter outside ASCII") from None
    at = 0
    while at < len(raw):
        octet = raw[at]
        if octet != 0x5C:
            yield octet, False
            at += 1
            continue
        digits = raw[at + 1 : at + 4]
        if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
            yield int(digits), True
            at += 4
        elif digits[:1] and not digits[:1].isdigit():
            yield digits[0], True
            at += 2
        else:
            raise InvalidName(f"{text[:80]!r}: bad escape")
