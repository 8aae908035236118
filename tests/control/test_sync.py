# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.sync}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.sync import SyncFamily
from tests.support.control import PromptMemoryReactor, Response, ask, factoryOf


class SyncTests(SynchronousTestCase):
    """
    Tests for L{SyncFamily}.
    """

    def setUp(self) -> None:
        self.factory = factoryOf(PromptMemoryReactor(), SyncFamily())

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> Response:
        """
        Ask.
        """
        return ask(self.factory, method, path, body, token=token)

    def test_noPrimary(self) -> None:
        """
        Replicas are told in the documented way that this is no primary.
        """
        for method, path, body in [
            ("GET", "/sync/config", None),
            ("GET", "/sync/status", None),
            ("POST", "/sync/stats", {"release": "1"}),
        ]:
            response = self.ask(method, path, body)
            self.assertEqual(response.status, 503)
            self.assertIn("no primary", response.json["error"])

    def test_statistics(self) -> None:
        """
        Statistics aren't read, whatever they are: anybody may send them.
        """
        bodies: list[Any] = [None, b"{", [], b"[" * 300_000]
        for body in bodies:
            self.assertEqual(self.ask("POST", "/sync/stats", body).status, 503)

    def test_noReplicas(self) -> None:
        """
        There are no replicas, which is told to those who may watch.
        """
        self.assertEqual(self.ask("GET", "/sync/replica-stats").status, 401)
        told = self.ask("GET", "/sync/replica-stats", token="viewer")
        self.assertEqual((told.status, told.json), (200, {"replicas": []}))
