# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.children}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import dnsguard
from dnsguard.children import childEnvironment

SOURCE = str(Path(dnsguard.__file__).parent.parent)


class ChildEnvironmentTests(SynchronousTestCase):
    """
    Tests for L{childEnvironment}.
    """

    def found(self, **environment: str) -> dict[str, str]:
        """
        What a child of a process with this environment gets.
        """
        self.patch(os, "environ", environment)
        return childEnvironment()

    def test_samePackage(self) -> None:
        """
        A child looks for modules where this package is first, then where it
        would have anyway; all else is the same.
        """
        self.assertEqual(
            self.found(PYTHONPATH="/elsewhere", LANG="C"),
            {"PYTHONPATH": f"{SOURCE}{os.pathsep}/elsewhere", "LANG": "C"},
        )

    def test_noPath(self) -> None:
        """
        Without such a path there is no empty place in it, which would be the
        current folder.
        """
        for environment in ({}, {"PYTHONPATH": ""}):
            self.assertEqual(self.found(**environment), {"PYTHONPATH": SOURCE})
