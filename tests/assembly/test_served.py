# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.served}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly import served
from dnsguard.config.model import Config

_IMPORTED = """
import sys
import dnsguard.assembly, dnsguard.tap
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def configured(enabled: bool) -> Config:
    """
    Say whether there is to be an API.
    """
    config = Config()
    return attrs.evolve(config, control=attrs.evolve(config.control, enabled=enabled))


class ServedTests(SynchronousTestCase):
    """
    The API is imported by those who serve it.
    """

    def test_notImported(self) -> None:
        """
        Whoever starts a server without it has none of it in memory.
        """
        printed = subprocess.run(
            [sys.executable, "-c", _IMPORTED],
            # Trial works in a folder of its own.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        found = printed.stdout.split()
        self.assertIn("dnsguard", found)
        for name in ("klein", "werkzeug", "ruamel"):
            self.assertNotIn(name, found)

    def test_noneIsMade(self) -> None:
        """
        None is made where it is switched off.
        """
        guard: Any = None
        self.assertIs(served.makeControl(guard, configured(False), None, lambda: 0.0), None)

    def test_prepared(self) -> None:
        """
        It is imported in a thread, once, and only if it is to be served.
        """
        called: list[Any] = []

        def inThread(function: Any, *arguments: Any) -> Deferred[Any]:
            called.append((function.__name__, *arguments))
            return succeed(None)

        def prepare(enabled: bool) -> None:
            self.successResultOf(
                Deferred.fromCoroutine(served.prepareControl(configured(enabled), inThread))
            )

        modules = dict(sys.modules)
        modules.pop(served.CONTROL, None)
        self.patch(sys, "modules", modules)
        prepare(False)
        self.assertEqual(called, [])
        prepare(True)
        self.assertEqual(called, [("import_module", served.CONTROL)])
        modules[served.CONTROL] = served
        prepare(True)
        self.assertEqual(len(called), 1)
