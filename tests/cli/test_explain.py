# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.explain}.
"""

from __future__ import annotations

from typing import Any

from tests.support.fakeapi import APITestCase

RULE = {
    "kind": "list",
    "source": "ads",
    "rule": "ads.example.org",
    "line": 3,
    "name": "ads.example.org",
    "text": "||ads.example.org^",
}
OWN = {
    "kind": "allowlist",
    "source": "blocklists.allowlist[0]",
    "rule": "example.org",
    "line": 0,
    "name": "example.org",
    "text": None,
}


def explanation(**changes: Any) -> dict[str, Any]:
    """
    What the API says of a name.
    """
    return {
        "domain": "ads.example.org",
        "type": "A",
        "client": "",
        "client_name": "",
        "group": "",
        "outcome": "forwarded",
        "blocked": False,
        "decided_by": None,
        "matches": [],
        "policy": 1,
        **changes,
    }


class ExplainTests(APITestCase):
    """
    Tests for C{dnsguard explain}.
    """

    def answer(self, **changes: Any) -> None:
        """
        Have the API say something.
        """
        self.api.answers["GET /explain"] = explanation(**changes)

    def test_forwarded(self) -> None:
        """
        A name that no rule speaks of is let through: 0.
        """
        self.answer()
        self.assertEqual(self.fine("explain", "ads.example.org"), "ads.example.org A: forwarded\n")
        query = {"domain": "ads.example.org", "type": "A"}
        self.assertEqual(self.asked(), [("GET", "/api/v1/explain", query, None)])

    def test_blocked(self) -> None:
        """
        A blocked name ends with 1, and it's told which rules speak of it.
        """
        self.answer(
            outcome="blocked",
            blocked=True,
            decided_by=RULE,
            matches=[RULE, OWN],
            client="192.0.2.1",
            client_name="tablet",
            group="kids",
        )
        told = self.fine("explain", "ads.example.org", "--client", "192.0.2.1", status=1)
        self.assertIn("ads.example.org A: blocked\n", told)
        self.assertIn("client  192.0.2.1 tablet\n", told)
        self.assertIn("group   kids\n", told)
        self.assertIn("decided by  ads:3\n", told)
        self.assertIn("rule        ||ads.example.org^\n", told)
        lines = [line.split() for line in told.splitlines()[-2:]]
        self.assertEqual(lines[0], ["list", "ads:3", "ads.example.org", "||ads.example.org^"])
        self.assertEqual(
            lines[1], ["allowlist", "blocklists.allowlist[0]", "example.org", "example.org"]
        )
        self.assertEqual(self.api.requests[0].query["client"], "192.0.2.1")

    def test_json(self) -> None:
        """
        For programs it is what the API says.
        """
        self.answer(outcome="blocked", blocked=True)
        told = self.json("explain", "a.example", "--type", "AAAA", "--group", "g", status=1)
        self.assertEqual(told, explanation(outcome="blocked", blocked=True))
        self.assertEqual(
            self.api.requests[0].query, {"domain": "a.example", "type": "AAAA", "group": "g"}
        )

    def test_escapes(self) -> None:
        """
        Whoever wrote a list can't write to the terminal.
        """
        evil = {**RULE, "text": "\x1b]0;title\x07x"}
        self.answer(outcome="blocked", blocked=True, decided_by=evil, matches=[evil])
        told = self.fine("explain", "ads.example.org", status=1)
        self.assertNotIn("\x1b", told)
        self.assertIn("\\x1b]0;title\\x07x", told)

    def test_both(self) -> None:
        """
        A client and a group at once is a wrong command line.
        """
        self.assertEqual(self.invoke("explain", "a", "--client", "b", "--group", "c").exit_code, 2)
