# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.config.rewriter}.
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.config import rewriter
from dnsguard.control.config.document import EditError
from dnsguard.control.config.rewriter import rewritten

FILE = """\
# Höhe
cache:
  min_ttl: 1m  # a minute
blocklists:
  denylist: [bad.example]
"""

CHANGED = FILE.replace("1m", "5m")

PATCH = {"cache": {"min_ttl": "5m"}}


class RewrittenTests(SynchronousTestCase):
    """
    Tests for L{rewritten}.
    """

    def marked(self, folder: Path) -> str:
        """
        An interpreter that leaves a mark when it is used.
        """
        folder.mkdir()
        script = folder / "python"
        script.write_text(f'#!/bin/sh\ntouch {folder}/used\nexec {sys.executable} "$@"\n')
        script.chmod(0o755)
        return str(script)

    def test_sameEitherWay(self) -> None:
        """
        What comes out is the same, in this process and in one of its own, which
        is had for what is large alone.
        """
        for large, used in [(1 << 20, False), (0, True)]:
            folder = Path(self.mktemp())
            python = self.marked(folder.absolute())
            self.assertEqual(rewritten(FILE, PATCH, large, python), CHANGED)
            self.assertEqual((folder / "used").exists(), used)

    def test_largePatchCounts(self) -> None:
        """
        A small file that is to be made a large one is large.
        """
        folder = Path(self.mktemp())
        python = self.marked(folder.absolute())
        names = [f"bad{number}.example" for number in range(500)]
        text = rewritten(FILE, {"blocklists": {"denylist": names}}, python=python)
        self.assertIn("bad499.example", text)
        self.assertTrue((folder / "used").exists())

    def test_refusal(self) -> None:
        """
        What can't be done is told in the same words.
        """
        told = []
        for large in (1 << 20, 0):
            error = self.assertRaises(EditError, rewritten, "a: [\n", PATCH, large)
            told.append(str(error))
        self.assertEqual(told[0], told[1])
        self.assertNotEqual(told[0], "")

    def test_noProcess(self) -> None:
        """
        Where no process can be had it is done here.
        """
        self.assertEqual(rewritten(FILE, PATCH, 0, "/nowhere/python"), CHANGED)
        self.assertEqual(rewritten(FILE, PATCH, 0, ""), CHANGED)

    def test_neverEnds(self) -> None:
        """
        One that doesn't come to an end is given up.
        """
        self.patch(rewriter, "PATIENCE", 0.05)
        folder = Path(self.mktemp())
        folder.mkdir()
        script = folder / "python"
        script.write_text("#!/bin/sh\nexec sleep 20\n")
        script.chmod(0o755)
        error = self.assertRaises(EditError, rewritten, FILE, PATCH, 0, str(script.absolute()))
        self.assertIn("within", str(error))

    def test_dies(self) -> None:
        """
        One that dies is told of, with the last that it said.
        """
        error = self.assertRaises(EditError, rewritten, FILE, PATCH, 0, "/bin/false")
        self.assertIn("status 1", str(error))
