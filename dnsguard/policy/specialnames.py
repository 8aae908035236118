# -*- test-case-name: tests.policy.test_specialnames -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Names that never belong to the public DNS, and what to say of them.

A resolver that forwards C{localhost}, a C{.onion} name or the reverse of a
private address tells strangers about this house and gets nothing for it. The
registry of special-use names (RFC 6761) and of locally served zones (RFC 6303)
say what to answer instead. A name that the operator has an upstream for is
asked there: that is what "unless configured otherwise" in those RFCs means.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import ClassVar

import attrs

from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.policy.presentation import RecordError, parseName
from dnsguard.policy.problems import Problems, nearest
from dnsguard.wire.names import fromText, isAtOrBelow, parents, toText
from dnsguard.wire.records import Record

__all__ = ["SpecialAnswer", "SpecialName", "SpecialNames", "SpecialNamesSpec"]

_A, _PTR, _AAAA, _DS, _ANY = 1, 12, 28, 43, 255

LOOPBACK_TTL = 10800
"""Seconds that a loopback address and its name may be kept."""

NEGATIVE_TTL = 3600
"""
Seconds that "there is no such name" may be kept: less than the 10800 of
RFC 6303 §3, so that a name the operator adds is seen the same day.
"""


class SpecialName(enum.Enum):
    """
    The families of special names. The values are the switches' names.
    """

    LOCALHOST = "localhost"
    """RFC 6761 §6.3: the loopback addresses."""

    INVALID = "invalid"
    """RFC 6761 §6.4: no such name."""

    TEST = "test"
    """RFC 6761 §6.2: no such name, unless somebody is testing."""

    ONION = "onion"
    """RFC 7686 §2: no such name."""

    LOCAL = "local"
    """RFC 6762 §22.1: multicast DNS has these."""

    HOME = "home_arpa"
    """RFC 8375 §4: the home's own names."""

    SERVICE = "service_arpa"
    """RFC 9665 §10: service registration within a site."""

    RESOLVER = "resolver_arpa"
    """RFC 9462 §6.4: no designated resolver is announced."""

    REVERSE = "private_reverse"
    """RFC 6303 §4, RFC 7793: the reverse of addresses that aren't public."""

    CANARY = "doh_canary"
    """C{use-application-dns.net}: browsers that find it go round this server."""


class _Say(enum.Enum):
    """
    What to say of the names in a zone.
    """

    PASS = "nothing"
    LOOPBACK = "loopback"
    LOOPBACK_NAME = "localhost"
    NO_DATA = "no data"
    NO_NAME = "no such name"


def _reverseZones() -> list[str]:
    """
    The zones of RFC 6303 §4 and RFC 7793 §3, but for those of one address.
    """
    v4 = ["0", "10", "168.192", "254.169", "2.0.192", "100.51.198", "113.0.203", "127"]
    v4 += [f"{second}.172" for second in range(16, 32)]
    v4 += [f"{second}.100" for second in range(64, 128)]
    v4.append("255.255.255.255")
    unspecified = ".".join("0" * 32)
    v6 = [unspecified, "d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f", "8.b.d.0.1.0.0.2"]
    return [f"{zone}.in-addr.arpa" for zone in v4] + [f"{zone}.ip6.arpa" for zone in v6]


_LOOPBACK_NAMES = ["1.0.0.127.in-addr.arpa", "1." + ".".join("0" * 31) + ".ip6.arpa"]

_ZONES: dict[SpecialName, tuple[_Say, list[str]]] = {
    SpecialName.LOCALHOST: (_Say.LOOPBACK, ["localhost"]),
    SpecialName.INVALID: (_Say.NO_NAME, ["invalid"]),
    SpecialName.TEST: (_Say.NO_NAME, ["test"]),
    SpecialName.ONION: (_Say.NO_NAME, ["onion"]),
    SpecialName.LOCAL: (_Say.NO_NAME, ["local"]),
    SpecialName.HOME: (_Say.NO_NAME, ["home.arpa"]),
    SpecialName.SERVICE: (_Say.NO_NAME, ["service.arpa"]),
    SpecialName.RESOLVER: (_Say.NO_DATA, ["resolver.arpa"]),
    SpecialName.REVERSE: (_Say.NO_NAME, _reverseZones()),
    SpecialName.CANARY: (_Say.NO_NAME, ["use-application-dns.net"]),
}


@attrs.frozen
class SpecialNamesSpec:
    """
    Which special names are answered here, as it was written.

    @ivar switches: For some families, on or off; one that isn't mentioned is
        on.
    @ivar routed: Names that an upstream is set for: they and all below them
        are asked there.
    @ivar place: Where the switches were written, for problems.
    @ivar routedPlace: Where the routes were written, for problems.
    """

    switches: tuple[tuple[str, bool], ...] = ()
    routed: tuple[str, ...] = ()
    place: str = "special_names"
    routedPlace: str = "upstreams"


@attrs.frozen(slots=True)
class _Zone:
    """
    One zone of special names.
    """

    apex: bytes
    say: _Say
    attribution: Attribution


@attrs.frozen(slots=True)
class SpecialAnswer:
    """
    What is to be said of a special name.

    @ivar exists: False: there is no such name (NXDOMAIN).
    @ivar answer: The records, none for "no data".
    @ivar authority: The zone's SOA record when there are none.
    @ivar attribution: Which family of names decided.
    """

    exists: bool
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    attribution: Attribution


class SpecialNames:
    """
    The special names that are answered here. Immutable.
    """

    NONE: ClassVar[SpecialNames]

    def __init__(self, zones: Mapping[bytes, _Zone]) -> None:
        """
        Use L{of} or L{build}.
        """
        self._zones = zones
        # One call in C sorts out nearly all names of a query stream.
        self._ends = tuple({_lastLabel(apex) for apex in zones})

    @classmethod
    def of(cls, families: Iterable[SpecialName], routed: Iterable[bytes] = ()) -> SpecialNames:
        """
        Make the special names of some families.

        @param routed: Names that an upstream is set for, in wire form.
        """
        zones: dict[bytes, _Zone] = {}
        for family in families:
            say, texts = _ZONES[family]
            attribution = Attribution(RuleKind.SPECIAL_NAME, "special_names", family.value)
            for text in texts:
                apex = fromText(text)
                zones[apex] = _Zone(apex, say, attribution._replace(name=apex))
            if family is SpecialName.REVERSE:
                for text in _LOOPBACK_NAMES:
                    apex = fromText(text)
                    zones[apex] = _Zone(apex, _Say.LOOPBACK_NAME, attribution._replace(name=apex))
        for route in routed:
            _giveWay(zones, route)
        return cls(zones)

    @classmethod
    def build(cls, spec: SpecialNamesSpec) -> SpecialNames:
        """
        Make special names of what was written.

        @raise InvalidPolicy: All that is wrong with it.
        """
        problems = Problems()
        known = {family.value: family for family in SpecialName}
        on = set(SpecialName)
        for word, switch in spec.switches:
            family = known.get(word)
            if family is None:
                problems.note(
                    f"{spec.place}.{word}", f"no such special names{nearest(word, known)}"
                )
            elif not switch:
                on.discard(family)
        routes: list[bytes] = []
        for text in spec.routed:
            try:
                routes.append(parseName(text.removeprefix("*.")))
            except RecordError as reason:
                problems.note(spec.routedPlace, str(reason))
        problems.check()
        return cls.of([family for family in SpecialName if family in on], routes)

    def find(self, qname: bytes, type: int) -> SpecialAnswer | None:
        """
        Say what is to be said of a name; L{None}: nothing, it is as others are.

        @param qname: The name, lower-cased, in wire form.
        @param type: The type asked for.
        """
        if not qname.endswith(self._ends):
            return None
        for name in parents(qname):
            zone = self._zones.get(name)
            if zone is not None:
                return _answer(zone, qname, type)
        return None

    def isSame(self, other: SpecialNames) -> bool:
        """
        Are these the same names, with the same to be said of each?
        """
        return self._zones == other._zones


def _answer(zone: _Zone, qname: bytes, type: int) -> SpecialAnswer | None:
    """
    Say what a zone says of one of its names.
    """
    say = zone.say
    if say is _Say.PASS:
        return None
    if type == _DS and qname == zone.apex and toText(qname).endswith(".arpa"):
        # These are delegated without a signature, and who validates must be
        # able to see that in the parent zone (RFC 8375 §4 (4), RFC 6303 §6).
        return None
    if say is _Say.LOOPBACK and type in (_A, _AAAA, _ANY):
        return SpecialAnswer(True, _loopback(qname, type), (), zone.attribution)
    if say is _Say.LOOPBACK_NAME and qname == zone.apex and type in (_PTR, _ANY):
        record = Record.make(qname, _PTR, LOOPBACK_TTL, fromText("localhost"))
        return SpecialAnswer(True, (record,), (), zone.attribution)
    exists = say in (_Say.LOOPBACK, _Say.NO_DATA) or (qname == zone.apex and not _isName(zone))
    soa = Record.soa(zone.apex, NEGATIVE_TTL)
    return SpecialAnswer(exists, (), (soa,), zone.attribution)


def _isName(zone: _Zone) -> bool:
    """
    Is the zone's apex itself a name that doesn't exist?

    The top of a locally served zone has its SOA record, so it exists; top-level
    names and the canary don't.
    """
    return zone.say is _Say.NO_NAME and not zone.apex.endswith(b"\4arpa\0")


def _loopback(qname: bytes, type: int) -> tuple[Record, ...]:
    """
    The loopback addresses, for any name in C{localhost} (RFC 6761 §6.3 (4)).
    """
    records = []
    if type in (_A, _ANY):
        records.append(Record.make(qname, _A, LOOPBACK_TTL, bytes([127, 0, 0, 1])))
    if type in (_AAAA, _ANY):
        records.append(Record.make(qname, _AAAA, LOOPBACK_TTL, bytes(15) + b"\1"))
    return tuple(records)


def _giveWay(zones: dict[bytes, _Zone], route: bytes) -> None:
    """
    Say nothing of names that an upstream is set for.
    """
    if route == b"\0":
        return
    inside = any(isAtOrBelow(route, apex) for apex in zones)
    for apex in [apex for apex in zones if isAtOrBelow(apex, route)]:
        del zones[apex]
    if inside:
        zones[route] = _Zone(
            route, _Say.PASS, Attribution(RuleKind.SPECIAL_NAME, "upstreams", toText(route))
        )


def _lastLabel(name: bytes) -> bytes:
    return list(parents(name))[-1]


SpecialNames.NONE = SpecialNames({})
