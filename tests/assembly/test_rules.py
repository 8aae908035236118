# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.rules}.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly.rules import makePolicy, policySpec, readHosts, sourceURLs
from dnsguard.config.load import Source, load
from dnsguard.config.model import Config
from dnsguard.errors import PolicyError
from dnsguard.policy.blockedresponse import BlockMode
from dnsguard.policy.domainset import DomainSet
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.snapshot import Policy
from dnsguard.wire.names import fromText

LISTS = DomainSet.build(
    [
        ("ads", [(fromText("ads.example"), 1)]),
        ("games", [(fromText("games.example"), 1)]),
    ]
)


class Writing(SynchronousTestCase):
    """
    A base for tests that begin with YAML.
    """

    def read(self, text: str) -> Config:
        """
        Read a configuration over the packaged defaults.
        """
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        return load(Source.fromEnvironment({}, str(path), None), {}).config

    def policy(self, text: str, now: float = 0.0) -> Policy:
        """
        The policy of a configuration.
        """
        return makePolicy(self.read(text), LISTS, now)[0]

    def blocks(self, policy: Policy, address: str, name: str) -> bool:
        """
        Is a name blocked for a client?
        """
        _, view = policy.identify(socket.inet_aton(address))
        decision = view.rules.decide(fromText(name), dns.A)
        return decision is not None and decision.blocked


class SourceTests(Writing):
    """
    Tests for L{sourceURLs}.
    """

    def test_oneURLIsOneList(self) -> None:
        """
        A list that a group uses, too, is kept once, under its first name.
        """
        config = self.read(
            "blocklists: {sources: [{name: ads, url: /lists/a}]}\n"
            "client_groups:\n"
            "  - id: one\n"
            "    blocklist: {sources: [{name: other, url: /lists/a}, {name: more, url: /lists/b}]}\n"
        )
        self.assertEqual(sourceURLs(config), {"/lists/a": "ads", "/lists/b": "more"})


class PolicyTests(Writing):
    """
    Tests for L{policySpec} and L{makePolicy}.
    """

    def test_groups(self) -> None:
        """
        Who is in a group gets the global rules and the group's on top, or only
        the group's; lists of others don't count.
        """
        policy = self.policy(
            """
blocklists: {sources: [{name: ads, url: /a}], denylist: [bad.example]}
client_identification:
  enabled: true
  clients:
    - {ip: 192.0.2.1, name: tablet, group_id: kids}
    - {ip: 192.0.2.2, group_id: own}
client_groups:
  - id: kids
    blocklist: {sources: [{name: games, url: /g}], allowlist: [bad.example]}
  - id: own
    blocklist: {inherit_global: false, denylist: [own.example]}
"""
        )
        expected = {
            "192.0.2.1": {"ads.example", "games.example"},
            "192.0.2.2": {"own.example"},
            "192.0.2.3": {"ads.example", "bad.example"},
        }
        names = ("ads.example", "games.example", "bad.example", "own.example")
        for address, blocked in expected.items():
            found = {name for name in names if self.blocks(policy, address, name)}
            self.assertEqual(found, blocked, address)
        asker, _ = policy.identify(socket.inet_aton("192.0.2.1"))
        self.assertEqual((asker.clientName, asker.groupID), ("tablet", "kids"))

    def test_identificationOff(self) -> None:
        """
        With client identification off nobody is in a group.
        """
        policy = self.policy(
            "client_identification: {clients: [{ip: 192.0.2.1, group_id: kids}]}\n"
            "client_groups: [{id: kids, blocklist: {denylist: [bad.example]}}]\n"
        )
        self.assertFalse(self.blocks(policy, "192.0.2.1", "bad.example"))

    def test_windows(self) -> None:
        """
        Family time and pauses hold in their windows, by the configured zone.
        """
        text = """
timezone: Etc/GMT-2
blocklists:
  sources: [{name: ads, url: /a}]
  scheduled_pause: {start: "12:00", end: "13:00"}
  family_time: {start: "20:00", end: "06:00", services: [youtube]}
"""
        hours = {10.5: (False, False), 9.5: (True, False), 18.5: (True, True), 3.5: (True, True)}
        for hour, (ads, youtube) in hours.items():
            policy = self.policy(text, hour * 3600.0)
            self.assertEqual(self.blocks(policy, "192.0.2.1", "ads.example"), ads, hour)
            self.assertEqual(self.blocks(policy, "192.0.2.1", "www.youtube.com"), youtube, hour)

    def test_safeSearchOfGroups(self) -> None:
        """
        A group's safe search is laid over everybody's, switch by switch.
        """
        spec = policySpec(
            self.read(
                "safe_search: {enabled: true, bing: false}\n"
                "client_groups: [{id: a, safe_search: {google: false}}, {id: b},"
                " {id: c, safe_search: {enabled: false}}]\n"
            )
        )
        first, second, third = (group.safeSearch for group in spec.groups)
        assert first is not None
        assert third is not None
        self.assertIsNone(second)
        switches = dict(first.switches)
        self.assertEqual(
            (first.enabled, switches["google"], switches["bing"]), (True, False, False)
        )
        self.assertFalse(third.enabled)

    def test_response(self) -> None:
        """
        Blocked names are answered as the configuration says.
        """
        policy = self.policy("response: {blocked: 192.0.2.80, blocked_ttl: 90s}\n")
        how = policy.defaultView.blockedResponse
        self.assertEqual((how.mode, how.ttl), (BlockMode.ADDRESS, 90))
        self.assertEqual(how.ipv4, (bytes([192, 0, 2, 80]),))

    def test_nullAddresses(self) -> None:
        """
        Null addresses are one word, and both families.
        """
        how = self.policy("response: {blocked: null_ip}\n").defaultView.blockedResponse
        self.assertEqual(
            (how.mode, how.ipv4, how.ipv6), (BlockMode.NULL, (bytes(4),), (bytes(16),))
        )

    def test_recordsAndHosts(self) -> None:
        """
        Local records and hosts files are read; what in a hosts file makes no
        record is told of.
        """
        hosts = Path(self.mktemp())
        hosts.write_text("192.0.2.5 printer.example.org\n192.0.2.300 broken\n")
        config = self.read(
            f"hosts_files: ['{hosts.absolute()}']\n"
            "local_records: [{name: a.example.org, type: TXT, value: hello, ttl: 1m}]\n"
        )
        policy, rejected = makePolicy(config, LISTS, 0.0)
        records = policy.defaultView.records
        self.assertIsNotNone(records.find(fromText("printer.example.org"), dns.A))
        found = records.find(fromText("a.example.org"), dns.TXT)
        assert found is not None
        self.assertEqual(found.answer[0].ttl, 60)
        (problem,) = rejected
        self.assertTrue(problem.place.endswith(":2"), problem.place)

    def test_routesGoBeforeSpecialNames(self) -> None:
        """
        A special name with upstreams of its own is left to them.
        """
        reverse = fromText("1.2.0.10.in-addr.arpa")
        for routes, special in [
            ("[]", True),
            ("[{domains: 10.in-addr.arpa, upstreams: 192.0.2.1}]", False),
        ]:
            view = self.policy(f"conditional_forwarding: {routes}\n").defaultView
            self.assertEqual(view.specialNames.find(reverse, dns.PTR) is not None, special)

    def test_allProblemsAtOnce(self) -> None:
        """
        Bad records and files are told of together, with key paths.
        """
        config = self.read(
            "hosts_files: [/nowhere/hosts]\n"
            "local_records: [{name: a.example.org, type: HTTPS, value: nothing}]\n"
        )
        error = self.assertRaises(InvalidPolicy, makePolicy, config, LISTS, 0.0)
        places = [problem.place for problem in error.problems]
        self.assertEqual(places, ["hosts_files[0]", "local_records[0].value"])

    def test_hostsFileOfNonsense(self) -> None:
        """
        Of many lines that make no record the first are shown, and the others
        counted.
        """
        hosts = Path(self.mktemp()).absolute()
        hosts.write_text("nonsense here\n" * 1000)
        _, rejected = readHosts([str(hosts)])
        self.assertTrue(rejected[0].place.endswith(":1"), rejected[0].place)
        self.assertIn("995 more", str(rejected[-1]))
        self.assertEqual(len(rejected), 6)

    def test_endlessHostsFiles(self) -> None:
        """
        A pipe, a device or a file of many megabytes isn't read as a hosts
        file: that might take forever.
        """
        pipe, large = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        os.mkfifo(pipe)
        with large.open("wb") as file:
            file.truncate(100 << 20)
        for path, reason in [
            (pipe, "not an ordinary file"),
            (Path("/dev/zero"), "not an ordinary file"),
            (large, "larger than 8 MiB"),
        ]:
            error = self.assertRaises(PolicyError, readHosts, [str(path)])
            self.assertIn(reason, str(error))
            self.assertIn("hosts_files[0]", str(error))
