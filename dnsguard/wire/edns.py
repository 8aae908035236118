# -*- test-case-name: tests.wire.test_edns -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
EDNS(0): the OPT pseudo-record (RFC 6891) and extended errors (RFC 8914).

Twisted Names' own OPT support is private and drops options, and an OPT record
is hop-by-hop: it is read from each message and written anew for the next one,
never passed on, cached or counted down.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import attrs

__all__ = ["EDE_OPTION", "EDNS", "ExtendedError", "InvalidOPT"]

EDE_OPTION = 15
"""The option code of an extended DNS error (RFC 8914 §2)."""

_FIXED = struct.Struct("!BHHBBHH")
_OPTION = struct.Struct("!HH")
_DNSSEC_OK = 0x8000


class InvalidOPT(ValueError):
    """
    An OPT record that RFC 6891 doesn't allow: answer FORMERR.
    """


@attrs.frozen
class ExtendedError:
    """
    An extended DNS error (RFC 8914): why an answer is what it is.

    @ivar code: The INFO-CODE.
    @ivar text: The EXTRA-TEXT, UTF-8, possibly empty.
    """

    code: int
    text: str = ""

    def option(self) -> tuple[int, bytes]:
        """
        The error as an EDNS option.
        """
        return EDE_OPTION, struct.pack("!H", self.code) + self.text.encode("utf-8")


@attrs.frozen
class EDNS:
    """
    What one OPT record says.

    @ivar version: 0, or something we answer with BADVERS (RFC 6891 §6.1.3).
    @ivar payloadSize: The UDP octets the sender can take, as sent: clamp it
        before it meets a buffer.
    @ivar dnssecOK: The DO bit (RFC 3225).
    @ivar extendedRCode: The upper eight bits of the response code.
    @ivar options: C{(code, data)} pairs in wire order.
    """

    version: int = 0
    payloadSize: int = 1232
    dnssecOK: bool = False
    extendedRCode: int = 0
    options: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def decode(cls, message: bytes, start: int, end: int) -> EDNS:
        """
        Read the OPT record that stands at C{message[start:end]}.

        @raise InvalidOPT: Its owner isn't the root, or an option runs over
            the record's end.
        """
        if end - start < _FIXED.size:
            raise InvalidOPT("OPT record too short")
        if end - start == _FIXED.size:
            return _bare(message[start:end])
        owner, type, size, rCode, version, flags, length = _FIXED.unpack_from(message, start)
        if owner != 0 or type != 41:
            raise InvalidOPT("OPT record not at the root")
        at = start + _FIXED.size
        if at + length != end:
            raise InvalidOPT("OPT record with a wrong length")
        options = []
        while at < end:
            if at + _OPTION.size > end:
                raise InvalidOPT("OPT option cut short")
            code, optionLength = _OPTION.unpack_from(message, at)
            at += _OPTION.size
            if at + optionLength > end:
                raise InvalidOPT("OPT option cut short")
            options.append((code, message[at : at + optionLength]))
            at += optionLength
        return cls(version, size, bool(flags & _DNSSEC_OK), rCode, tuple(options))

    def encode(self) -> bytes:
        """
        Write the whole OPT record, owner name to last option.
        """
        data = b"".join(_OPTION.pack(code, len(value)) + value for code, value in self.options)
        flags = _DNSSEC_OK if self.dnssecOK else 0
        return (
            _FIXED.pack(
                0, 41, self.payloadSize, self.extendedRCode, self.version, flags, len(data)
            )
            + data
        )


@lru_cache(maxsize=256)
def _bare(octets: bytes) -> EDNS:
    """
    Read an OPT record without options. They are few and come again and again.

    @raise InvalidOPT: It isn't at the root, or announces options.
    """
    owner, type, size, rCode, version, flags, length = _FIXED.unpack(octets)
    if owner != 0 or type != 41:
        raise InvalidOPT("OPT record not at the root")
    if length:
        raise InvalidOPT("OPT record with a wrong length")
    return EDNS(version, size, bool(flags & _DNSSEC_OK), rCode)
