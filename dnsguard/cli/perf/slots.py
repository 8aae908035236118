# -*- test-case-name: tests.cli.perf.test_load -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Questions under way: when each is due, and what a reply to it is worth.

A bounded number of questions is under way at a time, each in a slot. A slot's
number and how often it was used before make the id, so that a reply that comes
too late isn't taken for one to a later question in the same slot. At a rate,
question I{n} is due at a time that doesn't depend on how the server does, and
that is what its latency is counted from: a server that stalls can't hide that
by keeping the tester from asking (coordinated omission).
"""

from __future__ import annotations

import struct
import time
from typing import NotRequired, TypedDict

from dnsguard.cli.perf.questions import Questions
from dnsguard.cli.perf.tally import Tally

__all__ = ["Limits", "Slots"]

_IDS = 1 << 16
_HEADER = 12
_QR = 0x80
_TC = 0x02


class Limits(TypedDict):
    """
    What bounds a measurement.

    @ivar queries: How many to send.
    @ivar concurrency: How many may be under way, at most.
    @ivar timeout: Seconds to wait for a reply.
    @ivar rate: How many to send a second; 0: as many as can be.
    """

    queries: int
    concurrency: int
    timeout: float
    rate: NotRequired[float]


class Slots:
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
        rate: float = 0.0,
    ) -> None:
        """
        For what is to be given by name, see L{Limits}.
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
