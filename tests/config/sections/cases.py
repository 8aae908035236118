# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the sections' tests have in common.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config import Config, loadText
from dnsguard.errors import ConfigError


class SectionCase(SynchronousTestCase):
    """
    Configurations from a text, over nothing but the keys' defaults.
    """

    def config(self, text: str) -> Config:
        """
        The configuration of a text with nothing odd in it.
        """
        loaded = loadText(text)
        self.assertEqual(loaded.warnings, ())
        return loaded.config

    def messages(self, text: str) -> list[str]:
        """
        What is wrong with a text.
        """
        error: ConfigError = self.assertRaises(ConfigError, loadText, text)
        return [str(problem) for problem in error.problems]

    def paths(self, text: str) -> list[str]:
        """
        Where a text is wrong.
        """
        error: ConfigError = self.assertRaises(ConfigError, loadText, text)
        return [problem.path for problem in error.problems]
