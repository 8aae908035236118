# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.tokens} and L{dnsguard.control.passwords}.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dnsguard.control.passwords import PasswordFile
from dnsguard.control.route import Role
from dnsguard.control.tokens import (
    MAX_TOKENS,
    TokenFile,
    digest,
    findToken,
    newToken,
    replaceFile,
)
from dnsguard.errors import StoreError


class FileCase(SynchronousTestCase):
    """
    Base of tests with a folder.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "control" / "tokens.json"


class TokenFileTests(FileCase):
    """
    Tests for L{TokenFile}.
    """

    def test_roundTrip(self) -> None:
        """
        What is added is there when the file is read, and gone when removed.
        """
        file = TokenFile(self.path)
        self.assertIsNone(file.read())
        _, first = newToken("first", Role.ADMIN, 5.0)
        _, second = newToken("second", Role.VIEWER, 6.0, 60.0)
        file.add(first)
        self.assertEqual(file.add(second), (first, second))
        self.assertEqual(file.read(), (first, second))
        self.assertTrue(file.remove("first"))
        self.assertFalse(file.remove("first"))
        self.assertEqual(file.read(), (second,))

    def test_noTokenIsWritten(self) -> None:
        """
        The file holds digests, is for its owner only, and so is its folder.
        """
        secret, token = newToken("first", Role.ADMIN, 5.0)
        TokenFile(self.path).add(token)
        self.assertNotIn(secret, self.path.read_text())
        self.assertNotIn(digest(secret), repr(token))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.path.parent.stat().st_mode & 0o777, 0o700)

    def test_refused(self) -> None:
        """
        A name is there once; there are so many tokens; names are plain.
        """
        file = TokenFile(self.path)
        tokens = [newToken(f"t{number}", Role.VIEWER, 0.0)[1] for number in range(MAX_TOKENS)]
        file.write(tokens[:-1])
        self.assertRaises(StoreError, file.add, tokens[0])
        file.add(tokens[-1])
        self.assertRaises(StoreError, file.add, newToken("more", Role.VIEWER, 0.0)[1])
        for name in ("", "a b", "ä", "a/b", "x" * 65):
            self.assertRaises(ValueError, newToken, name, Role.VIEWER, 0.0)

    def test_brokenFile(self) -> None:
        """
        A file that isn't one of tokens is an error, never "no tokens": that
        might open what was closed.
        """
        self.path.parent.mkdir()
        for text in (
            "",
            "{",
            "[]",
            "{}",
            '{"tokens": 5}',
            '{"tokens": [5]}',
            '{"tokens": [{"name": "a", "role": "god", "digest": "", "created": 0}]}',
            '{"tokens": [{"name": "a", "role": "admin", "digest": "x", "created": 0}]}',
        ):
            self.path.write_text(text)
            self.assertRaises(StoreError, TokenFile(self.path).read)

    def test_stamp(self) -> None:
        """
        The stamp is another one after each change.
        """
        file = TokenFile(self.path)
        stamps = {file.stamp}
        for name in "abc":
            file.add(newToken(name, Role.VIEWER, 0.0)[1])
            stamps.add(file.stamp)
        self.assertEqual(len(stamps), 4)

    def test_ownerStays(self) -> None:
        """
        What root replaces stays its owner's, and a new file is the folder's
        owner's.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can give files away")
        self.path.parent.mkdir()
        os.chown(self.path.parent, 1234, 1235)
        replaceFile(self.path, b"one")
        self.assertEqual((self.path.stat().st_uid, self.path.stat().st_gid), (1234, 1235))
        os.chown(self.path, 4321, 4322)
        replaceFile(self.path, b"two")
        self.assertEqual((self.path.stat().st_uid, self.path.stat().st_gid), (4321, 4322))

    def test_replaceFails(self) -> None:
        """
        A file that can't be replaced stays as it was, and nothing is left
        beside it.
        """
        blocked = self.folder / "full"
        blocked.mkdir()
        (blocked / "x").write_text("")
        self.assertRaises(StoreError, replaceFile, blocked, b"new")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["full"])

    @settings(max_examples=50, deadline=None)
    @given(st.text(max_size=600))
    def test_onlyTheTokenItself(self, shown: str) -> None:
        """
        Nothing but the token itself is taken for it.
        """
        secret, token = newToken("a", Role.VIEWER, 0.0)
        self.assertIsNone(findToken(shown, [token], 1.0))
        self.assertIs(findToken(secret, [token], 1.0), token)


class PasswordTests(FileCase):
    """
    Tests for L{PasswordFile}.
    """

    def test_verify(self) -> None:
        """
        Only the password set last is one; before that none is.
        """
        file = PasswordFile(self.path)
        self.assertFalse(file.isSet())
        self.assertFalse(file.verify("anything"))
        file.set("correct horse")
        self.assertTrue(file.isSet())
        self.assertTrue(file.verify("correct horse"))
        self.assertFalse(file.verify("Correct horse"))
        self.assertNotIn("correct", self.path.read_text())
        self.assertIn("$argon2id$", self.path.read_text())
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_refused(self) -> None:
        """
        Passwords that are too short, or absurdly long, aren't set.
        """
        for password in ("", "short", "x" * 2000):
            self.assertRaises(ValueError, PasswordFile(self.path).set, password)

    def test_brokenFile(self) -> None:
        """
        A file with something else in it is an error.
        """
        self.path.parent.mkdir()
        self.path.write_bytes(b"hunter2")
        self.assertRaises(StoreError, PasswordFile(self.path).verify, "hunter2")
        self.path.write_bytes(b"\xff")
        self.assertRaises(StoreError, PasswordFile(self.path).verify, "hunter2")
