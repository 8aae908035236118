# -*- test-case-name: tests.policy.test_build -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From what was written to the policy.

The specs in here are plain values that say what an operator can say, key by
key; whoever reads the configuration fills them in. Building looks at all of
them before it complains, and touches nothing that is in use: a policy comes
out, or a list of problems. It may take a while (regular expressions, ten
thousand local records): not on the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import TypeVar

import attrs

from dnsguard.errors import PolicyError
from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.clients import Clients, ClientSpec
from dnsguard.policy.group import (
    GroupPlan,
    LayeredRules,
    RuleBook,
    RuleParts,
    RulesFactory,
)
from dnsguard.policy.localrecords import DEFAULT_TTL, LocalRecords, RecordSpec
from dnsguard.policy.presentation import RecordError, parseName
from dnsguard.policy.problems import InvalidPolicy, Problems
from dnsguard.policy.safesearch import SafeSearch, SafeSearchSpec
from dnsguard.policy.schedule import Schedule, WindowSpec, parseZone
from dnsguard.policy.servicecatalogue import domainsOf
from dnsguard.policy.snapshot import DEFAULT_GROUP, Policy
from dnsguard.policy.specialnames import SpecialNames, SpecialNamesSpec
from dnsguard.policy.view import NO_RULES, Rules, View

__all__ = [
    "FamilyTimeSpec",
    "GroupSpec",
    "PolicySpec",
    "RulesSpec",
    "build",
    "noRules",
]

_Built = TypeVar("_Built")


@attrs.frozen
class FamilyTimeSpec:
    """
    A C{family_time} block.

    @ivar windows: When it is.
    @ivar services: Ids of the catalogue of services.
    @ivar domains: Further domains.
    """

    windows: tuple[WindowSpec, ...] = ()
    services: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


@attrs.frozen
class RulesSpec:
    """
    A C{blocklists} or C{client_groups[].blocklist} block.

    @ivar sources: The names of its lists.
    @ivar allow: Domains and regular expressions never to block.
    @ivar deny: Those always to block.
    @ivar familyTime: What is blocked at times, before all else.
    @ivar pause: When the lists block nothing.
    @ivar place: Its key path, for problems and attributions.
    """

    sources: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    familyTime: FamilyTimeSpec | None = None
    pause: tuple[WindowSpec, ...] = ()
    place: str = "blocklists"


@attrs.frozen
class GroupSpec:
    """
    One of the C{client_groups}.

    @ivar id: Its id, which clients refer to.
    @ivar inheritsGlobal: Do the global rules hold, too, below its own?
    @ivar rules: Its own rules, or L{None}.
    @ivar safeSearch: Its own safe search; L{None} for the global one.
    @ivar cacheDisabled: Ask upstream each time, and keep nothing.
    @ivar place: Its key path, for problems.
    """

    id: str
    inheritsGlobal: bool = True
    rules: RulesSpec | None = None
    safeSearch: SafeSearchSpec | None = None
    cacheDisabled: bool = False
    place: str = "client_groups"


@attrs.frozen
class PolicySpec:
    """
    All that makes a policy.

    @ivar rules: The global rules.
    @ivar groups: The client groups.
    @ivar clients: Who is in which; none when clients aren't to be identified.
    @ivar records: Local records.
    @ivar importedRecords: Those of hosts files.
    @ivar recordTTL: The TTL of local records that have none, in seconds.
    @ivar automaticPTR: Have local addresses point back?
    @ivar safeSearch: The global safe search.
    @ivar specialNames: Which special names are answered here.
    @ivar timeZone: The zone of all windows by its IANA name; empty: the
        server's own.
    @ivar timeZonePlace: Where it was written.
    @ivar blockedResponse: What those who ask for a blocked name are told.
    """

    rules: RulesSpec = attrs.field(factory=RulesSpec)
    groups: tuple[GroupSpec, ...] = ()
    clients: tuple[ClientSpec, ...] = ()
    records: tuple[RecordSpec, ...] = ()
    importedRecords: tuple[RecordSpec, ...] = ()
    recordTTL: int = DEFAULT_TTL
    automaticPTR: bool = True
    safeSearch: SafeSearchSpec = attrs.field(factory=SafeSearchSpec)
    specialNames: SpecialNamesSpec = attrs.field(factory=SpecialNamesSpec)
    timeZone: str = ""
    timeZonePlace: str = "time_zone"
    blockedResponse: BlockedResponse = attrs.field(factory=BlockedResponse)


def noRules(parts: RuleParts) -> Rules:
    """
    Make rules that block nothing, whatever the parts.
    """
    return NO_RULES


def build(
    spec: PolicySpec,
    factory: RulesFactory,
    *,
    now: float,
    pauses: Mapping[str, float] | None = None,
) -> Policy:
    """
    Make a policy.

    @param spec: What was written.
    @param factory: Makes a set of block and allow rules of its parts; it knows
        the lists that were loaded.
    @param now: Seconds since the epoch.
    @param pauses: The pauses by hand that go on, see L{Policy}.
    @raise InvalidPolicy: All that is wrong with it.
    """
    return _Builder(spec, factory).build(now, pauses)


class _Builder:
    """
    Builds one policy, noting all problems.
    """

    def __init__(self, spec: PolicySpec, factory: RulesFactory) -> None:
        self.spec = spec
        self.factory = factory
        self.problems = Problems()
        self.made: dict[RuleParts, Rules] = {}
        self.layered: dict[tuple[RuleParts, ...], Rules] = {}
        self.schedules: dict[Schedule, Schedule] = {}
        self.searches: dict[SafeSearchSpec, SafeSearch] = {}

    def build(self, now: float, pauses: Mapping[str, float] | None) -> Policy:
        """
        Make the policy, if nothing is wrong.
        """
        spec = self.spec
        zone = parseZone(spec.timeZone, spec.timeZonePlace, self.problems)
        everybody = self.everybody()
        book = self.book(spec.rules, zone)
        plans = [self.plan(everybody, (book,), True)]
        ids: dict[str, str] = {}
        for group in spec.groups:
            self.checkID(group, ids)
            plans.append(self.groupPlan(group, everybody, book, zone))
        clients = self.attempt(
            lambda: Clients.build(spec.clients, [*ids, DEFAULT_GROUP]), Clients.NONE
        )
        self.problems.check()
        policy = Policy.make(tuple(plans), clients, now=now, pauses=pauses)
        # Found here, off the reactor, and remembered by the schedules.
        policy.nextChange(now)
        return policy

    def attempt(self, make: Callable[[], _Built], otherwise: _Built) -> _Built:
        """
        Make something, or note what is wrong and go on with something else.
        """
        try:
            return make()
        except (PolicyError, InvalidPolicy) as problem:
            self.problems.add(problem)
            return otherwise

    def everybody(self) -> View:
        """
        What those in no group see, but for the rules.
        """
        spec = self.spec
        records = self.attempt(
            lambda: LocalRecords.build(
                spec.records,
                spec.importedRecords,
                defaultTTL=spec.recordTTL,
                automaticPTR=spec.automaticPTR,
            ),
            LocalRecords.NONE,
        )
        names = self.attempt(lambda: SpecialNames.build(spec.specialNames), SpecialNames.NONE)
        return View(
            records=records,
            specialNames=names,
            safeSearch=self.safeSearch(spec.safeSearch),
            blockedResponse=spec.blockedResponse,
        )

    def safeSearch(self, spec: SafeSearchSpec) -> SafeSearch:
        """
        Make safe search; the same one for groups that say the same.
        """
        key = attrs.evolve(spec, place="", switches=tuple(sorted(spec.switches)))
        if key not in self.searches:
            self.searches[key] = self.attempt(lambda: SafeSearch.build(spec), SafeSearch.NONE)
        return self.searches[key]

    def checkID(self, group: GroupSpec, ids: dict[str, str]) -> None:
        """
        Note a group's id, which must be there and its own.
        """
        if not group.id:
            self.problems.note(f"{group.place}.id", "a group needs an id")
        elif group.id in ids:
            self.problems.note(f"{group.place}.id", f"{group.id!r} is {ids[group.id]}'s already")
        else:
            ids[group.id] = group.place

    def groupPlan(
        self, group: GroupSpec, everybody: View, book: RuleBook, zone: tzinfo | None
    ) -> GroupPlan:
        """
        Make one group's plan.
        """
        template = attrs.evolve(
            everybody, groupID=group.id or "?", cacheDisabled=group.cacheDisabled
        )
        if group.safeSearch is not None:
            template = attrs.evolve(template, safeSearch=self.safeSearch(group.safeSearch))
        if group.rules is None:
            own = RuleBook(f"{group.place}.blocklist")
        else:
            own = self.book(group.rules, zone)
        if group.inheritsGlobal:
            return self.plan(template, (own, book), True)
        return self.plan(template, (own,), False)

    def book(self, spec: RulesSpec, zone: tzinfo | None) -> RuleBook:
        """
        Read one block of rules.
        """
        return RuleBook(
            spec.place,
            spec.sources,
            spec.allow,
            spec.deny,
            self.familyDomains(spec),
            self.schedule(spec.familyTime.windows if spec.familyTime else (), zone),
            self.schedule(spec.pause, zone),
        )

    def schedule(self, windows: Iterable[WindowSpec], zone: tzinfo | None) -> Schedule:
        """
        Read windows; the same ones are one schedule, which finds its next
        change once for all groups.
        """
        schedule = self.attempt(lambda: Schedule.build(windows, zone), Schedule())
        return self.schedules.setdefault(schedule, schedule)

    def familyDomains(self, spec: RulesSpec) -> tuple[str, ...]:
        """
        Read what family time blocks.
        """
        family = spec.familyTime
        if family is None:
            return ()
        place = f"{spec.place}.family_time"
        domains = domainsOf(family.services, f"{place}.services", self.problems)
        for number, domain in enumerate(family.domains):
            try:
                parseName(domain.removeprefix("*."))
            except RecordError as reason:
                self.problems.note(f"{place}.domains[{number}]", str(reason))
        # The operator's own come first, so that their numbers are right in
        # attributions.
        return tuple(dict.fromkeys((*family.domains, *domains)))

    def plan(self, template: View, books: tuple[RuleBook, ...], underGlobal: bool) -> GroupPlan:
        """
        Make a plan with rules for all its states.
        """
        return GroupPlan.prepare(template, books, underGlobal, self.rules)

    def rules(self, layers: tuple[RuleParts, ...]) -> Rules:
        """
        Make rules of layers; the same ones for groups with the same layers.
        """
        if layers not in self.layered:
            rules = tuple(self.layer(parts) for parts in layers)
            self.layered[layers] = rules[0] if len(rules) == 1 else LayeredRules(rules)
        return self.layered[layers]

    def layer(self, parts: RuleParts) -> Rules:
        """
        Make one set of rules, once.
        """
        spoken = (parts.sources, parts.allow, parts.deny)
        if not parts.familyTime and (parts.paused or not any(spoken)):
            return NO_RULES
        if parts not in self.made:
            none: Rules = NO_RULES
            self.made[parts] = self.attempt(lambda: self.factory(parts), none)
        return self.made[parts]
