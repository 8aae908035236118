# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the pages for operators show is so.
"""

from __future__ import annotations

import re
import unittest
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly import problemsOf
from dnsguard.config.load import loadText
from dnsguard.errors import ConfigError

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.rst", ROOT / "docs" / "operating.rst")


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

    def test_problem(self) -> None:
        """
        The problem shown is the one told, word by word.
        """
        page = (ROOT / "docs" / "operating.rst").read_text("utf-8")
        (shown,) = re.findall(r"    (/etc/dnsguard\.yaml:14:3: .*)\n", page)
        text = "#\n" * 12 + "blocklists:\n  refresh_intervall: 6h\n"
        error = self.assertRaises(ConfigError, loadText, text, "/etc/dnsguard.yaml", {})
        self.assertEqual([str(problem) for problem in error.problems], [shown])
