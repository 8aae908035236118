# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.load}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config import Config, Loaded, Severity, Source, load, loadText
from dnsguard.config.convert import allPaths
from dnsguard.config.load import PACKAGED_DEFAULTS
from dnsguard.config.sections.redis import RedisServer
from dnsguard.errors import ConfigError

DOCUMENTED = Path(__file__).parents[1] / "data" / "documented.yaml"


class LoadCase(SynchronousTestCase):
    """
    Loading from files.
    """

    def write(self, text: str | bytes) -> Path:
        """
        A file with a text.
        """
        path = Path(self.mktemp())
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(
        self, text: str | bytes, environ: Mapping[str, str] | None = None, defaults: str = ""
    ) -> Loaded:
        """
        A configuration from files of their own.
        """
        self.path = self.write(text)
        return load(Source(self.path, self.write(defaults)), environ or {})

    def problems(self, text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        """
        What is wrong with a file; its name left out.
        """
        error: ConfigError = self.assertRaises(ConfigError, self.load, text, environ)
        return [str(problem).replace(str(self.path), "f") for problem in error.problems]


class LayerTests(LoadCase):
    """
    Tests for the layers of L{load}.
    """

    def test_nothing(self) -> None:
        """
        Without a file the packaged defaults hold: unprivileged, local, with
        upstreams and a list to block by.
        """
        config = load(Source(), {}).config
        self.assertEqual(
            [str(address) for address in config.server.listen], ["127.0.0.1:5300", "[::1]:5300"]
        )
        self.assertEqual([u.name for u in config.upstreams], ["cloudflare", "google", "quad9"])
        self.assertEqual([s.name for s in config.blocklists.sources], ["hagezi-pro"])
        self.assertEqual(config.cache.clientTTLCap, 300.0)
        self.assertFalse(config.requestLog.enabled)

    def test_order(self) -> None:
        """
        The operator's file goes before the defaults, and the environment
        before both; maps are merged, lists replaced.
        """
        loaded = self.load(
            "cache: {min_ttl: 2m, max_ttl: 2h}\nupstreams: [192.0.2.3]",
            {"DNSGUARD__CACHE__MIN_TTL": "3m"},
            "cache: {min_ttl: 1m, max_ttl: 1h, negative_ttl: 7s}\nupstreams: [192.0.2.1, 192.0.2.2]",
        )
        cache = loaded.config.cache
        self.assertEqual((cache.minTTL, cache.maxTTL, cache.negativeTTL), (180.0, 7200.0, 7.0))
        self.assertEqual([u.address for u in loaded.config.upstreams], ["192.0.2.3"])
        self.assertEqual(loaded.warnings, ())

    def test_agreesAcrossLayers(self) -> None:
        """
        A rule between keys holds for what comes out, wherever each was set;
        the value that is there is blamed.
        """
        path = self.write("cache: {max_ttl: 1m}")
        error: ConfigError = self.assertRaises(ConfigError, load, Source(path), {})
        self.assertEqual(len(error.problems), 1)
        self.assertIn("5m is longer than max_ttl, 1m", str(error))
        self.assertEqual(error.problems[0].path, "cache.min_ttl")

    def test_source(self) -> None:
        """
        An option goes before an environment variable; empty ones are unset.
        """
        environ = {"CONFIG_PATH": "/a", "DEFAULT_CONFIG_PATH": "/b"}
        self.assertEqual(Source.fromEnvironment(environ), Source(Path("/a"), Path("/b")))
        self.assertEqual(
            Source.fromEnvironment(environ, "/c", "/d"), Source(Path("/c"), Path("/d"))
        )
        empty = {"CONFIG_PATH": "", "DEFAULT_CONFIG_PATH": ""}
        self.assertEqual(Source.fromEnvironment(empty), Source(None, PACKAGED_DEFAULTS))

    def test_dataDirectory(self) -> None:
        """
        The data directory fits the environment unless it is set; other paths
        of state are below it.
        """
        environ = {"STATE_DIRECTORY": "/var/lib/dnsguard"}
        config = self.load("", environ).config
        self.assertEqual(config.dataDirectory, "/var/lib/dnsguard")
        self.assertEqual(config.statePath("logs"), Path("/var/lib/dnsguard/logs"))
        self.assertEqual(config.statePath("/tmp/logs"), Path("/tmp/logs"))
        self.assertEqual(self.load("data_directory: /d", environ).config.dataDirectory, "/d")

    def test_packagedDefaults(self) -> None:
        """
        The packaged file only says what the keys' own defaults don't.
        """
        loaded = loadText(PACKAGED_DEFAULTS.read_text("utf-8"))
        self.assertEqual(loaded.warnings, ())
        self.assertNotEqual(loaded.config, loadText("").config)


class ProblemTests(LoadCase):
    """
    Tests for what L{load} says of bad files.
    """

    def test_everything(self) -> None:
        """
        All problems of a file come at once, from top to bottom, each with
        line, column, key path and value.
        """
        self.assertEqual(
            self.problems(
                "server:\n"
                "  listen: [127.0.0.1:53, '[::1]:99999']\n"
                "  protocls: [udp]\n"
                "  read_timeout: 1ms\n"
                "upstream_timeout: never\n"
                "cache: {min_ttl: 2h}\n"
                "client_groups: [{id: kids}, {id: kids}]\n"
                "client_identification: {clients: [{ip: 192.0.2.1, group_id: kid}]}\n"
            ),
            [
                "f:2:26: server.listen[1]: '[::1]:99999': a port is a number from 1 to 65535",
                "f:3:3: server.protocls: unknown key 'protocls'; did you mean protocols?",
                (
                    "f:4:17: server.read_timeout: '1ms': expected a duration such as 300ms, 5s, 1h30m or"
                    " 90 (seconds), at least 100ms, at most 1h"
                ),
                "f:5:1: upstream_timeout: deprecated; use network.upstream_timeout (warning)",
                (
                    "f:5:19: network.upstream_timeout: 'never': not a duration such as 300ms, 5s, 1h30m"
                    " or 90 (seconds)"
                ),
                "f:6:18: cache.min_ttl: 2h is longer than max_ttl, 1h",
                "f:7:34: client_groups[1].id: another group has the id 'kids' already",
                "f:8:61: client_identification.clients[0].group_id: no group has the id 'kid'",
            ],
        )

    def test_pending(self) -> None:
        """
        Documented keys of later versions are told and don't stand in the way.
        """
        loaded = self.load(
            "webhooks: {on_block: {enabled: true}}\nsync: {role: replica}\ncache: {max_ttl: 5m}\n"
        )
        self.assertEqual(loaded.config.cache.maxTTL, 300.0)
        self.assertEqual(
            [(problem.line, problem.path) for problem in loaded.warnings],
            [(1, "webhooks"), (2, "sync")],
        )
        for problem in loaded.warnings:
            self.assertIs(problem.severity, Severity.WARNING)
            self.assertIn("not supported by this version yet", problem.message)

    def test_documentedFile(self) -> None:
        """
        A file with all documented sections can be used, and each key that is
        ignored is named once.
        """
        loaded = load(Source(DOCUMENTED), {})
        paths = [problem.path for problem in loaded.warnings]
        self.assertEqual(len(set(paths)), len(paths))
        for section in ("sync", "webhooks"):
            self.assertIn(section, paths)
        self.assertEqual(loaded.config.cache.lruSize, 10_000)
        self.assertEqual(loaded.config.cache.redis.address, (RedisServer("redis", 6379),))
        self.assertEqual(loaded.config.server.reusePortListeners, 4)

    def test_shape(self) -> None:
        """
        A file that isn't a map, or a section that isn't, is told.
        """
        self.assertEqual(
            self.problems("[a]"), ["f:1:1: a configuration is a map of keys to values"]
        )
        self.assertEqual(
            self.problems("hello"), ["f:1:1: a configuration is a map of keys to values"]
        )
        self.assertIn("f:1:8: cache: expected a map with lru_size", self.problems("cache: 5")[0])

    def test_noUpstream(self) -> None:
        """
        At least one upstream is needed; saying nothing keeps the default ones.
        """
        self.assertEqual(
            self.problems("upstreams: []"), ["f:1:12: upstreams: needs at least 1 of them"]
        )
        self.assertEqual(len(self.load("upstreams:").config.upstreams), 3)

    def test_unreadable(self) -> None:
        """
        Files that aren't there, or are no files, are told in a line each.
        """
        for path, words in [
            (Path("/nonexistent/a.yaml"), "No such file"),
            (Path(self.mktemp()), "No such file"),
            (Path("."), "directory"),
            (Path("a\0b"), "can't be read"),
        ]:
            error: ConfigError = self.assertRaises(ConfigError, load, Source(path), {})
            self.assertEqual(len(error.problems), 1)
            self.assertIn(words, str(error))

    def test_bothFilesBad(self) -> None:
        """
        What is wrong with the defaults is told along with the rest.
        """
        low, high = self.write("a: ["), self.write("cache: {min_ttl: x}")
        error: ConfigError = self.assertRaises(ConfigError, load, Source(high, low), {})
        self.assertEqual([p.file for p in error.problems], [str(low), str(high)])

    def test_flood(self) -> None:
        """
        Of very many problems the first ones are told, and how many are left.
        """
        error: ConfigError = self.assertRaises(
            ConfigError, self.load, "\n".join(f"key{number}: 1" for number in range(2000))
        )
        self.assertEqual(len(error.problems), 501)
        self.assertIn("and 1500 problems more", str(error))

    def test_errorAfterWarnings(self) -> None:
        """
        An error isn't lost behind any number of warnings.
        """
        context = "\n".join(["query_store: 1"] + [f"ui{n}: 1" for n in range(600)])
        self.assertRaises(ConfigError, self.load, context)

    def test_secrets(self) -> None:
        """
        What a reference stands for isn't in any problem.
        """
        problems = self.problems(
            "upstreams: ['https://dns.example/${env:TOKEN}', 'tcp://${env:TOKEN}',\n"
            " '${env:TOKEN}:dns', 'udp://[${env:TOKEN}', '${env:TOKEN}://x', '${env:TOKEN}/']\n"
            "blocklists: {sources: ['ftp://${env:TOKEN}/x', '${env:NONE}',\n"
            " 'https://x.example/?${env:TOKEN}', 'https://x.example/?${env:TOKEN}']}\n",
            {"TOKEN": "hunter2 or so"},
        )
        self.assertEqual(len(problems), 8, problems)
        self.assertNotIn("hunter2", "\n".join(problems))

    def test_secretsInRepr(self) -> None:
        """
        Nor is it in what a configuration looks like in a log.
        """
        loaded = self.load(
            "blocklists: {sources: ['https://x.example/a?${env:TOKEN}']}\n"
            "upstreams: [{name: a, address: '${env:TOKEN}'}]\n",
            {"TOKEN": "hunter2"},
        )
        self.assertIn("hunter2", loaded.config.blocklists.sources[0].url)
        self.assertEqual(loaded.config.upstreams[0].address, "hunter2")
        self.assertNotIn("hunter2", repr(loaded))

    def test_blame(self) -> None:
        """
        What is found out later is blamed on the value's place, or on the
        innermost thing around it that was written.
        """
        loaded = self.load("local_records:\n- {name: a.example, type: TXT, value: x}\n")
        for path, place in [
            (("local_records", 0, "value"), "2:39"),
            (("local_records", 0, "ttl"), "2:3"),
            (("local_records", 7), "2:1"),
            (("cache", "min_ttl"), "configuration"),
        ]:
            problem = str(loaded.problem(path, "odd"))
            self.assertIn(place, problem)
            self.assertTrue(problem.endswith("odd"))


KEYS = sorted({path.rpartition(".")[2] for path, _ in allPaths(Config)})
SCALARS = (
    st.sampled_from(
        [
            "5s",
            "0",
            "-1",
            "on",
            "1.1.1.1",
            "::1",
            "[::1]:53",
            "/x/",
            "/(/",
            "*.a",
            "${env:",
            "a",
            "",
        ]
    )
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)
SECTIONS = st.dictionaries(
    st.sampled_from([path for path, _ in allPaths(Config) if "." not in path]), TREES, max_size=6
)


class AnyFileTests(SynchronousTestCase):
    """
    Properties of L{loadText}.
    """

    def check(self, text: str) -> None:
        """
        A text gives a configuration or problems, and nothing else.
        """
        try:
            loaded = loadText(text)
        except ConfigError as error:
            self.assertTrue(any(p.severity is Severity.ERROR for p in error.problems))
            for problem in error.problems:
                self.assertTrue(str(problem).isprintable(), problem)
        else:
            self.assertIsInstance(loaded.config, Config)

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(SECTIONS | TREES)
    def test_trees(self, value: object) -> None:
        """
        Trees of known keys and hostile values give problems at worst.
        """
        self.check(yaml.safe_dump(value, allow_unicode=True))

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(max_size=80))
    def test_texts(self, text: str) -> None:
        """
        Arbitrary texts give problems at worst.
        """
        self.check(text)
