# -*- test-case-name: tests.control.test_tokens -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tokens: what callers show, and what is kept of it.

A token is 256 random bits. Nobody can try them all, so one round of SHA-256 is
what keeps the file of digests from being worth stealing; slow hashes are for
passwords, which people choose. Of a token only its digest is ever written down.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from dnsguard.control.route import Role
from dnsguard.errors import StoreError

__all__ = [
    "MAX_TOKENS",
    "NAME",
    "Token",
    "TokenFile",
    "digest",
    "findToken",
    "newToken",
    "replaceFile",
]

MAX_TOKENS = 200
MAX_SECRET = 512
NAME = r"[A-Za-z0-9_.-]{1,64}"

_MOST_OCTETS = 1 << 20


@attrs.frozen
class Token:
    """
    What is kept of a token.

    @ivar name: What it is called; no other one is called so.
    @ivar role: What its bearer may do.
    @ivar digest: The SHA-256 of it, as hexadecimal text.
    @ivar created: When it was made, seconds since the epoch.
    @ivar expires: From when on it is worth nothing, seconds since the epoch;
        L{None}: never.
    """

    name: str
    role: Role
    digest: str = attrs.field(repr=False)
    created: float = 0.0
    expires: float | None = None

    def holds(self, now: float) -> bool:
        """
        Is it worth something yet?
        """
        return self.expires is None or now < self.expires

    def toJSON(self) -> dict[str, Any]:
        """
        Give what the file says of it.
        """
        return {**attrs.asdict(self), "role": self.role.word}

    @classmethod
    def fromJSON(cls, value: Any) -> Token:
        """
        Read what the file says of it.

        @raise ValueError: It says something else.
        """
        if not isinstance(value, Mapping):
            raise ValueError("expected an object")
        try:
            token = cls(
                str(value["name"]),
                Role[str(value["role"]).upper()],
                str(value["digest"]),
                float(value["created"]),
                None if value.get("expires") is None else float(value["expires"]),
            )
        except (KeyError, TypeError) as problem:
            raise ValueError(f"{problem} is missing or odd") from None
        if not re.fullmatch(NAME, token.name) or not re.fullmatch("[0-9a-f]{64}", token.digest):
            raise ValueError("a name or digest is odd")
        return token


def digest(secret: str) -> str:
    """
    Give the digest of a token.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def newToken(name: str, role: Role, now: float, seconds: float | None = None) -> tuple[str, Token]:
    """
    Make a token.

    @param seconds: How long it is worth something; L{None}: for good.
    @return: The token itself, to be shown once, and what to keep of it.
    @raise ValueError: The name has odd characters or is too long.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError("a name has 1 to 64 letters, digits, '-', '_' or '.'")
    # The beginning is for people and for programs that look for leaked secrets.
    secret = f"dnsguard_{secrets.token_urlsafe(32)}"
    expires = None if seconds is None else now + seconds
    return secret, Token(name, role, digest(secret), now, expires)


def findToken(secret: str, tokens: Iterable[Token], now: float) -> Token | None:
    """
    Find the token that somebody shows.

    Takes the same time whichever it is, and whether it is one at all.
    """
    found = None
    shown = digest(secret[:MAX_SECRET])
    for token in tokens:
        if hmac.compare_digest(shown, token.digest) and token.holds(now):
            found = token
    return found


class TokenFile:
    """
    The file of tokens. Waits for the disk: not for the reactor's thread.

    Whoever may write the file may do anything: it is for its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def stamp(self) -> tuple[int, ...]:
        """
        Something else after each change; empty when there is no file.
        """
        try:
            status = self.path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def read(self) -> tuple[Token, ...] | None:
        """
        Read it.

        @return: The tokens; L{None} when there is no file.
        @raise StoreError: It can't be read, or it isn't one.
        """
        try:
            with self.path.open("rb") as source:
                octets = source.read(_MOST_OCTETS + 1)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise StoreError(str(self.path), problem.strerror or str(problem)) from None
        try:
            tokens = tuple(map(Token.fromJSON, json.loads(octets)["tokens"]))
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise StoreError(str(self.path), f"not a file of tokens: {problem}") from None
        return tokens[:MAX_TOKENS]

    def write(self, tokens: Iterable[Token]) -> None:
        """
        Replace it.

        @raise StoreError: It can't be written.
        """
        value = {"tokens": [token.toJSON() for token in tokens]}
        replaceFile(self.path, json.dumps(value, indent=1).encode() + b"\n")

    def add(self, token: Token) -> tuple[Token, ...]:
        """
        Add a token.

        @return: All tokens.
        @raise StoreError: There is one of that name, or there are too many.
        """
        tokens = self.read() or ()
        if any(other.name == token.name for other in tokens):
            raise StoreError(str(self.path), f"there is a token {token.name!r} already")
        if len(tokens) >= MAX_TOKENS:
            raise StoreError(str(self.path), f"there are {MAX_TOKENS} tokens already")
        self.write([*tokens, token])
        return (*tokens, token)

    def remove(self, name: str) -> bool:
        """
        Remove a token.

        @return: Was there one of that name?
        """
        tokens = self.read() or ()
        left = [token for token in tokens if token.name != name]
        if len(left) == len(tokens):
            return False
        self.write(left)
        return True


def replaceFile(path: Path, octets: bytes) -> None:
    """
    Replace a file by another one that only its owner may read, at once or not
    at all.

    @raise StoreError: It can't be done; the old one is there as it was.
    """
    temporary = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            _hand(descriptor, path)
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as problem:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StoreError(str(path), problem.strerror or str(problem)) from None


def _hand(descriptor: int, path: Path) -> None:
    """
    Give a file the owner of the one it is to replace, or of the folder: what
    root does by hand, a server that isn't root has to read.
    """
    if os.geteuid() != 0:
        return
    status = path.stat() if path.exists() else path.parent.stat()
    os.fchown(descriptor, status.st_uid, status.st_gid)
