# -*- test-case-name: tests.control.test_tokens -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The administrator's password: what a person chooses, and so what others guess.

It is kept as an Argon2id hash, which takes memory and time to try. Everything
here takes that time, too: it is for threads.
"""

from __future__ import annotations

from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from dnsguard.control.tokens import replaceFile
from dnsguard.errors import StoreError

__all__ = ["MAX_PASSWORD", "MIN_PASSWORD", "PasswordFile"]

MIN_PASSWORD = 8
MAX_PASSWORD = 1024

# The second set of RFC 9106 §4 with less memory: small boards have to spare it.
_HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)


class PasswordFile:
    """
    The file with the password's hash.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def isSet(self) -> bool:
        """
        Is there a password?
        """
        return self.path.exists()

    def set(self, password: str) -> None:
        """
        Set another password.

        @raise ValueError: It is too short or too long.
        @raise StoreError: It can't be written.
        """
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise ValueError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        replaceFile(self.path, _HASHER.hash(password).encode("ascii") + b"\n")

    def verify(self, password: str) -> bool:
        """
        Is this the password? False, too, when none is set.

        @raise StoreError: The file can't be read, or holds something else.
        """
        try:
            known = self.path.read_text("ascii").strip()
        except FileNotFoundError:
            return False
        except (OSError, UnicodeDecodeError) as problem:
            raise StoreError(str(self.path), f"can't be read: {problem}") from None
        try:
            return _HASHER.verify(known, password)
        except InvalidHashError:
            raise StoreError(str(self.path), "not a password's hash") from None
        except Argon2Error:
            return False
