# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.lists} and L{dnsguard.cli.listtrial}.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from tests.support.fakeapi import APITestCase

SOURCE = {
    "name": "ads",
    "url": "https://lists.example.org/ads",
    "state": "current",
    "error": "",
    "fetched": "2026-01-02T03:04:05Z",
    "octets": 100,
    "seconds": 0.1,
    "entries": 12,
    "names": 1234,
    "rejected": 1,
    "examples": [],
}


def stats(*sources: Any) -> dict[str, Any]:
    """
    What the API says of lists.
    """
    return {"blocked": 1234, "allow": 1, "deny": 2, "sources": list(sources)}


class ListsTests(APITestCase):
    """
    Tests for C{dnsguard lists} with a running instance.
    """

    def test_show(self) -> None:
        """
        The lists are shown, whether that is said or not.
        """
        self.api.answers["GET /blocklists/stats"] = stats(SOURCE, {**SOURCE, "error": "HTTP 404"})
        told = self.fine("lists")
        self.assertEqual(told, self.fine("lists", "show"))
        lines = told.splitlines()
        self.assertEqual(
            lines[1].split(), ["ads", "1,234", "1", "2026-01-02T03:04:05Z", "current"]
        )
        self.assertTrue(lines[2].endswith("current: HTTP 404"))
        self.assertEqual(lines[-1], "1,234 names in all lists; 1 rules allow, 2 deny")
        self.assertEqual(self.json("lists")["blocked"], 1234)

    def test_reload(self) -> None:
        """
        Lists are fetched anew, and it's told how many names there are then.
        """
        self.api.answers["POST /blocklists/reload"] = {"ok": True}
        self.api.answers["GET /blocklists/stats"] = stats(SOURCE)
        self.assertEqual(self.fine("lists", "reload"), "1,234 names are in force\n")
        self.assertEqual(self.json("lists", "reload")["failing"], [])

    def test_reloadFails(self) -> None:
        """
        A list that couldn't be fetched ends with 1, a reload that failed with 5.
        """
        self.api.answers["POST /blocklists/reload"] = {"ok": True}
        self.api.answers["GET /blocklists/stats"] = stats({**SOURCE, "error": "HTTP 404"})
        result = self.invoke("lists", "reload")
        self.assertEqual((result.exit_code, result.stderr), (1, "ads: HTTP 404\n"))
        self.api.answers["POST /blocklists/reload"] = (500, {"error": "not reloaded: bad"})
        self.assertEqual(self.invoke("lists", "reload").exit_code, 5)


class TryTests(APITestCase):
    """
    Tests for C{dnsguard lists try}.
    """

    def file(self, text: bytes) -> str:
        """
        A list in a file.
        """
        path = Path(self.mktemp())
        path.write_bytes(text)
        return str(path)

    def test_file(self) -> None:
        """
        A file is compiled, and what isn't understood is told: 1.
        """
        path = self.file(b"ads.example.org\nads.example.org\n||t.example.org^\nfoo bar baz\n")
        told = self.json("lists", "try", path, status=1)
        (report,) = told["reports"]
        self.assertEqual(
            (report["name"], report["lines"], report["names"], report["rejected"]),
            (path, 4, 2, 1),
        )
        self.assertEqual(told["names"], 2)
        self.assertEqual(len(report["examples"]), 1)
        self.assertEqual(self.api.requests, [])
        shown = self.fine("lists", "try", path, status=1)
        self.assertIn("line 4: several words, but not a hosts line: foo bar baz", shown)
        self.assertIn("2 distinct names", shown)

    def test_download(self) -> None:
        """
        Lists are downloaded, packed or not, and counted together.
        """
        self.api.answers["GET /one"] = b"ads.example.org\nb.example.org\n"
        self.api.answers["GET /two"] = gzip.compress(b"0.0.0.0 ads.example.org\n")
        told = self.json("lists", "try", f"{self.api.url}/one", f"{self.api.url}/two")
        self.assertEqual([report["names"] for report in told["reports"]], [2, 1])
        self.assertEqual(told["names"], 2)

    def test_name(self) -> None:
        """
        It is told whether a name would be blocked, and by which line.
        """
        path = self.file(b"# list\nads.example.org\n")
        told = self.json("lists", "try", path, "--name", "Ads.Example.org")
        self.assertEqual((told["asked"], told["rule"]), ("ads.example.org", f"{path}:2"))
        told = self.fine("lists", "try", path, "--name", "example.org", status=1)
        self.assertIn("example.org: not blocked\n", told)
        told = self.fine("lists", "try", path, "--name", "bücher.ads.example.org")
        self.assertIn(f"xn--bcher-kva.ads.example.org: blocked by {path}:2\n", told)
        self.assertEqual(self.invoke("lists", "try", path, "--name", "a..b").exit_code, 2)

    def test_bad(self) -> None:
        """
        What can't be had, or is no list, is told in a line with its source,
        without the secrets in its URL.
        """
        self.api.answers["GET /page"] = b"<!DOCTYPE html><title>sorry</title>"
        self.api.answers["GET /large"] = b"a.example\n" * 200_000
        secret = self.api.url.replace("//", "//user:s3cret@")
        for source, reason in [
            ("/nonexistent/list", "No such file or directory"),
            (f"{self.api.url}/none", "HTTP status 404"),
            (f"{secret}/page?key=s3cret", "a web page instead of a list"),
            (f"{self.api.url}/large", "larger than 1,048,576 octets"),
            ("ftp://lists.example.org/", "not https, http or file"),
            ("http://127.0.0.1:1/", "Connection refused"),
        ]:
            result = self.invoke("lists", "try", source, "--most", "1")
            self.assertEqual((result.exit_code, result.stdout), (5, ""), result.output)
            self.assertIn(reason, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1)
            self.assertNotIn("s3cret", result.stderr)

    def test_credentials(self) -> None:
        """
        A user and password in a URL are sent as the server expects them.
        """
        self.api.answers["GET /list"] = b"ads.example.org\n"
        self.json("lists", "try", self.api.url.replace("//", "//user:p%40ss@") + "/list")
        self.assertEqual(self.api.requests[0].headers["Authorization"], "Basic dXNlcjpwQHNz")
