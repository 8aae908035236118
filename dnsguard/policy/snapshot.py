# -*- test-case-name: tests.policy.test_snapshot -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The policy: one immutable, numbered picture of all rules.

Whatever changes the rules (a new configuration, fresh lists, a window of the
schedule, a pause) makes another picture and publishes it by one assignment. A
query takes its view on arrival and keeps it, so that no query sees half of
each, and nothing is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
from zope.interface import implementer

from dnsguard.errors import PolicyError
from dnsguard.policy.asker import Asker
from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.clients import Clients, ClientSpec
from dnsguard.policy.group import GroupPlan
from dnsguard.policy.interfaces import IPolicies
from dnsguard.policy.localrecords import LocalRecords, RecordSpec
from dnsguard.policy.problems import nearest
from dnsguard.policy.safesearch import SafeSearch
from dnsguard.policy.specialnames import SpecialName, SpecialNames
from dnsguard.policy.view import NO_RULES, Rules, View

__all__ = ["DEFAULT_GROUP", "Policies", "Policy"]

DEFAULT_GROUP = "default"
"""
The group that those in no group are in, where no group of that id was
written.
"""


@attrs.frozen(eq=False)
class Policy:
    """
    All rules at one time.

    @ivar groups: How each group is treated; the first is for those in none.
    @ivar clients: Who is in which group.
    @ivar pauses: By group id, until when somebody paused it by hand, in seconds
        since the epoch; under the empty id: all that is under global rules.
    @ivar views: What is seen; a view's number is its place in here.
    @ivar places: By group id: the number of its view.
    @ivar generation: Counts the policies published; 0 before that.
    """

    groups: tuple[GroupPlan, ...]
    clients: Clients
    pauses: Mapping[str, float]
    views: tuple[View, ...]
    places: Mapping[str, int]
    generation: int = 0

    @classmethod
    def make(
        cls,
        groups: tuple[GroupPlan, ...],
        clients: Clients = Clients.NONE,
        *,
        now: float,
        pauses: Mapping[str, float] | None = None,
    ) -> Policy:
        """
        Make the policy that holds now.

        @param groups: How each group is treated; the first is for those in
            none and has an empty id.
        @param now: Seconds since the epoch.
        @param pauses: See the attribute; those that are over, or of groups that
            are no more, are left out.
        """
        blank = cls(groups, clients, {}, (), {})
        return blank.at(now, pauses or {})

    @classmethod
    def of(
        cls,
        blocklist: Any = None,
        *,
        records: LocalRecords | Iterable[tuple[str, str, str]] = (),
        safeSearch: SafeSearch = SafeSearch.NONE,
        specialNames: SpecialNames | None = None,
        blockedResponse: BlockedResponse | None = None,
        groups: Mapping[str, Any] | None = None,
        clients: Mapping[str, str] | None = None,
    ) -> Policy:
        """
        Make a policy in a line or two, as for a C{.tac} file.

        @param blocklist: The L{Rules} for all who aren't in a group, or a
            L{dnsguard.policy.domainset.DomainSet} of names to block; L{None}:
            nothing is blocked.
        @param records: Local records, as name, type and value.
        @param specialNames: L{None} for all of them.
        @param blockedResponse: L{None} for "no such name".
        @param groups: By group id: the rules of that group, instead.
        @param clients: By address or network: the id of its group.
        @raise InvalidPolicy: All that is wrong.
        """
        everybody = View(
            rules=_rules(blocklist),
            records=_records(records),
            safeSearch=safeSearch,
            specialNames=SpecialNames.of(SpecialName) if specialNames is None else specialNames,
            blockedResponse=blockedResponse or BlockedResponse(),
        )
        own = (
            attrs.evolve(everybody, groupID=groupID, rules=_rules(rules))
            for groupID, rules in (groups or {}).items()
        )
        specs = (
            ClientSpec(address, groupID=groupID, place=f"clients[{address!r}]")
            for address, groupID in (clients or {}).items()
        )
        known = Clients.build(specs, [*(groups or ()), DEFAULT_GROUP])
        plans = tuple(map(GroupPlan.fixed, (everybody, *own)))
        return cls.make(plans, known, now=0.0)

    @property
    def defaultView(self) -> View:
        """
        What somebody unknown sees.
        """
        return self.views[0]

    def identify(self, packed: bytes) -> tuple[Asker, View]:
        """
        Say who asks, and what they see. Takes a microsecond.

        @param packed: An IP address, 4 or 16 octets.
        """
        asker = self.clients.identify(packed)
        return asker, self.views[self.places.get(asker.groupID, 0)]

    def viewOf(self, groupID: str = "") -> View:
        """
        Give what a group sees; an empty id is for those in none.

        @raise PolicyError: There is no such group.
        """
        if groupID not in self.places:
            self._check(groupID)
        return self.views[self.places[groupID]]

    def holds(self, view: View) -> bool:
        """
        Is this one of the policy's views? An answer made under another one
        mustn't be kept as if it had been made under this policy.
        """
        return view.number < len(self.views) and self.views[view.number] is view

    def networks(self) -> Iterator[tuple[bytes, int, int]]:
        """
        Each network, its prefix length and the number of its view, the most
        specific ones first; whoever is in none of them sees view 0.
        """
        for packed, length, groupID in self.clients.networks():
            yield packed, length, self.places.get(groupID, 0)

    def at(self, now: float, pauses: Mapping[str, float] | None = None) -> Policy:
        """
        Give the policy that holds at some time.

        @param now: Seconds since the epoch.
        @param pauses: Pauses to hold from now on, instead of these: a policy
            newly built takes over those of the current one.
        @return: This one itself, when nothing is different then; otherwise one
            that isn't numbered yet.
        """
        known = {group.groupID for group in self.groups}
        kept = {
            groupID: until
            for groupID, until in (self.pauses if pauses is None else pauses).items()
            if until > now and groupID in known
        }
        rules = [
            group.variants[group.state(now, self._paused(group, kept))] for group in self.groups
        ]
        views, places = self._viewsOf(rules)
        if views == self.views and places == self.places and kept == self.pauses:
            return self
        return attrs.evolve(self, views=views, places=places, pauses=kept, generation=0)

    def _paused(self, group: GroupPlan, pauses: Mapping[str, float]) -> bool:
        return group.groupID in pauses or (group.underGlobal and "" in pauses)

    def _viewsOf(self, rules: list[Rules]) -> tuple[tuple[View, ...], dict[str, int]]:
        """
        Give each group a view, the same one to those treated alike.

        A view that hasn't changed stays the same object, so that the policy
        L{holds} the views of queries under way.
        """
        views: list[View] = []
        places: dict[str, int] = {DEFAULT_GROUP: 0}
        numbers: dict[tuple[object, ...], int] = {}
        for group, groupRules in zip(self.groups, rules, strict=True):
            view = attrs.evolve(group.template, number=len(views), rules=groupRules)
            treatment = view.treatment
            if treatment not in numbers:
                numbers[treatment] = len(views)
                views.append(self._kept(view))
            places[group.groupID] = numbers[treatment]
        return tuple(views), places

    def _kept(self, view: View) -> View:
        """
        Give the view this policy has already, if it is the same.
        """
        if view.number < len(self.views):
            old = self.views[view.number]
            if old.groupID == view.groupID and old.treatment == view.treatment:
                return old
        return view

    def nextChange(self, now: float) -> float | None:
        """
        Say when the policy may be different next.

        @param now: Seconds since the epoch.
        @return: Seconds since the epoch, later than C{now}; L{None} when
            nothing is known to change.
        """
        changes = [change for group in self.groups if (change := group.nextChange(now))]
        changes.extend(until for until in self.pauses.values() if until > now)
        return min(changes, default=None)

    def paused(self, until: float, now: float, groupID: str = "") -> Policy:
        """
        Give the policy with blocking paused by hand.

        @param until: Seconds since the epoch.
        @param now: Seconds since the epoch.
        @param groupID: The group to pause; empty: all that is under global
            rules.
        @raise PolicyError: There is no such group.
        """
        self._check(groupID)
        return self.at(now, {**self.pauses, groupID: until})

    def resumed(self, now: float, groupID: str = "") -> Policy:
        """
        Give the policy without that pause. Scheduled pauses go on.

        @raise PolicyError: There is no such group.
        """
        self._check(groupID)
        return self.at(now, {key: until for key, until in self.pauses.items() if key != groupID})

    def _check(self, groupID: str) -> None:
        known = [group.groupID for group in self.groups]
        if groupID not in known:
            raise PolicyError(
                "client_groups", f"no such group: {groupID!r}{nearest(groupID, known)}"
            )


def _rules(blocklist: Any) -> Rules:
    """
    Take rules, or have them made.
    """
    if blocklist is None:
        return NO_RULES
    if not hasattr(blocklist, "decide"):
        from dnsguard.policy.ruleset import (  # type: ignore[import-not-found,unused-ignore]
            RuleSet,
        )

        blocklist = RuleSet(lists=blocklist)
    rules: Rules = blocklist
    return rules


def _records(records: LocalRecords | Iterable[tuple[str, str, str]]) -> LocalRecords:
    """
    Take local records, or have them read.
    """
    if isinstance(records, LocalRecords):
        return records
    return LocalRecords.build(
        RecordSpec(*record, place=f"records[{number}]") for number, record in enumerate(records)
    )


@implementer(IPolicies)
class Policies:
    """
    The place where the current policy is looked up.

    @ivar current: The current policy. At first: one that passes everything.
    @ivar subscriberFailures: How many calls of subscribers failed.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """
        @param policy: The first policy.
        @param failed: Told of a subscriber's failure, which nobody else sees.
        """
        self.current = attrs.evolve(policy or Policy.make(_PASSING, now=0.0), generation=1)
        self.subscriberFailures = 0
        self._failed = failed
        self._subscribers: dict[object, Callable[[Policy], None]] = {}
        self._telling = False

    def publish(self, policy: Policy) -> None:
        """
        Make a policy the current one, with the next number. Can't fail.

        A subscriber that publishes in turn is heard once all have been told;
        then they are told of its policy.
        """
        self.current = attrs.evolve(policy, generation=self.current.generation + 1)
        if self._telling:
            return
        self._telling = True
        try:
            told = None
            while told is not self.current:
                told = self.current
                for subscriber in list(self._subscribers.values()):
                    self._tell(subscriber, told)
        finally:
            self._telling = False

    def _tell(self, subscriber: Callable[[Policy], None], policy: Policy) -> None:
        try:
            subscriber(policy)
        except Exception as failure:
            self.subscriberFailures += 1
            if self._failed is not None:
                self._failed(failure)

    def subscribe(self, subscriber: Callable[[Policy], None]) -> Callable[[], None]:
        """
        Have a callable called with each policy published from now on.

        @return: A callable of no arguments that ends the subscription.
        """
        key = object()
        self._subscribers[key] = subscriber

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe


_PASSING = (GroupPlan.fixed(View()),)
