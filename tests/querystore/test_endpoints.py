# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.endpoints}.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError

MISSING = find_spec("clickhouse_connect") is None

if TYPE_CHECKING or not MISSING:
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

    from dnsguard.querystore.endpoints import Credentials, Endpoints, Refused


class FakeClient:
    """
    What stands for the library's client.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.closed = False

    def close(self) -> None:
        """
        Note that.
        """
        self.closed = True


class EndpointsTests(SynchronousTestCase):
    """
    Servers asked one after the other.
    """

    if MISSING:
        skip = "needs the package clickhouse-connect"

    def setUp(self) -> None:
        self.clients: list[FakeClient] = []
        self.down: set[str] = set()
        self.patch(clickhouse_connect, "get_client", self.connect)
        self.endpoints = Endpoints(
            ["http://a:1", "https://b", "http://c/path"], Credentials("writer", "secret")
        )

    def connect(self, **arguments: Any) -> FakeClient:
        """
        Make a client, unless its server is down.
        """
        if arguments["host"] in self.down:
            raise OperationalError("refused")
        client = FakeClient(arguments)
        self.clients.append(client)
        return client

    def host(self, client: FakeClient) -> str:
        """
        Tell which server a client is for.
        """
        if client.arguments["host"] in self.down:
            raise OperationalError("gone")
        return str(client.arguments["host"])

    def test_places(self) -> None:
        """
        Addresses give host, port, TLS and path; credentials are apart.
        """
        for name in "ab":
            self.assertEqual(self.endpoints.call(self.host), name)
            self.down.add(name)
        self.assertEqual(self.endpoints.call(self.host), "c")
        found = [
            (
                client.arguments["host"],
                client.arguments["port"],
                client.arguments["secure"],
                client.arguments["proxy_path"],
            )
            for client in self.clients
        ]
        self.assertEqual(
            found, [("a", 1, False, ""), ("b", 8443, True, ""), ("c", 8123, False, "path")]
        )
        self.assertEqual(self.clients[0].arguments["username"], "writer")
        self.assertEqual(self.clients[0].arguments["password"], "secret")

    def test_staysWithWhatWorks(self) -> None:
        """
        The server that answered is asked first from then on; what failed is
        closed.
        """
        self.endpoints.call(self.host)
        self.down.add("a")
        self.assertEqual(self.endpoints.call(self.host), "b")
        self.down.clear()
        self.assertEqual(self.endpoints.call(self.host), "b")
        self.assertEqual(self.endpoints.failovers, 1)
        self.assertTrue(self.clients[0].closed)
        self.down.add("b")
        self.assertEqual(self.endpoints.call(self.host), "c")

    def test_allDown(self) -> None:
        """
        When none can be reached each reason is told.
        """
        self.down |= {"a", "b", "c"}
        problem = self.assertRaises(StoreError, self.endpoints.call, self.host)
        self.assertEqual(str(problem), "clickhouse: a: refused; b: refused; c: refused")

    def test_refusal(self) -> None:
        """
        What a server refuses isn't tried on the next.
        """

        def refuse(client: FakeClient) -> None:
            problem = DatabaseError("Code: 60. No such table\nand a page of text")
            problem.code = 60
            raise problem

        problem = self.assertRaises(Refused, self.endpoints.call, refuse)
        self.assertTrue(problem.isMissing)
        self.assertEqual(problem.reason, "Code: 60. No such table")
        self.assertEqual(len(self.clients), 1)

    def test_badAddresses(self) -> None:
        """
        Addresses that aren't, or that hold a password, are refused, and the
        password isn't shown.
        """
        for bad in (
            "ftp://a",
            "http://",
            "http://a:port",
            "http://u:hunter2@a",
            "http://a/?password=hunter2",
        ):
            problem = self.assertRaises(StoreError, Endpoints, [bad], Credentials())
            self.assertNotIn("hunter2", str(problem))
        self.assertRaises(StoreError, Endpoints, [], Credentials())

    def test_passwordIsNotShown(self) -> None:
        """
        Credentials don't show their password when printed.
        """
        self.assertNotIn("secret", repr(Credentials("writer", "secret")))
