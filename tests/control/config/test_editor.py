# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for changing the configuration by the API, as a whole server does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly.changes import Changes
from dnsguard.errors import ListenError
from tests.support.control import Response, Server

CONFIG = """\
server: {listen: ['127.0.0.1:5353']}   # here
local_records:
  # the box
  - {name: nas.home.arpa, type: A, value: 192.0.2.10}
"""


class ServerCase(SynchronousTestCase):
    """
    Base of tests with a whole server.
    """

    config = CONFIG

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.server = Server(self.folder, self.config)
        self.server.start()
        self.ask = self.server.ask

    @property
    def text(self) -> str:
        """
        What is in the file.
        """
        return self.server.path.read_text()

    def change(self, patch: Any, **more: Any) -> Response:
        """
        Change the configuration.
        """
        return self.ask("PATCH", "/api/v1/config", patch, **more)


class ChangeTests(ServerCase):
    """
    Tests for changes.
    """

    def test_patch(self) -> None:
        """
        A change is in the file, with all else as it was, and in force.
        """
        before = self.text
        response = self.change({"local_records": [], "cache": {"min_ttl": "7m"}})
        self.assertEqual(response.status, 200)
        self.assertEqual(
            {change["path"] for change in response.json["changed"]},
            {"local_records", "cache.min_ttl"}
            | {f"local_records[0].{key}" for key in ("name", "type", "value")},
        )
        self.assertEqual(self.server.guard.config.cache.minTTL, 420.0)
        self.assertIn("# here", self.text)
        self.assertEqual(before.splitlines()[:6], self.text.splitlines()[:6])
        self.assertEqual(self.server.path.stat().st_mode & 0o777, 0o600)

    def test_refusedBeforeItIsWritten(self) -> None:
        """
        What can't be used is never in the file: neither what is ill-formed nor
        what makes no policy. All that is wrong is told.
        """
        before, config = self.text, self.server.guard.config
        for patch, path in [
            ({"cache": {"min_ttl": "soon"}}, "cache.min_ttl"),
            ({"cache": {"mn_ttl": "5m"}}, "cache.mn_ttl"),
            (
                {"local_records": [{"name": "a.example", "type": "A", "value": "x"}]},
                "local_records[0].value",
            ),
            ({"upstreams": ["tls://192.0.2.1"]}, "upstreams[0].address"),
        ]:
            response = self.change(patch)
            self.assertEqual(response.status, 422, patch)
            self.assertIn(path, [problem["path"] for problem in response.json["problems"]])
        self.assertEqual((self.text, self.server.guard.config), (before, config))
        self.assertEqual(self.ask("GET", "/api/v1/config/history").json["total"], 0)

    def test_putBackIfNotInForce(self) -> None:
        """
        What can't be put into force is taken out of the file again.
        """
        before = self.text

        async def refuse(changes: Any, config: Any) -> None:
            raise ListenError("127.0.0.1:53", "udp", "in use")

        self.patch(Changes, "reload", refuse)
        response = self.change({"server": {"listen": ["127.0.0.1:53"]}})
        self.assertEqual(response.status, 409)
        self.assertIn("in use", response.json["error"])
        self.assertEqual(self.text, before)
        self.assertEqual(self.ask("GET", "/api/v1/config/history").json["total"], 0)

    def test_ifMatch(self) -> None:
        """
        Who changed the file in the meantime isn't overruled.
        """
        etag = self.ask("GET", "/api/v1/config").headers["etag"]
        with self.server.path.open("a") as file:
            file.write("# by hand\n")
        response = self.change({"timezone": "UTC"}, headers=[("If-Match", etag)])
        self.assertEqual(response.status, 412)
        new = response.json["etag"]
        response = self.change({"timezone": "UTC"}, headers=[("If-Match", new)])
        self.assertEqual(response.status, 200)
        self.assertEqual(
            response.headers["etag"], self.ask("GET", "/api/v1/config").headers["etag"]
        )

    def test_notModified(self) -> None:
        """
        Who has it already isn't sent it again.
        """
        etag = self.ask("GET", "/api/v1/config").headers["etag"]
        response = self.ask("GET", "/api/v1/config", headers=[("If-None-Match", etag)])
        self.assertEqual((response.status, response.body), (304, b""))

    def test_validate(self) -> None:
        """
        A change may be tried without being made.
        """
        before = self.text
        response = self.ask(
            "POST", "/api/v1/config/validate", {"patch": {"cache": {"min_ttl": "7m"}}}
        )
        self.assertEqual(
            response.json["changed"],
            [{"path": "cache.min_ttl", "before": None, "after": "7m"}],
        )
        response = self.ask("POST", "/api/v1/config/validate", {"text": "cach: {}"})
        self.assertEqual(response.status, 422)
        self.assertIn("did you mean cache", response.json["error"])
        self.assertEqual(self.ask("POST", "/api/v1/config/validate", {}).status, 400)
        self.assertEqual(self.text, before)

    def test_replaced(self) -> None:
        """
        The whole file may be replaced, a broken one, too.
        """
        self.server.path.write_text("nonsense: [")
        text = (
            f"data_directory: {self.folder / 'data'}\nquery_store: {{engine: memory}}\n"
            "blocklists: {sources: []}\ncontrol: {enabled: true, token: other}\n"
        )
        self.assertEqual(self.ask("PUT", "/api/v1/config", {"text": text}).status, 200)
        self.assertEqual(self.text, text)
        self.assertEqual(self.ask("GET", "/clients").status, 401)
        self.assertEqual(self.ask("GET", "/clients", token="other").status, 200)

    def test_history(self) -> None:
        """
        Former versions can be listed, compared and gone back to; going back can
        be undone.
        """
        before = self.text
        self.change({"cache": {"min_ttl": "7m"}})
        self.change({"cache": {"min_ttl": "8m"}})
        first, second = reversed(self.ask("GET", "/api/v1/config/history").json["versions"])
        self.assertEqual((first["changed"], first["by"]), (["cache.min_ttl"], "control.token"))
        path = f"/api/v1/config/diff?from={first['id']}&to={second['id']}"
        expected = [{"path": "cache.min_ttl", "before": None, "after": "7m"}]
        self.assertEqual(self.ask("GET", path).json["changed"], expected)
        response = self.ask("POST", "/api/v1/config/undo", {"version": first["id"]})
        self.assertEqual((response.status, self.text), (200, before))
        self.ask("POST", "/api/v1/config/undo")
        self.assertEqual(self.server.guard.config.cache.minTTL, 480.0)
        self.assertEqual(self.ask("POST", "/api/v1/config/undo", {"version": 99}).status, 404)
        self.assertEqual(self.ask("GET", "/api/v1/config/diff?from=99").status, 404)

    def test_historyIsBounded(self) -> None:
        """
        There are never more versions than wanted; the oldest go.
        """
        self.change({"control": {"history_size": 3}})
        for minutes in range(5, 12):
            self.change({"cache": {"min_ttl": f"{minutes}m"}})
        versions = self.ask("GET", "/api/v1/config/history").json["versions"]
        self.assertEqual(len(versions), 3)
        path = f"/api/v1/config/diff?from={versions[-1]['id']}"
        expected = [{"path": "cache.min_ttl", "before": "8m", "after": "11m"}]
        self.assertEqual(self.ask("GET", path).json["changed"], expected)

    def test_linkStays(self) -> None:
        """
        Where the file is a link, what it leads to is written.
        """
        real = self.folder / "real.yaml"
        self.server.path.rename(real)
        self.server.path.symlink_to(real)
        self.assertEqual(self.change({"timezone": "UTC"}).status, 200)
        self.assertTrue(self.server.path.is_symlink())
        self.assertIn("timezone: UTC", real.read_text())

    def test_rolesForChanges(self) -> None:
        """
        Who may only watch, or operate, doesn't change the configuration.
        """
        for role in ("viewer", "operator"):
            made = self.ask("POST", "/api/v1/tokens", {"name": role, "role": role}).json
            for method in ("PATCH", "PUT"):
                response = self.ask(method, "/api/v1/config", {}, token=made["token"])
                self.assertEqual(response.status, 403)


class SecretTests(ServerCase):
    """
    Tests for what is never shown.
    """

    config = (
        "upstreams: ['192.0.2.1:53']\n"
        "sync: {tokens: [{id: s3cret-sync}]}\n"
        "client_groups:\n  - id: kids\n    blocklist:\n      sources:\n"
        "        - {name: paid, url: 'https://me:s3cret@lists.example/all?key=s3cret'}\n"
    )

    def setUp(self) -> None:
        super().setUp()
        self.change({"control": {"token": "s3cret-token"}})
        self.server.token = "s3cret-token"

    def test_noSecretInAnyAnswer(self) -> None:
        """
        No answer has a secret in it: neither what holds, nor what the file
        says, nor what was changed, nor what is wrong.
        """
        self.change({"cache": {"min_ttl": "9m"}})
        for method, path, body in [
            ("GET", "/api/v1/config", None),
            ("GET", "/api/v1/config/history", None),
            ("GET", "/api/v1/config/diff?from=1", None),
            ("GET", "/client-groups", None),
            ("GET", "/blocklists/health", None),
            ("GET", "/api/v1/tokens", None),
            ("GET", "/api/v1/audit", None),
            ("PATCH", "/api/v1/config", {"control": {"token": "x" * 600 + "s3cret"}}),
            ("POST", "/api/v1/config/validate", {"patch": {"control": {"token": "s3cret 2"}}}),
        ]:
            response = self.ask(method, path, body)
            self.assertNotIn(b"s3cret", response.body, path)
        shown = self.ask("GET", "/api/v1/config").json
        self.assertEqual(shown["config"]["control"]["token"], "***")
        self.assertEqual(shown["file"]["control"]["token"], "***")
        self.assertEqual(shown["file"]["sync"], "***")
        (source,) = shown["config"]["client_groups"][0]["blocklist"]["sources"]
        self.assertEqual(source["url"], "https://***@lists.example/all?***")

    def test_shownSecretsSentBack(self) -> None:
        """
        What stands for a secret leaves it as it is, and is refused where that
        can't be.
        """
        self.assertEqual(self.change({"control": {"token": "***", "history_size": 5}}).status, 200)
        self.assertIn("s3cret-token", self.text)
        groups = self.ask("GET", "/api/v1/config").json["file"]["client_groups"]
        self.assertEqual(self.change({"client_groups": groups}).status, 400)
        self.assertIn("me:s3cret@", self.text)

    def test_changedSecretIsTold(self) -> None:
        """
        That a secret was changed is told, and what it was isn't.
        """
        changed = self.change({"control": {"token": "s3cret-new"}}).json["changed"]
        self.assertEqual(changed, [{"path": "control.token", "before": "***", "after": "***"}])


class PeopleTests(ServerCase):
    """
    Tests for clients and groups.
    """

    config = (
        "client_identification:\n  enabled: true\n  clients:\n"
        "    - ip: 192.0.2.1   # upstairs\n      name: old\n"
    )

    def test_liveAtOnce(self) -> None:
        """
        A client is known, and treated as its group is, at once.
        """
        self.ask(
            "POST", "/client-groups", {"id": "kids", "blocklist": {"denylist": ["x.example"]}}
        )
        self.ask("POST", "/clients", {"ip": "192.0.2.7", "name": "pad", "group_id": "kids"})
        path = "/api/v1/explain?domain=www.x.example&client="
        told = self.ask("GET", f"{path}192.0.2.7").json
        self.assertEqual(
            (told["blocked"], told["client_name"], told["group"]), (True, "pad", "kids")
        )
        self.assertFalse(self.ask("GET", f"{path}192.0.2.8").json["blocked"])

    def test_addressesAreCanonical(self) -> None:
        """
        The same address written otherwise is the same client.
        """
        self.ask("POST", "/clients", {"ip": "2001:DB8::0:1", "name": "a"})
        self.ask("POST", "/clients", {"ip": "2001:db8:0::1", "name": "b"})
        clients = self.ask("GET", "/clients").json["clients"]
        self.assertEqual(
            [(client["ip"], client["name"]) for client in clients],
            [("192.0.2.1", "old"), ("2001:db8::1", "b")],
        )
        self.ask("DELETE", "/clients/2001:DB8:0:0::1")
        self.assertEqual(len(self.ask("GET", "/clients").json["clients"]), 1)
        self.assertIn("# upstairs", self.text)

    def test_groupStaysAsItWas(self) -> None:
        """
        What isn't said of a group that there is stays.
        """
        self.ask("POST", "/client-groups", {"id": "a", "name": "A", "disable_cache": True})
        self.ask("POST", "/client-groups", {"id": "a", "description": "x"})
        (group,) = self.ask("GET", "/client-groups").json["client_groups"]
        self.assertEqual(
            (group["name"], group["description"], group["disable_cache"]), ("A", "x", True)
        )

    def test_warning(self) -> None:
        """
        Where nobody is told apart, a new client is told to be of no use.
        """
        self.change({"client_identification": {"enabled": False}})
        response = self.ask("POST", "/clients", {"ip": "192.0.2.7"})
        self.assertIn("nobody is told apart", response.json["warning"])

    def test_wrong(self) -> None:
        """
        What makes no sense isn't written.
        """
        before = self.text
        for path, body in [
            ("/clients", {"ip": "192.0.2.300"}),
            ("/clients", {"ip": "192.0.2.1/24"}),
            ("/clients", {"ip": "192.0.2.1", "group_id": "nobody"}),
            ("/client-groups", {"id": "a b"}),
            ("/client-groups", {"id": "a", "blocklist": {"denylst": []}}),
        ]:
            self.assertEqual(self.ask("POST", path, body).status, 422, body)
        self.assertEqual(self.text, before)
