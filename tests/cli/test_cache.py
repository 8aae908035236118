# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.cache}.
"""

from __future__ import annotations

from typing import Any

from tests.support.fakeapi import APITestCase

ENTRY = {
    "tier": "l0",
    "name": "example.org",
    "type": "A",
    "class": "IN",
    "dnssec_ok": False,
    "checking_disabled": False,
    "rcode": "NOERROR",
    "upstream": "192.0.2.53:53",
    "ttl": 59.7,
    "stored_ttl": 60,
    "age": 0.3,
    "stale_for": 3600.0,
    "octets": 45,
}


class CacheTests(APITestCase):
    """
    Tests for C{dnsguard cache}.
    """

    def answer(self, *entries: Any, truncated: bool = False, l1: str = "searched") -> None:
        """
        Have the caches hold something.
        """
        self.api.answers["GET /cache/entries"] = {
            "entries": entries,
            "truncated": truncated,
            "l1": l1,
        }

    def test_get(self) -> None:
        """
        What is held of a name is shown.
        """
        self.answer(ENTRY)
        lines = self.fine("cache", "get", "example.org").splitlines()
        self.assertEqual(
            lines[1].split(),
            ["l0", "example.org", "A", "NOERROR", "60", "0", "45", "192.0.2.53:53"],
        )
        self.assertEqual(self.api.requests[0].query, {"name": "example.org"})

    def test_unsearched(self) -> None:
        """
        When Redis wasn't looked into that is said.
        """
        for l1, words in [
            ("searched", ""),
            ("none", ""),
            ("away", "Redis can't be asked at the moment\n"),
            ("not_below", "what Redis holds of names below isn't shown\n"),
        ]:
            self.answer(ENTRY, l1=l1)
            self.assertEqual(self.invoke("cache", "get", "example.org").stderr, words)
            self.assertEqual(self.json("cache", "get", "example.org")["l1"], l1)

    def test_suffix(self) -> None:
        """
        Names below it are asked for when they are wanted; if there are more
        than are shown, that is said.
        """
        self.answer(ENTRY, truncated=True)
        result = self.invoke("cache", "get", "--suffix", "example.org")
        self.assertEqual(result.stderr, "there are more\n")
        self.assertEqual(self.api.requests[0].query, {"name": "example.org", "below": "true"})

    def test_nothing(self) -> None:
        """
        Nothing held ends with 1.
        """
        self.answer()
        result = self.invoke("cache", "get", "example.org")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertEqual(result.stderr, "nothing is held of it\n")
        self.assertEqual(self.json("cache", "get", "example.org", status=1)["entries"], [])

    def test_clear(self) -> None:
        """
        Everything is forgotten; a script isn't asked whether it means it.
        """
        self.api.answers["POST /cache/clear"] = {"ok": True, "cleared": 1234}
        self.assertEqual(self.fine("cache", "clear"), "cleared 1,234 answers\n")

    def test_clearName(self) -> None:
        """
        One name is forgotten, or all below it as well.
        """
        self.api.answers["DELETE /cache/entries"] = {"ok": True, "cleared": 2}
        self.fine("cache", "clear", "example.org")
        self.assertEqual(
            self.json("cache", "clear", "example.org", "--suffix"), {"ok": True, "cleared": 2}
        )
        first, second = (each.query for each in self.api.requests)
        self.assertEqual(first, {"name": "example.org"})
        self.assertEqual(second, {"name": "example.org", "below": "true"})

    def test_older(self) -> None:
        """
        A server that doesn't say how many were cleared is understood.
        """
        self.api.answers["POST /cache/clear"] = {"ok": True}
        self.assertEqual(self.fine("cache", "clear"), "cleared\n")

    def test_suffixOfNothing(self) -> None:
        """
        All below nothing is a wrong command line, not everything.
        """
        self.assertEqual(self.invoke("cache", "clear", "--suffix").exit_code, 2)
        self.assertEqual(self.api.requests, [])
