# -*- test-case-name: tests.assembly.test_rules -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to the specs that a policy is built of.

The two are kept apart so that the policy room knows nothing of YAML, and an
operator's C{.tac} file can say the same things without any.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from dnsguard.config.model import Config
from dnsguard.config.sections.clients import GroupConfig, GroupSafeSearchConfig
from dnsguard.config.sections.filtering import (
    BlocklistsConfig,
    FamilyTimeConfig,
    SafeSearchConfig,
    ScheduledPauseConfig,
    YouTubeMode,
)
from dnsguard.errors import PolicyError
from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.build import FamilyTimeSpec, GroupSpec, PolicySpec, RulesSpec, build
from dnsguard.policy.clients import ClientSpec
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.hostsfile import parseHosts
from dnsguard.policy.localrecords import RecordSpec
from dnsguard.policy.problems import InvalidPolicy, Problems
from dnsguard.policy.rulefactory import RuleSetFactory
from dnsguard.policy.safesearch import SafeSearchSpec
from dnsguard.policy.schedule import WindowSpec
from dnsguard.policy.snapshot import Policy
from dnsguard.policy.specialnames import SpecialNamesSpec

__all__ = ["makePolicy", "policySpec", "sourceURLs"]

_MAX_HOSTS = 8 << 20
"""Octets of the largest hosts file that is read."""

_SHOWN = 5
"""Lines of a hosts file that are told of one by one when they make no record."""

_ENGINES = ("google", "bing", "duckduckgo", "ecosia", "pixabay", "yandex", "brave")


def sourceURLs(config: Config) -> dict[str, str]:
    """
    All block lists that anybody uses.

    One URL is one list, whatever it is called by those who use it: it is
    fetched and kept once, under the name it has where it stands first.

    @return: Names by URL.
    """
    names: dict[str, str] = {}
    for sources in (
        config.blocklists.sources,
        *(group.blocklist.sources for group in config.clientGroups),
    ):
        for source in sources:
            names.setdefault(source.url, source.name)
    return names


def policySpec(config: Config, imported: Iterable[RecordSpec] = ()) -> PolicySpec:
    """
    Say what the configuration says, in the policy's own terms.

    @param imported: Records read from hosts files.
    """
    names = sourceURLs(config)
    clients = config.clientIdentification
    return PolicySpec(
        rules=_rules(config.blocklists, names),
        groups=tuple(
            _group(group, f"client_groups[{number}]", names, config.safeSearch)
            for number, group in enumerate(config.clientGroups)
        ),
        clients=tuple(
            ClientSpec(
                client.ip,
                client.name,
                client.groupID,
                f"client_identification.clients[{number}]",
            )
            for number, client in enumerate(clients.clients)
        )
        if clients.enabled
        else (),
        records=tuple(
            RecordSpec(
                record.name,
                record.type.value,
                record.value,
                int(record.ttl),
                f"local_records[{number}]",
            )
            for number, record in enumerate(config.localRecords)
        ),
        importedRecords=tuple(imported),
        safeSearch=_safeSearch(config.safeSearch),
        specialNames=_specialNames(config),
        timeZone=config.timezone or "",
        timeZonePlace="timezone",
        blockedResponse=BlockedResponse.parse(
            config.response.blocked, int(config.response.blockedTTL)
        ),
    )


def _rules(blocklists: BlocklistsConfig, names: dict[str, str]) -> RulesSpec:
    return RulesSpec(
        sources=tuple(names[source.url] for source in blocklists.sources),
        allow=blocklists.allowlist,
        deny=blocklists.denylist,
        familyTime=_familyTime(blocklists.familyTime, "blocklists"),
        pause=_pause(blocklists.scheduledPause, "blocklists"),
        place="blocklists",
    )


def _group(
    group: GroupConfig, place: str, names: dict[str, str], everybody: SafeSearchConfig
) -> GroupSpec:
    blocklist = group.blocklist
    inner = f"{place}.blocklist"
    return GroupSpec(
        id=group.id,
        inheritsGlobal=blocklist.inheritGlobal,
        rules=RulesSpec(
            sources=tuple(names[source.url] for source in blocklist.sources),
            allow=blocklist.allowlist,
            deny=blocklist.denylist,
            familyTime=_familyTime(blocklist.familyTime, inner),
            pause=_pause(blocklist.scheduledPause, inner),
            place=inner,
        ),
        safeSearch=_groupSafeSearch(group.safeSearch, everybody, f"{place}.safe_search"),
        cacheDisabled=group.disableCache,
        place=place,
    )


def _window(block: FamilyTimeConfig | ScheduledPauseConfig, place: str) -> WindowSpec:
    return WindowSpec(block.start, block.end, block.days, place)


def _familyTime(block: FamilyTimeConfig | None, place: str) -> FamilyTimeSpec | None:
    if block is None or not block.enabled:
        return None
    window = _window(block, f"{place}.family_time")
    return FamilyTimeSpec((window,), block.services, block.domains)


def _pause(block: ScheduledPauseConfig | None, place: str) -> tuple[WindowSpec, ...]:
    if block is None or not block.enabled:
        return ()
    return (_window(block, f"{place}.scheduled_pause"),)


def _safeSearch(section: SafeSearchConfig, place: str = "safe_search") -> SafeSearchSpec:
    off = section.youtube is YouTubeMode.OFF
    return SafeSearchSpec(
        section.enabled,
        (*((engine, getattr(section, engine)) for engine in _ENGINES), ("youtube", not off)),
        "" if off else section.youtube.value,
        place,
    )


def _groupSafeSearch(
    own: GroupSafeSearchConfig, everybody: SafeSearchConfig, place: str
) -> SafeSearchSpec | None:
    """
    Lay a group's safe search over everybody's.

    @return: L{None} when the group says nothing of its own.
    """
    said = {
        key: value
        for key in ("enabled", "youtube", *_ENGINES)
        if (value := getattr(own, key)) is not None
    }
    if not said:
        return None
    merged = {key: getattr(everybody, key) for key in ("enabled", "youtube", *_ENGINES)}
    return _safeSearch(SafeSearchConfig(**{**merged, **said}), place)


def _specialNames(config: Config) -> SpecialNamesSpec:
    return SpecialNamesSpec(
        switches=config.specialNames.switches,
        routed=tuple(domain for route in config.conditionalForwarding for domain in route.domains),
        routedPlace="conditional_forwarding",
    )


def _ordinaryText(path: Path) -> str:
    """
    Read a file whole, unless that might never end.

    @raise OSError: It can't be read, or is none to be read whole.
    """
    facts = path.stat()
    if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
        raise OSError("not an ordinary file")
    if facts.st_size > _MAX_HOSTS:
        raise OSError(f"larger than {_MAX_HOSTS >> 20} MiB; is it a block list?")
    return path.read_text("utf-8", "replace")


def readHosts(paths: Iterable[str]) -> tuple[list[RecordSpec], list[PolicyError]]:
    """
    Read hosts files. Waits for the disk.

    @return: Their records, and what in them makes none.
    @raise PolicyError: A file can't be read.
    """
    records: list[RecordSpec] = []
    rejected: list[PolicyError] = []
    for number, path in enumerate(paths):
        try:
            text = _ordinaryText(Path(path))
        except OSError as reason:
            why = os.strerror(reason.errno).lower() if reason.errno else str(reason)
            raise PolicyError(f"hosts_files[{number}]", f"{path}: {why}") from reason
        hosts = parseHosts(text, path)
        records += hosts.records
        shown = hosts.rejected[:_SHOWN]
        rejected += shown
        if hosts.rejectedCount > len(shown):
            rejected.append(
                PolicyError(path, f"{hosts.rejectedCount - len(shown)} more like that")
            )
    return records, rejected


def makePolicy(
    config: Config,
    domains: DomainSet,
    now: float,
    pauses: Mapping[str, float] | None = None,
) -> tuple[Policy, list[PolicyError]]:
    """
    Make the policy that the configuration wants. Waits for the disk and takes
    its time: not for the reactor's thread once it runs.

    @param domains: All lists that are loaded.
    @param now: Seconds since the epoch.
    @param pauses: Pauses that go on.
    @return: The policy, and what in the hosts files was passed over.
    @raise InvalidPolicy: All that is wrong.
    """
    problems = Problems()
    imported: list[RecordSpec] = []
    rejected: list[PolicyError] = []
    try:
        imported, rejected = readHosts(config.hostsFiles)
    except PolicyError as problem:
        problems.add(problem)
    policy: Policy | None = None
    try:
        policy = build(
            policySpec(config, imported), RuleSetFactory(domains), now=now, pauses=pauses
        )
    except (PolicyError, InvalidPolicy) as problem:
        problems.add(problem)
    problems.check()
    assert policy is not None
    return policy, rejected
