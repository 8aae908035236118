# -*- test-case-name: tests.integration.test_processes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Starting a helper process: the same interpreter and the same code, with its
sockets open from the start.

The sockets are bound by the main process, while it has the right to, and handed
on as open files; so is one end of a pair of sockets that the two talk over. It
is the end of that pair that ends a helper, however the main process ends.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.children import childEnvironment
from dnsguard.processes.link import Handler, Link

__all__ = ["FIRST_SOCKET", "LINK", "HelperProcess", "joinLink", "launch"]

LINK = 3
"""The number that a helper's end of the pair has there."""

FIRST_SOCKET = 4
"""The number of its first socket; the others follow."""

MODULE = "dnsguard.helper"

MOST_TEXT = 2000
"""Letters of what a helper prints that are logged at once."""


def joinLink(reactor: Any, end: socket.socket, link: Link) -> None:
    """
    Have a link speak over one end of a pair of sockets.
    """
    end.setblocking(False)
    factory = Factory.forProtocol(lambda: link)
    factory.noisy = False
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
    # The reactor works on a duplicate.
    end.close()


class HelperProcess(ProcessProtocol):
    """
    One run of a helper.

    @ivar link: What it is spoken to over.
    @ivar pid: Its number in the system.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, handlers: Mapping[str, Handler], ended: Callable[[], object]
    ) -> None:
        """
        @param handlers: As L{Link} takes them.
        @param ended: Called when the process has ended, and all that it had
            said is heard.
        """
        self.pid = 0
        self.link = Link(reactor, handlers, self._hungUp)
        self._ended = ended
        self._left = {"link", "process"}

    @property
    def alive(self) -> bool:
        """
        Can it be spoken to?
        """
        return self.link.alive

    def call(self, *arguments: Any, **keywords: Any) -> Any:
        """
        See L{Link.call}.
        """
        return self.link.call(*arguments, **keywords)

    def close(self) -> None:
        """
        Hang up, which is the end of it.
        """
        self.link.close()

    def kill(self) -> None:
        """
        End it now.
        """
        if self.transport is not None and "process" in self._left:
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def connectionMade(self) -> None:
        """
        It runs.
        """
        assert self.transport is not None
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        Pass on what it prints: what Python says of a module that can't be
        imported, or a library of whatever it likes.
        """
        text = data.decode("utf-8", "replace").strip()
        if text:
            self.log.warn(
                "helper process {pid} prints: {text}", pid=self.pid, text=text[:MOST_TEXT]
            )

    def _hungUp(self) -> None:
        self._over("link")

    def processExited(self, reason: Failure) -> None:
        """
        It has ended; what it said last may still be on its way.
        """
        self._over("process")

    def _over(self, part: str) -> None:
        self._left.discard(part)
        if not self._left:
            self._ended()


def launch(
    reactor: Any,
    sockets: Sequence[socket.socket],
    handlers: Mapping[str, Handler],
    ended: Callable[[], object],
) -> HelperProcess:
    """
    Start a helper.

    @param reactor: Provides L{IReactorProcess
        <twisted.internet.interfaces.IReactorProcess>} and L{IReactorSocket
        <twisted.internet.interfaces.IReactorSocket>}.
    @param sockets: Bound sockets that it gets; they stay open here as well.
    @raise OSError: It can't be started.
    """
    process = HelperProcess(reactor, handlers, ended)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with open(os.devnull, "rb") as nothing, theirs:
            files: dict[int, int | str] = {0: nothing.fileno(), 1: "r", 2: "r"}
            files[LINK] = theirs.fileno()
            files.update((FIRST_SOCKET + at, each.fileno()) for at, each in enumerate(sockets))
            # -P: the code that runs here, whatever the current folder has in it.
            reactor.spawnProcess(
                process,
                sys.executable,
                [sys.executable, "-P", "-m", MODULE],
                env=childEnvironment(),
                childFDs=files,
            )
    except OSError:
        ours.close()
        raise
    joinLink(reactor, ours, process.link)
    return process
