# -*- test-case-name: tests.policy.test_clients -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Whose address is this, and which group is it in?

Clients are single addresses or networks. The most specific entry decides,
separately for the name and the group: a device that is only named stays in
the group its network is in.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import attrs

from dnsguard.policy.asker import Asker
from dnsguard.policy.problems import Problems, nearest

__all__ = [
    "ClientSpec",
    "Clients",
    "Network",
    "contains",
    "normalized",
    "outermost",
    "parseNetwork",
]

CACHE_LIMIT = 4096
"""How many addresses are remembered with what was found for them."""

_MAPPED = b"\0" * 10 + b"\xff\xff"

Network = tuple[bytes, int]
"""A network: its packed address, host bits zero, and its prefix length."""


@attrs.frozen
class ClientSpec:
    """
    One client, as it was written.

    @ivar address: An IP address, or a network with a prefix length.
    @ivar name: What to call it, or empty.
    @ivar groupID: The group it belongs to, or empty.
    @ivar place: Where it was written, for problems.
    """

    address: str
    name: str = ""
    groupID: str = ""
    place: str = "client_identification.clients"


@attrs.frozen
class _Entry:
    name: str
    groupID: str


def normalized(packed: bytes) -> bytes:
    """
    Give a packed address the form in which it is compared: an IPv4 address
    mapped into IPv6 (RFC 4291 §2.5.5.2) is the IPv4 address.
    """
    if len(packed) == 16 and packed.startswith(_MAPPED):
        return packed[12:]
    return packed


def parseNetwork(text: str) -> Network:
    """
    Read an address or a network in CIDR form.

    @raise ValueError: It is neither, or has host bits set.
    """
    network = ipaddress.ip_network(text.strip())
    packed, length = network.network_address.packed, network.prefixlen
    if network.version == 6 and length >= 96 and packed.startswith(_MAPPED):
        return packed[12:], length - 96
    return packed, length


def contains(network: Network, packed: bytes) -> bool:
    """
    Is an address in a network?

    @param packed: It, as L{normalized} gives it.
    """
    base, length = network
    if len(packed) != len(base):
        return False
    off = int.from_bytes(base, "big") ^ int.from_bytes(packed, "big")
    return not off >> (len(base) * 8 - length)


def outermost(networks: Iterable[Network]) -> tuple[Network, ...]:
    """
    Leave out the networks that are in others of them.
    """
    kept: list[Network] = []
    for network in sorted(set(networks), key=lambda network: (network[1], network[0])):
        if not any(contains(wider, network[0]) for wider in kept):
            kept.append(network)
    return tuple(kept)


class Clients:
    """
    All known clients and networks. Immutable but for a bounded memory of what
    was found.

    @ivar evictions: How often an address was dropped from that memory.
    """

    NONE: ClassVar[Clients]

    def __init__(self, entries: Mapping[Network, _Entry]) -> None:
        """
        Use L{build}.
        """
        self._tables: dict[int, list[tuple[int, int, dict[bytes, _Entry]]]] = {4: [], 16: []}
        for (packed, length), entry in sorted(
            entries.items(), key=lambda item: item[0][1], reverse=True
        ):
            tables = self._tables[len(packed)]
            if not tables or tables[-1][0] != length:
                tables.append((length, _mask(length, len(packed)), {}))
            tables[-1][2][packed] = entry
        self._seen: dict[bytes, Asker] = {}
        self.evictions = 0

    @classmethod
    def build(cls, specs: Iterable[ClientSpec], groups: Iterable[str] = ()) -> Clients:
        """
        Make clients of what was written.

        @param groups: The ids of the groups there are.
        @raise InvalidPolicy: All that is wrong with them.
        """
        known = set(groups)
        problems = Problems()
        places: dict[Network, str] = {}
        entries: dict[Network, _Entry] = {}
        for spec in specs:
            try:
                network = parseNetwork(spec.address)
            except ValueError as reason:
                problems.note(f"{spec.place}.ip", f"no address and no network: {reason}")
                continue
            if network in places:
                problems.note(
                    f"{spec.place}.ip", f"{spec.address} stands at {places[network]} already"
                )
                continue
            if spec.groupID and spec.groupID not in known:
                problems.note(
                    f"{spec.place}.group_id",
                    f"no such group: {spec.groupID!r}{nearest(spec.groupID, known)}",
                )
            places[network] = spec.place
            entries[network] = _Entry(spec.name, spec.groupID)
        problems.check()
        return cls(_inherited(entries))

    def identify(self, packed: bytes) -> Asker:
        """
        Say whose address this is.

        @param packed: An IP address, 4 or 16 octets; anything else, as a peer
            on a socket without addresses has, is nobody's.
        """
        asker = self._seen.get(packed)
        return asker if asker is not None else self._identify(packed)

    def _identify(self, packed: bytes) -> Asker:
        address = normalized(packed)
        if len(address) not in self._tables:
            return Asker.ANONYMOUS
        entry = self._find(address)
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        text = socket.inet_ntop(family, address)
        asker = Asker(text, entry.name, entry.groupID) if entry else Asker(text)
        if len(self._seen) >= CACHE_LIMIT:
            del self._seen[next(iter(self._seen))]
            self.evictions += 1
        self._seen[packed] = asker
        return asker

    def _find(self, address: bytes) -> _Entry | None:
        """
        The most specific entry that an address is in.
        """
        size = len(address)
        number = int.from_bytes(address, "big")
        for _, mask, table in self._tables[size]:
            entry = table.get((number & mask).to_bytes(size, "big"))
            if entry is not None:
                return entry
        return None

    def networks(self) -> Iterator[tuple[bytes, int, str]]:
        """
        Each network, its prefix length and its group, the most specific ones
        first, IPv4 before IPv6.
        """
        for tables in self._tables.values():
            for length, _, table in tables:
                for packed, entry in table.items():
                    yield packed, length, entry.groupID


Clients.NONE = Clients({})


def _mask(length: int, size: int) -> int:
    bits = size * 8
    return ((1 << length) - 1) << (bits - length)


def _inherited(entries: Mapping[Network, _Entry]) -> dict[Network, _Entry]:
    """
    Fill in names and groups that an entry leaves to the networks around it.
    """
    filled: dict[Network, _Entry] = {}
    for packed, length in sorted(entries, key=lambda network: network[1]):
        entry = entries[packed, length]
        if not entry.groupID:
            around = _around(filled, packed, length)
            if around is not None:
                entry = attrs.evolve(entry, groupID=around.groupID)
        filled[packed, length] = entry
    return filled


def _around(entries: Mapping[Network, _Entry], packed: bytes, length: int) -> _Entry | None:
    """
    The smallest network around another one.
    """
    number = int.from_bytes(packed, "big")
    for shorter in range(length - 1, -1, -1):
        wider = (number & _mask(shorter, len(packed))).to_bytes(len(packed), "big")
        if (wider, shorter) in entries:
            return entries[wider, shorter]
    return None
