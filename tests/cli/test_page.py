# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Each example of C{docs/cli.rst} and C{docs/perf-tester.rst}, executed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import struct
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click

import dnsguard
from dnsguard.cli import main
from dnsguard.cli.entry import COMMANDS
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import scan
from dnsguard.wire.names import toText
from tests.cli.test_explain import explanation
from tests.support.fakeapi import APITestCase
from tests.support.loopback import LoopbackServer, reply

DOCS = Path(dnsguard.__file__).parents[1] / "docs"

PORT = "5353"
"""What the pages call the port that a server on loopback has."""


@attrs.frozen
class Example:
    """
    A command of a page, and what it writes.
    """

    line: int
    command: str
    output: str


def examples(page: Path) -> Iterator[Example]:
    """
    All examples of a page: blocks of the kind C{console}.
    """
    command, start = "", 0
    output: list[str] = []
    inside = False
    for number, line in enumerate([*page.read_text("utf-8").splitlines(), "end"], 1):
        if inside and line and not line.startswith("   "):
            inside = False
        if command and (not inside or line.startswith("   $ ")):
            yield Example(start, command, "\n".join(output).strip())
            command, output = "", []
        if line == ".. code-block:: console":
            inside = True
        elif inside and line.startswith("   $ "):
            command, start = line[5:], number
        elif inside and command:
            output.append(line[3:])


def plain(text: str) -> str:
    """
    Replace what differs each time: ids, times, rates, ports.
    """
    text = re.sub(r"port \d+", "port P", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:P", text)
    text = re.sub(r"\bid \d+", "id N", text)
    text = re.sub(r"\d+\.\d+ ms, ", "T ms, ", text)
    text = re.sub(r"octets compiled, [\d.]+ s", "octets compiled, T s", text)
    return text.strip()


def measured(text: str) -> str:
    """
    Replace all that is measured.
    """
    # How many bars a picture has is part of that.
    text = re.sub(r"(?m)(^ +[\d.]+ ms  .*\n?)+", "picture\n", text)
    text = re.sub(r"[\d.,]+(m?s)?", "N", plain(text))
    return re.sub(r" +", " ", text)


ADDRESS = struct.pack("!HHHIHBBBB", 0xC00C, 1, 1, 300, 4, 192, 0, 2, 80)

RULE = {
    "kind": "list",
    "source": "ads",
    "rule": "ads.example.org",
    "line": 2,
    "name": "ads.example.org",
    "text": "ads.example.org",
}

ROW = {
    "ts": "2026-11-24T07:16:52.483Z",
    "client_ip": "192.0.2.7",
    "client_name": "tablet",
    "outcome": "upstream",
    "rcode": "NOERROR",
    "qtype": "A",
    "qname": "www.example.org",
    "duration_ms": 12.52,
}

TOKENS = [
    {
        "name": "first",
        "role": "admin",
        "created": "2026-11-24T07:16:34Z",
        "expires": None,
        "expired": False,
        "last_used": "2026-11-24T07:16:59Z",
    },
    {
        "name": "ci",
        "role": "viewer",
        "created": "2026-11-24T07:16:58Z",
        "expires": "2026-12-24T07:16:58Z",
        "expired": False,
        "last_used": None,
    },
]

LISTS = {
    "blocked": 2,
    "allow": 1,
    "deny": 0,
    "sources": [
        {
            "name": "ads",
            "names": 2,
            "rejected": 0,
            "fetched": "2026-11-24T07:16:34Z",
            "state": "current",
            "error": "",
        }
    ],
}

ANSWERS: dict[str, Any] = {
    "GET /version": {"version": "0.1.0", "uptime_seconds": 93784.0, "control": {}},
    "GET /blocklists/pause/status": {"paused": False, "until": "", "group": ""},
    "GET /queries/summary": {
        "enabled": True,
        "windowMinutes": 60,
        "total": 1532,
        "statuses": [
            {"outcome": "cached", "count": 1201},
            {"outcome": "blocked", "count": 187},
            {"outcome": "upstream", "count": 144},
        ],
    },
    "GET /queries/latency": {
        "count": 1532,
        "avgMs": 2.104,
        "p50Ms": 0.021,
        "p95Ms": 17.25,
        "p99Ms": 31.5,
        "maxMs": 84.125,
    },
    "GET /cache/stats": {
        "hits": 1201,
        "misses": 144,
        "hit_rate": 89.29,
        "lru": {"entries": 139, "max_entries": 10000},
    },
    "GET /blocklists/stats": LISTS,
    "POST /blocklists/reload": {"ok": True},
    "GET /upstreams": {
        "upstreams": [],
        "state": [
            {
                "name": "one",
                "address": "udp://192.0.2.53:53",
                "usable": True,
                "latency_ms": 13.2,
                "queries": 144,
                "replies": 144,
            }
        ],
    },
    "GET /queries/top": {
        "enabled": True,
        "top": [
            {"value": "www.example.org", "count": 212},
            {"value": "example.org", "count": 97},
        ],
    },
    "POST /blocklists/pause": {"paused": True, "until": "2026-11-24T07:21:56Z", "group": ""},
    "POST /blocklists/resume": {"paused": False, "until": "0001-01-01T00:00:00Z", "group": ""},
    "GET /cache/entries": {
        "entries": [
            {
                "tier": "l0",
                "name": "www.example.org",
                "type": "A",
                "rcode": "NOERROR",
                "ttl": 295.2,
                "age": 4.8,
                "octets": 49,
                "upstream": "one",
            }
        ],
        "truncated": False,
        "l1": "none",
    },
    "DELETE /cache/entries": {"ok": True, "cleared": 1},
    "POST /cache/clear": {"ok": True, "cleared": 139},
    "POST /tokens": {
        "name": "ci",
        "role": "viewer",
        "token": "dnsguard_EXAMPLE-made-of-43-letters-and-digits",
        "expires": "2026-12-24T07:16:58Z",
    },
    "GET /tokens": {"tokens": TOKENS},
    "DELETE /tokens/ci": {"ok": True},
    "PUT /password": {"ok": True},
}


def answer(question: bytes) -> list[bytes]:
    """
    Answer as an instance with one list does.
    """
    if "ads" not in toText(scan(question).name):
        opt = EDNS().encode()
        return [reply(question, ADDRESS, answers=1, additional=opt, extra=1)]
    opt = EDNS(options=(ExtendedError(15, "list ads: ads.example.org").option(),)).encode()
    return [reply(question, flags=0x8583, additional=opt, extra=1)]


@unittest.skipUnless((DOCS / "cli.rst").exists(), "not in a source tree")
class PageTests(APITestCase):
    """
    Tests for the pages.
    """

    status = 0

    def setUp(self) -> None:
        """
        Have an instance, and the files that the pages speak of.
        """
        super().setUp()
        self.server = LoopbackServer(answer)
        self.addCleanup(self.server.close)
        self.api.answers.update(ANSWERS)
        self.api.answers["GET /explain"] = explanation(
            outcome="blocked", blocked=True, decided_by=RULE, matches=[RULE]
        )
        rows = [ROW, {**ROW, "qname": "ads.example.org", "outcome": "blocked"}]
        rows[1].update(rcode="NXDOMAIN", duration_ms=0.2)
        self.api.answers["GET /queries/tail"] = b"".join(
            json.dumps(row).encode() + b"\n" for row in rows
        )
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "ads.txt").write_text(
            "# A block list.\nads.example.org\n||tracker.example.org^\nwhat is this\n"
        )
        (folder / "dnsguard.yaml").write_text("cache: {min_ttl: 1m}\n")
        (folder / "broken.yaml").write_text("cache: {min_ttl: soon}\n")
        (folder / "password").write_text("correct horse battery\n")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)

    def execute(self, command: str) -> str:
        """
        Execute an example; give all that it writes.
        """
        if command == "echo $?":
            return str(self.status)
        command, _, source = command.partition(" < ")
        words = shlex.split(command)
        self.assertEqual(words[0], "dnsguard")
        words = [word.replace(f":{PORT}", f":{self.server.port}") for word in words[1:]]
        result = self.invoke(
            *words,
            input=Path(source).read_text() if source else None,
            DNSGUARD_PORT=str(self.server.port),
        )
        self.status = result.exit_code
        return result.output

    def check(self, name: str) -> list[Example]:
        """
        Execute all examples of a page.
        """
        found = list(examples(DOCS / name))
        for example in found:
            compared = measured if " perf " in f"{example.command} " else plain
            said = self.execute(example.command)
            self.assertEqual(
                compared(said),
                compared(example.output),
                f"docs/{name}:{example.line}: {example.command}\n{said}",
            )
        return found

    def test_commands(self) -> None:
        """
        What docs/cli.rst says is written is written.
        """
        found = self.check("cli.rst")
        shown = {shlex.split(each.command)[1] for each in found if each.command != "echo $?"}
        # One serves until it is stopped, another one writes what no one reads.
        self.assertEqual(set(COMMANDS) - shown, {"run", "completion"})

    def test_perf(self) -> None:
        """
        What docs/perf-tester.rst says is written is written.
        """
        self.assertTrue(self.check("perf-tester.rst"))

    def test_listed(self) -> None:
        """
        The page has a section for each command and names all its commands.
        """
        page = (DOCS / "cli.rst").read_text("utf-8")
        context = click.Context(main)
        for name in COMMANDS:
            self.assertRegex(page, rf"(?m)^``dnsguard {name}[^`]*``\n-+$")
            command = main.get_command(context, name)
            for inner in getattr(command, "commands", {}):
                if (name, inner) != ("perf", "run"):
                    self.assertIn(f"dnsguard {name} {inner}", page)

    def test_options(self) -> None:
        """
        Each option of the perf command is in its page.
        """
        page = (DOCS / "perf-tester.rst").read_text("utf-8")
        perf = main.get_command(click.Context(main), "perf")
        assert isinstance(perf, click.Group)
        for command in perf.commands.values():
            for option in command.params:
                self.assertIn(f"``{option.opts[0]}", page)
