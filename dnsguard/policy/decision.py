# -*- test-case-name: tests.policy.test_ruleset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a rule set says of a name, and which rule said it.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["Attribution", "Decision", "RuleKind"]


class RuleKind(enum.Enum):
    """
    What sort of rule decided. The values are the words of logs and the API.
    """

    # By identity: the inherited one is Python code that hashes the name.
    __hash__ = object.__hash__

    LIST = "list"
    DENYLIST = "denylist"
    ALLOWLIST = "allowlist"
    FAMILY_TIME = "family_time"
    SPECIAL_NAME = "special_name"


class Attribution(NamedTuple):
    """
    The place of one rule. A tuple, as one is made for each blocked name.

    @ivar kind: What sort of rule it is.
    @ivar source: The list's name, or the key path of the operator's own rule.
    @ivar rule: The rule as it was written, cut at 200 characters.
    @ivar line: Its line in the list, from 1; 0 where there are no lines.
    @ivar name: The name that matched, in wire form: the one asked or a parent.
    """

    kind: RuleKind
    source: str
    rule: str
    line: int = 0
    name: bytes = b""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{self.kind.value} {place} {self.rule}"


class Decision(NamedTuple):
    """
    What the rules say of one name.

    @ivar blocked: Block it? False means that a rule allows it explicitly.
    @ivar attribution: The rule that decided.
    """

    blocked: bool
    attribution: Attribution
