# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.guard}; what it puts together is tested by
C{tests.integration.test_main}.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

import attrs

from dnsguard.assembly.changes import sameAnswers, waiting
from dnsguard.config.model import Config
from dnsguard.policy.snapshot import Policy
from dnsguard.replay.lives import Kept
from tests.assembly.test_rules import Writing
from tests.support.control import PromptMemoryReactor
from tests.support.guard import makeGuard


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


class SameAnswersTests(Writing):
    """
    Tests for L{sameAnswers}.
    """

    def test_sections(self) -> None:
        """
        Whatever a reload changes, finished replies die of it, but for what is
        written to logs, the API, and what makes the policy, which is compared.
        """
        used = self.read("")
        for text, same in [
            ("", True),
            ("logging: {level: debug}\n", True),
            ("request_log: {enabled: true}\n", True),
            ("control: {enabled: false}\n", True),
            ("timezone: UTC\n", True),
            ("blocklists: {denylist: [example.org]}\n", True),
            ("safe_search: {enabled: true}\n", True),
            ("response: {blocked_ttl: 9s}\n", True),
            ("local_records: [{name: a.example, type: A, value: 192.0.2.1}]\n", True),
            ("hosts_files: [/etc/hosts]\n", True),
            ("special_names: {onion: false}\n", True),
            ("client_groups: [{id: kids}]\n", True),
            ("client_identification: {enabled: true}\n", True),
            # A store has the rows of replies ready, or knows to leave them out.
            ("query_store: {exclude_domains: [example.org]}\n", False),
            ("server: {max_udp_size: 1400}\n", False),
            ("network: {upstream_timeout: 1s}\n", False),
            ("upstreams: [192.0.2.1]\n", False),
            ("resolver_strategy: parallel\n", False),
            ("conditional_forwarding: [{domains: [a.example], upstreams: [192.0.2.1]}]\n", False),
            ("cache: {min_ttl: 1s}\n", False),
            ("cache: {client_ttl_cap: 1s}\n", False),
            ("data_directory: /two\n", False),
        ]:
            self.assertEqual(sameAnswers(used, self.read(text)), same, text)
            self.assertEqual(sameAnswers(self.read(text), used), same, text)

    def test_everySection(self) -> None:
        """
        A section that is added counts until somebody says that it doesn't.
        """
        counted = []
        for field in attrs.fields(Config):
            other = attrs.evolve(self.read(""))
            object.__setattr__(other, field.name, object())
            if not sameAnswers(self.read(""), other):
                counted.append(field.name)
        self.assertEqual(
            counted,
            [
                "dataDirectory",
                "server",
                "network",
                "upstreams",
                "resolverStrategy",
                "conditionalForwarding",
                "cache",
                "queryStore",
            ],
        )


class ReloadTests(Writing):
    """
    What a reload leaves of finished replies.
    """

    def setUp(self) -> None:
        folder = self.enterContext(TemporaryDirectory())
        self.guard: Any = makeGuard(folder)
        self.guard.reactor = PromptMemoryReactor()
        self.adopted: list[Kept] = []
        adopt = self.guard.replay.adopt

        def noting(policy: Policy, kept: Kept = Kept.NOTHING) -> None:
            self.adopted.append(kept)
            adopt(policy, kept)

        carrier: Any = self.guard.carrier
        carrier._replay = _Noting(self.guard.replay, noting)

    def reload(self, **sections: Any) -> Kept:
        """
        Reload with some sections changed.

        @return: What was kept.
        """
        self.successResultOf(
            self.guard.reloadConfiguration(attrs.evolve(self.guard.config, **sections))
        )
        return self.adopted.pop()

    def test_reloads(self) -> None:
        """
        A reload of the same leaves all replies; one that changes rules, those
        that it doesn't change; one that changes anything else, none.
        """
        config = self.guard.config
        self.assertIs(self.reload(), Kept.ALL)
        rules = attrs.evolve(config.blocklists, denylist=("ads.example",))
        self.assertIs(self.reload(blocklists=rules), Kept.CARRIED)
        self.assertIs(self.reload(), Kept.ALL)
        cache = attrs.evolve(config.cache, minTTL=7.0)
        self.assertIs(self.reload(cache=cache), Kept.NOTHING)
        self.assertIs(self.reload(blocklists=config.blocklists, cache=config.cache), Kept.NOTHING)
        self.assertIs(self.reload(hostsFiles=()), Kept.ALL)

    def test_lists(self) -> None:
        """
        Lists that were refreshed leave the replies they don't change.
        """
        self.successResultOf(self.guard.listsChanged(self.guard.blocklists.lists))
        self.assertEqual(self.adopted, [Kept.ALL])

    def test_pause(self) -> None:
        """
        A pause by hand waits for nothing, and leaves nothing.
        """
        policies = self.guard.policies
        policies.publish(policies.current.paused(self.guard.now() + 60, self.guard.now()))
        self.assertEqual(self.adopted, [Kept.NOTHING])
        self.assertIs(self.reload(), Kept.ALL)
        self.assertEqual(list(policies.current.pauses), [""])


class _Noting:
    """
    A store that has how it turns to policies noted.
    """

    def __init__(self, store: Any, adopt: Any) -> None:
        self._store = store
        self.adopt = adopt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
