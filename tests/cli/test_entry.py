# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.entry}: what holds for all commands.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard import __version__
from dnsguard.cli import main
from dnsguard.cli.client import API
from dnsguard.cli.entry import COMMANDS
from tests.cli.test_explain import explanation
from tests.support.fakeapi import FakeAPI, runCommand

ROOT = Path(__file__).parents[2]


ASKING = (
    "explain example.org",
    "stats",
    "top",
    "tail",
    "pause 1",
    "resume",
    "cache get example.org",
    "cache clear",
    "lists",
    "lists reload",
    "token create ci",
    "token list",
    "token revoke ci",
    "set-admin-password 12345678",
)

WORDS = [
    "blocked",
    "domain",
    "type",
    "outcome",
    "decided_by",
    "matches",
    "client",
    "client_name",
    "group",
    "text",
    "rule",
    "source",
    "line",
    "name",
    "version",
    "uptime_seconds",
    "paused",
    "until",
    "total",
    "statuses",
    "count",
    "lru",
    "entries",
    "max_entries",
    "hits",
    "misses",
    "hit_rate",
    "sources",
    "error",
    "names",
    "rejected",
    "fetched",
    "state",
    "allow",
    "deny",
    "upstreams",
    "tokens",
    "role",
    "token",
    "expires",
    "enabled",
    "top",
    "value",
    "qname",
    "ts",
    "duration_ms",
    "rows",
]

json_ = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=40)
    ),
    max_leaves=60,
)
"""What an API may answer: JSON of words that mean something, in any order."""


def commands(
    group: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """
    All commands, with the words that call them.
    """
    context = click.Context(group, info_name="dnsguard")
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield (*path, name), command
            yield from commands(command, (*path, name))


class CommandTests(SynchronousTestCase):
    """
    Tests for all commands.
    """

    def test_help(self) -> None:
        """
        Each command says what it does and what it takes, in full sentences.
        """
        for path, command in commands():
            result = runCommand(*path, "--help")
            self.assertEqual(result.exit_code, 0, path)
            self.assertTrue(result.stdout.startswith("Usage: "), path)
            self.assertTrue((command.help or "").strip().endswith("."), path)

    def test_options(self) -> None:
        """
        Each option says what it is for, and none shows a secret as default.
        """
        for path, command in commands():
            for option in command.params:
                if isinstance(option, click.Option):
                    self.assertTrue(option.help or option.name == "only", (path, option.name))
                    if "token" in option.name and "file" not in option.name:
                        self.assertFalse(option.show_default, (path, option.name))

    def test_secrets(self) -> None:
        """
        A token in the environment isn't shown by any help.
        """
        for path, _ in commands():
            result = runCommand(*path, "--help", DNSGUARD_TOKEN="s3cret")
            self.assertNotIn("s3cret", result.output, path)

    def test_json(self) -> None:
        """
        Whatever asks something can answer in JSON.
        """
        without = {("run",), ("completion",)}
        for path, command in commands():
            if not isinstance(command, click.Group) and path not in without:
                names = {name for option in command.params for name in option.opts}
                self.assertIn("--json", names, path)

    def test_listed(self) -> None:
        """
        All commands are listed, without any of them being imported.
        """
        program = (
            "import sys\n"
            "from dnsguard.cli import main\n"
            "main(['--help'], standalone_mode=False)\n"
            "print(sorted(name for name in sys.modules if name.startswith('dnsguard')))\n"
            "print('twisted' in sys.modules, 'rich' in sys.modules)\n"
        )
        surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=surroundings,
            check=True,
        )
        for name in COMMANDS:
            self.assertIn(f"\n  {name} ", done.stdout)
        *_, modules, heavy = done.stdout.splitlines()
        self.assertEqual(
            modules, "['dnsguard', 'dnsguard.cli', 'dnsguard.cli.entry', 'dnsguard.pure']"
        )
        self.assertEqual(heavy, "False False")

    def test_module(self) -> None:
        """
        C{python -m dnsguard} is the same command.
        """
        done = subprocess.run(
            [sys.executable, "-m", "dnsguard", "version"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        self.assertEqual(done.stdout, f"dnsguard {__version__}\n")

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(ASKING), json_)
    def test_anyAnswer(self, arguments: str, answer: Any) -> None:
        """
        Whatever an API answers, there is no traceback.
        """
        with (
            mock.patch.object(API, "call", lambda *_, **__: answer),
            mock.patch.object(API, "lines", lambda *_, **__: iter([json.dumps(answer)])),
        ):
            for more in ("", " --json"):
                result = runCommand(*(arguments + more).split())
                self.assertIsInstance(result.exception, SystemExit | None, arguments)
                self.assertIn(result.exit_code, range(6))

    def test_color(self) -> None:
        """
        There is colour where it can be seen, unless it isn't wanted.
        """
        api = FakeAPI()
        self.addCleanup(api.close)
        api.answers["GET /explain"] = explanation()
        for wanted in (True, False):
            environ = {"DNSGUARD_URL": api.url, "NO_COLOR": None if wanted else "1"}
            result = CliRunner().invoke(main, ["explain", "example"], env=environ, color=True)
            self.assertEqual("\x1b[32m" in result.stdout, wanted)

    def test_usage(self) -> None:
        """
        A wrong command line ends with 2.
        """
        for arguments in (["nonsense"], ["perf", "--nonsense"], ["pause"], ["cache", "nonsense"]):
            self.assertEqual(runCommand(*arguments).exit_code, 2, arguments)
