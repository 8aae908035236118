# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.perf.command}, L{dnsguard.cli.perf.subject} and
L{dnsguard.cli.perf.scenarios}.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dnsguard.cli.perf.scenarios import SCENARIOS
from dnsguard.wire.layout import scan
from dnsguard.wire.names import toText
from tests.support.fakeapi import APITestCase
from tests.support.loopback import LoopbackServer, reply


class PerfTests(APITestCase):
    """
    Tests for C{dnsguard perf}.
    """

    def setUp(self) -> None:
        """
        Have somebody answer.
        """
        super().setUp()
        self.server = LoopbackServer(lambda question: [reply(question)])
        self.addCleanup(self.server.close)
        self.resolver = f"127.0.0.1:{self.server.port}"

    def perf(self, *arguments: str, status: int = 0) -> list[str]:
        """
        Measure it, and give the lines without prefix.
        """
        told = self.fine("perf", *arguments, "-resolver", self.resolver, status=status)
        prefix = r"^perf-tester \d{4}/\d\d/\d\d \d\d:\d\d:\d\d "
        return [re.sub(prefix, "", line) for line in told.splitlines()]

    def names(self) -> list[str]:
        """
        What was asked for.
        """
        return [toText(scan(question).name) for _, question in self.server.asked]

    def test_lines(self) -> None:
        """
        The documented flags are taken, and the documented lines are written.
        """
        lines = self.perf(
            *[
                "-protocol",
                "udp",
                "-generate",
                "5",
                "-queries",
                "20",
                "-concurrency",
                "3",
                "-timeout",
                "5s",
            ],
            *["-qtype", "AAAA", "-shuffle=false", "-seed", "7", "-warmup", "4"],
        )
        self.assertEqual(lines[0], "warm-up: 4 queries, not counted")
        self.assertEqual(
            lines[1],
            f"start: 20 queries for 5 names to {self.resolver} over udp, concurrency 3",
        )
        self.assertEqual(lines[2], "completed 20 queries with 0 errors")
        self.assertRegex(lines[3], r"^elapsed: [\d.]+m?s$")
        self.assertRegex(lines[4], r"^qps: \d+\.\d\d$")
        number = r"\d+\.\d{3}"
        keys = ("avg", "p50", "p95", "p99", "min", "max")
        self.assertRegex(
            lines[5], r"^latency \(ms\): " + " ".join(f"{key}={number}" for key in keys) + "$"
        )
        self.assertEqual(lines[6:], ["rcode counts:", "  NOERROR (0): 20", "errors: 0"])
        self.assertEqual(len(self.server.asked), 24)
        self.assertEqual({scan(question).type for _, question in self.server.asked}, {28})

    def test_names(self) -> None:
        """
        Names come from a file and can be written to one.
        """
        path, copy = Path(self.mktemp()), Path(self.mktemp())
        path.write_text("a.example\nb.example\n")
        self.perf(
            *("--names", str(path), "--queries", "5", "--write-names", str(copy)),
            *("--shuffle", "false", "--concurrency", "1"),
        )
        wanted = ["a.example", "b.example"] * 2 + ["a.example"]
        self.assertEqual(self.names(), wanted)
        self.assertEqual(copy.read_text(), "a.example\nb.example\n")

    def test_seed(self) -> None:
        """
        The same seed asks the same.
        """
        for _ in range(2):
            self.perf("--seed", "3", "--generate", "9", "--queries", "9", "--concurrency", "1")
        names = self.names()
        self.assertEqual(names[:9], names[9:])
        self.assertEqual(len(set(names)), 9)

    def test_json(self) -> None:
        """
        For programs there is one object.
        """
        told = json.loads(
            "\n".join(self.perf("--json", "--queries", "7", "--rate", "5000", "--protocol", "tcp"))
        )
        self.assertEqual((told["queries"], told["errors"], told["rate"]), (7, 0, 5000.0))
        self.assertEqual(told["rcodes"], {"NOERROR": 7})
        self.assertEqual(sum(bar["count"] for bar in told["histogram"]), 7)

    def test_histogram(self) -> None:
        """
        A picture is drawn when it is wanted.
        """
        self.assertIn("█", "".join(self.perf("--queries", "5", "--histogram")))
        self.assertNotIn("█", "".join(self.perf("--queries", "5")))

    def test_flush(self) -> None:
        """
        Caches are cleared before, by the documented path and with the token.
        """
        self.api.answers["POST /cache/clear"] = {"ok": True}
        lines = self.perf(
            *("-flush-redis", "-control-url", self.api.url, "-control-token", "abc"),
            *("-queries", "2"),
        )
        self.assertEqual(lines[0], "caches cleared")
        (request,) = self.api.requests
        self.assertEqual((request.method, request.path), ("POST", "/cache/clear"))
        self.assertEqual(request.headers["Authorization"], "Bearer abc")

    def test_flushFails(self) -> None:
        """
        Nothing is measured when they can't be cleared.
        """
        self.perf("--flush-redis", "--control-url", "http://127.0.0.1:1", status=3)
        self.assertEqual(self.server.asked, [])

    def test_errors(self) -> None:
        """
        Some errors end with 1, nothing but errors with 3.
        """
        self.server.close()
        some = LoopbackServer(lambda question: [reply(question)] if question[0] else [])
        self.addCleanup(some.close)
        self.resolver = f"127.0.0.1:{some.port}"
        self.perf("--queries", "300", "--timeout", "50ms", "--concurrency", "100", status=1)
        some.close()
        lines = self.perf("--queries", "5", "--timeout", "50ms", status=3)
        self.assertIn("errors: 5", lines)

    def test_usage(self) -> None:
        """
        A wrong command line ends with 2 and says why.
        """
        empty = Path(self.mktemp())
        empty.touch()
        for arguments, reason in [
            (["--resolver", "x:y"], "no host:port"),
            (["--resolver", "127.0.0.1:0"], "no host:port"),
            (["--timeout", "soon"], "not a duration"),
            (["--timeout", "1h"], "from 1ms to 10m"),
            (["--qtype", "NONE"], "no type"),
            (["--names", str(empty)], "no names in it"),
            (["--write-names", "/nonexistent/names"], "No such file"),
            (["--queries", "0"], "range"),
            (["--concurrency", "100000"], "range"),
        ]:
            result = self.invoke("perf", *arguments)
            self.assertEqual(result.exit_code, 2, result.output)
            self.assertIn(reason, result.stderr)

    def test_unknownHost(self) -> None:
        """
        A resolver without an address ends with 3.
        """
        result = self.invoke("perf", "--resolver", "host.invalid:53", "--queries", "1")
        self.assertEqual(result.exit_code, 3)
        self.assertIn("host.invalid", result.stderr)


class ScenarioTests(APITestCase):
    """
    Tests for C{dnsguard perf scenarios}.
    """

    def setUp(self) -> None:
        """
        Have somebody answer, and small scenarios.
        """
        super().setUp()
        self.server = LoopbackServer(lambda question: [reply(question)])
        self.addCleanup(self.server.close)
        self.api.answers["POST /cache/clear"] = {"ok": True}

    def scenarios(self, *arguments: str) -> Any:
        """
        Measure it in some ways.
        """
        known = ("--resolver", f"127.0.0.1:{self.server.port}", "--queries", "10")
        return self.fine("perf", "scenarios", *known, *arguments)

    def test_five(self) -> None:
        """
        There are five, as documented.
        """
        told = {each.name: (each.queries, each.concurrency, each.warmup) for each in SCENARIOS}
        self.assertEqual(
            told,
            {
                "cold": (0, 0, 0),
                "warm": (0, 0, 0),
                "hot": (0, 0, 5_000),
                "concurrency": (0, 200, 2_000),
                "large": (50_000, 0, 10_000),
            },
        )

    def test_table(self) -> None:
        """
        Each is a row; the caches are cleared before the cold one.
        """
        lines = self.scenarios("--only", "cold", "--only", "warm").splitlines()
        self.assertEqual(
            [line.split()[:3] for line in lines],
            [
                ["scenario", "queries", "errors"],
                ["cold", "10", "0"],
                ["warm", "10", "0"],
            ],
        )
        self.assertEqual(len(self.api.requests), 1)
        self.assertEqual(len(self.server.asked), 20)

    def test_json(self) -> None:
        """
        For programs each is an object; clearing can be left out.
        """
        told = json.loads(self.scenarios("--only", "cold", "--no-flush", "--json"))
        self.assertEqual(told["cold"]["queries"], 10)
        self.assertEqual(self.api.requests, [])

    def test_warmup(self) -> None:
        """
        What warms up isn't counted.
        """
        told = json.loads(self.scenarios("--only", "concurrency", "--json"))
        self.assertEqual(told["concurrency"]["queries"], 10)
        # Datagrams may be lost, even here.
        self.assertGreater(len(self.server.asked), 1_000)
