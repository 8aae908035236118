# -*- test-case-name: tests.cli.test_words -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Names and types as people write them on a command line.
"""

from __future__ import annotations

from dnsguard.wire.mnemonics import TYPES
from dnsguard.wire.names import InvalidName, fromText

__all__ = ["nameOf", "typeOf"]

_NUMBERS = {name: number for number, name in TYPES.items()}


def nameOf(text: str) -> bytes:
    """
    Read a name, also in letters outside ASCII (UTS #46).

    @return: In wire form.
    @raise ValueError: It isn't one.
    """
    if not text.isascii():
        import idna

        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError as problem:
            raise InvalidName(f"{text!r}: {problem}") from None
    return fromText(text)


def typeOf(text: str) -> int:
    """
    Read a type: a name, or as RFC 3597 §5 writes what has none.

    @raise ValueError: It isn't one.
    """
    word = text.upper()
    number = _NUMBERS.get(word)
    if number is None:
        digits = word.removeprefix("TYPE")
        number = int(digits) if digits.isdecimal() and len(digits) < 6 else -1
    if not 0 <= number <= 65535:
        raise ValueError(f"{text!r} is no type such as AAAA or TYPE65")
    return number
