# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for C{docs/control-api.rst}: it is up to date, and what it shows is so.
"""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docutils.core
from twisted.trial.unittest import SynchronousTestCase

import dnsguard
from dnsguard.assembly.apipage import apiDocument, apiPage
from dnsguard.control.route import PREFIX
from tests.support.control import Server

PAGE = Path(dnsguard.__file__).parents[1] / "docs" / "control-api.rst"

SERVED = "http://127.0.0.1:8081"


def examples(text: str) -> Iterator[tuple[str, str]]:
    """
    Each command of the page, and what it is said to print.
    """
    for block in re.findall(r"\.\. code-block:: console\n\n((?:    .*\n|\n)+)", text):
        for part in block.split("    $ ")[1:]:
            command, _, output = part.partition("\n")
            yield command.strip(), output.strip()


class PageTests(SynchronousTestCase):
    """
    Tests for the page.
    """

    def test_upToDate(self) -> None:
        """
        The page in docs is the one that is written now.
        """
        self.assertEqual(PAGE.read_text("utf-8"), apiPage())

    def test_isReStructuredText(self) -> None:
        """
        The page has no errors in its markup.
        """
        docutils.core.publish_string(
            apiPage(), writer_name="null", settings_overrides={"report_level": 2, "halt_level": 2}
        )

    def test_everyEndpoint(self) -> None:
        """
        Every path that is served is on the page, aliases included.
        """
        page = apiPage()
        for path, operations in apiDocument()["paths"].items():
            for method, operation in operations.items():
                self.assertIn(f"``{method.upper()} {path}``\n", page)
                for alias in operation.get("x-aliases", ()):
                    self.assertIn(f"``{alias}``", page)

    def test_sameAsServed(self) -> None:
        """
        The document the page is written from is the one a server gives.
        """
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        server = Server(folder)
        server.start()
        served = server.ask("GET", f"{PREFIX}/openapi.json").json
        self.assertEqual(served, json.loads(json.dumps(apiDocument())))

    def test_examples(self) -> None:
        """
        Each command on the page prints what the page says it prints.
        """
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        server = Server(folder)
        text = server.path.read_text()
        server.path.write_text(
            text.replace("{sources: []}", "{sources: [], denylist: [bad.example]}")
        )
        server.start()
        server.ask("POST", "/api/v1/reload")
        shown = list(examples(PAGE.read_text("utf-8")))
        self.assertGreater(len(shown), 5)
        for command, output in shown:
            printed = self.run_(server, command)
            pattern = ".*".join(map(re.escape, output.split("...")))
            self.assertTrue(re.fullmatch(pattern, printed), f"{command}\n{printed}")

    def run_(self, server: Server, command: str) -> str:
        """
        Do what curl would, and give what it would print.
        """
        words = iter(shlex.split(command)[1:])
        method, body, url = "GET", None, ""
        headers: list[Any] = []
        for word in words:
            if word == "-X":
                method = next(words)
            elif word == "-H":
                name, _, value = next(words).partition(": ")
                headers.append((name, value.replace("$TOKEN", server.token)))
            elif word == "-d":
                body = next(words).encode()
            else:
                url = word
        self.assertTrue(url.startswith(SERVED), command)
        path = url.removeprefix(SERVED)
        return server.ask(method, path, body, token="", headers=headers).body.decode()
