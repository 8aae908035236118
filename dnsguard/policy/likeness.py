# -*- test-case-name: tests.policy.test_likeness -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What one policy leaves as it was under another one.

A list that is fetched anew, or a configuration that is read again, changes what
is said of a few names, if of any. Finished replies to questions for the others
needn't be made again, when it is known which those are.
"""

from __future__ import annotations

import attrs

from dnsguard.policy.decision import Attribution, Decision
from dnsguard.policy.sameness import isSame
from dnsguard.policy.snapshot import Policy
from dnsguard.policy.view import Rules, View

__all__ = ["Likeness"]


@attrs.frozen
class Likeness:
    """
    How alike the views of two policies are that have the same number.

    @ivar views: By number: True, what is seen is the same; False, it isn't
        known to be; otherwise, the rules before and after, which are all that
        isn't the same.
    @ivar isWhole: Is all the same, and are there as many views?
    """

    views: tuple[bool | tuple[Rules, Rules], ...]
    isWhole: bool

    @classmethod
    def of(cls, before: Policy, after: Policy) -> Likeness:
        """
        Compare two policies. May take a while where there are many records:
        not on the reactor's thread.
        """
        views = tuple(map(_compared, before.views, after.views))
        isWhole = len(before.views) == len(after.views) and all(view is True for view in views)
        return cls(views, isWhole)

    def holds(
        self, number: int | None, qname: bytes, type: int, why: Attribution | None
    ) -> tuple[bool, Attribution | None]:
        """
        Is what is said of a name the same, and for the same reason? An entry of a
        list may have moved to another line.

        @param number: The number of the view.
        @param qname: The name, lower-cased, in wire form.
        @param type: The type asked for.
        @param why: The rule that decided before, if one did.
        @return: That, and the rule that decides after.
        """
        if number is None or not 0 <= number < len(self.views):
            return False, None
        view = self.views[number]
        if view is True or view is False:
            return view, why
        before, after = view
        one, other = before.decide(qname, type), after.decide(qname, type)
        if one == other:
            return True, why
        if one is None or other is None or not _isMoved(one, other):
            return False, None
        # Something else may have decided before the rules were asked.
        return True, other.attribution if why == one.attribution else why


def _isMoved(one: Decision, other: Decision) -> bool:
    """
    Is it the same entry of the same list, in another line? No reply tells which.
    """
    line = other.attribution.line
    return one._replace(attribution=one.attribution._replace(line=line)) == other


def _compared(before: View, after: View) -> bool | tuple[Rules, Rules]:
    """
    Compare two views, see L{Likeness.views}.
    """
    if not (
        before.groupID == after.groupID
        and before.cacheDisabled == after.cacheDisabled
        and before.blockedResponse == after.blockedResponse
        and isSame(before.records, after.records)
        and isSame(before.specialNames, after.specialNames)
        and isSame(before.safeSearch, after.safeSearch)
    ):
        return False
    return isSame(before.rules, after.rules) or (before.rules, after.rules)
