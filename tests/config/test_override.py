# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.override}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.kinds import Context
from dnsguard.config.override import environmentTree, stateTree
from tests.config.test_tree import plain


class EnvironmentTests(SynchronousTestCase):
    """
    Tests for L{environmentTree}.
    """

    def read(self, **environ: str) -> tuple[Any, list[str]]:
        """
        The tree of an environment, and what is wrong with it.
        """
        context = Context()
        root = environmentTree(environ, context)
        return plain(root), [str(problem) for problem in context.problems]

    def test_values(self) -> None:
        """
        Variables with the prefix set keys; their values are YAML.
        """
        root, problems = self.read(
            DNSGUARD__CACHE__LRU_SIZE="5",
            DNSGUARD__CACHE__MIN_TTL="1m",
            DNSGUARD__SERVER__PROTOCOLS="[udp]",
            DNSGUARD__UPSTREAMS="[{address: 192.0.2.1}]",
        )
        self.assertEqual(problems, [])
        self.assertEqual(
            root,
            {
                "cache": {"lru_size": "5", "min_ttl": "1m"},
                "server": {"protocols": ["udp"]},
                "upstreams": [{"address": "192.0.2.1"}],
            },
        )

    def test_others(self) -> None:
        """
        Other variables mean something else, those of container platforms for
        a service called dnsguard among them.
        """
        environ = {
            "DNSGUARD_PORT": "tcp://192.0.2.1:53",
            "DNSGUARD_SERVICE_HOST": "x",
            "PATH": "y",
        }
        self.assertEqual(self.read(**environ), ({}, []))

    def test_problems(self) -> None:
        """
        A variable that can't be read is named, and the others are read.
        """
        root, problems = self.read(
            DNSGUARD__A="[",
            DNSGUARD__="1",
            DNSGUARD__B____C="1",
            DNSGUARD__D="1",
            DNSGUARD__D__E="1",
            DNSGUARD__F="\udcff",
            DNSGUARD__G="1",
        )
        self.assertEqual(root, {"d": "1", "g": "1"})
        self.assertEqual(len(problems), 5, problems)
        for problem in problems:
            self.assertTrue(problem.startswith("environment variable DNSGUARD__"), problem)

    def test_place(self) -> None:
        """
        What is wrong with a value blames the variable, without a line.
        """
        root = environmentTree({"DNSGUARD__A": "{b: [1]}"}, Context())
        entry = root.entries["a"]
        self.assertEqual(str(entry.value.place), "environment variable DNSGUARD__A")


class StateTests(SynchronousTestCase):
    """
    Tests for L{stateTree}.
    """

    def test_directory(self) -> None:
        """
        systemd's directory goes before XDG's, that before the one in the home
        directory, and a relative one is the last resort.
        """
        everything = {"STATE_DIRECTORY": "/var/lib/d:/x", "XDG_STATE_HOME": "/s", "HOME": "/h"}
        for environ, path in [
            (everything, "/var/lib/d"),
            ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/dnsguard"),
            ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/dnsguard"),
            ({"HOME": "/h"}, "/h/.local/state/dnsguard"),
            ({"HOME": ""}, "dnsguard-data"),
            ({}, "dnsguard-data"),
        ]:
            self.assertEqual(plain(stateTree(environ)), {"data_directory": path})
