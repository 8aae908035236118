# -*- test-case-name: tests.control.test_site -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The site: every request's way from the door to its route and back.

Routes are declared by L{families <dnsguard.control.route.Family>}; whatever is
the same for all of them is done here, in one order: who is it, may they, how
often, is what came in order, do it, write down who did it, answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from inspect import isawaitable
from typing import Any, Protocol

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from werkzeug.exceptions import HTTPException

from dnsguard.control.auth import peerAddress
from dnsguard.control.route import PREFIX, Call, Caller, Family, Refused, Reply, Role, Route
from dnsguard.control.schema import Invalid, check, fromText
from dnsguard.control.stream import closePieces, sendPieces
from dnsguard.control.throttling import Bucket
from dnsguard.errors import DNSGuardError, PolicyError, StoreError

__all__ = ["ControlSite", "Doorman", "Scribe"]

SECURITY_HEADERS = {
    "Server": "dnsguard",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Doorman(Protocol):
    """
    Says who calls.
    """

    def identify(self, request: Any) -> Caller:
        """
        Look at a request's credentials, if it has any.

        @raise Refused: They are wrong, or too many were.
        """


class Scribe(Protocol):
    """
    Writes down who did what.
    """

    def note(self, caller: Caller, method: str, path: str, status: int) -> None:
        """
        Note that something was done, or tried.
        """


class ControlSite:
    """
    All routes.

    @ivar app: The L{Klein} application.
    @ivar declared: The families, and the routes that each declares.
    @ivar routes: All routes.
    @ivar requests: How many requests were answered, by the name of the family,
        method and status; C{none} is the family of what is for no route.
    """

    log = Logger()

    def __init__(
        self,
        families: Iterable[Family],
        doorman: Doorman,
        scribe: Scribe,
        clock: IReactorTime,
    ) -> None:
        """
        @raise ValueError: Two routes have the same method and path.
        """
        self.app = Klein()
        # Otherwise paths that are almost right are redirected, with HTML.
        self.app.url_map.merge_slashes = False
        self.app.url_map.strict_slashes = False
        self.routes: list[Route] = []
        self.declared = tuple((family, tuple(family.routes())) for family in families)
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self._doorman = doorman
        self._scribe = scribe
        self._clock = clock
        self._taken: set[tuple[str, str]] = set()
        for family, routes in self.declared:
            for route in routes:
                self.add(route, family.name)
        self.app.handle_errors(HTTPException)(self._unrouted)

    def add(self, route: Route, family: str) -> None:
        """
        Serve a route at all its paths.

        @param family: What it is counted under.
        """
        self.routes.append(route)
        bucket = Bucket(route.period) if route.period else None
        for path in (route.canonical, *route.aliases):
            if (route.method, path) in self._taken:
                raise ValueError(f"{route.method} {path} is declared twice")
            self._taken.add((route.method, path))
            pattern = path
            for name in route.parameters:
                # A network such as 192.0.2.0/24 has a slash in it.
                pattern = pattern.replace(f"{{{name}}}", f"<path:{name}>")
            self._serve(route, family, pattern, bucket)

    def _serve(self, route: Route, family: str, pattern: str, bucket: Bucket | None) -> None:
        async def answer(request: Any, parameters: Mapping[str, str]) -> None:
            reply = await self._answer(route, bucket, request, parameters)
            await self._send(request, reply, family, route.method)

        def endpoint(request: Any, **parameters: str) -> Deferred[None]:
            doing = Deferred.fromCoroutine(answer(request, parameters))
            # What has begun is done, whether the client waits for it or not.
            waiting: Deferred[None] = Deferred(lambda _: None)
            doing.addBoth(lambda result: None if waiting.called else waiting.callback(result))
            return waiting

        endpoint.__name__ = f"{route.method} {pattern}"
        self.app.route(pattern, methods=[route.method])(endpoint)

    # From here on in the order in which it happens.

    async def _answer(
        self, route: Route, bucket: Bucket | None, request: Any, parameters: Mapping[str, str]
    ) -> Reply:
        caller = Caller("", Role.NOBODY, peerAddress(request))
        try:
            if route.role is not Role.NOBODY:
                caller = self._doorman.identify(request)
            self._admit(route, bucket, caller)
            reply = await self._handled(route, self._call(route, caller, request, parameters))
        except Exception as failure:
            reply = self._failed(failure)
        if route.audited:
            path = request.path.decode("utf-8", "replace")
            self._scribe.note(caller, route.method, path, reply.status)
        return reply

    def _admit(self, route: Route, bucket: Bucket | None, caller: Caller) -> None:
        """
        May they do this, and not too often?
        """
        if caller.role < route.role:
            if caller.role is Role.NOBODY:
                raise Refused(401, "a token is needed")
            raise Refused(403, f"the role {route.role.word} is needed")
        if bucket is not None:
            wait = bucket.take(self._clock.seconds())
            if wait:
                raise Refused(429, "rate limit exceeded", retry_after_seconds=int(wait) + 1)

    def _call(
        self, route: Route, caller: Caller, request: Any, parameters: Mapping[str, str]
    ) -> Call:
        """
        Check what came.
        """
        try:
            return Call(
                caller,
                dict(parameters),
                readQuery(route, request.args),
                readBody(route, request),
                _header(request, b"if-match"),
                _header(request, b"if-none-match"),
                _header(request, b"accept"),
            )
        except Invalid as problem:
            raise Refused(400, str(problem), field=problem.place) from None

    async def _handled(self, route: Route, call: Call) -> Reply:
        result = route.handle(call)
        if isawaitable(result):
            result = await result
        return result if isinstance(result, Reply) else Reply(result)

    def _failed(self, failure: Exception) -> Reply:
        """
        Turn what went wrong into an answer.
        """
        if isinstance(failure, Refused):
            status, reason, fields = failure.status, failure.reason, failure.fields
        elif isinstance(failure, PolicyError):
            status, reason, fields = 400, failure.reason, {"place": failure.place}
        elif isinstance(failure, DNSGuardError):
            status = 503 if isinstance(failure, StoreError) else 500
            reason, fields = str(failure), {}
        else:
            self.log.failure("a request of the control API failed")
            status, reason, fields = 500, "internal error; the log says more", {}
        headers = {}
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="dnsguard"'
        if "retry_after_seconds" in fields:
            headers["Retry-After"] = str(fields["retry_after_seconds"])
        return Reply({"error": reason, **fields}, status, headers=headers)

    def _unrouted(self, request: Any, failure: Any) -> Deferred[None]:
        """
        Answer what is for no route.
        """
        status = failure.value.code or 404
        reply = Reply({"error": "no such method" if status == 405 else "no such path"}, status)
        allowed = getattr(failure.value, "valid_methods", None)
        if status == 405 and allowed:
            reply.headers["Allow"] = ", ".join(sorted(allowed))  # type: ignore[index]
        method = request.method.decode("latin-1")
        known = method if method in _METHODS else "other"
        return Deferred.fromCoroutine(self._send(request, reply, "none", known))

    async def _send(self, request: Any, reply: Reply, family: str, method: str) -> None:
        if request._disconnected:
            await closePieces(reply.pieces)
            return
        self.requests[family, method, reply.status] += 1
        request.setResponseCode(reply.status)
        for name, value in {**SECURITY_HEADERS, **reply.headers}.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", reply.contentType)
        if reply.pieces is not None:
            await sendPieces(request, reply.pieces)
            return
        body = reply.body
        if not isinstance(body, bytes):
            body = b"" if self._isEmpty(request, reply.status) else toJSON(body)
        request.setHeader("Content-Length", str(len(body)))
        request.write(body)

    def _isEmpty(self, request: Any, status: int) -> bool:
        """
        Some answers are documented to be empty at the documented paths.
        """
        return status in (401, 405) and not request.path.startswith(PREFIX.encode() + b"/")


def toJSON(value: Any) -> bytes:
    """
    Write JSON as it is sent.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "replace"
    )


def _header(request: Any, name: bytes) -> str:
    value: bytes = request.getHeader(name) or b""
    return value.decode("latin-1").strip().removeprefix("W/")


def _noNumber(word: str) -> None:
    # RFC 8259 §6 has neither NaN nor Infinity.
    raise ValueError(word)


def readQuery(route: Route, arguments: Mapping[bytes, list[bytes]]) -> dict[str, Any]:
    """
    Read what stands behind the question mark. What nobody asks for is passed
    over: proxies and browsers add things.

    @raise Invalid: It isn't as the route has it.
    """
    query = {
        name: schema["default"] for name, schema in route.query.items() if "default" in schema
    }
    for name, schema in route.query.items():
        given = arguments.get(name.encode())
        if given is None:
            if name in route.needed:
                raise Invalid(name, "is needed")
            continue
        try:
            query[name] = fromText(schema, given[-1].decode("utf-8"), name)
        except UnicodeDecodeError:
            raise Invalid(name, "not UTF-8") from None
    return query


def readBody(route: Route, request: Any) -> Any:
    """
    Read the JSON that came.

    @raise Invalid: It isn't as the route has it.
    """
    if route.body is None:
        return {}
    octets = request.content.read()
    if len(octets) > route.bodyMost:
        raise Refused(413, f"the body is larger than {route.bodyMost >> 10} KiB")
    if not octets:
        if route.bodyNeeded:
            raise Invalid("body", "JSON is needed")
        return {}
    # A page of another origin can't send this type without asking first.
    kind = (request.getHeader(b"content-type") or b"").split(b";")[0].strip().lower()
    if kind and kind != b"application/json" and not kind.endswith(b"+json"):
        raise Refused(415, "send application/json")
    try:
        body = json.loads(octets, parse_constant=_noNumber)
    except (ValueError, RecursionError):
        raise Invalid("body", "not JSON") from None
    check(route.body, body)
    return body
