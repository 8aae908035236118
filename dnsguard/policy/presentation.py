# -*- test-case-name: tests.policy.test_presentation -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Records as operators write them, turned into the octets that packets carry.

The common types are read here, quickly, as a hosts file may bring ten thousand
of them. dnspython knows how all the others are written; it is loaded only when
one of them occurs, and never while queries are answered.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

import idna

from dnsguard.wire.names import InvalidName, fromText

__all__ = ["TYPES", "RecordError", "parseName", "parseType", "parseValue"]

TYPES = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "NAPTR": 35,
    "SSHFP": 44,
    "TLSA": 52,
    "SVCB": 64,
    "HTTPS": 65,
    "CAA": 257,
}
"""The types most likely to be written, for those who search for a typing error."""

_META = frozenset({0, 41, *range(128, 256)})
"""Types that no record of a zone has (RFC 6895 §3.1)."""

_DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""What ends a label outside ASCII (RFC 3490 §3.1)."""

_STRING_LIMIT = 255
_DATA_LIMIT = 65535


class RecordError(ValueError):
    """
    A name, type or value is written in a way that makes no record.
    """


def parseName(text: str) -> bytes:
    """
    Read a domain name, absolute or not; letters outside ASCII become A-labels
    (RFC 5891).

    @return: The lower-cased wire form.
    @raise RecordError: It is no domain name.
    """
    try:
        if not text.isascii():
            text = ".".join(map(_asciiLabel, _DOTS.split(text)))
        return fromText(text)
    except (InvalidName, idna.IDNAError) as reason:
        raise RecordError(f"no domain name: {reason}") from None


def _asciiLabel(label: str) -> str:
    """
    Give one label's A-label; stars and underscores, which IDNA doesn't know,
    stand in labels of their own.
    """
    return label if label.isascii() else idna.encode(label, uts46=True).decode("ascii")


def parseType(text: str) -> int:
    """
    Read a record type: a mnemonic, or C{TYPE} and a number (RFC 3597 §5).

    @raise RecordError: There is no such type, or no record can have it.
    """
    word = text.strip().upper()
    type = TYPES.get(word)
    if type is None:
        from dns.exception import DNSException
        from dns.rdatatype import from_text

        try:
            type = int(from_text(word))
        except (DNSException, ValueError):
            raise RecordError(f"unknown record type {text[:40]!r}") from None
    if type in _META:
        raise RecordError(f"no record has the type {word}")
    return type


def parseValue(type: int, value: str | tuple[str, ...]) -> bytes:
    """
    Read a record's value.

    @param type: The type, as a number.
    @param value: The presentation text. For TXT: either the text itself, or
        quoted strings; several values are several strings. The form of
        RFC 3597 §5 (C{\\# 4 c0000201}) is good for every type.
    @return: The record's data, names in it uncompressed.
    @raise RecordError: It is no value of that type.
    """
    if isinstance(value, tuple):
        if type == TYPES["TXT"]:
            return _limited(b"".join(_strings(part.encode("utf-8")) for part in value))
        raise RecordError("only TXT takes several strings")
    text = value.strip()
    reader = _READERS.get(type)
    if reader is not None and not text.startswith("\\#"):
        return _limited(reader(text))
    return _limited(_byLibrary(type, text))


def _limited(data: bytes) -> bytes:
    if len(data) > _DATA_LIMIT:
        raise RecordError(f"{len(data)} octets are more than a record holds")
    return data


def _ipv4(text: str) -> bytes:
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        raise RecordError(f"no IPv4 address: {text[:60]!r}") from None


def _ipv6(text: str) -> bytes:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise RecordError(f"no IPv6 address: {text[:60]!r}") from None
    if address.scope_id is not None:
        raise RecordError(f"an address in a record has no scope: {text[:60]!r}")
    return address.packed


def _name(text: str) -> bytes:
    if not text:
        raise RecordError("a name is missing")
    return parseName(text)


def _text(text: str) -> bytes:
    if not text.startswith('"'):
        return _strings(text.encode("utf-8"))
    return b"".join(map(_strings, _quoted(text)))


def _quoted(text: str) -> Iterator[bytes]:
    """
    Read strings as a zone file has them, of any length.
    """
    from dns.exception import DNSException
    from dns.tokenizer import Tokenizer

    tokens = Tokenizer(text)
    try:
        while not (token := tokens.get()).is_eol_or_eof():
            value = token.unescape_to_bytes().value
            yield value.encode() if isinstance(value, str) else value
    except DNSException as reason:
        raise RecordError(f"can't be read: {str(reason)[:120]}") from None


def _strings(octets: bytes) -> bytes:
    """
    Cut text into character strings of at most 255 octets (RFC 1035 §3.3.14),
    which those who read it join again (RFC 7208 §3.3).
    """
    pieces = [octets[at : at + _STRING_LIMIT] for at in range(0, len(octets), _STRING_LIMIT)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces or [b""])


_READERS: dict[int, Callable[[str], bytes]] = {
    TYPES["A"]: _ipv4,
    TYPES["AAAA"]: _ipv6,
    TYPES["CNAME"]: _name,
    TYPES["NS"]: _name,
    TYPES["PTR"]: _name,
    TYPES["TXT"]: _text,
}


def _byLibrary(type: int, text: str) -> bytes:
    """
    Have dnspython read a value; names in it needn't end in a dot.
    """
    import dns.name
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype
    from dns.exception import DNSException

    if not text:
        raise RecordError("a value is missing")
    try:
        data = dns.rdata.from_text(
            dns.rdataclass.IN,
            dns.rdatatype.RdataType.make(type),
            text,
            origin=dns.name.root,
            relativize=False,
        )
        return data.to_wire(origin=dns.name.root) or b""
    except (DNSException, ValueError, TypeError, OverflowError) as reason:
        words = str(reason) or reason.__class__.__name__
        raise RecordError(f"can't be read: {words[:120]}") from None
