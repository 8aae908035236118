# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.pure}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import dnsguard
from dnsguard.pure import PURE_PYTHON, SourceFinder

PACKAGE = Path(dnsguard.__file__).parent


class SourceFinderTests(SynchronousTestCase):
    """
    Tests for L{SourceFinder}.
    """

    def test_source(self) -> None:
        """
        A module is found as source, others' modules not at all.
        """
        spec = SourceFinder().find_spec("dnsguard.errors", [str(PACKAGE)])
        assert spec is not None
        assert spec.origin is not None
        self.assertEqual(Path(spec.origin).name, "errors.py")
        self.assertIsNone(SourceFinder().find_spec("twisted.internet", [str(PACKAGE)]))

    def test_package(self) -> None:
        """
        A package is found as a package.
        """
        spec = SourceFinder().find_spec("dnsguard.wire", [str(PACKAGE)])
        assert spec is not None
        self.assertEqual(spec.submodule_search_locations, [str(PACKAGE / "wire")])

    def test_noSource(self) -> None:
        """
        What there is no source of isn't there.
        """
        with self.assertRaises(ModuleNotFoundError):
            SourceFinder().find_spec("dnsguard.wire._layout", [str(PACKAGE / "wire")])

    def test_wholeProcess(self) -> None:
        """
        With the variable set, a process has no compiled code of ours.
        """
        program = (
            "import sys, dnsguard.assembly\n"
            "ours = [m.__file__ for n, m in sys.modules.items() if n.startswith('dnsguard')]\n"
            "print(len(ours), {name.rpartition('.')[2] for name in ours})"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, PURE_PYTHON: "1", "PYTHONPATH": str(PACKAGE.parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        count, _, endings = done.stdout.strip().partition(" ")
        self.assertGreater(int(count), 100)
        self.assertEqual(endings, "{'py'}")
