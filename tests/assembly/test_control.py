# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.control}, and for the API's part in a reload.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly import Guard
from dnsguard.assembly.changes import Changes
from dnsguard.config.load import loadText
from dnsguard.errors import ListenError
from tests.support.control import PromptMemoryReactor, Server, ask


class ControlTests(SynchronousTestCase):
    """
    Tests for the API of a whole server.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def reload(self, server: Server, old: str, new: str) -> bool:
        """
        Change the file by hand, and reload.
        """
        text = server.path.read_text()
        self.assertIn(old, text)
        server.path.write_text(text.replace(old, new))
        service: Any = server.top.getServiceNamed("reload")
        done: bool = self.successResultOf(service.reload())
        return done

    def test_off(self) -> None:
        """
        Nothing is served where it is switched off; by itself it is.
        """
        reactor: Any = PromptMemoryReactor()
        config = loadText(f"data_directory: {self.folder}").config
        guard = Guard(config, reactor)
        self.assertIsNone(guard.control)

    def test_switchedOffAndOn(self) -> None:
        """
        A reload switches it off and on.
        """
        server = Server(self.folder)
        server.start()
        self.assertTrue(self.reload(server, "enabled: true", "enabled: false"))
        self.assertIsNone(server.guard.control)
        self.assertTrue(self.reload(server, "enabled: false", "enabled: true"))
        server.start()
        self.assertEqual(server.ask("GET", "/clients").status, 200)

    def test_tokenChanges(self) -> None:
        """
        Another token in the file holds from the reload on, and the old one
        doesn't.
        """
        server = Server(self.folder)
        server.start()
        self.assertTrue(self.reload(server, server.token, "another-token"))
        self.assertEqual(server.ask("GET", "/clients").status, 401)
        self.assertEqual(server.ask("GET", "/clients", token="another-token").status, 200)

    def test_putBackWhenListenersFail(self) -> None:
        """
        If the listeners can't be had, the API stays as it was, too.
        """
        server = Server(self.folder)
        server.start()

        async def refuse(changes: Any, config: Any) -> None:
            raise ListenError("127.0.0.1:53", "udp", "in use")

        self.patch(Changes, "listeners", refuse)
        self.assertFalse(self.reload(server, server.token, "another-token"))
        self.assertEqual(server.ask("GET", "/clients").status, 200)

    def test_withoutFile(self) -> None:
        """
        A server that somebody put together in a C{.tac} file is watched like
        any other; what needs a file says that there is none.
        """
        reactor: Any = PromptMemoryReactor()
        text = (
            f"data_directory: {self.folder}\ncontrol: {{enabled: true, token: abc}}\n"
            "query_store: {enabled: false}\n"
        )
        guard = Guard(loadText(text).config, reactor)
        assert guard.control is not None
        guard.control.startService()
        factory = guard.control.factory
        self.assertEqual(ask(factory, "GET", "/cache/stats", token="abc").status, 200)
        self.assertEqual(
            ask(factory, "GET", "/querystore/stats", token="abc").json,
            {"buffer_size": 0, "buffer_used": 0, "dropped_events": 0, "total_recorded": 0},
        )
        for method, path, body in [
            ("POST", "/api/v1/reload", None),
            ("GET", "/api/v1/config", None),
            ("PATCH", "/api/v1/config", {}),
            ("POST", "/clients", {"ip": "192.0.2.1"}),
        ]:
            response = ask(factory, method, path, body, token="abc")
            self.assertEqual(response.status, 503, path)
            self.assertIn("without a file", response.json["error"])

    def test_startedWithoutFile(self) -> None:
        """
        One that was started without a file of its own has nothing to change.
        """
        server = Server(self.folder)
        server.start()
        service: Any = server.top.getServiceNamed("reload")
        service.source = type(service.source)(None, service.source.defaults)
        for method, path, body in [
            ("PATCH", "/api/v1/config", {}),
            ("POST", "/clients", {"ip": "192.0.2.1"}),
        ]:
            response = server.ask(method, path, body)
            self.assertEqual(response.status, 409)
            self.assertIn("without a configuration file", response.json["error"])

    def test_refreshLists(self) -> None:
        """
        Reloading the lists fetches them anew and publishes what came of it.
        """
        server = Server(self.folder)
        server.start()
        service: Any = server.guard.blocklists
        asked: list[object] = []

        def refresh() -> Any:
            asked.append(None)
            return succeed(service.lists)

        service.refresh = refresh
        generation = server.guard.policies.current.generation
        self.assertEqual(server.ask("POST", "/blocklists/reload").json, {"ok": True})
        self.assertEqual(len(asked), 1)
        self.assertGreater(server.guard.policies.current.generation, generation)

    def test_makesNothingBusy(self) -> None:
        """
        Before it is started it listens nowhere and reads nothing.
        """
        server = Server(self.folder)
        reactor: MemoryReactorClock = server.reactor
        self.assertEqual(reactor.tcpServers, [])
        self.assertFalse((self.folder / "data" / "control").exists())
