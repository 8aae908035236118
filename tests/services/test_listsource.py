# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for where lists come from.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.services.listsource import ListSource


class ListSourceTests(SynchronousTestCase):
    """
    L{ListSource}.
    """

    def test_files(self) -> None:
        """
        C{file://} URLs and plain paths are files.
        """
        for url, path in [
            ("file:///tmp/a%20b.txt", "/tmp/a b.txt"),
            ("/tmp/list.txt", "/tmp/list.txt"),
            ("lists/own.txt", "lists/own.txt"),
        ]:
            self.assertEqual(ListSource("x", url).path, Path(path))

    def test_servers(self) -> None:
        """
        C{https://} and C{http://} URLs are not.
        """
        for url in ["https://lists.example/a", "http://lists.example"]:
            self.assertIsNone(ListSource("x", url).path)

    def test_refused(self) -> None:
        """
        Anything else is an error that names the list.
        """
        for url in ["ftp://lists.example/a", "https:///a", ""]:
            error = self.assertRaises(PolicyError, ListSource, "ads", url)
            self.assertIn("block list", str(error))
        self.assertRaises(PolicyError, ListSource, "", "https://lists.example/")

    def test_secrets(self) -> None:
        """
        User, password and query aren't shown.
        """
        shown = ListSource("x", "https://me:secret@lists.example:8443/a?token=secret#b").shown
        self.assertEqual(shown, "https://lists.example:8443/a?…")
        self.assertEqual(ListSource("x", "/a?b").shown, "/a?b")
