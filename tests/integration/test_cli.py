# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The C{dnsguard} command with a process that serves: each command of the page.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.support.ports import freePort
from tests.support.process import ROOT, DNSGuardProcess, askUDP, request
from tests.support.responder import Responder

PATIENCE = 60.0


class CommandTests(TestCase):
    """
    Tests for the command as people run it.
    """

    def setUp(self) -> None:
        """
        Start a process, and take its first token.
        """
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.upstream = Responder()
        self.upstream.start()
        self.addCleanup(self.upstream.stop)
        self.port, self.control = freePort(), freePort()
        (self.folder / "ads.txt").write_text("ads.example\n||tracker.example^\n")
        config = (
            f"server: {{listen: ['127.0.0.1:{self.port}']}}\n"
            f"upstreams: ['127.0.0.1:{self.upstream.port}']\n"
            f"control: {{enabled: true, listen: '127.0.0.1:{self.control}'}}\n"
            f"blocklists: {{sources: [{{name: ads, url: '{self.folder / 'ads.txt'}'}}]}}\n"
            "client_groups: [{id: kids, name: Kids}]\n"
            "query_store: {engine: memory}\n"
        )
        self.process = DNSGuardProcess(self.folder, config, self.port)
        self.addCleanup(self.process.stop)
        self.process.waitUntilAnswering()
        self.await_(lambda: "block list ads: 2 names" in self.process.output())
        self.token = self.await_(lambda: re.search(r"dnsguard_[\w-]+", self.process.output()))[0]

    def await_(self, wanted: Any) -> Any:
        """
        Wait until something is so.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = wanted()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(self.process.output())

    def environment(self) -> dict[str, str]:
        """
        What the command is told.
        """
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DNSGUARD_URL": f"http://127.0.0.1:{self.control}",
            "DNSGUARD_PORT": str(self.port),
            "DNSGUARD_TOKEN": self.token,
        }

    def run_(self, *arguments: str, status: int = 0, input: str = "") -> str:
        """
        Run the command.
        """
        done = subprocess.run(
            [sys.executable, "-m", "dnsguard", *arguments],
            env=self.environment(),
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, status, f"{arguments}\n{done.stdout}{done.stderr}")
        self.assertNotIn("Traceback", done.stderr)
        return done.stdout

    def json(self, *arguments: str, status: int = 0) -> Any:
        """
        Run the command and read what it writes.
        """
        return json.loads(self.run_(*arguments, "--json", status=status))

    def test_filtering(self) -> None:
        """
        What is blocked and cached is seen, and changed.
        """
        self.checkNames()
        self.checkPause()
        self.checkCache()
        self.checkLists()

    def test_watching(self) -> None:
        """
        What is asked is seen, and how fast it is answered.
        """
        self.checkQueries()
        self.checkMeasured()

    def checkNames(self) -> None:
        """
        Names are asked for over UDP and TCP, and explained.
        """
        for transport in ((), ("--tcp",)):
            told = self.json("query", "www.example", *transport)
            self.assertEqual((told["rcode"], len(told["answer"])), ("NOERROR", 1))
            told = self.json("query", "sub.ads.example", *transport, status=1)
            self.assertEqual(told["extended_errors"][0]["meaning"], "Blocked")
        self.assertFalse(self.json("explain", "www.example")["blocked"])
        told = self.json("explain", "sub.ads.example", "--client", "192.0.2.1", status=1)
        self.assertEqual((told["decided_by"]["source"], told["decided_by"]["line"]), ("ads", 1))
        self.assertIn("ads:1", self.run_("explain", "sub.ads.example", status=1))

    def checkPause(self) -> None:
        """
        Blocking is paused for all, and resumed.
        """
        self.assertTrue(self.json("pause", "1")["paused"])
        self.run_("query", "ads.example")
        self.assertFalse(self.json("resume")["paused"])
        self.run_("query", "ads.example", status=1)
        self.assertEqual(self.json("pause", "1", "--group", "kids")["group"], "kids")
        self.run_("resume", "--group", "nobody", status=5)

    def checkCache(self) -> None:
        """
        What is cached is shown, and forgotten.
        """
        self.run_("query", "www.example")
        (entry,) = self.json("cache", "get", "www.example")["entries"]
        self.assertEqual(entry["type"], "A")
        self.assertEqual(self.json("cache", "clear", "www.example")["cleared"], 1)
        self.run_("cache", "get", "www.example", status=1)
        self.run_("query", "www.example")
        found = self.json("cache", "get", "--suffix", "example")["entries"]
        self.assertIn("www.example", [each["name"] for each in found])
        self.run_("cache", "clear", "--suffix", "example")
        self.run_("cache", "clear")

    def checkLists(self) -> None:
        """
        Lists are shown and reloaded.
        """
        self.assertEqual(self.json("lists")["blocked"], 2)
        (self.folder / "ads.txt").write_text("ads.example\ntracker.example\nthird.example\n")
        self.assertEqual(self.run_("lists", "reload"), "3 names are in force\n")
        self.run_("query", "third.example", status=1)

    def checkQueries(self) -> None:
        """
        Queries are followed, counted and ranked.
        """
        following = subprocess.Popen(
            [sys.executable, "-m", "dnsguard", "tail", "-n", "1", "--name", "wanted", "--json"],
            env=self.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(following.wait)
        self.addCleanup(following.kill)

        def seen() -> bool:
            askUDP(self.port, request("wanted.example"))
            askUDP(self.port, request("ads.example"))
            return following.poll() is not None

        self.await_(seen)
        assert following.stdout is not None
        with following.stdout as output:
            self.assertEqual(json.loads(output.read())["qname"], "wanted.example")
        self.assertEqual(following.returncode, 0)
        self.await_(lambda: self.json("top", "blocked")["blocked"])
        self.assertEqual(self.json("top", "blocked")["blocked"][0]["value"], "ads.example")
        told = self.json("stats")
        self.assertGreater(told["queries"]["total"], 0)
        self.assertEqual([part for part, value in told.items() if value is None], [])
        for command in ("stats", "top"):
            self.assertTrue(self.run_(command))

    def test_access(self) -> None:
        """
        A token that is made is good for what it may do, until it is revoked.
        """
        first = self.token
        made = self.run_("token", "create", "watcher", "--days", "1").strip()
        names = [each["name"] for each in self.json("token", "list")["tokens"]]
        self.assertEqual(names, ["first", "watcher"])
        self.token = made
        self.json("stats")
        self.run_("pause", "1", status=4)
        self.token = first
        self.run_("token", "revoke", "watcher")
        self.run_("token", "revoke", "watcher", status=5)
        self.token = made
        self.run_("stats", status=4)
        self.token = first
        self.run_("set-admin-password", input="correct horse battery\n")

    def checkMeasured(self) -> None:
        """
        It can be measured, beginning with empty caches.
        """
        told = self.json(
            *("perf", "-resolver", f"127.0.0.1:{self.port}", "-flush-redis"),
            *("-queries", "300", "-generate", "50"),
        )
        self.assertEqual((told["queries"], told["errors"]), (300, 0))
