# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Clients that ask without pause, from many ports, for tests of whole processes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

import attrs

from dnsguard.wire.layout import scan
from tests.support.process import request

__all__ = ["Asked", "Flood"]


@attrs.frozen
class Asked:
    """
    One answer.

    @ivar sent: When it was asked for, by the monotonic clock.
    @ivar received: When it came.
    @ivar rCode: Its response code.
    @ivar tries: How often it was asked for.
    """

    sent: float
    received: float
    rCode: int
    tries: int


class Flood(threading.Thread):
    """
    Asks for one name over and over, each client waiting for its answer.

    @ivar answers: All answers, in the order they came.
    @ivar lost: Questions that no try got an answer to.
    """

    def __init__(
        self,
        port: int,
        name: str,
        clients: int = 24,
        patience: float = 5.0,
        tries: int = 1,
        pause: float = 0.0,
    ) -> None:
        """
        @param patience: Seconds that a try may take.
        @param tries: How often a client asks, as a stub resolver does.
        @param pause: Seconds between two rounds.
        """
        super().__init__(daemon=True)
        self.answers: list[Asked] = []
        self.lost = 0
        self._message = request(name)
        self._patience = patience
        self._tries = tries
        self._pause = pause
        self._going = True
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(clients)]
        for each in self._sockets:
            each.connect(("127.0.0.1", port))

    def run(self) -> None:
        """
        Ask in rounds, every client once in each.
        """
        while self._going:
            self._round()
            time.sleep(self._pause)

    def _round(self) -> None:
        waiting = dict.fromkeys(self._sockets, 0)
        since: dict[socket.socket, float] = {}
        for client in self._sockets:
            self._send(client, since)
        while waiting:
            ready, _, _ = select.select(list(waiting), [], [], 0.05)
            for client in ready:
                with contextlib.suppress(ConnectionRefusedError):
                    rCode = scan(client.recv(4096)).rCode
                    tries = waiting.pop(client) + 1
                    answer = Asked(since[client], time.monotonic(), rCode, tries)
                    self.answers.append(answer)
            now = time.monotonic()
            for client in list(waiting):
                if now - since[client] > self._patience:
                    waiting[client] += 1
                    if waiting[client] == self._tries:
                        self.lost += 1
                        del waiting[client]
                    else:
                        self._send(client, since)

    def _send(self, client: socket.socket, since: dict[socket.socket, float]) -> None:
        since[client] = time.monotonic()
        with contextlib.suppress(ConnectionRefusedError):
            client.send(self._message)

    def stop(self) -> None:
        """
        Ask no more.
        """
        self._going = False
        if self.is_alive():
            self.join(60)
        for each in self._sockets:
            each.close()
