# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.tail}.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.tail import events
from tests.support.fakeapi import APITestCase

ROW = {
    "ts": "2026-01-02T03:04:05.678Z",
    "client_ip": "192.0.2.7",
    "client_name": "",
    "protocol": "udp",
    "qname": "www.example.org",
    "qtype": "A",
    "qclass": "IN",
    "outcome": "cached",
    "rcode": "NOERROR",
    "duration_ms": 0.125,
}


class EventsTests(SynchronousTestCase):
    """
    Tests for L{events}.
    """

    def test_forms(self) -> None:
        """
        Rows are found in server-sent events and in lines of JSON, one or many
        at a time.
        """
        for lines in (
            [json.dumps(ROW)],
            [": alive", "event: row", f"data: {json.dumps(ROW)}", ""],
            [json.dumps([ROW])],
            [f"data:{json.dumps({'rows': [ROW], 'missed': 0})}"],
        ):
            self.assertEqual(list(events(lines)), [ROW])

    def test_others(self) -> None:
        """
        What isn't a row is left out.
        """
        lines = ["{}", "{bad", "[1]", '{"rows": 1}', '{"missed": 3}', "retry: 1000", "", "null"]
        self.assertEqual(list(events(lines)), [])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.text() | st.text().map(lambda text: "{" + text)))
    def test_anything(self, lines: list[str]) -> None:
        """
        No line upsets it.
        """
        list(events(lines))


class TailTests(APITestCase):
    """
    Tests for C{dnsguard tail}.
    """

    def setUp(self) -> None:
        """
        Have some queries.
        """
        super().setUp()
        rows = [ROW, {**ROW, "client_name": "tab\x1blet", "outcome": "blocked"}, ROW]
        self.api.answers["GET /queries/tail"] = "".join(
            f"data: {json.dumps(row)}\n\n" for row in rows
        ).encode()

    def test_lines(self) -> None:
        """
        Each query is a line.
        """
        lines = self.fine("tail").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(
            lines[0].split(),
            [
                "2026-01-02T03:04:05.678Z",
                "192.0.2.7",
                "cached",
                "NOERROR",
                "0.125",
                "ms",
                "A",
                "www.example.org",
            ],
        )
        self.assertIn("tab\\x1blet", lines[1])

    def test_number(self) -> None:
        """
        It ends after so many queries, and takes only those wanted.
        """
        told = self.fine("tail", "-n", "2", "--outcome", "blocked", "--json")
        self.assertEqual(
            [json.loads(line)["qname"] for line in told.splitlines()],
            [
                "www.example.org",
                "www.example.org",
            ],
        )
        self.assertEqual(self.api.requests[0].query, {"outcome": "blocked"})

    def test_refused(self) -> None:
        """
        When the server refuses, it is said why.
        """
        self.api.answers["GET /queries/tail"] = (503, {"error": "too many watch already"})
        result = self.invoke("tail")
        self.assertEqual(result.exit_code, 5)
        self.assertIn("too many watch already", result.stderr)
