# -*- test-case-name: tests.observers.test_anonymize -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Hide who asked, before anything is written or buffered.

A plain hash of an address hides nothing: all IPv4 addresses are hashed in
minutes. So the hash is keyed (HMAC), and whoever has no key learns only which
rows belong together. A hidden client has no name either.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress

__all__ = ["Anonymity", "Anonymizer"]

HASH_DIGITS = 16
"""Hexadecimal digits kept of a keyed hash."""

KEPT_BITS = {4: 24, 6: 64}
"""Bits of an address that truncation leaves, by address family."""


class Anonymity(enum.Enum):
    """
    What happens to a client's address. The values are the words of the
    configuration.
    """

    NONE = "none"
    HASH = "hash"
    TRUNCATE = "truncate"


class Anonymizer:
    """
    Turns a client's address and name into what may be kept of them.

    @ivar anonymity: What it does.
    """

    def __init__(self, anonymity: Anonymity = Anonymity.NONE, key: bytes = b"") -> None:
        """
        @param key: The secret of the keyed hash. Equal keys make equal
            hashes, so it must be kept where rows of several runs are compared.
        @raise ValueError: Hashing is asked for without a key of at least 16
            octets.
        """
        if anonymity is Anonymity.HASH and len(key) < 16:
            raise ValueError("hashing client addresses needs a key of at least 16 octets")
        self.anonymity = anonymity
        self._key = key

    def identity(self, address: str, name: str) -> tuple[str, str]:
        """
        Give the address and the name to keep.

        @param address: The client's address as text, or empty.
        @param name: The client's configured name, or empty.
        """
        if self.anonymity is Anonymity.NONE or not address:
            return address, name
        if self.anonymity is Anonymity.HASH:
            digest = hmac.new(self._key, address.encode("utf-8"), hashlib.sha256)
            return digest.hexdigest()[:HASH_DIGITS], ""
        return _truncated(address), ""


def _truncated(address: str) -> str:
    """
    Zero the bits that tell hosts apart: all but /24 or /64.
    """
    parsed: ipaddress.IPv4Address | ipaddress.IPv6Address
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        # Not an address, so there is no telling what part of it is harmless.
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        # RFC 4291 §2.5.5.2: an IPv4 client of a socket for both families.
        parsed = parsed.ipv4_mapped
    kept = KEPT_BITS[parsed.version]
    return str(ipaddress.ip_network((parsed, kept), strict=False).network_address)
