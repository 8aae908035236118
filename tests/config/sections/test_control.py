# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.control}.
"""

from __future__ import annotations

from dnsguard.config.load import PACKAGED_DEFAULTS, Source, load
from tests.config.sections.cases import SectionCase


class ControlTests(SectionCase):
    """
    Tests for C{control}.
    """

    def test_read(self) -> None:
        """
        Everything can be set, with the documented names.
        """
        control = self.config(
            "control: {enabled: true, listen: '0.0.0.0:8081', token: abc, require_token: false}"
        ).control
        self.assertEqual((str(control.listen), control.token), ("0.0.0.0:8081", "abc"))
        self.assertTrue(control.enabled)
        self.assertFalse(control.requireToken)

    def test_defaults(self) -> None:
        """
        Served by default, to this machine; but only where the packaged defaults
        are in use.
        """
        control = self.config("").control
        self.assertEqual((control.enabled, str(control.listen)), (False, "127.0.0.1:8081"))
        self.assertEqual((control.token, control.requireToken), ("", True))
        loaded = load(Source(None, PACKAGED_DEFAULTS), {"HOME": "/nowhere"})
        self.assertTrue(loaded.config.control.enabled)

    def test_secret(self) -> None:
        """
        The token is never shown: neither in what is printed of the section nor
        in what is wrong with it.
        """
        control = self.config("control: {token: s3cret}").control
        self.assertNotIn("s3cret", repr(control))
        text = f"control: {{token: {'s3cret' * 200}}}"
        self.assertEqual(self.paths(text), ["control.token"])

    def test_refused(self) -> None:
        """
        Addresses, numbers and words that are none are refused.
        """
        for key, value in [
            ("enabled", "maybe"),
            ("listen", "localhost:8081"),
            ("listen", "127.0.0.1"),
            ("history_size", "-1"),
            ("require_token", "[]"),
        ]:
            self.assertEqual(self.paths(f"control: {{{key}: {value}}}"), [f"control.{key}"])
