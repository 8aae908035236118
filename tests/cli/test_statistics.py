# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.statistics}.
"""

from __future__ import annotations

from typing import Any

from tests.support.fakeapi import APITestCase

ALL: dict[str, Any] = {
    "GET /version": {"version": "1.2.3", "uptime_seconds": 93784.0, "control": {}},
    "GET /blocklists/pause/status": {"paused": False, "until": "", "group": ""},
    "GET /queries/summary": {
        "windowMinutes": 60,
        "total": 4000,
        "statuses": [{"outcome": "cached", "count": 3000}, {"outcome": "blocked", "count": 1000}],
    },
    "GET /queries/latency": {"count": 4000, "avgMs": 1.25, "p50Ms": 0.5, "p95Ms": None},
    "GET /cache/stats": {
        "hits": 3000,
        "misses": 1000,
        "hit_rate": 75.0,
        "lru": {"entries": 10, "max_entries": 10000},
        "redis_keys": 12345,
    },
    "GET /blocklists/stats": {"blocked": 100000, "allow": 2, "deny": 3, "sources": []},
    "GET /upstreams": {
        "upstreams": [],
        "state": [
            {
                "name": "one",
                "address": "192.0.2.53:53",
                "usable": True,
                "latency_ms": 12.34,
                "queries": 1000,
                "replies": 999,
            }
        ],
    },
}


class StatsTests(APITestCase):
    """
    Tests for C{dnsguard stats}.
    """

    def test_all(self) -> None:
        """
        All parts are shown.
        """
        self.api.answers.update(ALL)
        told = [line.split() for line in self.fine("stats").splitlines()]
        for line in [
            "version 1.2.3",
            "up 1 d 2 h",
            "state blocking",
            "queries, last 60 minutes",
            "total 4,000",
            "cached 3,000 75.0%",
            "blocked 1,000 25.0%",
            "avg 1.250 ms",
            "hit rate 75.0%",
            "in memory 10 of 10,000",
            "in Redis 12,345",
            "names 100,000",
            "one 192.0.2.53:53 yes 12.3 ms 1,000 999",
        ]:
            self.assertIn(line.split(), told)

    def test_parts(self) -> None:
        """
        What an instance can't tell is left out, and null for programs.
        """
        self.api.answers["GET /version"] = {"version": "1", "uptime_seconds": 59.0}
        self.api.answers["GET /queries/summary"] = {"enabled": False, "statuses": []}
        self.api.answers["GET /queries/latency"] = (503, {"error": "store is down"})
        told = self.fine("stats")
        self.assertEqual(told, "dnsguard\n  version  1\n  up       59 s\n")
        parts = self.json("stats")
        self.assertIsNone(parts["queries"])
        self.assertIsNone(parts["latency"])
        self.assertEqual(parts["version"]["version"], "1")

    def test_window(self) -> None:
        """
        How far to look back is said to the API.
        """
        self.api.answers.update(ALL)
        self.fine("stats", "--minutes", "5")
        queries = {each.path: each.query for each in self.api.requests}
        self.assertEqual(queries["/api/v1/queries/summary"], {"window_minutes": "5"})

    def test_unauthorized(self) -> None:
        """
        A part that the token isn't good enough for isn't left out silently.
        """
        self.api.answers.update(ALL)
        self.api.answers["GET /cache/stats"] = (403, {"error": "no"})
        self.fine("stats", status=4)


class TopTests(APITestCase):
    """
    Tests for C{dnsguard top}.
    """

    def setUp(self) -> None:
        """
        Have a store that knows something.
        """
        super().setUp()
        self.api.answers["GET /queries/top"] = {
            "enabled": True,
            "windowMinutes": 60,
            "subject": "domains",
            "top": [
                {"value": "www.example.org", "count": 1200},
                {"value": "example.org", "count": 3},
            ],
        }

    def test_usual(self) -> None:
        """
        Without a subject the usual ones are shown, one after the other.
        """
        told = self.fine("top").splitlines()
        heads = [line.split()[0] for line in told if line.endswith("queries")]
        self.assertEqual(heads, ["domains", "blocked", "clients", "upstreams", "lists"])
        self.assertEqual([each.query["subject"] for each in self.api.requests], heads)
        self.assertIn(["www.example.org", "1,200"], [line.split() for line in told])

    def test_one(self) -> None:
        """
        One subject alone; how many, of what time and of whom is said.
        """
        told = self.json("top", "rules", "-n", "2", "--minutes", "5", "--client", "tablet")
        self.assertEqual(told["windowMinutes"], 5)
        self.assertEqual(told["rules"][1], {"value": "example.org", "count": 3})
        self.assertEqual(
            self.api.requests[0].query,
            {"subject": "rules", "window_minutes": "5", "limit": "2", "client": "tablet"},
        )

    def test_none(self) -> None:
        """
        When nothing was asked, that is said.
        """
        self.api.answers["GET /queries/top"] = {"enabled": True, "top": []}
        result = self.invoke("top", "--minutes", "5")
        self.assertEqual((result.exit_code, result.stdout), (0, ""))
        self.assertEqual(result.stderr, "no queries in the last 5 minutes\n")

    def test_off(self) -> None:
        """
        Without a query store there is nothing to rank: 5, and why.
        """
        self.api.answers["GET /queries/top"] = {"enabled": False, "top": []}
        result = self.invoke("top")
        self.assertEqual((result.exit_code, result.stdout), (5, ""))
        self.assertIn("queries aren't stored", result.stderr)
