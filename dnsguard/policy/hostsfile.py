# -*- test-case-name: tests.policy.test_hostsfile -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Local records from a hosts file.

A hosts file is written for its own machine, not for us: a line that makes no
record is put aside with its place, and the others count.
"""

from __future__ import annotations

import ipaddress

import attrs

from dnsguard.errors import PolicyError
from dnsguard.policy.localrecords import RecordSpec
from dnsguard.policy.presentation import RecordError, parseName

__all__ = ["HostsFile", "parseHosts"]

LIMIT = 1000
"""How many rejected lines are kept for showing; the rest are counted."""


@attrs.frozen
class HostsFile:
    """
    What a hosts file says.

    @ivar records: One A or AAAA record a name.
    @ivar rejected: The first lines that make no record, with their places.
    @ivar rejectedCount: How many names or lines make no record.
    """

    records: tuple[RecordSpec, ...]
    rejected: tuple[PolicyError, ...]
    rejectedCount: int


def parseHosts(text: str, source: str) -> HostsFile:
    """
    Read a hosts file: an address and all its names on each line, C{#} begins
    a comment.

    The first name on a line is the one that the address points back to.

    @param source: The file's name, for places.
    """
    records: list[RecordSpec] = []
    rejected: list[PolicyError] = []
    count = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        for spec in _records(words, f"{source}:{number}"):
            if isinstance(spec, RecordSpec):
                records.append(spec)
                continue
            count += 1
            if len(rejected) < LIMIT:
                rejected.append(spec)
    return HostsFile(tuple(records), tuple(rejected), count)


def _records(words: list[str], place: str) -> list[RecordSpec | PolicyError]:
    """
    The records of one line, and what is wrong with the others.
    """
    try:
        address = ipaddress.ip_address(words[0])
    except ValueError:
        return [PolicyError(place, f"no address: {words[0][:60]!r}")]
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return [PolicyError(place, "an address with a scope holds on its own machine only")]
    if not words[1:]:
        return [PolicyError(place, "an address without a name")]
    type = "A" if address.version == 4 else "AAAA"
    found: list[RecordSpec | PolicyError] = []
    for name in words[1:]:
        try:
            parseName(name)
        except RecordError as reason:
            found.append(PolicyError(place, str(reason)))
        else:
            found.append(RecordSpec(name, type, str(address), place=place))
    return found
