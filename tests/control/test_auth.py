# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.auth}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.auth import Authenticator, isLoopback
from dnsguard.control.channel import ControlFactory
from dnsguard.control.route import Caller, Refused, Role, Route
from dnsguard.control.site import ControlSite
from dnsguard.control.throttling import ATTEMPTS, FORGIVEN_AFTER
from dnsguard.control.tokens import newToken
from tests.support.control import (
    Connection,
    Fixed,
    Paper,
    PromptMemoryReactor,
    Response,
    ask,
)


class AuthenticatorTests(SynchronousTestCase):
    """
    Tests for L{Authenticator}.
    """

    def setUp(self) -> None:
        self.now = 1_000_000.0
        self.callers: list[Caller] = []

    def make(self, **settings: Any) -> Authenticator:
        """
        An authenticator, asked by L{ask}.
        """
        self.authenticator = Authenticator(now=lambda: self.now, **settings)
        reactor = PromptMemoryReactor()

        def handle(call: Any) -> Any:
            self.callers.append(call.caller)
            return {}

        route = Route("GET", "/x", handle, Role.VIEWER, "X.")
        site = ControlSite([Fixed([route])], self.authenticator, Paper(), reactor)
        self.factory = ControlFactory(site.app.resource(), reactor)
        return self.authenticator

    def ask(self, *headers: tuple[str, str], **more: Any) -> Response:
        """
        Ask with some headers.
        """
        return ask(self.factory, "GET", "/api/v1/x", headers=headers, **more)

    def test_tokens(self) -> None:
        """
        A token of the file is known by either header, with its role and name.
        """
        secret, token = newToken("dashboard", Role.VIEWER, self.now)
        authenticator = self.make()
        authenticator.adopt([token])
        for header in [("Authorization", f"bearer {secret}"), ("X-Auth-Token", secret)]:
            self.assertEqual(self.ask(header).status, 200)
            self.assertEqual(self.callers[-1], Caller("dashboard", Role.VIEWER, "127.0.0.1"))
        self.assertEqual(authenticator.lastUsed, {"dashboard": self.now})

    def test_expired(self) -> None:
        """
        A token that has expired is worth nothing.
        """
        secret, token = newToken("brief", Role.ADMIN, self.now, 60.0)
        self.make().adopt([token])
        self.assertEqual(self.ask(token=secret).status, 200)
        self.now += 60.0
        self.assertEqual(self.ask(token=secret).status, 401)

    def test_configured(self) -> None:
        """
        The token that the configuration sets may do everything, until another
        one is set.
        """
        authenticator = self.make(configured="from the file")
        self.assertEqual(self.ask(token="from the file").status, 200)
        self.assertEqual(self.callers[-1].role, Role.ADMIN)
        authenticator.configure("another one", False)
        self.assertEqual(self.ask(token="from the file").status, 401)

    def test_wrong(self) -> None:
        """
        Anything else is nobody's: no token, a wrong one, another scheme.
        """
        self.make(configured="right")
        for headers in [
            (),
            (("Authorization", "Bearer wrong"),),
            (("Authorization", "Bearer"),),
            (("Authorization", "Basic cmlnaHQ="),),
            (("X-Auth-Token", "Right"),),
            (("X-Auth-Token", "r\xefght"),),
        ]:
            response = self.ask(*headers)
            self.assertEqual(response.status, 401, headers)
            self.assertEqual(response.headers["www-authenticate"], 'Bearer realm="dnsguard"')
        self.assertEqual(self.callers, [])

    def test_guessersAreShutOut(self) -> None:
        """
        After some wrong guesses an address isn't listened to for a while, be
        the token right; others are.
        """
        self.make(configured="right")
        for number in range(ATTEMPTS):
            self.assertEqual(self.ask(token=f"wrong {number}").status, 401)
        response = self.ask(token="right")
        self.assertEqual((response.status, "retry-after" in response.headers), (429, True))
        self.assertEqual(self.ask(token="right", address="192.0.2.7").status, 200)
        self.now += FORGIVEN_AFTER
        self.assertEqual(self.ask(token="right").status, 200)

    def test_wholeNetworksAreShutOut(self) -> None:
        """
        Who has an IPv6 network of 64 bits has no more guesses than others.
        """
        self.make(configured="right")
        for number in range(ATTEMPTS):
            self.ask(token="wrong", address=f"2001:db8::{number:x}")
        self.assertEqual(self.ask(token="right", address="2001:db8::ffff").status, 429)
        self.assertEqual(self.ask(token="right", address="2001:db8:0:1::1").status, 200)

    def test_openToThisMachine(self) -> None:
        """
        Where no token is required and none is there, this machine may do
        everything, and others nothing.
        """
        self.make(openOnLoopback=True)
        self.assertEqual(self.ask().status, 200)
        self.assertEqual(self.callers[-1].role, Role.ADMIN)
        self.assertEqual(self.ask(address="192.0.2.7").status, 401)

    def test_notOpenToPages(self) -> None:
        """
        A page that a browser on this machine shows gets nothing without a
        token, neither by its origin nor by a name that it leads here.
        """
        self.make(openOnLoopback=True)
        self.assertEqual(self.ask(("Origin", "http://evil.example")).status, 403)
        for name, status in [
            ("evil.example", 403),
            ("localhost.evil.example:8081", 403),
            ("[", 403),
            ("127.0.0.1:8081", 200),
            ("[::1]:8081", 200),
        ]:
            lines = f"GET /api/v1/x HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
            self.assertEqual(self.raw(lines), status, name)

    def raw(self, octets: bytes) -> int:
        """
        Send octets; give the answer's status.
        """
        connection = Connection(self.factory)
        connection.send(octets)
        return connection.responses()[0].status

    def test_anyTokenCloses(self) -> None:
        """
        A token, be it one that has expired, closes what was open.
        """
        _, token = newToken("old", Role.VIEWER, self.now - 100.0, 1.0)
        self.make(openOnLoopback=True).adopt([token])
        self.assertEqual(self.ask().status, 401)

    def test_sessions(self) -> None:
        """
        A session is worth something for a day, or until all are ended; there
        are never more than so many.
        """
        authenticator = self.make(configured="x")
        secret, _ = authenticator.beginSession()
        self.assertEqual(self.ask(token=secret).status, 200)
        self.now += 24 * 3600.0
        self.assertEqual(self.ask(token=secret).status, 401)
        first, _ = authenticator.beginSession()
        for _ in range(100):
            last, _ = authenticator.beginSession()
        self.assertEqual((self.ask(token=first).status, self.ask(token=last).status), (401, 200))
        authenticator.endSessions()
        self.assertEqual(self.ask(token=last).status, 401)

    def test_admit(self) -> None:
        """
        Passwords that are wrong count like tokens that are.
        """
        authenticator = self.make(configured="x")
        for _ in range(ATTEMPTS):
            authenticator.admit("192.0.2.1")
            authenticator.failed("192.0.2.1")
        self.assertRaises(Refused, authenticator.admit, "192.0.2.1")

    def test_loopback(self) -> None:
        """
        Loopback is what only this machine reaches.
        """
        for address, expected in [
            ("127.0.0.1", True),
            ("127.9.9.9", True),
            ("::1", True),
            ("::ffff:127.0.0.1", True),
            ("0.0.0.0", False),
            ("::", False),
            ("192.0.2.1", False),
            ("fe80::1%lo", False),
            ("localhost", False),
        ]:
            self.assertIs(isLoopback(address), expected, address)
