# -*- test-case-name: tests.control.test_site -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How an endpoint is declared: once, with who may call it and what goes in and
out.

A resource family is an object with a name, a meaning and routes. The site, the
checks of what comes in, the limits, the OpenAPI document and the reference page
are all read off these declarations; a family that is to be served is handed to
the L{site <dnsguard.control.site>} and needs nothing else.
"""

from __future__ import annotations

import enum
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from dnsguard.control.schema import ANYTHING, Schema

__all__ = [
    "LARGE_BODY",
    "PREFIX",
    "SMALL_BODY",
    "Call",
    "Caller",
    "Family",
    "Refused",
    "Reply",
    "Role",
    "Route",
]

SMALL_BODY = 1 << 16
LARGE_BODY = 1 << 20

PREFIX = "/api/v1"
"""What the canonical path of every route begins with."""


class Role(enum.IntEnum):
    """
    What somebody may do; each may do what those before may.
    """

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """
        Its name in files, answers and on the command line.
        """
        return self.name.lower()


@attrs.frozen
class Caller:
    """
    Who calls.

    @ivar name: The token's name; empty for somebody without one.
    @ivar role: What they may do.
    @ivar address: Their IP address.
    """

    name: str
    role: Role
    address: str


@attrs.frozen
class Call:
    """
    One request, checked.

    @ivar caller: Who calls.
    @ivar parameters: What stands in the path, by name.
    @ivar query: What stands behind the question mark, by name: what was given
        or has a default.
    @ivar body: The JSON that came, as the route's schema has it; an empty dict
        where none is needed and none came.
    @ivar ifMatch: The ETag that what is changed must still have, or empty.
    @ivar ifNoneMatch: The ETag of what the caller has already, or empty.
    @ivar accept: The types of content that the caller takes, as it says so.
    """

    caller: Caller
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, Any] = attrs.field(factory=dict)
    body: Any = attrs.field(factory=dict)
    ifMatch: str = ""
    ifNoneMatch: str = ""
    accept: str = ""


@attrs.frozen
class Reply:
    """
    An answer that isn't just JSON with status 200.

    @ivar body: What to send: octets as they are, anything else as JSON.
    @ivar status: The HTTP status.
    @ivar contentType: What octets are.
    @ivar headers: Further headers.
    @ivar pieces: Instead of a body: octets, sent as they come and as fast as
        they are taken. Is closed when the caller goes away.
    """

    body: Any = b""
    status: int = 200
    contentType: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    pieces: AsyncIterator[bytes] | None = None


class Refused(Exception):
    """
    The request can't be met; the caller is told why.

    @ivar status: The HTTP status.
    @ivar reason: What is wrong, in words.
    @ivar fields: What goes into the answer besides C{error}.
    """

    def __init__(self, status: int, reason: str, **fields: Any) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.fields = fields

    def __str__(self) -> str:
        return self.reason


@attrs.frozen
class Route:
    """
    One endpoint.

    @ivar method: The HTTP method.
    @ivar path: The path below L{PREFIX}, such as C{/clients/{ip}}.
    @ivar handle: Is called with a L{Call} and gives what JSON can hold, a
        L{Reply}, or a Deferred or coroutine of either. Raises L{Refused}; of
        L{dnsguard.errors} a C{PolicyError} is answered as 400, a C{StoreError}
        as 503, others as 500.
    @ivar role: The least that one must be.
    @ivar summary: What it does, in a sentence.
    @ivar query: Parameters behind the question mark; one with a C{default} may
        be left out, and so may all others unless they are in C{needed}.
    @ivar needed: Query parameters that must be there.
    @ivar body: What must come as JSON; L{None}: nothing is read.
    @ivar bodyNeeded: Must it come at all?
    @ivar bodyMost: Octets of it. Reading JSON can't be left to a thread: all
        others wait for it there, too.
    @ivar response: What is answered with status 200.
    @ivar contentType: What the answer is, if it isn't JSON.
    @ivar otherTypes: What else it may be.
    @ivar period: Seconds between calls that are let through, two at a time at
        most, whoever calls; 0: no limit.
    @ivar aliases: Full paths at which it is found as well.
    @ivar errors: Statuses that this route in particular may answer, and why.
    @ivar audited: Is it written down who called? By default all that may
        change something is.
    """

    method: str
    path: str
    handle: Callable[[Call], Any]
    role: Role
    summary: str
    query: Mapping[str, Schema] = attrs.field(factory=dict)
    needed: tuple[str, ...] = ()
    body: Schema | None = None
    bodyNeeded: bool = True
    bodyMost: int = SMALL_BODY
    response: Schema = ANYTHING
    contentType: str = "application/json"
    otherTypes: tuple[str, ...] = ()
    period: float = 0.0
    aliases: tuple[str, ...] = ()
    errors: Mapping[int, str] = attrs.field(factory=dict)
    audited: bool = attrs.field()

    @audited.default
    def _changes(self) -> bool:
        return self.method not in {"GET", "HEAD"}

    @property
    def canonical(self) -> str:
        """
        The path that it is documented at.
        """
        return PREFIX + self.path

    @property
    def parameters(self) -> tuple[str, ...]:
        """
        The names that stand in its path.
        """
        return tuple(re.findall(r"\{(\w+)\}", self.path))


class Family(Protocol):
    """
    Endpoints that belong together.

    @ivar name: What they are called: one or two words.
    @ivar meaning: What they are for: a sentence or two.
    """

    @property
    def name(self) -> str: ...

    @property
    def meaning(self) -> str: ...

    def routes(self) -> Iterable[Route]:
        """
        Declare the endpoints. Called once; handlers look up what they need
        when they are called.
        """
