# -*- test-case-name: tests.config.test_model -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The whole configuration as one frozen tree.

C{config.cache.minTTL} is what YAML calls C{cache.min_ttl}. A further section
is a class in L{dnsguard.config.sections} and one attribute here.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Many, ScalarKind, Text
from dnsguard.config.sections.caching import CacheConfig
from dnsguard.config.sections.clients import ClientIdentificationConfig, GroupConfig
from dnsguard.config.sections.filtering import BlocklistsConfig, SafeSearchConfig
from dnsguard.config.sections.local import LocalRecordConfig, SpecialNamesConfig
from dnsguard.config.sections.logs import LoggingConfig, RequestLogConfig
from dnsguard.config.sections.querystore import QueryStoreConfig
from dnsguard.config.sections.response import ResponseConfig
from dnsguard.config.sections.server import ServerConfig
from dnsguard.config.sections.upstreams import (
    ForwardingConfig,
    NetworkConfig,
    Strategy,
    UpstreamConfig,
    duplicateNames,
)

__all__ = ["Config", "TimeZone"]


@attrs.frozen
class TimeZone(ScalarKind):
    """
    A kind: the name of a time zone.
    """

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        return "a time zone such as Europe/Berlin or UTC"

    def read(self, text: str) -> str:
        """
        Look a time zone up by its name.
        """
        name = text.strip()
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("this machine knows no time zone of that name") from None
        return name


_DEFAULT_GROUP = "default"
"""The group of those who are in no other; it needn't be declared."""

_UPSTREAM = Section(UpstreamConfig, shorthand="address")


@attrs.frozen
class Config:
    """
    Everything that can be set.
    """

    dataDirectory: str = key(
        Text("a directory"),
        "dnsguard-data",
        unset="``$STATE_DIRECTORY``, which systemd sets; else ``$XDG_STATE_HOME/dnsguard``; else "
        "``~/.local/state/dnsguard``; else ``dnsguard-data`` in the working directory",
        meaning="""Where copies of lists and other state are kept between runs; made if it
            doesn't exist.""",
    )
    timezone: str | None = key(
        TimeZone(),
        None,
        unset="the machine's",
        meaning="The time zone of all times of day.",
    )
    server: ServerConfig = key(
        Section(ServerConfig), ServerConfig(), meaning="How queries are taken in."
    )
    network: NetworkConfig = key(
        Section(NetworkConfig), NetworkConfig(), meaning="How upstreams are dealt with."
    )
    upstreams: tuple[UpstreamConfig, ...] = key(
        Many(_UPSTREAM, least=1, single=True),
        (
            UpstreamConfig(name="cloudflare", address="1.1.1.1:53"),
            UpstreamConfig(name="google", address="8.8.8.8:53"),
            UpstreamConfig(name="quad9", address="9.9.9.9:53"),
        ),
        meaning="The servers that queries are forwarded to.",
    )
    resolverStrategy: Strategy = key(
        Choice(Strategy),
        Strategy.FAILOVER,
        meaning="""Which upstream is asked: ``failover``, the first that works;
            ``load_balance``, each in turn; ``weighted``, mostly the fastest; ``parallel``, two
            or more at once, and the first answer counts.""",
    )
    conditionalForwarding: tuple[ForwardingConfig, ...] = key(
        Many(Section(ForwardingConfig)), (), meaning="Names that have servers of their own."
    )
    blocklists: BlocklistsConfig = key(
        Section(BlocklistsConfig), BlocklistsConfig(), meaning="What is blocked."
    )
    safeSearch: SafeSearchConfig = key(
        Section(SafeSearchConfig), SafeSearchConfig(), meaning="Safe search."
    )
    response: ResponseConfig = key(
        Section(ResponseConfig), ResponseConfig(), meaning="What is answered for a blocked name."
    )
    clientIdentification: ClientIdentificationConfig = key(
        Section(ClientIdentificationConfig),
        ClientIdentificationConfig(),
        meaning="Who is behind an address.",
    )
    clientGroups: tuple[GroupConfig, ...] = key(
        Many(Section(GroupConfig)),
        (),
        meaning="Groups of clients. Clients in no group are in ``default``, which needn't be listed.",
    )
    localRecords: tuple[LocalRecordConfig, ...] = key(
        Many(Section(LocalRecordConfig)), (), meaning="Records answered with authority."
    )
    hostsFiles: tuple[str, ...] = key(
        Many(Text("a path"), single=True),
        (),
        meaning="Files in the format of ``/etc/hosts`` whose names are answered as well.",
    )
    specialNames: SpecialNamesConfig = key(
        Section(SpecialNamesConfig),
        SpecialNamesConfig(),
        meaning="Names with a meaning of their own.",
    )
    cache: CacheConfig = key(Section(CacheConfig), CacheConfig(), meaning="What is remembered.")
    requestLog: RequestLogConfig = key(
        Section(RequestLogConfig), RequestLogConfig(), meaning="A line for every query."
    )
    queryStore: QueryStoreConfig = key(
        Section(QueryStoreConfig), QueryStoreConfig(), meaning="A row for every query."
    )
    logging: LoggingConfig = key(
        Section(LoggingConfig), LoggingConfig(), meaning="What dnsguard says of itself."
    )

    def statePath(self, path: str) -> Path:
        """
        Where a file or directory of state is: a relative path is one below
        the data directory.
        """
        return Path(self.dataDirectory, path)

    def faults(self) -> Iterator[Fault]:
        """
        What one section says of another one holds.
        """
        for fault in duplicateNames(self.upstreams):
            yield Fault(("upstreams", *fault.path), fault.message)
        seen: set[str] = set()
        for index, group in enumerate(self.clientGroups):
            if group.id in seen:
                yield Fault(
                    ("client_groups", index, "id"),
                    f"another group has the id {group.id!r} already",
                )
            seen.add(group.id)
        for index, client in enumerate(self.clientIdentification.clients):
            if client.groupID and client.groupID not in seen | {_DEFAULT_GROUP}:
                yield Fault(
                    ("client_identification", "clients", index, "group_id"),
                    f"no group has the id {client.groupID!r}",
                    ("client_groups",),
                )
        yield from self._sourceFaults()
        yield from self._domainFaults()

    def _sourceFaults(self) -> Iterator[Fault]:
        """
        A list's name means the same everywhere.
        """
        urls = {source.name: source.url for source in self.blocklists.sources}
        for index, group in enumerate(self.clientGroups):
            for number, source in enumerate(group.blocklist.sources):
                if urls.setdefault(source.name, source.url) != source.url:
                    yield Fault(
                        ("client_groups", index, "blocklist", "sources", number, "name"),
                        "another list has the same name and a different URL",
                        ("blocklists",),
                    )

    def _domainFaults(self) -> Iterator[Fault]:
        """
        Each domain is forwarded to one place.
        """
        seen: set[str] = set()
        for index, forwarding in enumerate(self.conditionalForwarding):
            for number, domain in enumerate(forwarding.domains):
                if domain in seen:
                    yield Fault(
                        ("conditional_forwarding", index, "domains", number),
                        f"{domain} is forwarded already",
                    )
                seen.add(domain)
