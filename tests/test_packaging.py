# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for what surrounds the package: the pages, and the script for all checks.
"""

from __future__ import annotations

import io
import os
import re
import runpy
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import setuptools
from setuptools import Distribution, Extension
from twisted.trial.unittest import SynchronousTestCase

import dnsguard

try:
    import docutils.core
    import docutils.utils
except ImportError:
    HAVE_DOCUTILS = False
else:
    HAVE_DOCUTILS = True

ROOT = Path(dnsguard.__file__).parent.parent
README = ROOT / "README.rst"
SCRIPT = ROOT / ".ci" / "run"
IN_CHECKOUT = README.exists() and SCRIPT.exists()


@unittest.skipUnless(IN_CHECKOUT, "not in a source tree")
class PageTests(SynchronousTestCase):
    """
    Tests for the reStructuredText pages.
    """

    @unittest.skipUnless(HAVE_DOCUTILS, "docutils isn't installed")
    def test_rendering(self) -> None:
        """
        Each page renders without a complaint.
        """
        pages = [*ROOT.glob("*.rst"), *(ROOT / "docs").rglob("*.rst")]
        self.assertIn(README, pages)
        for page in pages:
            complaints = io.StringIO()
            docutils.core.publish_string(
                page.read_text("utf-8"),
                source_path=str(page),
                writer="html5",
                settings_overrides={
                    "warning_stream": complaints,
                    "report_level": 1,
                    "_disable_config": True,
                    # A package index doesn't include files; nobody else reads
                    # the README alone.
                    "file_insertion_enabled": page != README,
                },
            )
            self.assertEqual(complaints.getvalue(), "")


@unittest.skipUnless(IN_CHECKOUT, "not in a source tree")
class HeaderTests(SynchronousTestCase):
    """
    Tests for the first lines of modules.
    """

    def test_testCaseNames(self) -> None:
        """
        The tests that a module names, for trial and for editors, are there.
        """
        missing = []
        modules = sorted(ROOT.glob("dnsguard/**/*.py"))
        for module in modules:
            with module.open("r") as file:
                named = re.search(r"test-case-name: (.+?) -\*-", file.readline())
            for name in [] if named is None else re.split(r"[\s,]+", named.group(1)):
                path = ROOT / name.replace(".", "/")
                if not path.with_suffix(".py").exists() and not (path / "__init__.py").exists():
                    missing.append((str(module), name))
        self.assertEqual(missing, [])
        self.assertGreater(len(modules), 100)


@unittest.skipUnless(IN_CHECKOUT, "not in a source tree")
class BuildTests(SynchronousTestCase):
    """
    Tests for the building of compiled modules in C{setup.py}.
    """

    def kept(self, *made: str) -> set[str]:
        """
        Give the names of the extensions that are kept when these could be made.
        """
        self.patch(setuptools, "setup", lambda **keywords: None)
        # Without Cython at hand setup.py makes none by itself.
        with mock.patch.dict(sys.modules, {"Cython.Build": None}):
            script = runpy.run_path(str(ROOT / "setup.py"))
        build = script["OptionalBuild"](Distribution())
        build.warn = lambda text: None
        build.build_lib = self.mktemp()
        build.inplace = False
        names = ["dnsguard.answer", "dnsguard.query", "dnsguard.wire._layout"]
        build.extensions = [Extension(name, []) for name in names]
        places = {name: Path(build.get_ext_fullpath(name)) for name in names}
        for name in made:
            places[name].parent.mkdir(parents=True, exist_ok=True)
            places[name].touch()
        build.keepAllOrNone()
        return {name for name, place in places.items() if place.exists()}

    def test_all(self) -> None:
        """
        What could be compiled is kept when everything could.
        """
        made = ("dnsguard.answer", "dnsguard.query", "dnsguard.wire._layout")
        self.assertEqual(self.kept(*made), set(made))

    def test_none(self) -> None:
        """
        If something couldn't be compiled no ordinary module stays compiled:
        one that knows another's C structures couldn't be imported.
        """
        self.assertEqual(
            self.kept("dnsguard.answer", "dnsguard.wire._layout"), {"dnsguard.wire._layout"}
        )
        self.assertEqual(self.kept("dnsguard.answer", "dnsguard.query"), set())


@unittest.skipUnless(IN_CHECKOUT, "not in a source tree")
class ScriptTests(SynchronousTestCase):
    """
    Tests for C{.ci/run}.
    """

    def commands(self) -> list[str]:
        """
        The README's commands that set everything up.
        """
        return re.findall(r"^    (python3 -m venv .*)$", README.read_text("utf-8"), re.MULTILINE)

    def test_commands(self) -> None:
        """
        The README has two commands, and the script runs the second one.
        """
        commands = self.commands()
        self.assertEqual(len(commands), 2)
        self.assertTrue(commands[0].endswith("dnsguard run"))
        self.assertIn(f"    {commands[1]}\n", SCRIPT.read_text("utf-8"))

    def test_executable(self) -> None:
        """
        It is a program that bash understands.
        """
        self.assertTrue(os.access(SCRIPT, os.X_OK))
        self.assertEqual(subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode, 0)

    def summary(self, closing: str) -> str:
        """
        What the script makes of trial's closing lines.
        """
        log = Path(self.mktemp())
        log.write_text(closing)
        script = SCRIPT.read_text("utf-8")
        counting = script[script.index("# trial ends with") : script.index("rm -f")]
        program = f'log="$1"; status=0\n{counting}echo "$passed $failed $skipped $status"'
        done = subprocess.run(
            ["bash", "-c", program, "-", str(log)], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def test_summary(self) -> None:
        """
        trial's closing line is added up; a run without one has failed.
        """
        for closing, summary in [
            ("Ran 5 tests in 1s\n\nPASSED (successes=5)\n", "5 0 0 0"),
            ("PASSED (skips=2, expectedFailures=1, successes=7)\n", "8 0 2 0"),
            ("FAILED (skips=1, failures=2, errors=3, successes=40)\n", "40 5 1 1"),
            ("FAILED (unexpectedSuccesses=1, successes=4)\n", "4 1 0 1"),
            ("PASSED (successes=5)\nException ignored in: x\n" * 9, "5 0 0 0"),
            ("pip: no matching distribution\n", "0 1 0 1"),
            ("", "0 1 0 1"),
        ]:
            self.assertEqual(self.summary(closing), summary, closing)
