# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The session that the README shows, with a process and C{dig}.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from tests.support.ports import freePort
from tests.support.process import ROOT, DNSGuardProcess
from tests.support.responder import Responder

README = ROOT / "README.rst"

PATIENCE = 60.0

RULE_LINE = 8689
"""Where the rule stands that the README shows."""


def plain(line: str) -> str:
    """
    Replace what differs each time: ids, upstream's addresses, white space.
    """
    line = re.sub(r"\bid: \d+", "id: N", line.strip())
    line = re.sub(r"(\tIN\tA\t)[\d.]+$", r"\1ADDRESS", line)
    return re.sub(r"\s+", " ", line)


@unittest.skipUnless(README.exists(), "not in a source tree")
@unittest.skipUnless(shutil.which("dig"), "there is no dig")
class ReadmeTests(SynchronousTestCase):
    """
    Tests for the session.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.page = README.read_text("utf-8")
        upstream = Responder()
        upstream.start()
        self.addCleanup(upstream.stop)
        self.port, self.control = freePort(), freePort()
        (self.folder / "oisd.txt").write_text("ads.example\n")
        (self.folder / "tracking.hosts").write_text(
            "# a comment\n" * (RULE_LINE - 1) + "0.0.0.0 doubleclick.net\n"
        )
        (shown,) = re.findall(r"code-block:: yaml\n\n((?:    .*\n|\n)+)", self.page)
        config = re.sub(r"https://[^}]*", "./oisd.txt", dedent(shown))
        config = config.replace("[9.9.9.9, 1.1.1.1]", f"['127.0.0.1:{upstream.port}']")
        self.process = DNSGuardProcess(
            self.folder,
            f"{config}\nserver: {{listen: ['127.0.0.1:{self.port}']}}\n"
            f"control: {{listen: '127.0.0.1:{self.control}'}}\n",
            self.port,
        )
        self.addCleanup(self.process.stop)
        self.process.waitUntilAnswering()
        self.await_("block list tracking: 1 names")
        self.await_("control API served")

    def await_(self, words: str) -> None:
        """
        Wait for something to be logged.
        """
        deadline = time.monotonic() + PATIENCE
        while words not in self.process.output():
            self.assertLess(time.monotonic(), deadline, self.process.output())
            time.sleep(0.02)

    def execute(self, command: str) -> list[str]:
        """
        Do what the README does.
        """
        words = shlex.split(command.replace("-p 5300", f"-p {self.port}"))
        if words[0] == "dnsguard":
            words[:1] = [sys.executable, "-m", "dnsguard"]
        (token,) = re.findall(r"dnsguard_[\w-]{20,}", self.process.output())
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DNSGUARD_TOKEN": token,
            "DNSGUARD_URL": f"http://127.0.0.1:{self.control}",
        }
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        return [plain(line) for line in (done.stdout + done.stderr).splitlines()]

    def test_session(self) -> None:
        """
        Each command writes what is shown below it.
        """
        executed = 0
        for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", self.page):
            for found in re.finditer(r"    \$ (.+)\n((?:    (?!\$).*\n|\n)*)", block):
                command, shown = found[1], [plain(line) for line in found[2].splitlines()]
                if command.startswith(("export", "dnsguard run")):
                    continue
                executed += 1
                written = self.execute(command)
                for line in filter(None, shown):
                    self.assertIn(line, written, command)
        self.assertGreaterEqual(executed, 6)
