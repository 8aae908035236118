# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Explain: which rule of which list decides about a name, and what else matches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from dnsguard.control.naming import readAddress, readName, readType
from dnsguard.control.route import Call, Refused, Role, Route
from dnsguard.control.schema import integer, listOf, nullable, record, text, truth, word
from dnsguard.interfaces import IPolicies
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.policy.snapshot import Policy
from dnsguard.policy.view import View
from dnsguard.wire.mnemonics import typeName
from dnsguard.wire.names import toText

__all__ = ["ExplainFamily", "RuleTexts"]

MOST_MATCHES = 200

_OUTCOMES = ("local", "special", "safe_search", "blocked", "allowed", "forwarded")


class RuleTexts(Protocol):
    """
    Knows what stands in the lists.
    """

    def ruleText(self, name: str, line: int) -> Deferred[str | None]:
        """
        Give a line of a list as it was written.
        """


class ExplainFamily:
    """
    Explain decisions.
    """

    name = "Explain"
    meaning = "Which rule of which list decides about a name, and what else matches it."

    def __init__(self, policies: IPolicies, texts: RuleTexts) -> None:
        self._policies = policies
        self._texts = texts

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/explain",
            self.explain,
            Role.VIEWER,
            "Say what happens to a question, and why. Nothing is asked or remembered.",
            query={
                "domain": text("The name.", least=1, most=1024),
                "type": text("The type.", least=1, most=20, default="A"),
                "client": text("The IP address that asks.", least=1, most=64),
                "group": text("Or the id of its group.", least=1, most=64),
            },
            needed=("domain",),
            response=_EXPLANATION,
            errors={400: "A name, type, address or group that is none."},
        )

    async def explain(self, call: Call) -> Any:
        """
        See the route.
        """
        qname, type = readName(call.query["domain"]), readType(call.query["type"])
        policy = self._policies.current
        client, view = _whose(policy, call)
        outcome, decisive = _outcome(view, qname, type)
        explain = getattr(view.rules, "explain", None)
        matches = explain(qname, type)[:MOST_MATCHES] if explain is not None else []
        return {
            "domain": toText(qname),
            "type": typeName(type),
            **client,
            "outcome": outcome,
            "blocked": outcome == "blocked",
            "decided_by": None if decisive is None else await self._told(decisive),
            "matches": [await self._told(match) for match in matches],
            "policy": policy.generation,
        }

    async def _told(self, attribution: Attribution) -> dict[str, Any]:
        written = None
        if attribution.kind is RuleKind.LIST and attribution.line:
            written = await self._texts.ruleText(attribution.source, attribution.line)
        return {
            "kind": attribution.kind.value,
            "source": attribution.source,
            "rule": attribution.rule,
            "line": attribution.line,
            "name": toText(attribution.name) if attribution.name else "",
            "text": written,
        }


def _whose(policy: Policy, call: Call) -> tuple[dict[str, str], View]:
    """
    Find the view of whoever is meant.
    """
    given = call.query.get("client")
    if given is not None:
        if "group" in call.query:
            raise Refused(400, "client or group, not both", field="group")
        asker, view = policy.identify(readAddress(given))
        return {"client": given, "client_name": asker.clientName, "group": asker.groupID}, view
    group = call.query.get("group", "")
    return {"client": "", "client_name": "", "group": group}, policy.viewOf(group)


def _outcome(view: View, qname: bytes, type: int) -> tuple[str, Attribution | None]:
    """
    Go the way of the chain: local records, safe search, lists, upstream.
    """
    if view.records.find(qname, type) is not None:
        return "local", None
    special = view.specialNames.find(qname, type)
    if special is not None:
        return "special", special.attribution
    decision = view.rules.decide(qname, type)
    word = decision.attribution if decision is not None else None
    blocked = decision is not None and decision.blocked
    # An operator's own word goes before safe search, a list doesn't.
    if view.safeSearch.find(qname) is not None and not (
        blocked and word is not None and word.kind is not RuleKind.LIST
    ):
        return "safe_search", None
    if blocked:
        return "blocked", word
    return ("forwarded", None) if word is None else ("allowed", word)


_RULE = record(
    {
        "kind": word([kind.value for kind in RuleKind]),
        "source": text("The list's name, or the key path of the operator's own rule."),
        "rule": text(),
        "line": integer(meaning="In the list; 0 where there are no lines."),
        "name": text("The name that matched: the one asked for or a parent."),
        "text": nullable(text("The line of the list as it was written.")),
    }
)

_EXPLANATION = record(
    {
        "domain": text(),
        "type": text(),
        "client": text(),
        "client_name": text(),
        "group": text(),
        "outcome": word(_OUTCOMES),
        "blocked": truth(),
        "decided_by": nullable(_RULE),
        "matches": listOf(_RULE, "All rules that speak of the name, in the order of their rank."),
        "policy": integer(meaning="The number of the policy that was looked at."),
    }
)
