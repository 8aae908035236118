# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.client}.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

from dnsguard.cli import client
from dnsguard.cli.client import API, Trouble, quoted
from dnsguard.cli.entry import Exit
from tests.support.fakeapi import APITestCase, runCommand

COMMAND = ("pause", "5")
PATH = "POST /blocklists/pause"


class TokenTests(APITestCase):
    """
    Tests for where the token comes from, and where it goes.
    """

    def shown(self, *arguments: str, **options: Any) -> str | None:
        """
        What the API was shown by a command.
        """
        self.api.answers[PATH] = {"paused": True, "until": "", "group": ""}
        self.fine(*COMMAND, *arguments, **options)
        return self.api.requests[-1].headers.get("Authorization")

    def file(self, text: str, mode: int = 0o600) -> str:
        """
        A file with a token.
        """
        path = Path(self.mktemp())
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def test_none(self) -> None:
        """
        Without a token none is shown.
        """
        self.assertIsNone(self.shown())

    def test_sources(self) -> None:
        """
        It is taken from the option, from standard input, from the environment
        and from a file, and it is sent in a header alone.
        """
        self.assertEqual(self.shown("--token", "abc"), "Bearer abc")
        self.assertEqual(self.shown("--token", "-", input="def\n"), "Bearer def")
        self.assertEqual(self.shown(DNSGUARD_TOKEN="ghi"), "Bearer ghi")
        self.assertEqual(self.shown(DNS_CONTROL_TOKEN="jkl"), "Bearer jkl")
        self.assertEqual(self.shown("--token-file", self.file("mno\n")), "Bearer mno")
        for request in self.api.requests:
            self.assertEqual(request.query, {})

    def test_usualFile(self) -> None:
        """
        By default it is looked for below the home folder.
        """
        home = Path(self.mktemp())
        (home / ".config" / "dnsguard").mkdir(parents=True)
        path = home / ".config" / "dnsguard" / "token"
        path.touch(0o600)
        path.write_text("xyz")
        self.assertEqual(self.shown(HOME=str(home)), "Bearer xyz")

    def test_openFile(self) -> None:
        """
        A file that others may read isn't used: the user is told what to do.
        """
        path = self.file("abc", 0o644)
        result = self.invoke(*COMMAND, "--token-file", path)
        self.assertEqual(result.exit_code, Exit.UNAUTHORIZED)
        self.assertEqual(
            result.stderr, f"dnsguard: {path}: others may read it; say: chmod 600 {path}\n"
        )
        self.assertEqual(self.api.requests, [])

    def test_missingFile(self) -> None:
        """
        A file that is named must be there.
        """
        result = self.invoke(*COMMAND, "--token-file", "/nonexistent/token")
        self.assertEqual(result.exit_code, Exit.USAGE)
        self.assertIn("No such file", result.stderr)

    def test_noToken(self) -> None:
        """
        What would break the header isn't sent.
        """
        for odd in ("a\rX: y", "ä", "a" * 600):
            result = self.invoke(*COMMAND, DNSGUARD_TOKEN=odd)
            self.assertEqual(result.exit_code, Exit.USAGE, odd)
            self.assertNotIn(odd, result.output)
        self.assertEqual(self.api.requests, [])


class TroubleTests(APITestCase):
    """
    Tests for what goes wrong.
    """

    def trouble(self, status: int, *more: str) -> str:
        """
        Run a command that fails; what it says, without the beginning.
        """
        result = self.invoke(*COMMAND, *more)
        self.assertEqual(result.exit_code, status, result.output)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("dnsguard: "))
        self.assertNotIn("s3cret", result.stderr)
        return result.stderr.removeprefix("dnsguard: ").rstrip()

    def test_unreachable(self) -> None:
        """
        Nobody there: 3, and which URL it was.
        """
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            said = self.trouble(Exit.UNREACHABLE, "--url", url)
        self.assertEqual(
            said, f"can't reach {url}: Connection refused; does it run, and is --url right?"
        )

    def test_silent(self) -> None:
        """
        No answer in time: 3.
        """
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            said = self.trouble(Exit.UNREACHABLE, "--url", url, "--timeout", "0.1")
        self.assertIn("no answer within 0.1 seconds", said)

    def test_noToken(self) -> None:
        """
        A token is wanted: 4, and how to give one.
        """
        self.api.answers[PATH] = (401, b"")
        said = self.trouble(Exit.UNAUTHORIZED)
        self.assertTrue(said.startswith(f"{self.api.url}/api/v1/blocklists/pause: "), said)
        self.assertIn("set $DNSGUARD_TOKEN", said)

    def test_wrongToken(self) -> None:
        """
        A token that isn't good enough: 4, and why.
        """
        for status in (401, 403):
            self.api.answers[PATH] = (status, {"error": "needs the role operator"})
            said = self.trouble(Exit.UNAUTHORIZED, "--token", "s3cret")
            self.assertIn("needs the role operator", said)

    def test_refused(self) -> None:
        """
        An error of the server: 5, and what it says.
        """
        for status, error in [(400, "no such group"), (429, "too often"), (500, "broken")]:
            self.api.answers[PATH] = (status, {"error": error})
            self.assertIn(f"{error} ({status})", self.trouble(Exit.REFUSED))

    def test_odd(self) -> None:
        """
        What isn't JSON, or isn't there, isn't taken for an answer.
        """
        for answer in [(200, b"<html>"), (404, b"<html>"), (502, b"[" * 100_000), (301, b"")]:
            self.api.answers[PATH] = answer
            self.trouble(Exit.REFUSED)

    def test_noURL(self) -> None:
        """
        What isn't a URL, or holds secrets, isn't used.
        """
        for url in ("ftp://a", "127.0.0.1:8081", "http://", "http://a:999999", "http://[x"):
            self.assertIn("no URL", self.trouble(Exit.USAGE, "--url", url))
        self.assertIn("use a token", self.trouble(Exit.USAGE, "--url", "http://a:s3cret@b"))

    def test_notHTTP(self) -> None:
        """
        A server that speaks something else: 3.
        """
        with socket.create_server(("127.0.0.1", 0)) as odd:

            def answer() -> None:
                connection, _ = odd.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"220 mail.example.org\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            url = f"http://127.0.0.1:{odd.getsockname()[1]}"
            said = self.trouble(Exit.UNREACHABLE, "--url", url)
            thread.join()
        self.assertIn("isn't HTTP", said)


class APITests(APITestCase):
    """
    Tests for L{API}.
    """

    def test_below(self) -> None:
        """
        The API may be served below a path, as behind a proxy.
        """
        self.api.answers["GET /below/api/v1/version"] = {"version": "1"}
        api = API(self.api.url + "/below/")
        self.assertEqual(api.get("/version"), {"version": "1"})

    def test_empty(self) -> None:
        """
        An answer without content is none.
        """
        self.api.answers["GET /version"] = b""
        self.assertIsNone(API(self.api.url).get("/version"))

    def test_query(self) -> None:
        """
        What isn't given isn't sent; the rest is quoted.
        """
        self.api.answers["GET /version"] = {}
        API(self.api.url).get("/version", a="x&b=1", b=None)
        self.assertEqual(self.api.requests[0].query, {"a": "x&b=1"})

    def test_tooLarge(self) -> None:
        """
        An answer without end isn't read to the end.
        """
        self.patch(client, "MOST_OCTETS", 10)
        self.api.answers["GET /version"] = {"version": "1" * 100}
        trouble = self.assertRaises(Trouble, API(self.api.url).get, "/version")
        self.assertIn("too large", trouble.message)

    def test_quoted(self) -> None:
        """
        A place in a path can't lead elsewhere.
        """
        self.assertEqual(quoted("../x?y#z"), "..%2Fx%3Fy%23z")

    def test_elsewhere(self) -> None:
        """
        Another variable of the environment is known, too.
        """
        self.api.answers[PATH] = {"paused": False, "until": "", "group": ""}
        result = runCommand(*COMMAND, DNS_CONTROL_URL=self.api.url)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertNotIn("DNSGUARD_URL", os.environ)
