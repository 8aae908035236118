# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.errors}.
"""

from __future__ import annotations

from dnsguard.config.load import loadText
from tests.config.sections.cases import SectionCase


class ErrorsTests(SectionCase):
    """
    How long errors are known can be set.
    """

    def test_defaults(self) -> None:
        """
        They are kept for a week.
        """
        errors = loadText("").config.control.errors
        self.assertEqual(
            (errors.enabled, errors.retentionDays, errors.directory, errors.filenamePrefix),
            (True, 7, "logs", "errors"),
        )

    def test_set(self) -> None:
        """
        Each key can be set.
        """
        loaded = loadText(
            "control: {debug: true, errors: {enabled: false, retention_days: 0,"
            " directory: /x, filename_prefix: y}}"
        )
        errors = loaded.config.control.errors
        self.assertEqual(
            (errors.enabled, errors.retentionDays, errors.directory, errors.filenamePrefix),
            (False, 0, "/x", "y"),
        )
        self.assertTrue(loaded.config.control.debug)
        self.assertEqual(loaded.warnings, ())

    def test_refused(self) -> None:
        """
        A file name that leaves the directory is refused, and a time below
        nothing.
        """
        for setting in ("filename_prefix: ../x", "retention_days: -1", "directory: ''"):
            name = setting.partition(":")[0]
            self.assertEqual(
                self.paths(f"control: {{errors: {{{setting}}}}}"), [f"control.errors.{name}"]
            )
