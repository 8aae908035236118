# -*- test-case-name: tests.policy.test_view -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What one client group sees: the rules that hold for its members.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from dnsguard.policy.blockedresponse import BlockedResponse
from dnsguard.policy.decision import Decision

__all__ = ["NoRules", "Rules", "View"]


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


@attrs.frozen
class View:
    """
    One client group's rules; equal for all who are treated equally.

    @ivar number: Its place in the policy's tuple of views.
    @ivar groupID: The group's id, empty for those in no group.
    @ivar rules: The block and allow rules.
    @ivar cacheDisabled: Ask upstream each time, and keep nothing.
    @ivar blockedResponse: What those who ask for a blocked name are told.
    """

    number: int = 0
    groupID: str = ""
    rules: Rules = attrs.field(factory=NoRules)
    cacheDisabled: bool = False
    blockedResponse: BlockedResponse = attrs.field(factory=BlockedResponse)
