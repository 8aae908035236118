# -*- test-case-name: tests.config.sections.test_clients -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{client_identification}, C{client_groups}: who asks, and what holds for them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Flag, Many, ScalarKind, Text
from dnsguard.config.names import Rule
from dnsguard.config.sections.filtering import (
    FamilyTimeConfig,
    SafeSearchConfig,
    ScheduledPauseConfig,
    SourceConfig,
    YouTubeMode,
    sourceFaults,
)

__all__ = [
    "ClientConfig",
    "ClientIdentificationConfig",
    "GroupBlocklistConfig",
    "GroupConfig",
    "GroupSafeSearchConfig",
    "Network",
]


@attrs.frozen
class Network(ScalarKind):
    """
    An IP address or a network in CIDR form, in canonical text.
    """

    @property
    def expected(self) -> str:
        return "an IP address or a network such as 192.0.2.0/24"

    def read(self, text: str) -> str:
        """
        Read an address or network; bits behind the prefix must be zero.
        """
        text = text.strip()
        try:
            if "/" not in text:
                return str(ipaddress.ip_address(text))
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError("") from None
        if str(network.network_address) != str(ipaddress.ip_address(text.split("/")[0])):
            raise ValueError(f"bits are set behind the prefix; did you mean {network}?")
        return str(network)


_ID = Text("an id: letters, digits, '-', '_' and '.'", pattern=r"[A-Za-z0-9_.-]+", most=64)


@attrs.frozen
class ClientConfig:
    """
    A client, or all clients of a network.
    """

    ip: str = key(
        Network(),
        meaning="""An IP address, or a network such as ``192.0.2.0/24``; the narrowest that
            holds an address counts.""",
    )
    name: str = key(
        Text("a name", most=64, least=0), "", meaning="What it is called in logs and rows."
    )
    groupID: str = key(
        _ID, "", unset="none", meaning="The ``id`` of the client group it belongs to."
    )


@attrs.frozen
class ClientIdentificationConfig:
    """
    Who is behind an address.
    """

    enabled: bool = key(
        Flag(), False, meaning="Tell clients apart; otherwise everybody is treated alike."
    )
    clients: tuple[ClientConfig, ...] = key(
        Many(Section(ClientConfig)), (), meaning="The clients that are known."
    )

    def faults(self) -> Iterator[Fault]:
        """
        Each address stands once.
        """
        seen: set[str] = set()
        for index, client in enumerate(self.clients):
            if client.ip in seen:
                yield Fault(("clients", index, "ip"), f"{client.ip} is a client already")
            seen.add(client.ip)


@attrs.frozen
class GroupBlocklistConfig:
    """
    What is blocked for a group.
    """

    inheritGlobal: bool = key(
        Flag(),
        True,
        meaning="Do ``blocklists`` hold as well, with the group's own rules on top of them?",
    )
    sources: tuple[SourceConfig, ...] = key(
        Many(Section(SourceConfig, shorthand="url")), (), meaning="Lists of the group's own."
    )
    allowlist: tuple[str, ...] = key(
        Many(Rule()), (), meaning="Never blocked for the group; as in ``blocklists``."
    )
    denylist: tuple[str, ...] = key(
        Many(Rule()), (), meaning="Always blocked for the group; as in ``blocklists``."
    )
    scheduledPause: ScheduledPauseConfig | None = key(
        Section(ScheduledPauseConfig),
        None,
        unset="as in ``blocklists``, if inherited",
        meaning="Times of the week at which nothing from the lists is blocked for the group.",
    )
    familyTime: FamilyTimeConfig | None = key(
        Section(FamilyTimeConfig),
        None,
        unset="as in ``blocklists``, if inherited",
        meaning="Times of the week at which services are blocked for the group.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        Sources are told apart.
        """
        yield from sourceFaults(self.sources)


def _inherited(name: str) -> bool | None:
    return key(  # type: ignore[no-any-return]
        Flag(),
        None,
        unset="as in ``safe_search``",
        meaning=f"Force safe search on {name} for the group?",
    )


@attrs.frozen
class GroupSafeSearchConfig:
    """
    Safe search for a group: what is set here counts instead of
    ``safe_search``.
    """

    enabled: bool | None = key(
        Flag(),
        None,
        unset="as in ``safe_search``",
        meaning="Is safe search forced at all for the group?",
    )
    google: bool | None = _inherited("Google")
    bing: bool | None = _inherited("Bing")
    duckduckgo: bool | None = _inherited("DuckDuckGo")
    ecosia: bool | None = _inherited("Ecosia")
    pixabay: bool | None = _inherited("Pixabay")
    yandex: bool | None = _inherited("Yandex")
    brave: bool | None = _inherited("Brave Search")
    youtube: YouTubeMode | None = key(
        Choice(YouTubeMode, YouTubeMode.synonyms()),
        None,
        unset="as in ``safe_search``",
        meaning="Restricted mode of YouTube for the group.",
    )

    def over(self, base: SafeSearchConfig) -> SafeSearchConfig:
        """
        What holds for the group: what is set here, else what is in C{base}.
        """
        changes = {name: value for name, value in attrs.asdict(self).items() if value is not None}
        return attrs.evolve(base, **changes)


@attrs.frozen
class GroupConfig:
    """
    Clients that are treated alike.
    """

    id: str = key(_ID, meaning="What clients refer to it by.")
    name: str = key(
        Text("a name", most=64),
        attrs.Factory(lambda self: self.id, takes_self=True),
        unset="its id",
        meaning="What people call it.",
    )
    description: str = key(Text("text", least=0), "", meaning="What it is for.")
    blocklist: GroupBlocklistConfig = key(
        Section(GroupBlocklistConfig), GroupBlocklistConfig(), meaning="What is blocked for it."
    )
    safeSearch: GroupSafeSearchConfig = key(
        Section(GroupSafeSearchConfig),
        GroupSafeSearchConfig(),
        meaning="Safe search for it.",
    )
    disableCache: bool = key(
        Flag(), False, meaning="Ask upstream each time, and keep nothing, for this group?"
    )
