# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.observing}, and for how a server is observed.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger, capturedLogs, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config.load import loadText
from dnsguard.config.model import Config
from tests.support.control import Server
from tests.support.events import eventOf

log = Logger(namespace="dnsguard.test")


class ObservingTests(SynchronousTestCase):
    """
    What a whole server tells of itself.
    """

    def server(self, config: str = "") -> Server:
        """
        Put a server together.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        server = Server(folder, config)
        server.start()
        return server

    def events(self, server: Server) -> list[str]:
        """
        What is logged when a query is answered, besides what always is.
        """
        with capturedLogs() as events:
            for observer in server.guard.server.observers:
                observer.queryAnswered(eventOf())
        return [formatEvent(event) for event in events]

    def apply(self, server: Server, config: Config) -> None:
        """
        Reload.
        """
        self.successResultOf(maybeDeferred(server.top.apply, config))

    def test_metrics(self) -> None:
        """
        Metrics are served to everybody, in the format asked for.
        """
        server = self.server()
        response = server.ask("GET", "/metrics", token="")
        self.assertEqual(response.status, 200)
        self.assertIn(b"\ndns_l0_entries 0.0\n", response.body)
        self.assertTrue(response.headers["content-type"].startswith("text/plain"))
        accept = [("Accept", "application/openmetrics-text; version=1.0.0")]
        response = server.ask("GET", "/api/v1/metrics", headers=accept)
        self.assertTrue(response.headers["content-type"].startswith("application/openmetrics"))
        self.assertTrue(response.body.endswith(b"# EOF\n"))

    def test_queriesAreCounted(self) -> None:
        """
        What is answered is counted.
        """
        server = self.server()
        for observer in server.guard.server.observers:
            observer.queryAnswered(eventOf())
        line = (
            b'dnsguard_queries_total{outcome="upstream",qtype="A",rcode="NOERROR",transport="udp"}'
            b" 1.0"
        )
        self.assertIn(line, server.ask("GET", "/metrics").body.splitlines())

    def test_errors(self) -> None:
        """
        Errors are shown with what explains them, and are known in the next
        run.
        """
        server = self.server()
        errors = server.top.getServiceNamed("errors")
        errors.startService()
        log.warn("block list {name} failed: {reason}", name="ads", reason="404")
        shown = server.ask("GET", "/errors").json
        self.assertEqual(shown["log_level"], "info")
        (error,) = shown["errors"]
        self.assertEqual(error["message"], "block list ads failed: 404")
        self.assertEqual(error["severity"], "warning")
        self.assertEqual(error["doc_ref"], "blocklist-source-status")
        self.successResultOf(errors.stopService())
        again = Server(server.folder)
        again.start()
        errors = again.top.getServiceNamed("errors")
        errors.startService()
        self.assertEqual(again.ask("GET", "/errors").json["errors"], [error])
        self.successResultOf(errors.stopService())
        self.assertNotIn(errors.errors, globalLogPublisher._observers)

    def test_errorsElsewhere(self) -> None:
        """
        A reload can keep errors elsewhere, or in memory alone.
        """
        server = self.server()
        errors = server.top.getServiceNamed("errors")
        errors.startService()
        self.addCleanup(errors.stopService)
        data = server.folder / "data"
        for setting, name in [("filename_prefix: other", "other"), ("enabled: false", "")]:
            text = server.path.read_text().replace(
                "control: {", f"control: {{errors: {{{setting}}}, "
            )
            config = loadText(text, "x.yaml", {}).config
            self.apply(server, config)
            log.error("something")
            self.assertEqual(name != "", (data / "logs" / f"{name}.jsonl").exists())
        self.assertEqual(len(server.ask("GET", "/errors").json["errors"]), 2)

    def test_traceIsSwitchedLive(self) -> None:
        """
        Queries are logged as long as they are traced, of those clients and
        names that are named.
        """
        server = self.server()
        self.assertEqual(self.events(server), [])
        self.assertEqual(
            server.ask("GET", "/trace-events").json,
            {
                "events": None,
                "all_events": ["refresh_upstream", "query_resolution", "upstream_exchange"],
            },
        )
        done = server.ask("PUT", "/trace-events", {"events": ["query_resolution", "nonsense"]})
        self.assertEqual((done.status, done.json["events"]), (200, ["query_resolution"]))
        self.assertEqual(len(self.events(server)), 1)
        self.assertIsNone(server.guard.forwarder.exchanges.trace)
        others = {
            "events": ["query_resolution", "upstream_exchange"],
            "clients": ["192.0.2.77"],
            "names": ["example.org"],
        }
        server.ask("PUT", "/trace-events", others)
        self.assertEqual(self.events(server), [])
        self.assertIsNotNone(server.guard.forwarder.exchanges.trace)
        server.ask("PUT", "/trace-events", {"events": []})
        self.assertEqual(self.events(server), [])
        self.assertIsNone(server.guard.forwarder.exchanges.trace)

    def test_traceOfClients(self) -> None:
        """
        A client is an address, a network, or somebody whom the configuration
        gives a name; a group is one that it has.
        """
        server = self.server(
            "client_groups: [{id: kids}]\n"
            "client_identification: {enabled: true, clients: ["
            "{ip: 192.0.2.1, name: Tablet, group_id: kids},"
            "{ip: 198.51.100.0/24, name: guests}]}\n"
        )
        for clients, count in [
            (["tablet"], 1),
            (["192.0.2.0/24"], 1),
            (["guests", "192.0.2.2"], 0),
        ]:
            body = {"events": ["query_resolution"], "clients": clients}
            self.assertEqual(server.ask("PUT", "/trace-events", body).status, 200)
            self.assertEqual(len(self.events(server)), count, clients)
        body = {"events": ["query_resolution"], "groups": ["default"]}
        self.assertEqual(server.ask("PUT", "/trace-events", body).status, 200)
        self.assertEqual(len(self.events(server)), 1)
        for wrong in (
            {"clients": ["tablett"]},
            {"groups": ["kid"]},
            {"clients": ["192.0.2.1/24"]},
        ):
            refused = server.ask("PUT", "/trace-events", {"events": [], **wrong})
            self.assertEqual(refused.status, 400, wrong)
        self.assertEqual(len(self.events(server)), 1)

    def test_traceOfTheConfiguration(self) -> None:
        """
        What the configuration traces is traced from the start; what was
        switched on by hand stays on unless a reload changes that key.
        """
        server = self.server("logging: {trace_events: [query_resolution]}\n")
        self.assertEqual(len(self.events(server)), 1)
        server.ask("PUT", "/trace-events", {"events": []})
        config = server.guard.config
        self.apply(server, config)
        self.assertEqual(self.events(server), [])
        self.apply(server, untraced(server))
        self.apply(server, config)
        self.assertEqual(len(self.events(server)), 1)

    def test_traceOfRefreshes(self) -> None:
        """
        Refreshes are traced as long as somebody wants it, whatever is made anew
        by a reload meanwhile.
        """
        server = self.server()
        caches = server.guard.caches
        self.assertIsNone(caches.refresh.trace)
        server.ask("PUT", "/trace-events", {"events": ["refresh_upstream"]})
        before = caches.refresh
        text = server.path.read_text() + "cache: {refresh: {max_inflight: 7}}\n"
        self.apply(server, loadText(text, "x.yaml", {}).config)
        self.assertIsNot(caches.refresh, before)
        assert caches.refresh.trace is not None
        with capturedLogs() as events:
            caches.refresh.trace(b"\3www\7example\3org\0", 1, "asked")
        self.assertEqual(
            [formatEvent(event) for event in events], ["refresh of www.example.org A: asked"]
        )
        self.assertIn(caches.counter, server.guard.server.observers)
        server.ask("PUT", "/trace-events", {"events": []})
        self.assertIsNone(caches.refresh.trace)

    def test_levelOfAnothersLog(self) -> None:
        """
        Where twistd logs in its own way its level can't be changed, and that
        is said.
        """
        done = self.server().ask("PUT", "/api/v1/log-level", {"log_level": "debug"})
        self.assertEqual(done.status, 409)

    def test_profiling(self) -> None:
        """
        Profiles need to be switched on.
        """
        server = self.server()
        self.assertEqual(server.ask("GET", "/debug/reactor").status, 403)
        text = server.path.read_text().replace("control: {", "control: {debug: true, ")
        self.apply(server, loadText(text, "x.yaml", {}).config)
        state = server.ask("GET", "/debug/reactor")
        self.assertEqual(state.status, 200)
        self.assertIn("delayed_calls", state.json)


def untraced(server: Server) -> Config:
    """
    The server's configuration without its traces.
    """
    text = server.path.read_text().replace("[query_resolution]", "[]")
    return loadText(text, "x.yaml", {}).config
