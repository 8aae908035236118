# -*- test-case-name: tests.cli.perf.test_load -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Sends questions and judges replies.

A bounded number of questions is under way at a time, each in a slot. A slot's
number and how often it was used before make the id, so that a reply that comes
too late isn't taken for one to a later question in the same slot. At a rate,
question I{n} is due at a time that doesn't depend on how the server does, and
that is what its latency is counted from: a server that stalls can't hide that
by keeping the tester from asking (coordinated omission).

L{dnsguard.cli.perf._load} has the same classes, compiled.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

from dnsguard.cli.perf.questions import Questions
from dnsguard.cli.perf.tally import Tally

__all__ = ["DatagramLoad", "StreamLoad"]

_IDS = 1 << 16
_BATCH = 64
_MOST = 65535
_HEADER = 12
_QR = 0x80
_TC = 0x02


class _Load:
    """
    What both transports have in common: slots, due times and judgement.

    @ivar sent: Questions sent.
    @ivar over: Questions that are over, one way or another.
    """

    def __init__(
        self,
        questions: Questions,
        tally: Tally,
        *,
        queries: int,
        concurrency: int,
        timeout: float,
        rate: float,
    ) -> None:
        """
        @param queries: How many to send.
        @param concurrency: How many may be under way, at most.
        @param timeout: Seconds to wait for a reply.
        @param rate: How many to send a second; 0: as many as can be.
        """
        self.sent = 0
        self.over = 0
        self._questions = questions
        self._tally = tally
        self._queries = queries
        self._concurrency = concurrency
        self._timeout = int(timeout * 1e9)
        self._interval = 1e9 / rate if rate else 0.0
        self._uses = [0] * concurrency
        self._messages = [b""] * concurrency
        self._from = [0] * concurrency
        # In the order in which they were sent, with the time.
        self._underWay: dict[int, int] = {}
        self._free = list(range(concurrency - 1, -1, -1))
        self._begun = time.perf_counter_ns()

    def _due(self, now: int) -> bool:
        """
        Is there a question to be sent?
        """
        if self.sent >= self._queries:
            return False
        return not self._interval or self._begun + self.sent * self._interval <= now

    def _take(self, slot: int, now: int) -> bytes:
        """
        Put the next question into a slot.
        """
        uses = self._uses[slot] = (self._uses[slot] + 1) % (_IDS // self._concurrency)
        id = slot + self._concurrency * uses
        question = self._questions[self.sent % len(self._questions)]
        message = self._messages[slot] = struct.pack("!H", id) + question[2:]
        due = self._begun + self.sent * self._interval
        self._from[slot] = int(due) if self._interval else now
        self._underWay[slot] = now
        self.sent += 1
        self._tally.add("sent")
        return message

    def _judge(self, reply: bytes, now: int) -> int | None:
        """
        Judge a reply.

        @return: The slot that is free now, if it was the one asked for.
        """
        if len(reply) < _HEADER:
            self._tally.add("unexpected")
            return None
        id = reply[0] << 8 | reply[1]
        slot = id % self._concurrency
        if slot not in self._underWay or self._messages[slot][:2] != reply[:2]:
            self._tally.add("unexpected")
            return None
        question = self._messages[slot]
        end = len(question)
        if (
            not reply[2] & _QR
            or not (
                (reply[4:6] == b"\0\1" and reply[_HEADER:end] == question[_HEADER:end])
                # Who can't read a question has none to repeat.
                or (reply[4:6] == b"\0\0" and reply[3] & 15 and len(reply) == _HEADER)
            )
        ):
            self._fail(slot, "wrong", now)
            return slot
        self._tally.add("answered")
        self._tally.rCodes[reply[3] & 15] += 1
        if reply[2] & _TC:
            self._tally.add("truncated")
        self._end(slot, now)
        return slot

    def _end(self, slot: int, now: int) -> None:
        """
        Free a slot and count its latency.
        """
        del self._underWay[slot]
        self._free.append(slot)
        self.over += 1
        self._tally.record((now - self._from[slot]) // 1000)

    def _fail(self, slot: int, why: str, now: int) -> None:
        """
        Free a slot without an answer.
        """
        self._tally.add(why)
        self._end(slot, now)

    def _expired(self, now: int) -> list[int]:
        """
        Give the slots that have waited for too long.
        """
        slots = []
        for slot, sent in self._underWay.items():
            if now - sent < self._timeout:
                break
            slots.append(slot)
        return slots

    def _patience(self, now: int, until: int) -> int:
        """
        Say how many milliseconds there may be nothing to do. What is less than
        one is spent looking again and again: a question sent late would be
        counted as a slow one.
        """
        least = until
        if self._underWay:
            least = min(least, next(iter(self._underWay.values())) + self._timeout)
        if self._interval and self._free and self.sent < self._queries:
            least = min(least, int(self._begun + self.sent * self._interval))
        return max(0, least - now) // 1_000_000


class DatagramLoad(_Load):
    """
    Load over UDP.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        questions: Questions,
        tally: Tally,
        *,
        queries: int,
        concurrency: int,
        timeout: float,
        rate: float = 0.0,
    ) -> None:
        """
        @param sockets: Connected, not blocking; at most one for each slot.
        """
        super().__init__(
            questions,
            tally,
            queries=queries,
            concurrency=concurrency,
            timeout=timeout,
            rate=rate,
        )
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


class StreamLoad(_Load):
    """
    Load over TCP: a connection for each slot.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        questions: Questions,
        tally: Tally,
        *,
        queries: int,
        concurrency: int,
        timeout: float,
        rate: float = 0.0,
    ) -> None:
        """
        @param connect: Begins to connect a socket that doesn't block.
        """
        super().__init__(
            questions,
            tally,
            queries=queries,
            concurrency=concurrency,
            timeout=timeout,
            rate=rate,
        )
        self._connect = connect
        self._sockets: list[socket.socket | None] = [None] * concurrency
        self._slots: dict[int, int] = {}
        self._outgoing: list[bytes] = [b""] * concurrency
        self._incoming = [bytearray() for _ in range(concurrency)]
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
