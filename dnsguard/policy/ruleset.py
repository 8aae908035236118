# -*- test-case-name: tests.policy.test_ruleset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The rules of one client group, and the order they hold in.

Family time comes first: it blocks even what is allowed and while blocking is
paused. Then a pause, which leaves everything else alone; then the allowlist,
the denylist, and the subscribed lists. A rule set is immutable and knows no
clock: when a time window opens or a pause ends, somebody makes another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import re2

from dnsguard.errors import PolicyError
from dnsguard.policy.decision import Attribution, Decision, RuleKind
from dnsguard.policy.domainset import DomainSet, Place
from dnsguard.policy.listparser import Rejection, nameOf
from dnsguard.policy.sameness import isSame
from dnsguard.wire.names import parents, toText

__all__ = ["MAX_PATTERN", "NameRules", "OwnRule", "RuleSet"]

MAX_PATTERN = 2048
"""Letters in a regular expression."""

MAX_RULE_TEXT = 200
_MATCHER_MEMORY = 32 << 20


@attrs.frozen
class OwnRule:
    """
    A rule that the operator wrote.

    @ivar text: The rule, as written: a domain, C{*.domain} or C{/regex/}.
    @ivar place: Its key path, with its index from 0.
    """

    text: str
    place: str

    def attribution(self, kind: RuleKind, name: bytes) -> Attribution:
        """
        This rule as the one that decided.

        @param name: The name that matched.
        """
        return Attribution(kind, self.place, self.text[:MAX_RULE_TEXT], 0, name)


class NameRules:
    """
    An allowlist, a denylist or what family time blocks: domains and patterns.

    A domain is meant with all names below it. A pattern is searched for in
    the whole lower-case name, without the final dot, in time linear in the
    name's length (re2: no look-around, no back-references).

    Immutable. Make one with L{compile}.
    """

    def __init__(
        self, domains: dict[bytes, OwnRule], patterns: Sequence[OwnRule], matcher: re2.Set | None
    ) -> None:
        """
        @param domains: Rules by the wire form of their domain.
        @param patterns: Rules in the order the matcher numbers them.
        @param matcher: A compiled set of their patterns, if there are any.
        """
        self._domains = domains
        self._patterns = tuple(patterns)
        self._matcher = matcher

    @classmethod
    def compile(
        cls, lists: Iterable[tuple[str, Iterable[str]]]
    ) -> tuple[NameRules, tuple[PolicyError, ...]]:
        """
        Read rules as they are written.

        @param lists: Key paths, such as C{"blocklists.denylist"}, and the
            rules found there. Several of them, of a group and of all groups
            for instance, become one; of equal rules the first counts.
        @return: The rules, and what is wrong with those left out.
        """
        domains: dict[bytes, OwnRule] = {}
        patterns: list[OwnRule] = []
        problems: list[PolicyError] = []
        matcher = None
        for path, texts in lists:
            for number, text in enumerate(texts):
                rule = OwnRule(text.strip(), f"{path}[{number}]")
                try:
                    if len(rule.text) > 1 and rule.text[0] == rule.text[-1] == "/":
                        matcher = matcher or re2.Set.SearchSet(_options())
                        _addPattern(matcher, rule)
                        patterns.append(rule)
                    else:
                        domains.setdefault(_domain(rule), rule)
                except PolicyError as problem:
                    problems.append(problem)
        if matcher is not None and patterns:
            matcher.Compile()
        return cls(domains, patterns, matcher if patterns else None), tuple(problems)

    def isSame(self, other: NameRules) -> bool:
        """
        Are these the same rules, from the same places?
        """
        return self._domains == other._domains and self._patterns == other._patterns

    def __len__(self) -> int:
        """
        How many rules there are.
        """
        return len(self._domains) + len(self._patterns)

    def first(self, qname: bytes) -> tuple[OwnRule, bytes] | None:
        """
        Find the rule that speaks of a name: the most specific domain, or else
        the first pattern.

        @return: The rule and the name that matched.
        """
        domains = self._domains
        if domains:
            start = 0
            while length := qname[start]:
                rule = domains.get(qname[start:])
                if rule is not None:
                    return rule, qname[start:]
                start += length + 1
        if self._matcher is not None:
            found = self._matcher.Match(toText(qname))
            if found:
                return self._patterns[min(found)], qname
        return None

    def all(self, qname: bytes) -> Iterator[tuple[OwnRule, bytes]]:
        """
        Find all rules that speak of a name, in the order of L{first}.
        """
        for name in parents(qname):
            if name in self._domains:
                yield self._domains[name], name
        if self._matcher is not None:
            for number in sorted(self._matcher.Match(toText(qname)) or ()):
                yield self._patterns[number], qname


NO_RULES = NameRules({}, (), None)


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MATCHER_MEMORY
    return options


def _addPattern(matcher: re2.Set, rule: OwnRule) -> None:
    """
    Add a pattern to a matcher.

    @raise PolicyError: It is none.
    """
    pattern = rule.text[1:-1]
    if not pattern:
        raise PolicyError(rule.place, "an empty pattern would match every name")
    if len(pattern) > MAX_PATTERN:
        raise PolicyError(rule.place, f"a pattern of more than {MAX_PATTERN} letters")
    try:
        # A set says only that a pattern is bad; compiling it alone says why.
        re2.compile(pattern, _options())
        matcher.Add(pattern)
    except re2.error as reason:
        text = reason.args[0] if reason.args else "bad pattern"
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        raise PolicyError(rule.place, f"{rule.text[:80]}: {shown}") from None


def _domain(rule: OwnRule) -> bytes:
    """
    Read a domain.

    @return: Its wire form.
    @raise PolicyError: It is none.
    """
    text = rule.text.removeprefix("*.")
    name = nameOf(text.encode("utf-8", "surrogateescape"))
    if isinstance(name, Rejection):
        raise PolicyError(rule.place, f"{rule.text[:80]!r}: {name.value}")
    return name


@attrs.frozen
class RuleSet:
    """
    All rules that hold for one client group at one time.

    @ivar familyTime: What is blocked because it's family time, if it is.
    @ivar paused: Is blocking paused?
    @ivar allow: The allowlist.
    @ivar deny: The denylist.
    @ivar lists: The subscribed lists.
    """

    familyTime: NameRules = NO_RULES
    paused: bool = False
    allow: NameRules = NO_RULES
    deny: NameRules = NO_RULES
    lists: DomainSet | None = None

    @classmethod
    def compile(
        cls,
        place: str,
        *,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        familyTime: Iterable[str] = (),
        paused: bool = False,
        lists: DomainSet | None = None,
    ) -> tuple[RuleSet, tuple[PolicyError, ...]]:
        """
        Make a rule set of rules as they are written. Takes a while when there
        are many patterns: not for the reactor's thread.

        @param place: The key path of the block they stand in.
        @param lists: The subscribed lists, with those that count selected.
        @return: The rule set, and what is wrong with rules left out.
        """
        made = []
        problems: list[PolicyError] = []
        for key, texts in [
            ("family_time.domains", familyTime),
            ("allowlist", allow),
            ("denylist", deny),
        ]:
            rules, wrong = NameRules.compile([(f"{place}.{key}", texts)])
            made.append(rules if len(rules) else NO_RULES)
            problems += wrong
        return cls(made[0], paused, made[1], made[2], lists), tuple(problems)

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Say what the rules say of a name.

        @param qname: The name, lower-cased, in wire form.
        @param type: The type asked for; no rule looks at it yet.
        @return: L{None} when no rule speaks of it, or while blocking is
            paused.
        """
        if self.familyTime is not NO_RULES and (found := self.familyTime.first(qname)):
            return Decision(True, found[0].attribution(RuleKind.FAMILY_TIME, found[1]))
        if self.paused:
            return None
        if self.allow is not NO_RULES and (found := self.allow.first(qname)):
            return Decision(False, found[0].attribution(RuleKind.ALLOWLIST, found[1]))
        if self.deny is not NO_RULES and (found := self.deny.first(qname)):
            return Decision(True, found[0].attribution(RuleKind.DENYLIST, found[1]))
        if self.lists is not None:
            place = self.lists.lookup(qname)
            if place is not None:
                return Decision(True, self._listed(self.lists, place, qname))
        return None

    def explain(self, qname: bytes, type: int) -> list[Attribution]:
        """
        Give all rules that speak of a name, whether they decide or not, in the
        order they would be asked; a pause doesn't hide any.
        """
        found = [
            rule.attribution(kind, name)
            for kind, rules in [
                (RuleKind.FAMILY_TIME, self.familyTime),
                (RuleKind.ALLOWLIST, self.allow),
                (RuleKind.DENYLIST, self.deny),
            ]
            for rule, name in rules.all(qname)
        ]
        if self.lists is not None:
            found += [
                self._listed(self.lists, place, qname) for place in self.lists.matches(qname)
            ]
        return found

    def isSame(self, other: RuleSet) -> bool:
        """
        Do these decide as the others do?
        """
        return (
            self.paused == other.paused
            and self.familyTime.isSame(other.familyTime)
            and self.allow.isSame(other.allow)
            and self.deny.isSame(other.deny)
            and isSame(self.lists, other.lists)
        )

    def withPause(self, paused: bool) -> RuleSet:
        """
        Give the same rules with blocking paused or not.
        """
        return attrs.evolve(self, paused=paused)

    def withFamilyTime(self, rules: NameRules = NO_RULES) -> RuleSet:
        """
        Give the same rules with family time on, or off.

        @param rules: What it blocks; nothing by default.
        """
        return attrs.evolve(self, familyTime=rules)

    def withLists(self, lists: DomainSet | None) -> RuleSet:
        """
        Give the same rules with other lists.
        """
        return attrs.evolve(self, lists=lists)

    @staticmethod
    def _listed(lists: DomainSet, place: Place, qname: bytes) -> Attribution:
        """
        A list's entry as the one that decided.
        """
        source, line, start = place
        name = qname[start:] if start else qname
        return Attribution(
            RuleKind.LIST, lists.sources[source].name, toText(name)[:MAX_RULE_TEXT], line, name
        )
