# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.hostsfile}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.hostsfile import LIMIT, parseHosts
from dnsguard.policy.localrecords import LocalRecords
from dnsguard.wire.names import fromText

TEXT = """\
# a comment
192.0.2.1   nas.example.org nas   # both
2001:db8::1 nas.example.org

fe80::1%lo0 localhost
not-an-address name
192.0.2.2
192.0.2.3 good.example.org bad..name
"""


class HostsTests(SynchronousTestCase):
    """
    Tests for L{parseHosts}.
    """

    def test_records(self) -> None:
        """
        All names of a line count, and the first is pointed back to.
        """
        hosts = parseHosts(TEXT, "hosts")
        self.assertEqual(
            [(spec.name, spec.type, spec.value) for spec in hosts.records],
            [
                ("nas.example.org", "A", "192.0.2.1"),
                ("nas", "A", "192.0.2.1"),
                ("nas.example.org", "AAAA", "2001:db8::1"),
                ("good.example.org", "A", "192.0.2.3"),
            ],
        )
        records = LocalRecords.build([], hosts.records)
        pointer = records.find(fromText("1.2.0.192.in-addr.arpa"), 12)
        assert pointer is not None
        self.assertEqual(pointer.answer[0].data, fromText("nas.example.org"))

    def test_rejected(self) -> None:
        """
        Lines and names that make no record are told of with their places.
        """
        hosts = parseHosts(TEXT, "hosts")
        self.assertEqual(
            [problem.place for problem in hosts.rejected],
            ["hosts:5", "hosts:6", "hosts:7", "hosts:8"],
        )
        self.assertEqual(hosts.rejectedCount, 4)

    def test_rejectedAreBounded(self) -> None:
        """
        Of a file of rubbish only the first lines are kept, all are counted.
        """
        hosts = parseHosts("rubbish\n" * (LIMIT + 5), "hosts")
        self.assertEqual(len(hosts.rejected), LIMIT)
        self.assertEqual(hosts.rejectedCount, LIMIT + 5)
