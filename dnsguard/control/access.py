# -*- test-case-name: tests.control.test_tokens -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tokens, sessions, the administrator's password, and who changed what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from dnsguard.control.audit import AuditLog
from dnsguard.control.auth import CONFIGURED, Authenticator
from dnsguard.control.naming import moment
from dnsguard.control.passwords import MAX_PASSWORD, PasswordFile
from dnsguard.control.route import Call, Caller, Refused, Role, Route
from dnsguard.control.schema import DONE, integer, listOf, nullable, record, text, truth, word
from dnsguard.control.tokens import NAME, Token, TokenFile, newToken

__all__ = ["AccessFamily"]

MAX_WAITING = 4
"""Passwords that are looked at, one after the other: each takes a moment and
some memory."""

MOST_HOURS = 24 * 366 * 10

_ROLES = [role.word for role in Role if role is not Role.NOBODY]
_NAME = text("Letters, digits, '-', '_' and '.'.", least=1, most=64)
_PASSWORD = text(least=1, most=MAX_PASSWORD)

_TOKEN = record(
    {
        "name": _NAME,
        "role": word(_ROLES),
        "created": nullable(text()),
        "expires": nullable(text("null: never.")),
        "expired": truth(),
        "last_used": nullable(text("Since the process began.")),
    }
)

_MADE = record(
    {
        "name": text(),
        "role": word(_ROLES),
        "token": text("Shown this once."),
        "expires": nullable(text()),
    }
)


class AccessFamily:
    """
    Who may do what.
    """

    name = "Access"
    meaning = "Tokens, the administrator's password, and who changed what."

    def __init__(
        self,
        authenticator: Authenticator,
        tokenFile: TokenFile,
        password: PasswordFile,
        audit: AuditLog,
        inThread: Callable[..., Deferred[Any]],
        now: Callable[[], float],
    ) -> None:
        """
        @param inThread: Calls a function in a thread.
        @param now: Seconds since the epoch.
        """
        self._authenticator = authenticator
        self._tokenFile = tokenFile
        self._password = password
        self._audit = audit
        self._inThread = inThread
        self._now = now
        self._oneByOne = DeferredLock()
        self._hashing = DeferredLock()
        self._waiting = 0

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/whoami",
            self.whoAmI,
            Role.VIEWER,
            "Say who calls, and what they may do.",
            response=record({"name": text(), "role": word(_ROLES), "address": text()}),
        )
        yield Route(
            "GET",
            "/tokens",
            self.list,
            Role.ADMIN,
            "List the tokens. The tokens themselves aren't kept.",
            response=record({"tokens": listOf(_TOKEN)}),
        )
        yield Route(
            "POST",
            "/tokens",
            self.make,
            Role.ADMIN,
            "Make a token.",
            body=record(
                {
                    "name": {**_NAME, "pattern": f"^{NAME}$"},
                    "role": word(_ROLES),
                    "hours": integer(1, MOST_HOURS, "How long it is worth something."),
                },
                optional=("hours",),
            ),
            response=_MADE,
            errors={409: "There is one of that name, or there are too many."},
        )
        yield Route(
            "DELETE",
            "/tokens/{name}",
            self.revoke,
            Role.ADMIN,
            "Revoke a token. It is worth nothing from now on.",
            response=DONE,
            errors={404: "There is none of that name.", 409: "The configuration sets it."},
        )
        yield from self._personRoutes()

    def _personRoutes(self) -> Iterator[Route]:
        yield Route(
            "POST",
            "/login",
            self.logIn,
            Role.NOBODY,
            "Give a token, good for a day, to whoever knows the administrator's password.",
            body=record({"password": _PASSWORD}),
            response=_MADE,
            errors={
                401: "That isn't the password, or none is set.",
                429: "Too many were wrong.",
                503: "Too many are being looked at.",
            },
        )
        yield Route(
            "PUT",
            "/password",
            self.setPassword,
            Role.ADMIN,
            "Set the administrator's password. All who know the old one have to log in again.",
            body=record({"password": _PASSWORD}),
            response=DONE,
            errors={400: "It is too short."},
        )
        yield Route(
            "GET",
            "/audit",
            self.audit,
            Role.ADMIN,
            "List who changed what, the newest first: since the process began. The file"
            " audit.jsonl in the data directory has more.",
            query={
                "page": integer(1, 1000, default=1),
                "page_size": integer(1, 500, default=50),
            },
            response=record(
                {
                    "entries": listOf(
                        record(
                            {
                                "time": text(),
                                "by": text(),
                                "role": text(),
                                "address": text(),
                                "method": text(),
                                "path": text(),
                                "status": integer(),
                            }
                        )
                    ),
                    "total": integer(),
                }
            ),
        )

    def whoAmI(self, call: Call) -> Any:
        """
        See the route.
        """
        caller: Caller = call.caller
        return {"name": caller.name, "role": caller.role.word, "address": caller.address}

    def list(self, call: Call) -> Any:
        """
        See the route.
        """
        return {"tokens": [self._told(token) for token in self._authenticator.known]}

    def _told(self, token: Token) -> dict[str, Any]:
        return {
            "name": token.name,
            "role": token.role.word,
            "created": moment(token.created),
            "expires": moment(token.expires),
            "expired": not token.holds(self._now()),
            "last_used": moment(self._authenticator.lastUsed.get(token.name)),
        }

    async def make(self, call: Call) -> Any:
        """
        See the route.
        """
        hours = call.body.get("hours")
        seconds = None if hours is None else 3600.0 * hours
        name = call.body["name"]
        try:
            secret, token = newToken(name, Role[call.body["role"].upper()], self._now(), seconds)
        except ValueError as problem:
            raise Refused(400, f"name: {problem}", field="name") from None
        if name == CONFIGURED or any(token.name == name for token in self._authenticator.known):
            raise Refused(409, "there is a token of that name", field="name")
        tokens = await self._oneByOne.run(self._inThread, self._tokenFile.add, token)
        self._authenticator.adopt(tokens)
        return self._made(secret, token)

    def _made(self, secret: str, token: Token) -> dict[str, Any]:
        return {
            "name": token.name,
            "role": token.role.word,
            "token": secret,
            "expires": moment(token.expires),
        }

    async def revoke(self, call: Call) -> Any:
        """
        See the route.
        """
        name = call.parameters["name"]
        if name == CONFIGURED:
            raise Refused(409, "the configuration sets this token")
        if not await self._oneByOne.run(self._inThread, self._tokenFile.remove, name):
            raise Refused(404, "there is no token of that name")
        left = [token for token in self._authenticator.tokens if token.name != name]
        self._authenticator.adopt(left)
        return {"ok": True}

    async def logIn(self, call: Call) -> Any:
        """
        See the route.
        """
        address = call.caller.address
        self._authenticator.admit(address)
        if not await self._hashed(self._password.verify, call.body["password"]):
            self._authenticator.failed(address)
            raise Refused(401, "that isn't the password")
        self._authenticator.limit.succeeded(address)
        return self._made(*self._authenticator.beginSession())

    async def setPassword(self, call: Call) -> Any:
        """
        See the route.
        """
        try:
            await self._hashed(self._password.set, call.body["password"])
        except ValueError as problem:
            raise Refused(400, str(problem), field="password") from None
        self._authenticator.endSessions()
        return {"ok": True}

    async def _hashed(self, function: Callable[[str], Any], password: str) -> Any:
        if self._waiting >= MAX_WAITING:
            raise Refused(503, "too many passwords are being looked at")
        self._waiting += 1
        try:
            return await self._hashing.run(self._inThread, function, password)
        finally:
            self._waiting -= 1

    def audit(self, call: Call) -> Any:
        """
        See the route.
        """
        size = call.query["page_size"]
        start = (call.query["page"] - 1) * size
        entries = [*reversed(self._audit.recent)]
        return {"entries": entries[start : start + size], "total": len(entries)}
