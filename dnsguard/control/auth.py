# -*- test-case-name: tests.control.test_auth -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Who calls: tokens looked up, guesses counted, and what holds without any token.

Without a token the API is for those on this machine alone, and even then not
for web pages that a browser on it shows: those send their origin along, or call
the machine by a name of their own.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from dnsguard.control.route import Caller, Refused, Role
from dnsguard.control.throttling import AttemptLimit
from dnsguard.control.tokens import Token, digest, findToken, newToken

__all__ = ["CONFIGURED", "Authenticator", "isLoopback"]

CONFIGURED = "control.token"
"""The name of the token that the configuration sets."""

SESSION_SECONDS = 24 * 3600.0
MAX_SESSIONS = 100


def isLoopback(address: str) -> bool:
    """
    Is it an address of this machine that nobody else can reach?
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


class Authenticator:
    """
    Says who calls.

    @ivar tokens: The tokens of the file.
    @ivar lastUsed: When each token was last shown, seconds since the epoch, by
        name; since this process began.
    @ivar limit: Who guessed wrong.
    @ivar failures: How often a wrong token was shown.
    """

    def __init__(
        self,
        *,
        configured: str = "",
        openOnLoopback: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        @param configured: The token that the configuration sets, or empty.
        @param openOnLoopback: As long as there is no token at all, may
            everybody on this machine do everything?
        @param now: Seconds since the epoch.
        """
        self.tokens: tuple[Token, ...] = ()
        self.lastUsed: dict[str, float] = {}
        self.limit = AttemptLimit()
        self.failures = 0
        self._now = now
        self._sessions: list[Token] = []
        self.configure(configured, openOnLoopback)

    def configure(self, configured: str, openOnLoopback: bool) -> None:
        """
        Go on with other settings, as for the constructor.
        """
        self._configured = (
            (Token(CONFIGURED, Role.ADMIN, digest(configured)),) if configured else ()
        )
        self._openOnLoopback = openOnLoopback

    def adopt(self, tokens: Iterable[Token]) -> None:
        """
        Go on with the tokens that the file has now.
        """
        self.tokens = tuple(tokens)
        known = {token.name for token in self.known}
        self.lastUsed = {name: when for name, when in self.lastUsed.items() if name in known}

    @property
    def known(self) -> tuple[Token, ...]:
        """
        All tokens, whether they have expired or not.
        """
        return (*self._configured, *self.tokens)

    @property
    def hasTokens(self) -> bool:
        """
        Is there any token? One that has expired counts: whoever made it wanted
        the API closed.
        """
        return bool(self.known)

    def identify(self, request: Any) -> Caller:
        """
        Look at a request's credentials.

        @raise Refused: They are wrong, or too many were.
        """
        address = peerAddress(request)
        self.admit(address)
        secret = credentials(request)
        if secret is None:
            return self._nobody(request, address)
        now = self._now()
        token = findToken(secret, (*self.known, *self._sessions), now)
        if token is None:
            self.failed(address)
            raise Refused(401, "the token is wrong or has expired")
        self.limit.succeeded(address)
        if token not in self._sessions:
            self.lastUsed[token.name] = now
        return Caller(token.name, token.role, address)

    def admit(self, address: str) -> None:
        """
        Turn those away who guessed wrong too often.

        @raise Refused: They did.
        """
        wait = self.limit.wait(address, self._now())
        if wait:
            raise Refused(
                429, "too many wrong tokens or passwords", retry_after_seconds=int(wait) + 1
            )

    def failed(self, address: str) -> None:
        """
        Count a wrong guess.
        """
        self.failures += 1
        self.limit.failed(address, self._now())

    def _nobody(self, request: Any, address: str) -> Caller:
        """
        Say what somebody without a token may do.
        """
        if self.hasTokens or not self._openOnLoopback or not isLoopback(address):
            return Caller("", Role.NOBODY, address)
        if request.getHeader(b"origin") or not _callsUsLocal(request):
            raise Refused(403, "without a token the API isn't for web pages")
        return Caller("", Role.ADMIN, address)

    def beginSession(self) -> tuple[str, Token]:
        """
        Make a token for somebody who knew the administrator's password. It
        isn't written down: it ends with this process at the latest.
        """
        now = self._now()
        secret, token = newToken("admin-password", Role.ADMIN, now, SESSION_SECONDS)
        current = [session for session in self._sessions if session.holds(now)]
        self._sessions = [*current[-MAX_SESSIONS + 1 :], token]
        return secret, token

    def endSessions(self) -> None:
        """
        End all sessions, as when the password has been changed.
        """
        self._sessions = []


def peerAddress(request: Any) -> str:
    """
    The address a request comes from. Headers that proxies set aren't looked
    at: anybody can set them.
    """
    return str(getattr(request.getClientAddress(), "host", ""))


def credentials(request: Any) -> str | None:
    """
    Find the token of a request.

    @raise Refused: It is shown in a way that isn't known.
    """
    authorization = request.getHeader(b"authorization")
    header = request.getHeader(b"x-auth-token")
    if authorization:
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Refused(401, "send Authorization: Bearer and the token")
        return str(secret.strip().decode("utf-8", "surrogateescape"))
    if header:
        return str(header.strip().decode("utf-8", "surrogateescape"))
    return None


def _callsUsLocal(request: Any) -> bool:
    """
    Does the client call us by a name that can only mean this machine? A page
    can have its own name lead here, but then that is what the browser says.
    """
    given = (request.getHeader(b"host") or b"").decode("latin-1")
    try:
        host = urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return False
    return host == "localhost" or isLoopback(host)
