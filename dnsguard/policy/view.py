# -*- test-case-name: tests.policy.test_view -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What one client group sees: the rules that hold for its members.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.decision import Attribution, Decision
from dnsguard.policy.localrecords import LocalRecords
from dnsguard.policy.safesearch import SafeSearch
from dnsguard.policy.specialnames import SpecialNames

__all__ = ["NO_RULES", "NoRules", "Rules", "View"]


class Rules(Protocol):
    """
    Something that decides about names.
    """

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Say what the rules say of a name.

        @param qname: The name, lower-cased, in wire form.
        @param type: The type asked for.
        @return: L{None} when no rule speaks of it.
        """


class NoRules:
    """
    Rules that say nothing of any name.
    """

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Never decide.
        """
        return None

    def explain(self, qname: bytes, type: int) -> list[Attribution]:
        """
        Give all rules that speak of a name: none.
        """
        return []


NO_RULES = NoRules()


@attrs.frozen
class View:
    """
    One client group's rules; equal for all who are treated equally.

    Groups that are treated alike share a view: who asks, and in which group,
    is the L{asker's <dnsguard.policy.asker.Asker>} affair.

    @ivar number: Its place in the policy's tuple of views.
    @ivar groupID: The id of the first group treated so, empty for those in no
        group.
    @ivar rules: The block and allow rules that hold now.
    @ivar cacheDisabled: Ask upstream each time, and keep nothing.
    @ivar records: The names the operator answers for.
    @ivar specialNames: The names that never belong to the public DNS.
    @ivar safeSearch: The names of search engines that are led elsewhere.
    @ivar blockedResponse: What those who ask for a blocked name are told.
    """

    number: int = 0
    groupID: str = ""
    rules: Rules = NO_RULES
    cacheDisabled: bool = False
    records: LocalRecords = LocalRecords.NONE
    specialNames: SpecialNames = SpecialNames.NONE
    safeSearch: SafeSearch = SafeSearch.NONE
    blockedResponse: BlockedResponse = attrs.field(factory=BlockedResponse)

    @property
    def treatment(self) -> tuple[object, ...]:
        """
        Everything but the number and the group: those whose views have an
        equal treatment are answered alike, as long as the views live.
        """
        return (
            id(self.rules),
            self.cacheDisabled,
            id(self.records),
            id(self.specialNames),
            id(self.safeSearch),
            self.blockedResponse,
        )
