# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the choice between the twins, in L{dnsguard.replay}.
"""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.pure import PURE_PYTHON
from dnsguard.replay import newStore, pathInUse
from dnsguard.replay.store import PythonReplayStore
from tests.support.replay import compiled


class ChoiceTests(SynchronousTestCase):
    """
    Tests for L{pathInUse} and L{newStore}.
    """

    def setUp(self) -> None:
        """
        The tests' own environment doesn't count.
        """
        self.patch(os, "environ", {})

    def withoutModules(self, *names: str) -> None:
        """
        Let modules be as if they had never been built.
        """
        for name in names:
            self.patch(sys, "modules", {**sys.modules, f"dnsguard.replay.{name}": None})

    def test_disabled(self) -> None:
        """
        The environment turns the compiled twins off.
        """
        used, line = pathInUse({PURE_PYTHON: "1"})
        self.assertFalse(used)
        self.assertIn(PURE_PYTHON, line)

    def test_notDisabled(self) -> None:
        """
        0 or nothing in the environment leaves them on.
        """
        expected = pathInUse({})
        self.assertEqual(pathInUse({PURE_PYTHON: "0"}), expected)
        self.assertEqual(pathInUse({PURE_PYTHON: ""}), expected)
        self.assertEqual(expected[0], compiled("_listener") is not None)

    def test_notBuilt(self) -> None:
        """
        Without a compiled store the line says so and why.
        """
        self.withoutModules("_store")
        used, line = pathInUse({})
        self.assertFalse(used)
        self.assertIn("pure Python (", line)
        self.assertIsInstance(newStore(), PythonReplayStore)

    def test_halfBuilt(self) -> None:
        """
        Where there is a compiled store but no compiled listener, as on systems
        other than Linux, the line says so and why, and the store is used.
        """
        if compiled("_store") is None:
            self.skipTest("the compiled twin isn't built")
        self.withoutModules("_listener")
        used, line = pathInUse({})
        self.assertFalse(used)
        self.assertIn("compiled store, plain listener (", line)
        self.assertTrue(newStore().compiled)

    def test_asked(self) -> None:
        """
        The one in Python is made if asked for; bounds are handed through.
        """
        store = newStore(compiled=False, maxEntries=1)
        self.assertIsInstance(store, PythonReplayStore)
        self.assertFalse(store.compiled)
        with self.assertRaises(ValueError):
            newStore(compiled=False, maxEntries=0)
        if compiled("_store") is not None:
            self.assertTrue(newStore(compiled=True).compiled)
