# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.errors} and L{dnsguard.control.metrics}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.errors import ErrorFamily
from dnsguard.control.metrics import MetricsFamily
from dnsguard.errors import PolicyError
from dnsguard.wire.names import fromText
from tests.support.control import PromptMemoryReactor, Response, ask, factoryOf


class Levels:
    """
    A log's level.
    """

    def __init__(self) -> None:
        self.now = "info"
        self.fixed = False

    def level(self) -> str:
        """
        Say it.
        """
        return self.now

    def setLevel(self, level: str) -> None:
        """
        Change it, if it can be.
        """
        if not self.fixed:
            self.now = level


class Tracing:
    """
    Notes what is to be traced.
    """

    words: Sequence[str] = ("refresh_upstream", "query_resolution")

    def __init__(self) -> None:
        self.rule: tuple[list[str], list[str], list[bytes], list[str]] = ([], [], [], [])

    def traced(self) -> list[str]:
        """
        Say what is.
        """
        return self.rule[0]

    def trace(
        self, events: list[str], clients: list[str], names: list[bytes], groups: list[str]
    ) -> None:
        """
        Note it.
        """
        if "nobody" in (*clients, *groups):
            raise PolicyError("clients", "nobody is called so")
        self.rule = (events, clients, names, groups)


class ErrorTests(SynchronousTestCase):
    """
    Tests for L{ErrorFamily}.
    """

    def setUp(self) -> None:
        self.levels, self.tracing = Levels(), Tracing()
        self.entries = [{"message": "x", "timestamp": "t", "severity": "error", "doc_ref": "d"}]
        family = ErrorFamily(lambda: self.entries, self.levels, self.tracing)
        self.factory = factoryOf(PromptMemoryReactor(), family)

    def ask(self, method: str, path: str, body: Any = None) -> Response:
        """
        Ask as an operator.
        """
        return ask(self.factory, method, path, body, token="operator")

    def test_errors(self) -> None:
        """
        What is kept is given with the level, at all documented paths.
        """
        for path in ("/errors", "/api/errors", "/api/v1/errors"):
            self.assertEqual(
                self.ask("GET", path).json, {"errors": self.entries, "log_level": "info"}
            )

    def test_level(self) -> None:
        """
        The level can be changed; where it can't be that is said.
        """
        body = {"log_level": "debug"}
        self.assertEqual(self.ask("PUT", "/api/errors/log-level", body).status, 200)
        self.assertEqual(self.levels.now, "debug")
        self.assertEqual(self.ask("PUT", "/api/v1/log-level", {"log_level": "x"}).status, 400)
        self.levels.fixed = True
        response = self.ask("PUT", "/api/v1/log-level", {"log_level": "error"})
        self.assertEqual(response.status, 409)

    def test_trace(self) -> None:
        """
        A set of events replaces the one before; unknown ones are passed over;
        nothing traced is null.
        """
        told = self.ask("GET", "/trace-events").json
        self.assertEqual(told, {"events": None, "all_events": [*Tracing.words]})
        body = {
            "events": ["query_resolution", "nonsense"],
            "clients": ["192.0.2.1", "tablet"],
            "groups": ["kids"],
            "names": ["Example.ORG"],
        }
        told = self.ask("PUT", "/trace-events", body).json
        self.assertEqual((told["ok"], told["events"]), (True, ["query_resolution"]))
        self.assertEqual(
            self.tracing.rule,
            (
                ["query_resolution"],
                ["192.0.2.1", "tablet"],
                [fromText("example.org")],
                ["kids"],
            ),
        )
        self.assertEqual(self.ask("GET", "/trace-events").json["events"], ["query_resolution"])
        self.ask("PUT", "/trace-events", {"events": []})
        self.assertEqual(self.tracing.rule, ([], [], [], []))

    def test_wrongTrace(self) -> None:
        """
        Clients, groups and names that are none leave all as it was.
        """
        for more in ({"clients": ["nobody"]}, {"groups": ["nobody"]}, {"names": ["a..b"]}):
            body = {"events": ["query_resolution"], **more}
            self.assertEqual(self.ask("PUT", "/trace-events", body).status, 400)
        self.assertEqual(self.tracing.rule, ([], [], [], []))


class MetricsTests(SynchronousTestCase):
    """
    Tests for L{MetricsFamily}.
    """

    def gather(self) -> Any:
        """
        Read the numbers.
        """
        return 5

    def encode(self, accept: str, gathered: Any) -> tuple[bytes, str]:
        """
        Write them down.
        """
        return b"dnsguard_x %d\n" % gathered, f"text/plain; for={accept}"

    def test_metrics(self) -> None:
        """
        Metrics need no token; their form is as the client accepts it.
        """
        factory = factoryOf(PromptMemoryReactor(), MetricsFamily(self, maybeDeferred))
        response = ask(factory, "GET", "/metrics", headers=[("Accept", "openmetrics")])
        self.assertEqual((response.status, response.body), (200, b"dnsguard_x 5\n"))
        self.assertEqual(response.headers["content-type"], "text/plain; for=openmetrics")
