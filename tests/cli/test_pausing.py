# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.pausing}.
"""

from __future__ import annotations

from tests.support.fakeapi import APITestCase

UNTIL = "2026-01-02T03:04:05Z"


class PauseTests(APITestCase):
    """
    Tests for C{dnsguard pause} and C{resume}.
    """

    def test_pause(self) -> None:
        """
        Blocking is paused for some minutes.
        """
        self.api.answers["POST /blocklists/pause"] = {"paused": True, "until": UNTIL, "group": ""}
        self.assertEqual(self.fine("pause", "30"), f"paused until {UNTIL}\n")
        body = {"duration_minutes": 30}
        self.assertEqual(self.asked(), [("POST", "/api/v1/blocklists/pause", {}, body)])

    def test_group(self) -> None:
        """
        It can be for one group.
        """
        status = {"paused": True, "until": UNTIL, "group": "kids"}
        self.api.answers["POST /blocklists/pause"] = status
        told = self.fine("pause", "5", "--group", "kids")
        self.assertEqual(told, f"paused for group kids until {UNTIL}\n")
        self.assertEqual(self.api.requests[0].body, {"duration_minutes": 5, "group": "kids"})
        self.assertEqual(self.json("pause", "5"), status)

    def test_resume(self) -> None:
        """
        A pause is ended, be it for one group.
        """
        never = "0001-01-01T00:00:00Z"
        self.api.answers["POST /blocklists/resume"] = {"paused": False, "until": never}
        self.assertEqual(self.fine("resume"), "blocking\n")
        self.fine("resume", "--group", "kids")
        self.assertEqual([each.body for each in self.api.requests], [{}, {"group": "kids"}])

    def test_schedule(self) -> None:
        """
        A pause by schedule goes on, and it is said so.
        """
        never = "0001-01-01T00:00:00Z"
        self.api.answers["POST /blocklists/resume"] = {"paused": True, "until": never}
        self.assertEqual(self.fine("resume"), "paused by schedule\n")

    def test_bounds(self) -> None:
        """
        What the API wouldn't take isn't sent.
        """
        for minutes in ("0", "1441", "x"):
            self.assertEqual(self.invoke("pause", minutes).exit_code, 2)
        self.assertEqual(self.api.requests, [])
