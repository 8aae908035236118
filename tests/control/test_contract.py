# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the documented endpoints, against a whole server without sockets.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.route import PREFIX, Role
from dnsguard.control.schema import check
from tests.control.contract import CONTRACT, DEBUG, LIMITED, OPEN, differences
from tests.support.control import Server

CONFIG = "client_identification: {enabled: true}\n"


class ContractTests(SynchronousTestCase):
    """
    Tests for the documented endpoints.
    """

    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.server = Server(folder, CONFIG)
        text = self.server.path.read_text()
        self.server.path.write_text(
            text.replace("{sources: []}", "{sources: [], denylist: [bad.example]}")
        )
        service: Any = self.server.guard.blocklists
        # There is no list to be fetched, and no process to compile it in.
        service.refresh = lambda: succeed(service.lists)
        self.server.start()

    def test_everyRow(self) -> None:
        """
        Every documented request is answered as documented, at the documented
        path, and what is answered is as declared.
        """
        routes: dict[tuple[str, str], Any] = {}
        document = self.server.ask("GET", f"{PREFIX}/openapi.json").json
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                for alias in (path, *operation.get("x-aliases", ())):
                    routes[method.upper(), alias.partition("{")[0]] = operation
        for row in CONTRACT:
            self.server.reactor.advance(60.0)
            response = self.server.ask(row.method, row.path, row.body)
            answer = response.body.decode() if row.text else response.json
            self.assertEqual(differences(row, response.status, answer), [])
            bare = row.path.partition("?")[0]
            operation = (
                routes.get((row.method, bare)) or routes[row.method, bare.rpartition("/")[0] + "/"]
            )
            if response.status == 200 and not row.text:
                content = operation["responses"]["200"]["content"]["application/json"]
                check(content["schema"], response.json, f"{row.method} {row.path}")

    def test_everyPathIsClosed(self) -> None:
        """
        Every documented path but the open ones wants a token, with an empty
        401, and knows no other method.
        """
        for path in {row.path.partition("?")[0] for row in (*CONTRACT, *DEBUG)} - OPEN:
            response = self.server.ask("GET", path, token="")
            self.assertIn((response.status, response.body), [(401, b""), (405, b"")], path)
            response = self.server.ask("TRACE", path)
            self.assertEqual((response.status, response.body), (405, b""), path)

    def test_profilesAreOff(self) -> None:
        """
        Unless the configuration says so, nobody takes profiles, whatever their
        token.
        """
        for row in DEBUG:
            if row.status == 200:
                self.assertEqual(self.server.ask("GET", row.path).status, 403, row.path)

    def test_limits(self) -> None:
        """
        Limited paths let two calls through, then one in each period.
        """
        for path, seconds in LIMITED.items():
            body = {"duration_minutes": 5} if path.endswith("pause") else None
            statuses = [self.server.ask("POST", path, body).status for _ in range(3)]
            self.assertEqual(statuses, [200, 200, 429], path)
            self.server.reactor.advance(seconds - 0.5)
            self.assertEqual(self.server.ask("POST", path, body).status, 429, path)
            self.server.reactor.advance(0.5)
            self.assertEqual(self.server.ask("POST", path, body).status, 200, path)

    def test_bothHeaders(self) -> None:
        """
        The token is taken from either header.
        """
        for header in [("X-Auth-Token", self.server.token)]:
            response = self.server.ask("GET", "/clients", token="", headers=[header])
            self.assertEqual(response.status, 200)

    def test_groupsTellFamilyTime(self) -> None:
        """
        A group is given back as it was set, family time included.
        """
        (row,) = (
            row
            for row in CONTRACT
            if row.path == "/client-groups" and row.body and "id" in row.body
        )
        self.server.ask("POST", row.path, row.body)
        (group,) = self.server.ask("GET", "/client-groups").json["client_groups"]
        self.assertEqual((group["id"], group["name"]), ("kids", "kids"))
        self.assertEqual(group["blocklist"]["family_time"]["domains"], ["video.example"])
        self.assertTrue(group["disable_cache"])

    def test_reloadFailure(self) -> None:
        """
        A configuration that can't be used is answered with 500 and the reason;
        the old one stays in force.
        """
        self.server.path.write_text("upstreams: []\n")
        response = self.server.ask("POST", "/upstreams/reload")
        self.assertEqual(response.status, 500)
        self.assertIn("upstreams", response.json["error"])
        self.assertEqual(len(self.server.guard.config.upstreams), 3)

    def test_everyRouteSaysWhoMay(self) -> None:
        """
        What changes something is for operators and administrators.
        """
        document = self.server.ask("GET", f"{PREFIX}/openapi.json").json
        harmless = {"post_login", "post_config_validate", "post_sync_stats"}
        for operations in document["paths"].values():
            for method, operation in operations.items():
                if method != "get" and operation["operationId"] not in harmless:
                    role = Role[operation["x-role"].upper()]
                    self.assertGreaterEqual(role, Role.OPERATOR, operation["operationId"])
