# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.migrate}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.kinds import Context
from dnsguard.config.migrate import migrate
from dnsguard.config.problem import Severity
from tests.config.test_tree import plain, tree


class MigrateTests(SynchronousTestCase):
    """
    Tests for L{migrate}.
    """

    def migrated(self, text: str) -> tuple[Any, list[str]]:
        """
        A file in today's form, and what was said about it.
        """
        self.context = Context()
        root = migrate(tree(text), self.context)
        return plain(root), [str(problem) for problem in self.context.problems]

    def test_topLevelNetwork(self) -> None:
        """
        What stood at the top is in C{network}, with a warning that says so.
        """
        root, problems = self.migrated("upstream_timeout: 3s\nupstream_backoff: 0\nlisten: x")
        self.assertEqual(
            root, {"listen": "x", "network": {"upstream_timeout": "3s", "upstream_backoff": "0"}}
        )
        self.assertEqual(
            problems,
            [
                "a.yaml:1:1: upstream_timeout: deprecated; use network.upstream_timeout (warning)",
                "a.yaml:2:1: upstream_backoff: deprecated; use network.upstream_backoff (warning)",
            ],
        )

    def test_alias(self) -> None:
        """
        Another documented path of a key is taken without a word.
        """
        root, problems = self.migrated("cache: {redis: {lru_size: 0, address: x}}")
        self.assertEqual(root, {"cache": {"redis": {"address": "x"}, "lru_size": "0"}})
        self.assertEqual(problems, [])

    def test_both(self) -> None:
        """
        If both paths are set, the present one counts, and the other is told.
        """
        root, problems = self.migrated("upstream_timeout: 3s\nnetwork: {upstream_timeout: 4s}")
        self.assertEqual(root, {"network": {"upstream_timeout": "4s"}})
        self.assertIn("ignored, as network.upstream_timeout is set as well", problems[0])
        root, problems = self.migrated("upstream_timeout: 3s\nnetwork: {upstream_timeout: }")
        self.assertEqual(root, {"network": {"upstream_timeout": "3s"}})

    def test_inTheWay(self) -> None:
        """
        Something else than a map on the way stays, to be reported.
        """
        root, _ = self.migrated("upstream_timeout: 3s\nnetwork: 5")
        self.assertEqual(root, {"network": "5"})

    def test_clientMap(self) -> None:
        """
        Clients as a map of address to name become a list.
        """
        root, problems = self.migrated(
            "client_identification:\n  clients: {192.0.2.1: a, '::1': b}"
        )
        self.assertEqual(
            root["client_identification"]["clients"],
            [{"ip": "192.0.2.1", "name": "a"}, {"ip": "::1", "name": "b"}],
        )
        self.assertIn("a.yaml:2:3: client_identification.clients: deprecated", problems[0])

    def test_version(self) -> None:
        """
        Known versions pass; later ones and nonsense are errors.
        """
        for text in ("config_version: 1", "config_version: 2"):
            self.assertEqual(self.migrated(text), ({}, []))
        self.assertIn("later dnsguard: 3", self.migrated("config_version: 3")[1][0])
        self.assertIs(self.context.problems[0].severity, Severity.ERROR)
        self.assertIn("expected a whole number", self.migrated("config_version: new")[1][0])
