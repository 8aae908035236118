# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.reference}.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import dnsguard
from dnsguard.config import loadText
from dnsguard.config.convert import allPaths
from dnsguard.config.model import Config
from dnsguard.config.reference import reference

PAGE = Path(dnsguard.__file__).parent.parent / "docs" / "configuration.rst"


class ReferenceTests(SynchronousTestCase):
    """
    Tests for L{reference}.
    """

    def test_current(self) -> None:
        """
        The page in C{docs} says what the declarations say.
        """
        if not PAGE.exists():
            self.skipTest("installed without docs")
        self.assertEqual(
            PAGE.read_text("utf-8"),
            reference(),
            "run: python -m dnsguard.config.reference docs/configuration.rst",
        )

    def test_complete(self) -> None:
        """
        Every key has an entry or a heading.
        """
        page = reference()
        for path, _ in allPaths(Config):
            if path.startswith("conditional_forwarding[].upstreams[]"):
                continue  # Described once, as upstreams[].
            self.assertTrue(f"``{path}``" in page or f"``{path}[]``" in page, path)

    def test_shippedValue(self) -> None:
        """
        What the packaged defaults set is told beside the key's own default.
        """
        entry = reference().partition("``cache.client_ttl_cap``")[2].partition("\n\n``")[0]
        self.assertIn("Default: ``0s``.", entry)
        self.assertIn("The packaged defaults set ``5m``.", entry)

    def test_example(self) -> None:
        """
        The example at the top of the page is a configuration.
        """
        example = reference().partition("::\n\n")[2].partition("\n\n``dnsguard check-config")[0]
        loaded = loadText(textwrap.dedent(example))
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(loaded.config.clientGroups[0].id, "kids")
