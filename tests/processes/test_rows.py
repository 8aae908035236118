# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.rows}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import HelperError
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.processes.rows import MOST_BLOCKS, REMEMBERED, TICK, RecentBlocks, RowCourier
from dnsguard.querystore.block import Block
from dnsguard.querystore.recorder import QueryRecorder
from tests.support.events import eventOf

CAPACITY = 50


def promptly(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """
    Call a function at once, as if in a thread.
    """
    return succeed(function(*arguments))


class CourierTests(SynchronousTestCase):
    """
    Tests for L{RowCourier}.
    """

    def setUp(self) -> None:
        self.make()

    def make(self) -> None:
        """
        Make a courier, and a main process that takes what it is handed.
        """
        self.clock = Clock()
        self.taken: list[Block] = []
        self.answer: Callable[[], Deferred[bool]] = lambda: succeed(True)
        self.recorder = QueryRecorder(CAPACITY, Exclusion((), ()), Anonymizer())
        self.courier = RowCourier(self.recorder, self.hand, self.clock, promptly)
        self.courier.startService()

    def hand(self, octets: bytes) -> Deferred[bool]:
        """
        Take a block, if that is the answer.
        """

        def answered(taken: bool) -> bool:
            if taken:
                self.taken.append(Block.decode(octets))
            return taken

        return self.answer().addCallback(answered)

    def record(self, count: int) -> None:
        """
        Record queries.
        """
        for _ in range(count):
            self.recorder.queryAnswered(eventOf())

    @property
    def rows(self) -> int:
        """
        How many rows were taken.
        """
        return sum(map(len, self.taken))

    def test_handsOver(self) -> None:
        """
        Rows are handed over within a second, and nothing when there are none.
        """
        self.record(3)
        self.assertEqual(self.rows, 0)
        self.clock.advance(TICK)
        self.assertEqual((self.rows, self.courier.counters()["buffer_used"]), (3, 0))
        self.clock.advance(TICK)
        self.assertEqual(len(self.taken), 1)

    def test_refused(self) -> None:
        """
        What isn't taken is kept and handed over later, in order and once.
        """
        self.answer = lambda: succeed(False)
        self.record(2)
        self.clock.advance(TICK)
        self.answer = lambda: fail(HelperError("no reply in time"))
        self.record(3)
        self.clock.advance(TICK)
        self.assertEqual((self.rows, self.courier.counters()["failed_deliveries"]), (0, 2))
        self.answer = lambda: succeed(True)
        self.clock.advance(TICK)
        self.assertEqual([len(block) for block in self.taken], [2, 3])

    def test_bounded(self) -> None:
        """
        While nothing is taken, only so many blocks wait; then the buffer fills,
        and counts what it has no room for.
        """
        self.answer = lambda: succeed(False)
        for _ in range(2 * MOST_BLOCKS):
            self.record(10)
            self.clock.advance(TICK)
        self.record(CAPACITY)
        counters = self.courier.counters()
        kept = 10 * MOST_BLOCKS + CAPACITY
        self.assertEqual(counters["buffer_used"], kept)
        self.assertEqual(counters["dropped_events"], 10 * MOST_BLOCKS)
        self.answer = lambda: succeed(True)
        self.successResultOf(self.courier.stopService())
        self.assertEqual(self.rows, kept)

    def test_stop(self) -> None:
        """
        At the end what there is is handed over, behind what is under way; what
        isn't taken then is lost and counted.
        """
        waiting: Deferred[bool] = Deferred()
        self.answer = lambda: waiting
        self.record(2)
        self.clock.advance(TICK)
        self.record(4)
        stopped = self.courier.stopService()
        self.assertNoResult(stopped)
        self.answer = lambda: succeed(True)
        waiting.callback(True)
        self.successResultOf(stopped)
        self.assertEqual((self.rows, self.courier.lost), (6, 0))
        self.make()
        self.record(5)
        self.answer = lambda: fail(HelperError("gone"))
        self.successResultOf(self.courier.stopService())
        self.assertEqual(self.courier.counters()["dropped_events"], 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("yn!")), max_size=12))
    @settings(max_examples=100, deadline=None)
    def test_noneIsUnaccountedFor(self, story: list[tuple[int, str]]) -> None:
        """
        Whatever the main process does, each query recorded is a row taken, or
        one counted as waiting or lost.
        """
        self.make()
        answers = {
            "y": lambda: succeed(True),
            "n": lambda: succeed(False),
            "!": lambda: fail(HelperError("gone")),
        }
        total = 0
        for count, answer in story:
            self.answer = answers[answer]
            self.record(count)
            total += count
            self.clock.advance(TICK)
            counters = self.courier.counters()
            self.assertEqual(
                self.rows + counters["buffer_used"] + counters["dropped_events"], total
            )
        self.successResultOf(self.courier.stopService())
        self.assertEqual(self.rows + self.courier.counters()["dropped_events"], total)


class RecentTests(SynchronousTestCase):
    """
    Tests for L{RecentBlocks}.
    """

    def block(self, number: int) -> Block:
        """
        A block of an id.
        """
        return Block(number.to_bytes(16, "big"), "here", b"", (), ())

    def test_remembers(self) -> None:
        """
        Blocks that were taken are known again, the last ones.
        """
        recent = RecentBlocks()
        self.assertNotIn(self.block(0), recent)
        for number in range(REMEMBERED + 1):
            recent.note(self.block(number))
        self.assertNotIn(self.block(0), recent)
        self.assertIn(self.block(1), recent)
        self.assertIn(self.block(REMEMBERED), recent)
