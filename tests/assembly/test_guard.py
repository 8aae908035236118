# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.guard}; what it puts together is tested by
C{tests.integration.test_main}.
"""

from __future__ import annotations

from dnsguard.assembly.changes import waiting
from tests.assembly.test_rules import Writing


class WaitingTests(Writing):
    """
    Tests for L{waiting}.
    """

    def test_keys(self) -> None:
        """
        Keys that a reload can't put into force are named, others aren't.
        """
        used = self.read("data_directory: /one\nserver: {max_udp_size: 1000}\n")
        for text, keys in [
            ("data_directory: /one\nserver: {max_udp_size: 1400}\n", []),
            ("data_directory: /two\n", ["data_directory"]),
            ("data_directory: /one\nserver: {replay: {max_entries: 5}}\n", ["server.replay"]),
            ("data_directory: /one\ncontrol: {password_file: p}\n", ["control.password_file"]),
            ("data_directory: /one\ncontrol: {password_file: p, enabled: false}\n", []),
        ]:
            self.assertEqual(waiting(used, self.read(text)), keys)
