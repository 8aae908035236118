# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Names, types and times, as people write them in a request.
"""

from __future__ import annotations

import ipaddress
import time

import idna

from dnsguard.control.route import Refused
from dnsguard.wire.mnemonics import typeName
from dnsguard.wire.names import InvalidName, fromText

__all__ = ["moment", "readAddress", "readName", "readType"]

_TYPES = {typeName(number): number for number in range(1, 300)}


def readName(text: str, field: str = "domain") -> bytes:
    """
    Read a domain name.

    @return: It, lower-cased, in wire form.
    @raise Refused: It is none.
    """
    text = text.strip()
    try:
        if not text.isascii():
            text = ".".join(
                label if label.isascii() else idna.encode(label, uts46=True).decode("ascii")
                for label in text.split(".")
            )
        if not text:
            raise InvalidName("a domain name is needed")
        return fromText(text.lower())
    except (InvalidName, idna.IDNAError, UnicodeError) as problem:
        raise Refused(400, f"{field}: {problem}", field=field) from None


def readType(text: str) -> int:
    """
    Read a type: C{AAAA}, C{TYPE65} or C{28}.

    @raise Refused: There is none of that name.
    """
    word = text.strip().upper()
    number = _TYPES.get(word)
    if number is None:
        digits = word.removeprefix("TYPE")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 5:
            raise Refused(400, "type: no such type", field="type")
        number = int(digits)
    if not 0 < number < 65536:
        raise Refused(400, "type: from 1 to 65535", field="type")
    return number


def readAddress(text: str, field: str = "client") -> bytes:
    """
    Read an IP address.

    @return: It, packed.
    @raise Refused: It is none.
    """
    try:
        return ipaddress.ip_address(text.strip().partition("%")[0]).packed
    except ValueError:
        raise Refused(400, f"{field}: not an IP address", field=field) from None


def moment(seconds: float | None) -> str | None:
    """
    Write a time as RFC 3339 has it, in UTC.

    @param seconds: Since the epoch; 0 and L{None}: never.
    """
    if not seconds:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
