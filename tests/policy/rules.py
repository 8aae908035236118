# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rules for tests: parts taken at their word, and plain lists of names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dnsguard.errors import PolicyError
from dnsguard.policy.decision import Attribution, Decision, RuleKind
from dnsguard.policy.group import RuleParts
from dnsguard.policy.view import Rules
from dnsguard.wire.names import fromText, isAtOrBelow

LISTS: Mapping[str, tuple[str, ...]] = {
    "ads": ("ads.example.org", "both.example.org"),
    "more": ("more.example.org",),
}


class PlainRules:
    """
    Rules of parts, decided in the order family time, pause, allow, deny, lists.
    """

    def __init__(self, parts: RuleParts) -> None:
        self.parts = parts

    def decide(self, qname: bytes, type: int) -> Decision | None:
        """
        Decide by the first entry that is the name or a parent of it.
        """
        parts = self.parts
        listed = [domain for source in parts.sources for domain in LISTS[source]]
        stages = [(RuleKind.FAMILY_TIME, True, parts.familyTime)]
        if not parts.paused:
            stages += [
                (RuleKind.ALLOWLIST, False, parts.allow),
                (RuleKind.DENYLIST, True, parts.deny),
                (RuleKind.LIST, True, tuple(listed)),
            ]
        for kind, blocked, domains in stages:
            for domain in domains:
                if isAtOrBelow(qname, fromText(domain)):
                    return Decision(blocked, Attribution(kind, parts.place, domain))
        return None


def plainRules(parts: RuleParts) -> Rules:
    """
    Make plain rules; the rule C{bad} can't be read.
    """
    for kind, rules in (("allowlist", parts.allow), ("denylist", parts.deny)):
        if "bad" in rules:
            raise PolicyError(f"{parts.place}.{kind}[{rules.index('bad')}]", "no rule")
    return PlainRules(parts)


def said(rules: Rules, name: str) -> str:
    """
    What rules say of a name, in short: the block that decided and how.
    """
    decision = rules.decide(fromText(name), 1)
    if decision is None:
        return "-"
    word = "block" if decision.blocked else "allow"
    return f"{word} {decision.attribution.source} {decision.attribution.kind.value}"


def table(rules: Rules, names: Iterable[str]) -> dict[str, str]:
    """
    What rules say of several names.
    """
    return {name: said(rules, name) for name in names}
