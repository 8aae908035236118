# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.local}.
"""

from __future__ import annotations

from dnsguard.config.sections.local import LocalRecordConfig, RecordType
from tests.config.sections.cases import SectionCase


class LocalRecordTests(SectionCase):
    """
    Tests for C{local_records}.
    """

    def test_read(self) -> None:
        """
        Names are canonical, types in whatever letter case, TTLs durations.
        """
        self.assertEqual(
            self.config(
                "local_records:\n"
                "- {name: NAS.home.arpa., type: a, value: 192.0.2.10}\n"
                "- {name: '*.lab.example', type: CNAME, value: nas.home.arpa, ttl: 1m}\n"
                "- {name: mail.example, type: MX, value: 10 mx.example, ttl: 0}\n"
            ).localRecords,
            (
                LocalRecordConfig(name="nas.home.arpa", type=RecordType.A, value="192.0.2.10"),
                LocalRecordConfig(
                    name="*.lab.example", type=RecordType.CNAME, value="nas.home.arpa", ttl=60.0
                ),
                LocalRecordConfig(
                    name="mail.example", type=RecordType.MX, value="10 mx.example", ttl=0.0
                ),
            ),
        )

    def test_refused(self) -> None:
        """
        Unknown types, impossible names and addresses of the wrong kind are
        refused.
        """
        for text, path in [
            ("name: a, type: SOA, value: x", ".type"),
            ("name: a..b, type: A, value: 192.0.2.1", ".name"),
            ("name: '*.*.a', type: A, value: 192.0.2.1", ".name"),
            ("name: a, type: A, value: '::1'", ".value"),
            ("name: a, type: AAAA, value: 192.0.2.1", ".value"),
            ("name: a, type: CNAME, value: 'a b'", ".value"),
            ("name: a, type: A, value: 192.0.2.1, ttl: -1", ".ttl"),
            ("name: a, type: A", ""),
        ]:
            self.assertEqual(
                self.paths(f"local_records: [{{{text}}}]"), ["local_records[0]" + path], text
            )


class SpecialNamesTests(SectionCase):
    """
    Tests for C{special_names}.
    """

    def test_switches(self) -> None:
        """
        All are on unless switched off.
        """
        switches = dict(self.config("special_names: {home_arpa: off}").specialNames.switches)
        self.assertFalse(switches.pop("home_arpa"))
        self.assertIn("doh_canary", switches)
        self.assertEqual(set(switches.values()), {True})


class HostsFilesTests(SectionCase):
    """
    Tests for C{hosts_files}.
    """

    def test_read(self) -> None:
        """
        One path, or several.
        """
        self.assertEqual(self.config("hosts_files: /etc/hosts").hostsFiles, ("/etc/hosts",))
        self.assertEqual(self.config("hosts_files: [a, b]").hostsFiles, ("a", "b"))
