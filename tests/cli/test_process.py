# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.process}.
"""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from dnsguard import __version__
from dnsguard.cli import main


class CommandTests(SynchronousTestCase):
    """
    Tests for the C{dnsguard} command.
    """

    def run_(self, *arguments: str, **environ: str) -> Result:
        """
        Run the command.
        """
        bare = {"CONFIG_PATH": None, "DEFAULT_CONFIG_PATH": None}
        return CliRunner().invoke(main, arguments, env={**bare, **environ})

    def write(self, text: str) -> str:
        """
        A file with a text.
        """
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_version(self) -> None:
        """
        The version is told, and on request what it runs on.
        """
        result = self.run_("version")
        self.assertEqual((result.exit_code, result.stdout), (0, f"dnsguard {__version__}\n"))
        verbose = self.run_("version", "--verbose").stdout
        for word in ("Python", "Twisted", "Compiled"):
            self.assertIn(word, verbose)
        told = json.loads(self.run_("version", "--json").stdout)
        self.assertEqual(told["version"], __version__)
        self.assertIsInstance(told["compiled"], list)

    def test_fine(self) -> None:
        """
        A configuration that can be used ends with 0.
        """
        result = self.run_("check-config", self.write("cache: {min_ttl: 1m}"))
        self.assertEqual((result.exit_code, result.stdout), (0, ""))
        self.assertEqual(result.stderr, "no problems\n")

    def test_warnings(self) -> None:
        """
        Warnings are told and end with 0, too.
        """
        path = self.write("upstream_timeout: 3s")
        result = self.run_("check-config", path)
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(
            result.stdout,
            f"{path}:1:1: upstream_timeout: deprecated; use network.upstream_timeout (warning)\n",
        )
        self.assertEqual(result.stderr, "1 warning\n")

    def test_errors(self) -> None:
        """
        One that can't be used ends with 1, every problem on a line.
        """
        path = self.write("cache: {min_ttl: x}\nlogging: {level: loud}\n")
        result = self.run_("check-config", path)
        self.assertEqual(result.exit_code, 1)
        lines = result.stdout.splitlines()
        self.assertTrue(lines[0].startswith(f"{path}:1:18: cache.min_ttl: 'x'"), lines)
        self.assertTrue(lines[1].startswith(f"{path}:2:18: logging.level: 'loud'"), lines)
        self.assertEqual(result.stderr, "2 errors\n")

    def test_json(self) -> None:
        """
        For programs there is one JSON object.
        """
        path = self.write("cache: {min_ttl: x}")
        result = self.run_("check-config", "--json", path)
        self.assertEqual(result.exit_code, 1)
        report = json.loads(result.stdout)
        self.assertFalse(report["ok"])
        (problem,) = report["problems"]
        self.assertTrue(problem.pop("message"))
        self.assertEqual(
            problem,
            {"file": path, "line": 1, "column": 18, "path": "cache.min_ttl", "severity": "error"},
        )
        self.assertTrue(json.loads(self.run_("check-config", "--json").stdout)["ok"])

    def test_environment(self) -> None:
        """
        Without an argument the file is that of the environment, if any.
        """
        self.assertEqual(self.run_("check-config").exit_code, 0)
        bad = self.write("x: 1")
        self.assertEqual(self.run_("check-config", CONFIG_PATH=bad).exit_code, 1)
        self.assertEqual(self.run_("check-config", DEFAULT_CONFIG_PATH=bad).exit_code, 1)
        self.assertEqual(self.run_("check-config", DNSGUARD__CACHE__MIN_TTL="x").exit_code, 1)

    def test_missing(self) -> None:
        """
        A file that isn't there is a problem like others.
        """
        result = self.run_("check-config", "/nonexistent/a.yaml")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("No such file", result.stdout)

    def test_usage(self) -> None:
        """
        A wrong command line ends with 2.
        """
        for arguments in [
            ["check-config", "--nonsense"],
            ["nonsense"],
            ["check-config", "a", "b"],
        ]:
            self.assertEqual(self.run_(*arguments).exit_code, 2)
