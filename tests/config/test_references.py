# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.references}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.references import expand, readSecret


class ExpandTests(SynchronousTestCase):
    """
    Tests for L{expand}.
    """

    def test_environment(self) -> None:
        """
        C{${env:NAME}} is put in, anywhere in a text.
        """
        environ = {"A": "1", "B": "${env:A}", "EMPTY": ""}
        self.assertEqual(expand("x${env:A}y${env:A}", environ), "x1y1")
        self.assertEqual(expand("${env:EMPTY}", environ), "")
        # What comes in isn't looked into again.
        self.assertEqual(expand("${env:B}", environ), "${env:A}")

    def test_file(self) -> None:
        """
        C{${file:/path}} is put in.
        """
        self.assertEqual(
            expand("https://${file:/t}@example.org", {}, {"/t": "s"}.__getitem__),
            "https://s@example.org",
        )

    def test_dollars(self) -> None:
        """
        Dollar signs that begin no reference stand for themselves, and C{$$}
        for one.
        """
        self.assertEqual(expand("a$b$$c$", {}), "a$b$c$")
        self.assertEqual(expand("$${env:A}", {"A": "1"}), "${env:A}")

    def test_refused(self) -> None:
        """
        A reference that is malformed or leads nowhere is an error.
        """
        for text, words in [
            ("${env:NONE}", "NONE isn't set"),
            ("${env:", "must be"),
            ("${NAME}", "must be"),
            ("${}", "must be"),
            ("${env:}", "must be"),
            ("${vault:x}", "'vault'"),
            ("${file:/nonexistent/secret}", "No such file"),
        ]:
            error = self.assertRaises(ValueError, expand, text, {})
            self.assertIn(words, str(error))


class ReadSecretTests(SynchronousTestCase):
    """
    Tests for L{readSecret}.
    """

    def written(self, octets: bytes) -> str:
        """
        A file with some content.
        """
        path = Path(self.mktemp())
        path.write_bytes(octets)
        return str(path)

    def test_newline(self) -> None:
        """
        One newline at the end, which editors put there, isn't part of it.
        """
        self.assertEqual(readSecret(self.written(b"secret\n")), "secret")
        self.assertEqual(readSecret(self.written(b"secret\r\n")), "secret")
        self.assertEqual(readSecret(self.written(b" two\n\n")), " two\n")

    def test_refused(self) -> None:
        """
        Binary, huge and unreadable files are errors.
        """
        for path, words in [
            (self.written(b"\xff"), "UTF-8"),
            (self.written(b"x" * 100_000), "larger than 64 KiB"),
            (".", "directory"),
            ("a\0b", "null"),
        ]:
            self.assertIn(words, str(self.assertRaises(ValueError, readSecret, path)))
