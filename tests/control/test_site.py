# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.site}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.channel import ControlFactory
from dnsguard.control.route import LARGE_BODY, SMALL_BODY, Call, Refused, Reply, Role, Route
from dnsguard.control.schema import integer, record, text
from dnsguard.control.site import ControlSite
from dnsguard.errors import PolicyError, StoreError
from tests.support.control import (
    Connection,
    Fixed,
    Paper,
    PromptMemoryReactor,
    Response,
    ask,
    factoryOf,
)


class SiteTests(SynchronousTestCase):
    """
    Tests for L{ControlSite}.
    """

    def setUp(self) -> None:
        self.reactor = PromptMemoryReactor()
        self.paper = Paper()
        self.calls: list[Call] = []
        self.result: Any = {"ok": True}

    def handle(self, call: Call) -> Any:
        """
        Note a call and answer as the test wants it.
        """
        self.calls.append(call)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        route: dict[str, Any] | None = None,
        **more: Any,
    ) -> Response:
        """
        Ask a site with one route.
        """
        declared = {
            "method": "POST",
            "path": "/things/{name}",
            "role": Role.OPERATOR,
            "summary": "Do things.",
            "aliases": ("/things/{name}",),
            **(route or {}),
        }
        family = Fixed([Route(handle=self.handle, **declared)])
        factory = factoryOf(self.reactor, family, paper=self.paper)
        return ask(factory, method, path, body, **{"token": "operator", **more})

    def test_answered(self) -> None:
        """
        A route is found at its canonical path and at its aliases; what is in
        the path goes with the call, slashes included.
        """
        for path, name in [
            ("/api/v1/things/a", "a"),
            ("/things/b", "b"),
            ("/things/192.0.2.0/24", "192.0.2.0/24"),
            ("/things/192.0.2.0%2F24", "192.0.2.0/24"),
            ("/things/%C3%A4", "ä"),
        ]:
            response = self.ask("POST", path)
            self.assertEqual((response.status, response.json), (200, {"ok": True}))
            self.assertEqual(self.calls[-1].parameters, {"name": name})
        self.assertEqual(response.headers["content-type"], "application/json")

    def test_rolesAreAsked(self) -> None:
        """
        Without a token nobody gets in; with one of a lesser role neither, and
        nothing is done.
        """
        self.assertEqual(self.ask("POST", "/api/v1/things/a", token="").status, 401)
        self.assertEqual(self.ask("POST", "/api/v1/things/a", token="viewer").status, 403)
        self.assertEqual(self.calls, [])
        self.assertEqual(self.ask("POST", "/api/v1/things/a", token="admin").status, 200)

    def test_documentedEmptyBodies(self) -> None:
        """
        At the documented paths 401 and 405 have no body, as documented; at the
        canonical ones they have.
        """
        for method, token, status in [("POST", "", 401), ("GET", "operator", 405)]:
            short = self.ask(method, "/things/a", token=token)
            long = self.ask(method, "/api/v1/things/a", token=token)
            self.assertEqual((short.status, short.body), (status, b""))
            self.assertEqual(long.status, status)
            self.assertIn("error", long.json)
        self.assertEqual(long.headers["allow"], "POST")

    def test_unknownPath(self) -> None:
        """
        A path that there isn't is answered as JSON.
        """
        for path in ("/", "/api/v1/nothing", "/things", "/api/v1"):
            response = self.ask("POST", path)
            self.assertEqual((response.status, response.json), (404, {"error": "no such path"}))

    def test_securityHeaders(self) -> None:
        """
        Every answer, errors included, tells browsers to do nothing with it, and
        no other origin may read it.
        """
        for path in ("/api/v1/things/a", "/nothing"):
            headers = self.ask("POST", path, headers=[("Origin", "http://evil.example")]).headers
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertIn("default-src 'none'", headers["content-security-policy"])
            self.assertEqual(headers["cache-control"], "no-store")
            self.assertNotIn("access-control-allow-origin", headers)

    def test_bodyIsChecked(self) -> None:
        """
        A body that isn't JSON, or not as declared, is refused with its place.
        """
        route = {"body": record({"count": integer(1, 5), "note": text()}, optional=("note",))}
        for body, field in [
            (None, "body"),
            (b"{", "body"),
            (b"[" * 60_000, "body"),
            (b'{"count": NaN}', "body"),
            ({}, "count"),
            ({"count": 9}, "count"),
            ({"count": True}, "count"),
            ({"count": 1, "note": "\ud800"}, "note"),
            ({"count": 1, "more": 2}, "more"),
        ]:
            response = self.ask("POST", "/api/v1/things/a", body, route)
            self.assertEqual((response.status, response.json["field"]), (400, field), body)
        self.assertEqual(self.calls, [])
        self.ask("POST", "/api/v1/things/a", {"count": 3}, route)
        self.assertEqual(self.calls[0].body, {"count": 3})

    def test_bodyIsBounded(self) -> None:
        """
        A body larger than the route has use for isn't looked into.
        """
        route: dict[str, Any] = {"body": record({"note": text(most=1 << 20)})}
        for size, status in [(SMALL_BODY - 100, 200), (SMALL_BODY, 413)]:
            response = self.ask("POST", "/api/v1/things/a", {"note": "x" * size}, route)
            self.assertEqual(response.status, status)
        route["bodyMost"] = LARGE_BODY
        response = self.ask("POST", "/api/v1/things/a", {"note": "x" * SMALL_BODY}, route)
        self.assertEqual(response.status, 200)

    def test_otherContentIsRefused(self) -> None:
        """
        A form that a page sends to us isn't taken for JSON.
        """
        factory = factoryOf(
            self.reactor,
            Fixed([Route("POST", "/x", self.handle, Role.OPERATOR, "X.", body=record({}))]),
        )
        connection = Connection(factory)
        connection.send(
            b"POST /api/v1/x HTTP/1.1\r\nAuthorization: Bearer operator\r\n"
            b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
        )
        self.assertEqual(connection.responses()[0].status, 415)
        self.assertEqual(self.calls, [])

    def test_queryIsChecked(self) -> None:
        """
        Parameters are read by their schemas; unknown ones are passed over.
        """
        route = {
            "method": "GET",
            "query": {"page": integer(1, 9, default=1), "name": text(most=5)},
            "needed": ("name",),
        }
        path = "/api/v1/things/a"
        for query, field in [("", "name"), ("?name=toolong", "name"), ("?name=a&page=x", "page")]:
            response = self.ask("GET", path + query, None, route)
            self.assertEqual((response.status, response.json["field"]), (400, field))
        self.assertEqual(self.ask("GET", f"{path}?name=%FF", None, route).status, 400)
        self.ask("GET", f"{path}?name=ab&other=1", None, route)
        self.assertEqual(self.calls[0].query, {"page": 1, "name": "ab"})

    def test_limited(self) -> None:
        """
        Two calls are let through, then one a period, at whichever path; those
        who have no token don't use it up.
        """
        factory = factoryOf(
            self.reactor,
            Fixed(
                [
                    Route(
                        "POST",
                        "/x",
                        self.handle,
                        Role.OPERATOR,
                        "X.",
                        period=10.0,
                        aliases=("/x",),
                    )
                ]
            ),
        )

        def status(path: str, token: str = "operator") -> int:
            return ask(factory, "POST", path, token=token).status

        for _ in range(5):
            self.assertEqual(status("/x", token=""), 401)
        found = [status("/x"), status("/api/v1/x"), status("/x")]
        self.assertEqual(found, [200, 200, 429])
        response = ask(factory, "POST", "/x", token="operator")
        self.assertEqual(response.json["error"], "rate limit exceeded")
        self.assertEqual(response.headers["retry-after"], "11")
        self.reactor.advance(10.0)
        self.assertEqual([status("/x"), status("/x")], [200, 429])

    def test_failures(self) -> None:
        """
        What goes wrong is an answer: what dnsguard raises with its words, what
        nobody foresaw without.
        """
        for failure, status, error in [
            (Refused(409, "not now", why="x"), 409, "not now"),
            (PolicyError("client_groups", "no such group"), 400, "no such group"),
            (StoreError("redis", "away"), 503, "redis: away"),
        ]:
            self.result = failure
            response = self.ask("POST", "/api/v1/things/a")
            self.assertEqual((response.status, response.json["error"]), (status, error))
        self.result = ZeroDivisionError("a secret")
        response = self.ask("POST", "/api/v1/things/a")
        self.assertEqual(response.status, 500)
        self.assertNotIn(b"secret", response.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_audited(self) -> None:
        """
        Who changes something, or tries to, is written down; who reads isn't.
        """
        self.ask("POST", "/api/v1/things/a?secret=1")
        self.ask("GET", "/api/v1/things/a", None, {"method": "GET"})
        self.ask("POST", "/api/v1/things/a", token="viewer")
        self.assertEqual(
            self.paper.noted,
            [
                ("operator", "POST", "/api/v1/things/a", 200),
                ("viewer", "POST", "/api/v1/things/a", 403),
            ],
        )

    def test_counted(self) -> None:
        """
        Requests are counted by family, method and status; whatever else comes
        doesn't make names of its own.
        """
        route = Route("POST", "/things/{name}", self.handle, Role.OPERATOR, "Do things.")
        site = ControlSite([Fixed([route])], self.paper, self.paper, self.reactor)
        factory = ControlFactory(site.app.resource(), self.reactor)
        for method, path, token in [
            ("POST", "/api/v1/things/a", "operator"),
            ("POST", "/api/v1/things/b", "operator"),
            ("POST", "/api/v1/things/b", "viewer"),
            ("GET", "/api/v1/things/b", "viewer"),
            ("GET", "/nothing", "viewer"),
            ("BREW", "/nothing", "viewer"),
            ("STEEP", "/nothing", "viewer"),
        ]:
            ask(factory, method, path, token=token)
        self.assertEqual(
            site.requests,
            {
                ("Fixed", "POST", 200): 2,
                ("Fixed", "POST", 403): 1,
                ("none", "GET", 405): 1,
                ("none", "GET", 404): 1,
                ("none", "other", 404): 2,
            },
        )

    def test_doneThoughTheClientLeaves(self) -> None:
        """
        What has begun isn't cancelled when the client goes, and is written
        down when it is done.
        """
        cancelled: list[object] = []
        self.result = Deferred(cancelled.append)
        factory = factoryOf(
            self.reactor,
            Fixed([Route("POST", "/x", self.handle, Role.OPERATOR, "X.")]),
            paper=self.paper,
        )
        connection = Connection(factory)
        connection.send(b"POST /api/v1/x HTTP/1.1\r\nAuthorization: Bearer operator\r\n\r\n")
        connection.channel.connectionLost()
        self.assertEqual((cancelled, self.paper.noted), ([], []))
        self.result.callback({"ok": True})
        self.assertEqual(self.paper.noted, [("operator", "POST", "/api/v1/x", 200)])

    def test_otherReplies(self) -> None:
        """
        A route may answer with a status, headers and content of its own.
        """
        self.result = Reply(b"<p>", 203, "text/html", {"ETag": '"x"'})
        response = self.ask("POST", "/api/v1/things/a")
        self.assertEqual((response.status, response.body), (203, b"<p>"))
        self.assertEqual(response.headers["etag"], '"x"')
        self.assertEqual(response.headers["content-type"], "text/html")

    def test_sameRouteTwice(self) -> None:
        """
        Two families can't declare the same route.
        """
        route = Route("GET", "/x", self.handle, Role.VIEWER, "X.")
        with self.assertRaises(ValueError):
            ControlSite([Fixed([route]), Fixed([route])], self.paper, self.paper, self.reactor)

    def test_oddRequests(self) -> None:
        """
        Requests that stray from HTTP are answered, or their connection ends;
        nothing is logged as an error.
        """
        factory = factoryOf(
            self.reactor, Fixed([Route("GET", "/x", self.handle, Role.VIEWER, "X")])
        )
        for octets in [
            b"GET /api/v1/x HTTP/1.1\r\nHost: \xff[\r\n\r\n",
            b"GET http://[/x HTTP/1.1\r\n\r\n",
            b"GET /api/v1/%FF HTTP/1.1\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"G\xc0T /x HTTP/1.1\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\n\r\n",
            b"GET /x\r\n\r\n",
            b"\r\n\r\n\r\n",
            b"GET /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]:
            connection = Connection(factory)
            connection.send(octets)
            for response in connection.responses():
                self.assertLess(response.status, 500, octets)
