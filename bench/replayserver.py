# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A server that is nothing but a replay store and its listener, to measure them
without anything else: two client groups, the records drained and added up, and
a door that knows every answer at once.

Usage: C{python bench/replayserver.py PATH PORT [BUSY]}, where C{PATH} is
C{thread}, C{reactor}, C{python} (the store in Python behind the plain listener)
or C{mixed} (the compiled store behind the plain listener), and C{BUSY} makes
the reactor busy for that many milliseconds at a time, all the time.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Any

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor, task  # noqa: E402

from dnsguard.answer import Answer, Outcome  # noqa: E402
from dnsguard.policy.view import View  # noqa: E402
from dnsguard.replay import newStore  # noqa: E402
from dnsguard.replay.entry import ReplayedAnswer  # noqa: E402

_FACTS = Answer.failure(0, Outcome.CACHED)
_LOOPBACK = b"\x7f\0\0\1"


class Policy:
    """
    A policy of two groups.
    """

    generation = 1
    defaultView = View()

    def networks(self) -> list[tuple[bytes, int, int]]:
        """
        Clients on loopback are in a group of their own, and so are others.
        """
        return [(b"\x7f\0\0\0", 8, 1), (b"\xc0\0\2\0", 24, 2)]


def address(name: bytes) -> bytes:
    """
    The right answer to a name; see C{load.h}.
    """
    if name[1:4] == b"ads":
        return bytes(4)
    value = 2166136261
    for octet in name.lower():
        value = (value ^ octet) * 16777619 & 0xFFFFFFFF
    return (0x0A000000 | (value & 0xFFFFFF)).to_bytes(4, "big")


class Door:
    """
    Answers everything, and has it remembered.
    """

    def __init__(self, store: Any) -> None:
        self.store = store

    def requestReceived(
        self, request: bytes, client: bytes, transport: object, respond: Any
    ) -> bool:
        """
        Answer one request.
        """
        end = request.index(b"\0", 12) + 5
        name = request[12 : end - 4]
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, 3600, 4) + address(name)
        opt = struct.pack("!BHHIH", 0, 41, 1232, 0, 0) if request[11] else b""
        reply = (
            request[:2]
            + b"\x81\x80\0\1\0\1\0\0\0"
            + request[11:12]
            + request[12:end]
            + record
            + opt
        )
        respond(reply)
        facts = ReplayedAnswer(name, 1, 1, Outcome.CACHED, 0, "", None, _FACTS, 1, 1)
        self.store.remember(request, reply, facts, 3600.0, time.monotonic())
        return True


def main(path: str, port: int, busy: float = 0.0) -> None:
    """
    Serve until killed.
    """
    store: Any = newStore(compiled=path != "python")
    store.adopt(Policy())
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", port))
    listener: Any
    if path in ("thread", "reactor"):
        from dnsguard.replay.listener import CompiledDatagramListener, ListenerMode

        listener = CompiledDatagramListener(
            bound, Door(store), reactor, replay=store, mode=ListenerMode(path)
        )
    else:
        from dnsguard.server.burst import isAvailable
        from dnsguard.server.datagram import DatagramListener

        listener = DatagramListener(
            bound,
            Door(store),
            reactor,
            bursts=isAvailable(),
            replay=store,
            now=time.monotonic,
        )
    listener.startReading()
    seen = [0]

    def drain() -> None:
        while batch := len(store.drain()):
            seen[0] += batch

    task.LoopingCall(drain).start(0.02)
    if busy:

        def work() -> None:
            end = time.perf_counter() + busy / 1000
            while time.perf_counter() < end:
                pass
            reactor.callLater(0, work)

        work()
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:]))
