# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.tokens}.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from dnsguard.cli import tokens
from dnsguard.control.passwords import PasswordFile
from dnsguard.control.route import Role
from dnsguard.control.tokens import TokenFile, findToken
from tests.support.fakeapi import APITestCase

MADE = {"name": "ci", "role": "viewer", "token": "dnsguard_abc", "expires": None}


class TokenTests(APITestCase):
    """
    Tests for C{dnsguard token}.
    """

    def test_create(self) -> None:
        """
        The token alone is on standard output, so that it can go to a file.
        """
        self.api.answers["POST /tokens"] = MADE
        result = self.invoke("token", "create", "ci")
        self.assertEqual((result.exit_code, result.stdout), (0, "dnsguard_abc\n"))
        self.assertEqual(result.stderr, "ci: role viewer; it is shown this once\n")
        self.assertEqual(self.api.requests[0].body, {"name": "ci", "role": "viewer"})

    def test_expiry(self) -> None:
        """
        A token can hold for some days.
        """
        self.api.answers["POST /tokens"] = {**MADE, "expires": "2026-01-02T03:04:05Z"}
        result = self.invoke("token", "create", "ci", "--role", "admin", "--days", "30")
        self.assertIn("until 2026-01-02T03:04:05Z", result.stderr)
        self.assertEqual(self.api.requests[0].body, {"name": "ci", "role": "admin", "hours": 720})
        self.assertEqual(self.json("token", "create", "ci")["token"], "dnsguard_abc")

    def test_list(self) -> None:
        """
        Tokens are listed, without themselves.
        """
        token = {
            "name": "ci",
            "role": "viewer",
            "created": "2026-01-01T00:00:00Z",
            "expires": "2026-01-02T00:00:00Z",
            "expired": True,
            "last_used": None,
        }
        self.api.answers["GET /tokens"] = {"tokens": [token]}
        line = self.fine("token", "list").splitlines()[1]
        self.assertEqual(
            line.split(),
            ["ci", "viewer", token["created"], token["expires"], "(expired)", "-"],
        )
        self.assertEqual(self.json("token", "list"), {"tokens": [token]})

    def test_revoke(self) -> None:
        """
        A token is revoked by its name, whatever is in it.
        """
        self.api.answers["DELETE /tokens/a%2Fb"] = {"ok": True}
        self.assertEqual(self.fine("token", "revoke", "a/b"), "a/b is revoked\n")
        self.assertEqual(self.invoke("token", "revoke", "other").exit_code, 5)


class FileTests(APITestCase):
    """
    Tests for C{dnsguard token} without the API.
    """

    def setUp(self) -> None:
        """
        Have a folder.
        """
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "tokens.json"

    def run_(self, *arguments: str, status: int = 0) -> str:
        """
        Run the command on the file.
        """
        return self.fine("token", *arguments, "--file", str(self.path), status=status)

    def test_tokens(self) -> None:
        """
        Tokens are made, listed and revoked, and those made are good.
        """
        secret = self.run_("create", "ci", "--role", "operator", "--days", "1").strip()
        found = findToken(secret, TokenFile(self.path).read() or (), time.time())
        assert found is not None
        self.assertEqual((found.name, found.role), ("ci", Role.OPERATOR))
        self.assertIsNone(findToken(secret, [found], time.time() + 86500))
        self.run_("create", "other")
        (first, second) = (line.split() for line in self.run_("list").splitlines()[1:])
        self.assertEqual((first[:2], second[:2]), (["ci", "operator"], ["other", "viewer"]))
        self.assertEqual(self.run_("revoke", "ci"), "ci is revoked\n")
        self.assertEqual([each.name for each in TokenFile(self.path).read() or ()], ["other"])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.api.requests, [])

    def test_refused(self) -> None:
        """
        What can't be done is told: a name twice, an odd one, none of that name,
        no such file, something else in it.
        """
        self.run_("list", status=2)
        self.run_("create", "ci")
        self.run_("create", "ci", status=5)
        self.run_("create", "a b", status=2)
        self.run_("revoke", "other", status=5)
        self.path.write_text("nonsense")
        for command in (["list"], ["create", "x"], ["revoke", "ci"]):
            self.run_(*command, status=5)

    def test_owner(self) -> None:
        """
        What root writes belongs to whom the folder does.
        """
        given: list[tuple[str, int, int]] = []
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "chown", lambda path, *owner: given.append((str(path), *owner)))
        self.patch(tokens, "_folderOwner", lambda path: (1234, 567))
        self.run_("create", "ci")
        self.assertEqual(given, [(str(self.path), 1234, 567)])


class PasswordTests(APITestCase):
    """
    Tests for C{dnsguard set-admin-password}.
    """

    def setUp(self) -> None:
        """
        Let passwords be set.
        """
        super().setUp()
        self.api.answers["PUT /password"] = {"ok": True}

    def test_set(self) -> None:
        """
        The password is the first line of standard input.
        """
        told = self.fine("set-admin-password", input="correct horse\nmore\n")
        self.assertEqual(told, "the password is set\n")
        self.assertEqual(self.api.requests[0].body, {"password": "correct horse"})

    def test_argument(self) -> None:
        """
        It can be an argument, as scripts have it.
        """
        self.fine("set-admin-password", "correct horse")
        self.assertEqual(self.api.requests[0].body, {"password": "correct horse"})

    def test_file(self) -> None:
        """
        It can be set in a file, without the API.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "password"
        self.fine("set-admin-password", input="correct horse\n", ADMIN_PASSWORD_FILE=str(path))
        self.assertTrue(PasswordFile(path).verify("correct horse"))
        self.assertFalse(PasswordFile(path).verify("wrong horse"))
        missing = str(path / "below")
        self.fine("set-admin-password", "correct horse", "--file", missing, status=5)
        self.assertEqual(self.api.requests, [])

    def test_bounds(self) -> None:
        """
        One that is too short or too long isn't sent.
        """
        for password in ("", "short", "x" * 2000):
            self.assertEqual(self.invoke("set-admin-password", input=password).exit_code, 2)
        self.assertEqual(self.api.requests, [])
