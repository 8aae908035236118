# -*- test-case-name: tests.integration.test_processes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The program of a helper process: what L{dnsguard.processes.process} starts, and
nobody else.

It is spoken to over one open socket, and serves on others. The end of the first
is the end of it, whichever way the main process ended. Signals to end are for
the main process alone, which tells its helpers in its own time: a service
manager, or a terminal, sends them to all processes.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

import dnsguard
from dnsguard.errors import DNSGuardError, HelperError
from dnsguard.priority import keepForefront
from dnsguard.processes.events import EventCourier
from dnsguard.processes.link import Link
from dnsguard.processes.orders import Orders
from dnsguard.processes.process import FIRST_SOCKET, LINK, joinLink
from dnsguard.server.address import ListenAddress
from dnsguard.services.threads import giveWay

__all__ = ["HelperProgram", "main"]

REPLY_SECONDS = 10.0

END_SECONDS = 5
"""How long threads may take to end; then the system ends the process."""


class HelperProgram:
    """
    One run of a helper.

    @ivar link: The link to the main process.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._server: Any = None
        self.link = Link(
            reactor,
            {
                "follow": lambda fields, payload: self._do(
                    self._server.follow(Orders.decode(fields, payload))
                ),
                "listen": lambda fields, payload: self._server.listen(),
                "clear": lambda fields, payload: self._do(self._clear(fields)),
                "count": lambda fields, payload: self._do(self._counts(self._server.count())),
                "stop": lambda fields, payload: self._do(self._counts(self._server.stop())),
            },
            self._dismissed,
        )
        self._courier = EventCourier(
            lambda octets: self.link.call("events", {}, octets, seconds=REPLY_SECONDS),
            reactor,
            "warning",
        )

    def begin(self) -> None:
        """
        Ask the main process what to do.
        """
        globalLogBeginner.beginLoggingTo([self._courier], redirectStandardIO=False)
        joinLink(self._reactor, socket.socket(fileno=LINK), self.link)
        self._do(self._begin()).addErrback(self._failed)

    async def _begin(self) -> None:
        # Everything is imported by the assembly; the main process needn't wait
        # for that to know that this one lives.
        version = dnsguard.__version__
        fields, payload = await self.link.call(
            "hello", {"version": version}, seconds=REPLY_SECONDS
        )
        from dnsguard.assembly.helper import HelperServer

        sockets = [
            (ListenAddress(host, port), socket.socket(fileno=FIRST_SOCKET + at))
            for at, (host, port) in enumerate(fields["sockets"])
        ]
        self._server = await HelperServer.make(
            self._reactor,
            self.link,
            Orders.decode(fields, payload),
            sockets,
            self._courier.setLevel,
            lambda: self._courier.dropped,
        )
        await self.link.call("ready", seconds=REPLY_SECONDS)

    def _do(self, work: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(work)

    async def _clear(self, fields: dict[str, Any]) -> dict[str, int]:
        qname = fields["qname"]
        name = None if qname is None else bytes.fromhex(qname)
        return {"cleared": await self._server.clear(name, fields["below"])}

    async def _counts(self, counting: Any) -> Any:
        return {}, await counting

    def _failed(self, reason: Failure) -> None:
        """
        Say why it can't serve, and end: the main process starts another.
        """
        if reason.check(DNSGuardError):
            if not (reason.check(HelperError) and not self.link.alive):
                print(reason.getErrorMessage(), file=sys.stderr, flush=True)
        else:
            reason.printTraceback(file=sys.stderr)
        self.link.close()

    def _dismissed(self) -> None:
        """
        The main process is done with this one, or is no more.
        """
        signal.alarm(END_SECONDS)
        if self._reactor.running:
            self._reactor.stop()


def main() -> None:
    """
    Run a helper.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(LINK, False)
    from twisted.internet import reactor

    keepForefront()
    running: Any = reactor
    giveWay(running.getThreadPool())
    program = HelperProgram(reactor)
    program.begin()
    running.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
