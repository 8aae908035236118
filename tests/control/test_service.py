# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.service}.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.auth import Authenticator
from dnsguard.control.route import Role
from dnsguard.control.service import (
    RETRY_SECONDS,
    TOKENS_SECONDS,
    ControlService,
    ControlSettings,
)
from dnsguard.control.tokens import TokenFile, newToken
from dnsguard.errors import ListenError
from tests.support.control import PromptMemoryReactor, factoryOf


class Ports(PromptMemoryReactor):
    """
    A reactor, some of whose ports are taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[int] = set()
        self.refused: set[str] = set()
        self.open: list[tuple[str, int]] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """
        Listen, unless the port is taken.
        """
        taken = port in self.taken or interface in self.refused
        if taken or any(port == other for _, other in self.open):
            raise CannotListenError(interface, port, OSError("in use"))
        place = (interface, port)
        self.open.append(place)
        listening: Any = super().listenTCP(port, factory, backlog, interface)

        def stop() -> Deferred[None]:
            self.open.remove(place)
            return succeed(None)

        listening.stopListening = stop
        return listening


class ServiceTests(SynchronousTestCase):
    """
    Tests for L{ControlService}.
    """

    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = TokenFile(folder / "tokens.json")
        self.reactor = Ports()
        self.said: list[str] = []
        self.authenticator = Authenticator(now=lambda: 5.0)

    def inThread(self, function: Any, *arguments: Any) -> Deferred[Any]:
        """
        Call a function, in a thread that there isn't.
        """
        reactor: Any = self.reactor
        return deferToThreadPool(reactor, reactor.pool, function, *arguments)

    def start(self, host: str = "127.0.0.1", port: int = 8081, **more: Any) -> ControlService:
        """
        Make and start a service.
        """
        settings = ControlSettings(host, port, **more)
        self.authenticator.configure(settings.token, not settings.requireToken)
        service = ControlService(
            factoryOf(self.reactor),
            settings,
            self.authenticator,
            self.file,
            self.reactor,
            self.inThread,
            self.said.append,
            lambda: 5.0,
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def test_firstToken(self) -> None:
        """
        The first start makes a token, says it once, and keeps its digest; the
        second one says nothing.
        """
        self.start().stopService()
        (said,) = self.said
        (token,) = self.file.read() or ()
        self.assertEqual((token.name, token.role), ("first", Role.ADMIN))
        self.assertIn("dnsguard_", said)
        self.start()
        self.assertEqual(len(self.said), 1)
        self.assertEqual(self.authenticator.tokens, (token,))

    def test_noFirstToken(self) -> None:
        """
        None is made where the configuration sets one, or none is required.
        """
        self.start(token="configured").stopService()
        self.start(requireToken=False)
        self.assertEqual((self.said, self.file.read()), ([], None))

    def test_revokedForGood(self) -> None:
        """
        Where all tokens have been revoked no new first one is made.
        """
        self.file.write([])
        self.start()
        self.assertEqual(self.said, [])

    def test_withoutTokenOnLoopback(self) -> None:
        """
        Without any token it listens on loopback, whatever is asked for, and
        says why; with one it does as asked.
        """
        for host, bound in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.2", "127.0.0.2")]:
            service = self.start(host, requireToken=False)
            self.assertEqual(service.address, (bound, 8081))
            service.stopService()
        service = self.start("0.0.0.0", token="x")
        self.assertEqual(service.address, ("0.0.0.0", 8081))

    def test_otherProcessesTokens(self) -> None:
        """
        Tokens that another process makes or revokes count within seconds.
        """
        self.start()
        self.file.add(newToken("cli", Role.VIEWER, 5.0)[1])
        self.assertEqual(len(self.authenticator.tokens), 1)
        self.reactor.advance(TOKENS_SECONDS)
        self.assertEqual([token.name for token in self.authenticator.tokens], ["first", "cli"])
        self.file.remove("first")
        self.reactor.advance(TOKENS_SECONDS)
        self.assertEqual([token.name for token in self.authenticator.tokens], ["cli"])

    def test_brokenTokens(self) -> None:
        """
        With a broken file of tokens nothing is served; one that breaks later
        leaves the tokens as they were.
        """
        self.file.path.write_text("nonsense")
        service = self.start()
        self.assertIsNone(service.address)
        self.file.write([newToken("a", Role.VIEWER, 5.0)[1]])
        service.stopService()
        self.start()
        self.file.path.write_text("nonsense again")
        self.reactor.advance(TOKENS_SECONDS)
        self.assertEqual(len(self.authenticator.tokens), 1)

    def test_portTakenAtStart(self) -> None:
        """
        A port that is taken at start is tried again; nothing else waits.
        """
        self.reactor.taken.add(8081)
        service = self.start()
        self.assertIsNone(service.address)
        self.reactor.taken.clear()
        self.reactor.advance(RETRY_SECONDS)
        self.assertEqual(service.address, ("127.0.0.1", 8081))

    def test_change(self) -> None:
        """
        It goes on at another port, or on other addresses of the same one.
        """
        service = self.start(token="x")
        for host, port in [("127.0.0.1", 8082), ("0.0.0.0", 8082), ("0.0.0.0", 8082)]:
            self.change(service, ControlSettings(host, port, "x"))
            self.assertEqual(service.address, (host, port))
            self.assertEqual(self.reactor.open, [(host, port)])

    def change(self, service: ControlService, settings: ControlSettings) -> None:
        """
        Change to settings.
        """
        self.successResultOf(Deferred.fromCoroutine(service.change(settings)))

    def test_changeFails(self) -> None:
        """
        If the other port can't be had, all stays: port and token.
        """
        service = self.start(token="x")
        self.reactor.taken.add(9000)
        changing = Deferred.fromCoroutine(
            service.change(ControlSettings("127.0.0.1", 9000, "other"))
        )
        self.failureResultOf(changing, ListenError)
        self.assertEqual(self.reactor.open, [("127.0.0.1", 8081)])
        (token,) = self.authenticator.known
        self.change(service, ControlSettings("127.0.0.1", 8081, "x"))
        self.assertEqual(self.authenticator.known, (token,))

    def test_changeFailsOnTheSamePort(self) -> None:
        """
        If other addresses of the same port can't be had, the old ones are
        taken again; as soon as that can be, if somebody was quicker.
        """
        service = self.start(token="x")
        self.reactor.refused.add("0.0.0.0")
        for gone in (False, True):
            if gone:
                self.reactor.taken.add(8081)
            changing = service.change(ControlSettings("0.0.0.0", 8081, "x"))
            self.failureResultOf(Deferred.fromCoroutine(changing), ListenError)
            self.assertEqual(bool(self.reactor.open), not gone)
            self.reactor.taken.clear()
            self.reactor.advance(RETRY_SECONDS)
            self.assertEqual(self.reactor.open, [("127.0.0.1", 8081)])
            self.assertEqual(service.address, ("127.0.0.1", 8081))

    def test_stop(self) -> None:
        """
        Stopped, it listens no more, and tries no more.
        """
        service = self.start()
        service.stopService()
        self.assertEqual((self.reactor.open, service.address), ([], None))
        self.reactor.taken.add(8081)
        self.start().stopService()
        self.reactor.taken.clear()
        self.reactor.advance(RETRY_SECONDS)
        self.assertEqual(self.reactor.open, [])
