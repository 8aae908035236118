# -*- test-case-name: tests.config.sections.test_local -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{local_records}, C{special_names}: what is answered without asking anybody.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator

import attrs

from dnsguard.config.keys import Fault, key, keysOf
from dnsguard.config.kinds import Choice, Flag, Text
from dnsguard.config.names import Domain, domainText
from dnsguard.config.quantities import Duration

__all__ = ["LocalRecordConfig", "RecordType", "SpecialNamesConfig"]


class RecordType(enum.Enum):
    """
    The types a local record can have.
    """

    A = "a"
    AAAA = "aaaa"
    CNAME = "cname"
    TXT = "txt"
    PTR = "ptr"
    MX = "mx"
    SRV = "srv"
    CAA = "caa"
    NS = "ns"
    HTTPS = "https"
    SVCB = "svcb"


@attrs.frozen
class _Type(Choice):
    """
    A kind: a record type, shown in capitals as everybody writes it.
    """

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        return f"one of {', '.join(word.name for word in self.words)}"


@attrs.frozen
class LocalRecordConfig:
    """
    A record that is answered with authority.
    """

    name: str = key(
        Domain(wildcard=True),
        meaning="""Its name; ``*.example.org`` stands for all names below ``example.org``
            that have no record of their own.""",
    )
    type: RecordType = key(_Type(RecordType), meaning="Its type.")
    value: str = key(
        Text("the record's data", most=65535),
        meaning="Its data, as in a zone file: ``192.0.2.1``, ``10 mail.example.org``.",
    )
    ttl: float = key(Duration(most=2**31 - 1), 3600.0, meaning="How long clients may remember it.")

    def faults(self) -> Iterator[Fault]:
        """
        Addresses are addresses, names are names. Other types are read when
        the policy is built, by what knows their presentation form.
        """
        reason = ""
        if self.type in {RecordType.A, RecordType.AAAA}:
            wanted = 4 if self.type is RecordType.A else 6
            try:
                version: int = ipaddress.ip_address(self.value).version
            except ValueError:
                version = 0
            if version != wanted:
                reason = f"{self.value!r} is no IPv{wanted} address"
        elif self.type in {RecordType.CNAME, RecordType.PTR, RecordType.NS}:
            try:
                domainText(self.value)
            except ValueError as error:
                reason = f"{self.value!r}: {error}"
        if reason:
            yield Fault(("value",), reason)


def _special(name: str, meaning: str) -> bool:
    return key(Flag(), True, meaning=f"{meaning} ({name})")  # type: ignore[no-any-return]


@attrs.frozen
class SpecialNamesConfig:
    """
    Names with a meaning of their own, answered here so that they don't leak
    out. What is switched off is forwarded like any name, and conditional
    forwarding for a name goes before.
    """

    localhost: bool = _special("RFC 6761 §6.3", "``localhost`` is this machine.")
    invalid: bool = _special("RFC 6761 §6.4", "``invalid`` doesn't exist.")
    test: bool = _special("RFC 6761 §6.2", "``test`` doesn't exist unless local records say.")
    onion: bool = _special("RFC 7686", "``onion`` is for Tor alone and doesn't exist here.")
    local: bool = _special("RFC 6762 §22.1", "``local`` is for multicast DNS alone.")
    homeArpa: bool = _special("RFC 8375", "``home.arpa`` doesn't exist unless local records say.")
    serviceArpa: bool = _special(
        "RFC 9665 §10", "``service.arpa`` doesn't exist unless local records say."
    )
    resolverArpa: bool = _special(
        "RFC 9462", "``resolver.arpa`` is empty: no encrypted resolver is designated."
    )
    privateReverse: bool = _special(
        "RFC 6303", "Reverse names of private addresses are answered here."
    )
    dohCanary: bool = _special(
        "Mozilla",
        "``use-application-dns.net`` doesn't exist, so that browsers don't go round the filter.",
    )

    @property
    def switches(self) -> tuple[tuple[str, bool], ...]:
        """
        Each family's name, and whether it is answered here.
        """
        return tuple(
            (name, getattr(self, key.attribute))
            for name, key in keysOf(SpecialNamesConfig).items()
        )
