# -*- test-case-name: tests.policy.test_blockedresponse -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What those who ask for a blocked name are told.

Whatever the mode, all types of a name are answered alike: where one type gets
an address, the others get "no such data", never "no such name".
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable

import attrs

from dnsguard.errors import PolicyError

__all__ = ["BlockMode", "BlockedResponse"]

MAX_TTL = 0x7FFFFFFF


class BlockMode(enum.Enum):
    """
    The ways of refusing a name. The values are the words of the configuration.
    """

    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    NULL = "null_ip"
    REFUSED = "refused"
    ADDRESS = "address"


@attrs.frozen
class BlockedResponse:
    """
    How blocked names are answered.

    @ivar mode: The way. C{NULL} is C{ADDRESS} with 0.0.0.0 and ::.
    @ivar ipv4: The addresses given for type A, packed.
    @ivar ipv6: The addresses given for type AAAA, packed.
    @ivar ttl: How long the answer holds, in seconds.
    """

    mode: BlockMode = BlockMode.NXDOMAIN
    ipv4: tuple[bytes, ...] = ()
    ipv6: tuple[bytes, ...] = ()
    ttl: int = 3600

    @classmethod
    def parse(
        cls, blocked: str | Iterable[str] = "nxdomain", ttl: int = 0, place: str = "response"
    ) -> BlockedResponse:
        """
        Read what a configuration says.

        @param blocked: C{nxdomain}, C{nodata}, C{null_ip}, C{refused}, one IP
            address, or several: in one text, separated by commas or white
            space, or one by one.
        @param ttl: In seconds; 0 means an hour, or a minute where addresses
            are given.
        @param place: The key path that errors name.
        @raise PolicyError: Something else is there.
        """
        if not 0 <= ttl <= MAX_TTL:
            raise PolicyError(f"{place}.blocked_ttl", f"{ttl} is no number of seconds")
        words = blocked.replace(",", " ").split() if isinstance(blocked, str) else list(blocked)
        if len(words) == 1 and words[0].lower() in _WORDS:
            mode = _WORDS[words[0].lower()]
            if mode is BlockMode.NULL:
                return cls(mode, (bytes(4),), (bytes(16),), ttl or 60)
            return cls(mode, ttl=ttl or 3600)
        addresses = [_address(word, f"{place}.blocked") for word in words]
        if not addresses:
            raise PolicyError(f"{place}.blocked", "neither a mode nor an address")
        ipv4 = tuple(address.packed for address in addresses if address.version == 4)
        ipv6 = tuple(address.packed for address in addresses if address.version == 6)
        return cls(BlockMode.ADDRESS, ipv4, ipv6, ttl or 60)


_WORDS = {mode.value: mode for mode in BlockMode if mode is not BlockMode.ADDRESS}


def _address(word: str, place: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        known = ", ".join(_WORDS)
        raise PolicyError(place, f"{word!r} is neither {known} nor an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise PolicyError(place, f"{word!r} has a zone, which no packet can carry")
    return address
