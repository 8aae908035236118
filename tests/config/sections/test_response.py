# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.response}.
"""

from __future__ import annotations

from tests.config.sections.cases import SectionCase


class ResponseTests(SectionCase):
    """
    Tests for C{response}.
    """

    def test_read(self) -> None:
        """
        The answer is a word, an address or several.
        """
        for text, blocked in [
            ("NXDOMAIN", ("nxdomain",)),
            ("null_ip", ("null_ip",)),
            ("192.0.2.1", ("192.0.2.1",)),
            ("['192.0.2.1', '2001:DB8::1']", ("192.0.2.1", "2001:db8::1")),
        ]:
            self.assertEqual(
                self.config(f"response: {{blocked: {text}}}").response.blocked, blocked
            )
        self.assertEqual(self.config("").response.blockedTTL, 3600.0)

    def test_refused(self) -> None:
        """
        Other words, words beside others and addresses with a zone are refused.
        """
        for text in ["drop", "[]", "[nxdomain, 192.0.2.1]", "'fe80::1%1'", "{a: b}"]:
            self.assertTrue(
                self.paths(f"response: {{blocked: {text}}}")[0].startswith("response.blocked")
            )
        self.assertEqual(self.paths("response: {blocked_ttl: 0}"), ["response.blocked_ttl"])
