# -*- test-case-name: tests.policy.test_rulefactory -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rule sets of parts: where the policy's groups and times meet the engine that
matches names.

A policy with many groups has many rule sets, but most of them are made of the
same allowlists, denylists and lists, at other times. Each of those is compiled
once and shared; a set of patterns can take a tenth of a second.
"""

from __future__ import annotations

from typing import Any

from dnsguard.policy.group import RuleParts
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.ruleset import (  # type: ignore[import-not-found,unused-ignore]
    NO_RULES,
    NameRules,
    RuleSet,
)
from dnsguard.policy.view import Rules

__all__ = ["RuleSetFactory"]


class RuleSetFactory:
    """
    Makes L{RuleSet}s. Use one for each policy that is built, off the reactor.
    """

    def __init__(self, lists: Any = None) -> None:
        """
        @param lists: The L{dnsguard.policy.domainset.DomainSet} of all lists
            that were loaded, or L{None}.
        """
        self._lists = lists
        self._compiled: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._selected: dict[tuple[str, ...], Any] = {}

    def __call__(self, parts: RuleParts) -> Rules:
        """
        Make a rule set.

        @raise InvalidPolicy: The rules that can't be read.
        """
        place = parts.place
        rules: Rules = RuleSet(
            familyTime=self._names(f"{place}.family_time.domains", parts.familyTime),
            paused=parts.paused,
            allow=self._names(f"{place}.allowlist", parts.allow),
            deny=self._names(f"{place}.denylist", parts.deny),
            lists=self._select(parts.sources),
        )
        return rules

    def _names(self, path: str, texts: tuple[str, ...]) -> Any:
        """
        Compile one list of the operator's own rules, once.
        """
        key = (path, texts)
        if key not in self._compiled:
            rules, problems = NameRules.compile([(path, texts)])
            if problems:
                raise InvalidPolicy(problems)
            self._compiled[key] = rules if len(rules) else NO_RULES
        return self._compiled[key]

    def _select(self, sources: tuple[str, ...]) -> Any:
        """
        Select the lists that count, once.
        """
        if self._lists is None or not sources:
            return None
        if sources not in self._selected:
            self._selected[sources] = self._lists.select(sources)
        return self._selected[sources]
