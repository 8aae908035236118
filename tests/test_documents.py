# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the pages for operators show is so.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import unittest
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import click
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly import problemsOf
from dnsguard.cli import main
from dnsguard.config.load import loadText
from dnsguard.errors import ConfigError
from dnsguard.observers.loglines import TextLines, entryOf
from dnsguard.services.listupdate import ListUpdater
from tests.support.events import NOON, eventOf

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.rst", ROOT / "docs" / "operating.rst")

EXECUTED = {
    "README.rst": ("tests/integration/test_readme.py", "tests/test_packaging.py"),
    "docs/cli.rst": ("tests/cli/test_page.py",),
    "docs/composing.rst": ("tests/integration/test_composing.py",),
    "docs/configuration.rst": ("tests/config/test_reference.py",),
    "docs/control-api.rst": ("tests/control/test_reference.py",),
    "docs/monitoring.rst": ("tests/assembly/metrics/test_page.py",),
    "docs/operating.rst": ("tests/test_documents.py",),
    "docs/perf-tester.rst": ("tests/cli/test_page.py",),
    "docs/query-store.rst": ("tests/test_documents.py",),
    "docs/testing.rst": ("tests/test_testing.py",),
}
"""The pages that have examples, and the tests that execute these."""

DRAWING = ("docs/design.rst",)
"""Pages that have pictures made of letters."""

MEASURING = ("docs/fuzzing.rst", "docs/performance.rst", "docs/processes.rst")
"""Pages whose commands measure, or take hours: that what they run is there is seen to."""


def examples(page: Path) -> Iterator[str]:
    """
    The configurations that a page shows.
    """
    for found in re.finditer(r"code-block:: yaml\n\n((?:    .*\n|\n)+)", page.read_text("utf-8")):
        yield dedent(found.group(1))


@unittest.skipUnless(all(page.exists() for page in PAGES), "not in a source tree")
class DocumentTests(SynchronousTestCase):
    """
    Tests for the README and the operating guide.
    """

    def test_configurations(self) -> None:
        """
        Every configuration shown can be used, without so much as a warning.
        """
        for page in PAGES:
            shown = list(examples(page))
            self.assertNotEqual(shown, [], page)
            for text in shown:
                loaded = loadText(text, page.name, {})
                self.assertEqual((loaded.warnings, problemsOf(loaded.config)), ((), ()))

    def test_everyPage(self) -> None:
        """
        There is no page with examples but those whose examples are executed, and
        those whose commands are there to be executed by hand.
        """
        pages = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
        shown = {
            str(page.relative_to(ROOT))
            for page in pages
            if re.search(r"code-block::|\.\. include::|(?<!:)::\n\n ", page.read_text("utf-8"))
        }
        self.assertEqual(shown - {*EXECUTED, *DRAWING, *MEASURING}, set())
        for page, tests in EXECUTED.items():
            name = page.rpartition("/")[2].removesuffix(".rst").lower()
            for test in tests:
                self.assertIn(name, (ROOT / test).read_text("utf-8").lower(), page)

    def test_measuringCommands(self) -> None:
        """
        What the pages say is run by hand can be run.
        """
        for page in (*MEASURING, "docs/perf-tester.rst"):
            text = (ROOT / page).read_text("utf-8")
            found = re.findall(r"python (?:-m )?(bench[./]\w+)|trial (tests[.\w]+)", text)
            self.assertNotEqual(found, [], page)
            for script, test in found:
                module = (script or test).replace(".", "/")
                there = [ROOT / f"{module}.py", ROOT / module / "__init__.py"]
                self.assertTrue(any(path.exists() for path in there), f"{page}: {module}")

    def test_unit(self) -> None:
        """
        The unit shown for systemd says nothing that systemd doesn't know, and
        starts what there is to start.
        """
        page = (ROOT / "docs" / "operating.rst").read_text("utf-8")
        (unit,) = re.findall(r"code-block:: ini\n\n((?:    .*\n|\n)+)", page)
        (start,) = re.findall(r"ExecStart=(.*)", unit)
        words = shlex.split(start)
        self.assertEqual((Path(words[0]).name, words[1]), ("dnsguard", "run"))
        config = Path(self.mktemp())
        config.write_text("")
        command = main.get_command(click.Context(main), words[1])
        assert command is not None
        options = [str(config) if word.endswith(".yaml") else word for word in words[2:]]
        self.assertEqual(command.make_context("run", options).params["config"], str(config))
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            return
        file = Path(self.mktemp()).with_suffix(".service").absolute()
        file.write_text(dedent(unit).replace(words[0], "/bin/true"))
        told = subprocess.run(
            [analyze, "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
        )
        said = [line for line in told.stderr.splitlines() if file.name in line]
        self.assertEqual(said, [])

    def test_requestLog(self) -> None:
        """
        The line shown of the request log is one that is written.
        """
        page = (ROOT / "docs" / "query-store.rst").read_text("utf-8")
        (shown,) = re.findall(r"    (\S+Z client=.*)\n", page)
        lines = TextLines(lambda address, name: (address, name))
        self.assertEqual(
            lines.line(entryOf(eventOf(finished=NOON + 0.25, upstream="192.0.2.53:53"))),
            f"{shown}\n",
        )

    def test_failedList(self) -> None:
        """
        What a list that can't be had says in the log is what the page shows.
        """
        page = (ROOT / "docs" / "operating.rst").read_text("utf-8")
        (shown,) = re.findall(r"    (block list .* failed: .*)\n", page)
        lists = ListUpdater.__module__.replace(".", "/") + ".py"
        self.assertIn("block list {name} failed: {reason}", (ROOT / lists).read_text("utf-8"))
        fetching = (ROOT / "dnsguard" / "services" / "listfetch.py").read_text("utf-8")
        self.assertIn(shown.partition(" failed: ")[2], fetching)

    def test_problem(self) -> None:
        """
        The problem shown is the one told, word by word.
        """
        page = (ROOT / "docs" / "operating.rst").read_text("utf-8")
        (shown,) = re.findall(r"    (/etc/dnsguard\.yaml:14:3: .*)\n", page)
        text = "#\n" * 12 + "blocklists:\n  refresh_intervall: 6h\n"
        error = self.assertRaises(ConfigError, loadText, text, "/etc/dnsguard.yaml", {})
        self.assertEqual([str(problem) for problem in error.problems], [shown])
