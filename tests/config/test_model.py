# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.model}.
"""

from __future__ import annotations

import attrs

from tests.config.sections.cases import SectionCase


class ConfigTests(SectionCase):
    """
    Tests for L{dnsguard.config.model.Config}.
    """

    def test_frozen(self) -> None:
        """
        A configuration can't be changed, at any depth, and equals one that
        says the same.
        """
        config = self.config("")
        for section, attribute in [(config, "timezone"), (config.cache.refresh, "staleTTL")]:
            self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, section, attribute, 1)
        self.assertEqual(config, self.config("cache: {min_ttl: 300}"))
        self.assertNotEqual(config, self.config("cache: {min_ttl: 301}"))

    def test_timeZone(self) -> None:
        """
        A time zone is one that this machine knows.
        """
        self.assertEqual(self.config("timezone: UTC").timezone, "UTC")
        self.assertIsNone(self.config("").timezone)
        for text in ["Middle/Earth", "../../etc/passwd", "/etc/localtime", "''"]:
            self.assertEqual(self.paths(f"timezone: {text}"), ["timezone"])
