# -*- test-case-name: tests.control.test_service -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The service that serves the control API.

DNS doesn't depend on it: a port that can't be had at start is tried again
while queries are answered. A reload that asks for one is refused instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dnsguard.control.audit import AuditLog
from dnsguard.control.auth import Authenticator, isLoopback
from dnsguard.control.channel import ControlFactory
from dnsguard.control.route import Role
from dnsguard.control.site import ControlSite
from dnsguard.control.tokens import Token, TokenFile, newToken
from dnsguard.errors import ListenError, StoreError

__all__ = ["ControlService", "ControlSettings"]

RETRY_SECONDS = 10.0
TOKENS_SECONDS = 5.0
"""How soon tokens that another process made or took away count."""

FIRST_TOKEN = "first"


@attrs.frozen
class ControlSettings:
    """
    Where and how the API is served.

    @ivar host: An IP address.
    @ivar port: The port.
    @ivar token: A token besides those of the file, or empty.
    @ivar requireToken: Make a first token where there is none?
    """

    host: str
    port: int
    token: str = attrs.field(default="", repr=False)
    requireToken: bool = True


class ControlService(Service):
    """
    Serves the control API.

    @ivar authenticator: Knows the tokens.
    @ivar factory: Takes connections.
    @ivar address: Where it is served; L{None} while it isn't.
    @ivar site: See the constructor.
    @ivar audit: See the constructor.
    """

    name = "control"
    log = Logger()

    def __init__(
        self,
        factory: ControlFactory,
        settings: ControlSettings,
        authenticator: Authenticator,
        tokenFile: TokenFile,
        reactor: Any,
        inThread: Callable[..., Deferred[Any]],
        say: Callable[[str], None],
        now: Callable[[], float],
        *,
        site: ControlSite | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        """
        @param inThread: Calls a function in a thread.
        @param say: Tells whoever starts the process something that mustn't be
            in a log.
        @param now: Seconds since the epoch.
        @param site: What answers the factory's requests, for its numbers.
        @param audit: What is written down of them, likewise.
        """
        self.factory = factory
        self.site = site
        self.audit = audit
        self.authenticator = authenticator
        self.address: tuple[str, int] | None = None
        self._settings = settings
        self._tokenFile = tokenFile
        self._reactor = reactor
        self._inThread = inThread
        self._say = say
        self._now = now
        self._port: Any = None
        self._retry: IDelayedCall | None = None
        self._stamp: tuple[int, ...] = ()
        self._begun = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def startService(self) -> None:
        """
        Read the tokens, then serve.
        """
        super().startService()
        beginning = Deferred.fromCoroutine(self._begin())
        beginning.addErrback(lambda reason: self.log.failure("control API not served", reason))

    async def _begin(self) -> None:
        try:
            secret, tokens, self._stamp = await self._inThread(self._prepare)
        except StoreError as problem:
            # Whoever made tokens wanted the API closed: without them it is.
            self.log.error("control API not served: {problem}", problem=str(problem))
            return
        self.authenticator.adopt(tokens)
        if not self.running:
            return
        self._begun = True
        self._listenSoon()
        self._looking.start(TOKENS_SECONDS, now=False)
        if secret:
            self._say(
                "dnsguard: the control API's first token, shown this once: "
                f"{secret}\n(role admin; make others, and revoke this one, with dnsguard token)"
            )
            self.log.info("control API: a first token was made, and shown on standard output")

    def _prepare(self) -> tuple[str, tuple[Token, ...], tuple[int, ...]]:
        """
        Read the tokens; make the first one where there is to be one. In a
        thread.
        """
        tokens = self._tokenFile.read()
        secret = ""
        if tokens is None and self._settings.requireToken and not self._settings.token:
            secret, token = newToken(FIRST_TOKEN, Role.ADMIN, self._now())
            tokens = (token,)
            self._tokenFile.write(tokens)
        return secret, tokens or (), self._tokenFile.stamp

    def _look(self) -> Deferred[None]:
        """
        Go on with the tokens of the file, if it has changed.
        """
        looking: Deferred[None] = self._inThread(self._changed).addCallback(self._adopt)
        looking.addErrback(
            lambda reason: self.log.error(
                "tokens stay as they were: {reason}", reason=reason.getErrorMessage()
            )
        )
        return looking

    def _changed(self) -> tuple[tuple[Token, ...], tuple[int, ...]] | None:
        stamp = self._tokenFile.stamp
        if stamp == self._stamp:
            return None
        return self._tokenFile.read() or (), stamp

    def _adopt(self, changed: tuple[tuple[Token, ...], tuple[int, ...]] | None) -> None:
        if changed is not None:
            tokens, self._stamp = changed
            self.authenticator.adopt(tokens)

    # Listening.

    def _bindHost(self, settings: ControlSettings) -> str:
        """
        Say where to listen: without any token for this machine alone.
        """
        if settings.token or self.authenticator.tokens or isLoopback(settings.host):
            return settings.host
        loopback = "::1" if ":" in settings.host else "127.0.0.1"
        self.log.warn(
            "control API: there is no token, so it is served on {loopback} instead of {host};"
            " make one with dnsguard token, then reload",
            loopback=loopback,
            host=settings.host,
        )
        return loopback

    def _listenSoon(self) -> None:
        """
        Listen now, or as soon as that can be done.
        """
        self._retry = None
        try:
            self._listen(self._settings)
        except ListenError as problem:
            self.log.error(
                "{problem}; DNS is served without the control API, trying again",
                problem=str(problem),
            )
            self._retry = self._reactor.callLater(RETRY_SECONDS, self._listenSoon)

    def _listen(self, settings: ControlSettings) -> None:
        """
        @raise ListenError: The port can't be had.
        """
        host = self._bindHost(settings)
        try:
            self._port = self._reactor.listenTCP(settings.port, self.factory, 50, host)
        except (CannotListenError, OSError) as problem:
            reason = str(getattr(problem, "socketError", problem))
            raise ListenError(f"{host}:{settings.port}", "control", reason) from None
        self.address = (host, self._port.getHost().port)
        self.log.info("control API served on {host}:{port}", host=host, port=self.address[1])

    async def change(self, settings: ControlSettings) -> None:
        """
        Go on with other settings.

        @raise ListenError: The port can't be had; nothing has changed.
        """
        before = self._settings
        self.authenticator.configure(settings.token, not settings.requireToken)
        if self.running and self._begun:
            try:
                await self._move(settings)
            except ListenError:
                self.authenticator.configure(before.token, not before.requireToken)
                raise
        self._settings = settings

    async def _move(self, settings: ControlSettings) -> None:
        """
        Listen elsewhere, if that is wanted.
        """
        if self.address == (self._bindHost(settings), settings.port):
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        old, port, address = self._settings, self._port, self.address
        if port is not None and address is not None and address[1] == settings.port:
            # All addresses include the one that the port is taken by: by us.
            await maybeDeferred(port.stopListening)
            port = None
        try:
            self._listen(settings)
        except ListenError:
            self._port, self.address = port, address
            if port is None:
                self._settings = old
                self._listenSoon()
            raise
        if port is not None:
            await maybeDeferred(port.stopListening)

    def stopService(self) -> Deferred[None]:
        """
        Serve no more.
        """
        super().stopService()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._looking.running:
            self._looking.stop()
        port, self._port, self.address = self._port, None, None
        self.factory.closeIdle()
        return succeed(None) if port is None else maybeDeferred(port.stopListening)
