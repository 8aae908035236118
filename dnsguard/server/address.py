# -*- test-case-name: tests.server.test_address -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Client addresses as octets, and the addresses a server listens on.

Clients are told apart by their packed addresses: these compare quickly, have
one form only, and slice into networks.
"""

from __future__ import annotations

import ipaddress
import socket

import attrs

__all__ = ["InvalidAddress", "ListenAddress", "pack", "unmapped", "unpack"]

_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins that came through an IPv6 socket (RFC 4291 §2.5.5.2)."""


class InvalidAddress(ValueError):
    """
    A text is no address to listen on.
    """


def pack(host: str) -> bytes:
    """
    The packed form of an address: 4 octets, or 16, or none for what is no IP
    address (a peer on a local socket).

    @param host: An address in text, with or without a zone.
    """
    try:
        if ":" not in host:
            return socket.inet_pton(socket.AF_INET, host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return b""
    return unmapped(packed)


def unmapped(packed: bytes) -> bytes:
    """
    A packed address without the mapping of IPv4 into IPv6, if it has it.
    """
    return packed[12:] if len(packed) == 16 and packed.startswith(_MAPPED) else packed


def unpack(address: bytes) -> str:
    """
    The text of a packed address; empty for none.
    """
    if not address:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


@attrs.frozen
class ListenAddress:
    """
    One address and port to listen on.

    @ivar host: An IPv4 or IPv6 address in canonical text.
    @ivar port: The port; 0 lets the system choose one.
    @ivar optional: Is it all right if this machine doesn't have the address?
    """

    host: str
    port: int
    optional: bool = False

    @property
    def family(self) -> socket.AddressFamily:
        """
        The address family.
        """
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def isWildcard(self) -> bool:
        """
        Does it stand for all addresses of the machine?
        """
        return ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> tuple[ListenAddress, ...]:
        """
        Read C{"192.0.2.1:53"}, C{"[2001:db8::1]:53"}, or C{":53"}: every
        address of the machine, IPv6 where there is any.

        @raise InvalidAddress: It is none of these.
        """
        host, colon, port = text.strip().rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise InvalidAddress(f"{text!r}: not an address and port like 127.0.0.1:53")
        if host == "":
            return cls("0.0.0.0", int(port)), cls("::", int(port), optional=True)
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        except ValueError:
            raise InvalidAddress(f"{text!r}: {host!r} is no IP address") from None
        if bracketed != (address.version == 6):
            raise InvalidAddress(f"{text!r}: write IPv6 addresses, and only those, in brackets")
        return (cls(str(address), int(port)),)
