# -*- test-case-name: tests.cli.perf.test_load -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Sends questions and reads replies, over UDP and TCP.

L{dnsguard.cli.perf._load} has the same classes, compiled.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Unpack

from dnsguard.cli.perf.questions import Questions
from dnsguard.cli.perf.slots import Limits, Slots
from dnsguard.cli.perf.tally import Tally

__all__ = ["DatagramLoad", "StreamLoad"]

_BATCH = 64
_MOST = 65535


class DatagramLoad(Slots):
    """
    Load over UDP.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        questions: Questions,
        tally: Tally,
        **limits: Unpack[Limits],
    ) -> None:
        """
        @param sockets: Connected, not blocking; at most one for each slot.
        """
        super().__init__(questions, tally, **limits)
        self._sockets = sockets
        self._poll = select.poll()
        self._places = {each.fileno(): place for place, each in enumerate(sockets)}
        for each in sockets:
            self._poll.register(each, select.POLLIN)

    def step(self, seconds: float) -> bool:
        """
        Go on for some time.

        @return: Is there more to do?
        """
        until = time.perf_counter_ns() + int(seconds * 1e9)
        while self.over < self._queries:
            now = time.perf_counter_ns()
            if now >= until:
                return True
            for slot in self._expired(now):
                self._fail(slot, "timeouts", now)
            if not self._send(now):
                # The system takes no more for now.
                until = min(until, now + 1_000_000)
            wait = self._patience(time.perf_counter_ns(), until)
            for descriptor, _ in self._poll.poll(wait):
                self._receive(self._places[descriptor])
        return False

    def _send(self, now: int) -> bool:
        """
        Send what is due.

        @return: False if it couldn't be sent.
        """
        for _ in range(_BATCH):
            if not self._free or not self._due(now):
                break
            slot = self._free.pop()
            place = slot % len(self._sockets)
            message = self._take(slot, now)
            try:
                self._sockets[place].send(message)
            except BlockingIOError:
                self.sent -= 1
                self._tally.add("sent", -1)
                del self._underWay[slot]
                self._free.append(slot)
                return False
            except OSError as problem:
                self._lost(place, problem, now)
        return True

    def _receive(self, place: int) -> None:
        """
        Read replies.
        """
        for _ in range(_BATCH):
            try:
                reply = self._sockets[place].recv(_MOST)
            except BlockingIOError:
                return
            except OSError as problem:
                self._lost(place, problem, time.perf_counter_ns())
                return
            self._judge(reply, time.perf_counter_ns())

    def _lost(self, place: int, problem: OSError, now: int) -> None:
        """
        End all that is under way on a socket: nobody listens there.
        """
        if problem.errno == errno.EINTR:
            return
        for slot in list(self._underWay):
            if slot % len(self._sockets) == place:
                self._fail(slot, "refused", now)


class StreamLoad(Slots):
    """
    Load over TCP: a connection for each slot.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        questions: Questions,
        tally: Tally,
        **limits: Unpack[Limits],
    ) -> None:
        """
        @param connect: Begins to connect a socket that doesn't block.
        """
        super().__init__(questions, tally, **limits)
        self._connect = connect
        self._sockets: list[socket.socket | None] = [None] * self._concurrency
        self._slots: dict[int, int] = {}
        self._outgoing: list[bytes] = [b""] * self._concurrency
        self._incoming = [bytearray() for _ in range(self._concurrency)]
        self._poll = select.poll()

    def step(self, seconds: float) -> bool:
        """
        Go on for some time.

        @return: Is there more to do?
        """
        until = time.perf_counter_ns() + int(seconds * 1e9)
        while self.over < self._queries:
            now = time.perf_counter_ns()
            if now >= until:
                return True
            for slot in self._expired(now):
                self._break(slot, "timeouts", now)
            for _ in range(_BATCH):
                if not self._free or not self._due(now):
                    break
                self._begin(self._free.pop(), now)
            wait = self._patience(time.perf_counter_ns(), until)
            for descriptor, event in self._poll.poll(wait):
                self._happened(self._slots[descriptor], event)
        self.close()
        return False

    def close(self) -> None:
        """
        Close all connections.
        """
        for slot in range(self._concurrency):
            self._hangUp(slot)

    def _begin(self, slot: int, now: int) -> None:
        """
        Send a question, on a new connection if there is none.
        """
        message = self._take(slot, now)
        self._outgoing[slot] = struct.pack("!H", len(message)) + message
        if self._sockets[slot] is None:
            try:
                connection = self._connect()
            except OSError:
                self._fail(slot, "refused", now)
                return
            self._sockets[slot] = connection
            self._slots[connection.fileno()] = slot
            self._poll.register(connection, select.POLLOUT)
            return
        self._write(slot)

    def _happened(self, slot: int, event: int) -> None:
        """
        Look after a connection.
        """
        if event & select.POLLOUT and self._outgoing[slot]:
            self._write(slot)
        elif event & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._read(slot)

    def _write(self, slot: int) -> None:
        connection = self._sockets[slot]
        assert connection is not None
        try:
            sent = connection.send(self._outgoing[slot])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break(slot, "refused", time.perf_counter_ns())
            return
        left = self._outgoing[slot] = self._outgoing[slot][sent:]
        self._poll.modify(connection, select.POLLOUT if left else select.POLLIN)

    def _read(self, slot: int) -> None:
        connection = self._sockets[slot]
        assert connection is not None
        try:
            piece = connection.recv(_MOST + 2)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        now = time.perf_counter_ns()
        if not piece:
            # A server may close a connection that has nothing under way.
            self._break(slot, "refused", now)
            return
        incoming = self._incoming[slot]
        incoming += piece
        while len(incoming) >= 2:
            end = 2 + (incoming[0] << 8 | incoming[1])
            if len(incoming) < end:
                break
            reply = bytes(incoming[2:end])
            del incoming[:end]
            if len(reply) >= 2 and (reply[0] << 8 | reply[1]) % self._concurrency != slot:
                self._tally.add("unexpected")
            else:
                self._judge(reply, now)

    def _break(self, slot: int, why: str, now: int) -> None:
        """
        Close a connection, and end what is under way on it.
        """
        self._hangUp(slot)
        if slot in self._underWay:
            self._fail(slot, why, now)

    def _hangUp(self, slot: int) -> None:
        connection, self._sockets[slot] = self._sockets[slot], None
        if connection is not None:
            self._poll.unregister(connection)
            del self._slots[connection.fileno()]
            connection.close()
        self._outgoing[slot] = b""
        self._incoming[slot].clear()
