# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.tokens}.
"""

from __future__ import annotations

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

    def test_bounds(self) -> None:
        """
        One that is too short or too long isn't sent.
        """
        for password in ("", "short", "x" * 2000):
            self.assertEqual(self.invoke("set-admin-password", input=password).exit_code, 2)
        self.assertEqual(self.api.requests, [])
