# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.queryflush} and L{dnsguard.querystore.delivery}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.errors import StoreError
from dnsguard.interfaces import IQueryObserver, IQueryStore
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.querystore import delivery, pace
from dnsguard.querystore.block import Block
from dnsguard.querystore.filters import EVERYTHING
from dnsguard.querystore.questions import Question
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.spool import Spool
from dnsguard.querystore.tail import LiveTail
from dnsguard.services import queryflush
from dnsguard.services.queryflush import QueryFlushService
from tests.support.events import eventOf
from tests.support.threads import PromptPool, PromptReactor


@implementer(IQueryStore)
class FakeStore:
    """
    A store that takes, refuses or keeps a block waiting, as it is told.
    """

    name = "fake"

    def __init__(self) -> None:
        self.mode = "take"
        self.stored: list[Block] = []
        self.waiting: list[tuple[Block, Deferred[None]]] = []
        self.rounds = 0
        self.closed = self.starved = False
        self.owed: Deferred[bool] | None = None

    def isStarved(self) -> Deferred[bool]:
        """
        Say as told, or nothing yet.
        """
        return succeed(self.starved) if self.owed is None else self.owed

    def start(self) -> Deferred[None]:
        """
        Be there.
        """
        return succeed(None)

    def insert(self, block: Block) -> Deferred[None]:
        """
        Do as told.
        """
        if self.mode == "refuse":
            return fail(StoreError("fake", "told to"))
        if self.mode == "break":
            return fail(RuntimeError("defect"))
        if self.mode == "take but fail":
            self.keep(block)
            return fail(StoreError("fake", "told to"))
        if self.mode == "wait":
            waiting: Deferred[None] = Deferred()
            self.waiting.append((block, waiting))
            return waiting
        self.keep(block)
        return succeed(None)

    def keep(self, block: Block) -> None:
        """
        Store a block once.
        """
        if block.id not in [known.id for known in self.stored]:
            self.stored.append(block)

    def release(self, failing: bool = False) -> None:
        """
        Finish what was kept waiting.
        """
        for block, waiting in self.waiting:
            if failing:
                waiting.errback(StoreError("fake", "told to"))
            else:
                self.keep(block)
                waiting.callback(None)
        self.waiting = []

    def ask(self, question: Question) -> Deferred[Any]:
        """
        Know nothing.
        """
        return fail(StoreError("fake", "knows nothing"))

    def maintain(self) -> Deferred[None]:
        """
        Count the rounds.
        """
        self.rounds += 1
        if self.mode == "refuse":
            return fail(StoreError("fake", "told to"))
        return succeed(None)

    def clear(self) -> Deferred[None]:
        """
        Forget.
        """
        self.stored.clear()
        return succeed(None)

    def counters(self) -> dict[str, int]:
        """
        Publish nothing.
        """
        return {}

    def close(self) -> Deferred[None]:
        """
        End what is kept waiting.
        """
        self.closed = True
        self.release(failing=True)
        return succeed(None)

    @property
    def names(self) -> list[str]:
        """
        The names stored, in order.
        """
        return [row[4] for block in self.stored for row in block.tuples()]


class QueryFlushTests(SynchronousTestCase):
    """
    From buffer to store.
    """

    def setUp(self) -> None:
        self.begin(Path(self.mktemp()))

    def begin(
        self,
        directory: Path | None,
        maxOctets: int = 1 << 20,
        stored: list[Block] | None = None,
    ) -> None:
        """
        Make all parts anew, on the same spool or none, and what is stored.
        """
        self.reactor = PromptReactor()
        self.store = FakeStore()
        self.store.stored = stored or []
        verifyObject(IQueryStore, self.store)
        self.directory = directory
        self.spool = None if directory is None else Spool(directory, maxOctets)
        self.recorder = QueryRecorder(50, Exclusion(), Anonymizer())
        verifyObject(IQueryObserver, self.recorder)
        self.tail = LiveTail()
        self.service = QueryFlushService(
            self.recorder,
            self.store,
            self.spool,
            self.reactor,
            PromptPool(),
            interval=5,
            batchSize=10,
            tail=self.tail,
        )
        self.service.startService()
        self.sent = 0

    def record(self, count: int = 1) -> None:
        """
        Record queries for n1, n2 and so on.
        """
        for _ in range(count):
            self.sent += 1
            self.recorder.queryAnswered(eventOf(f"n{self.sent}"))

    def pass_(self, seconds: int) -> None:
        """
        Let time pass, second by second.
        """
        self.reactor.pump([1.0] * seconds)

    def expect(self, count: int) -> None:
        """
        Expect the first so many names stored, in order and once.
        """
        self.assertEqual(self.store.names, [f"n{number + 1}" for number in range(count)])

    def expectSum(self) -> None:
        """
        Expect every recorded row to be accounted for.
        """
        numbers = self.service.counters()
        self.assertEqual(
            numbers["total_recorded"] + numbers["recovered_rows"],
            numbers["delivered_rows"]
            + numbers["waiting_rows"]
            + numbers["spooled_rows"]
            + numbers["buffer_used"]
            + numbers["broken_rows"]
            + numbers["lost_rows"],
        )
        self.assertEqual(
            numbers["dropped_events"], numbers["lost_rows"] + self.recorder.buffer.dropped
        )

    def test_interval(self) -> None:
        """
        Rows are sent two seconds before the interval is over, and not before.
        """
        self.record(3)
        self.pass_(2)
        self.expect(0)
        self.pass_(1)
        self.expect(3)
        self.expectSum()

    def test_rowsOfOthers(self) -> None:
        """
        Rows of other processes are delivered and shown with those of this one,
        as long as they have room; once the service has stopped none are taken.
        """
        self.begin(None)
        watcher = self.tail.watch(EVERYTHING)
        assert watcher is not None
        others = QueryRecorder(50, Exclusion(), Anonymizer())
        self.store.mode = "wait"
        taken = 0
        block: Block | None = None
        for number in range(30):
            for _ in range(10):
                others.queryAnswered(eventOf(f"other{number}"))
            block = others.buffer.take()
            assert block is not None
            if not self.service.take(block):
                break
            taken += 10
        self.assertGreater(taken, 50)
        self.assertLess(taken, 300)
        self.assertEqual(self.service.received, taken)
        self.assertEqual(len(watcher.take()), taken)
        self.expectSum()
        self.store.mode = "take"
        self.store.release()
        self.pass_(5)
        self.assertEqual(len(self.store.names), taken)
        self.expectSum()
        self.successResultOf(self.service.stopService())
        assert block is not None
        self.assertFalse(self.service.take(block))

    def test_withinTheInterval(self) -> None:
        """
        Rows are on disk before the interval is over, though the store takes them
        and doesn't say so.
        """
        self.record(3)
        self.store.mode = "wait"
        self.pass_(4)
        self.expect(0)
        assert self.spool is not None
        self.assertEqual(self.spool.rows, 3)
        self.expectSum()

    def test_batchSize(self) -> None:
        """
        Enough rows are sent at the next look.
        """
        self.record(10)
        self.pass_(1)
        self.expect(10)

    def test_watchers(self) -> None:
        """
        While anybody watches, rows are sent at each look, and shown.
        """
        watcher = self.tail.watch(EVERYTHING)
        assert watcher is not None
        self.record()
        self.pass_(1)
        self.assertEqual([row["qname"] for row in watcher.take()], ["n1"])
        watcher.leave()
        self.record()
        self.pass_(1)
        self.expect(1)

    def test_pressure(self) -> None:
        """
        A buffer that fills fast is emptied before the next look.
        """
        self.record(20)
        self.recorder.pressed()
        self.expect(20)

    def test_waitingIsBoundedInOctets(self) -> None:
        """
        When the blocks that wait take their octets, rows stay in the buffer,
        and are stored after them.
        """
        self.patch(queryflush, "WAITING_OCTETS", 1000)
        with capturedLogs():
            self.begin(None)
            self.store.mode = "refuse"
            for _ in range(20):
                self.record(2)
                self.recorder.pressed()
        waiting = self.service.deliveries.waitingOctets
        self.assertGreaterEqual(waiting, 1000)
        self.assertLess(waiting, 1500)
        self.assertGreater(self.recorder.buffer.used, 10)
        self.expectSum()
        self.store.mode = "take"
        self.pass_(60)
        self.expect(40)
        self.expectSum()

    def test_outage(self) -> None:
        """
        Rows of an outage wait in the spool and are stored in order, once, when
        the store is back.
        """
        self.store.mode = "refuse"
        with capturedLogs() as captured:
            for _ in range(10):
                self.record(2)
                self.pass_(5)
        self.assertEqual(len(captured), 1)
        self.expect(0)
        self.expectSum()
        self.assertEqual(self.service.counters()["spooled_rows"], 20)
        self.store.mode = "take"
        self.pass_(40)
        self.expect(20)
        self.expectSum()
        self.assertEqual(self.service.counters()["spooled_rows"], 0)
        assert self.directory is not None
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_unclearDelivery(self) -> None:
        """
        A block that was stored though its delivery failed is stored once.
        """
        self.store.mode = "take but fail"
        self.record(3)
        self.pass_(5)
        self.store.mode = "take"
        self.record(2)
        self.pass_(10)
        self.expect(5)
        self.expectSum()

    def test_slowStore(self) -> None:
        """
        While a delivery takes long its block and those behind it are on disk,
        and they arrive in order.
        """
        self.store.mode = "wait"
        self.record(3)
        self.pass_(7)
        self.assertEqual(self.service.counters()["spooled_rows"], 3)
        self.record(2)
        self.pass_(5)
        self.assertEqual(self.service.counters()["spooled_rows"], 5)
        self.expectSum()
        self.store.mode = "take"
        self.store.release()
        self.expect(5)
        self.expectSum()
        self.assertEqual(self.service.counters()["spooled_rows"], 0)

    def test_starvedStore(self) -> None:
        """
        While the store waits for a core, rows are written to the spool at once and
        nobody complains; once it has time they arrive in their order.
        """
        self.patch(pace, "MANY", 5)
        self.store.starved = True
        with capturedLogs() as log:
            self.record(20)
            self.recorder.pressed()
            for number in range(2, 30):
                self.record(20)
                self.recorder.pressed()
                self.assertEqual(self.service.counters()["spooled_rows"], 20 * number)
                self.expectSum()
                self.pass_(1)
        self.assertEqual(self.complaints(log), [])
        self.expect(0)
        numbers = self.service.counters()
        self.assertEqual((numbers["failed_deliveries"], numbers["dropped_events"]), (0, 0))
        self.assertGreater(numbers["store_rests"], 2)
        self.assertLess(numbers["store_rests"], 5)
        self.store.starved = False
        self.pass_(16)
        self.expect(580)
        self.expectSum()

    def test_starvedStoreAndAFullSpool(self) -> None:
        """
        A store that waits for a core is given rows all the same before the spool is
        full: none is lost.
        """
        self.patch(pace, "MANY", 5)
        self.begin(Path(self.mktemp()), maxOctets=4000)
        self.store.starved = True
        for _ in range(60):
            self.record(20)
            self.recorder.pressed()
            self.pass_(1)
            self.expectSum()
        numbers = self.service.counters()
        self.assertEqual(numbers["dropped_events"], 0)
        self.assertGreater(numbers["delivered_rows"], 500)
        self.assertGreater(numbers["store_rests"], 0)

    def test_storeOwesWord(self) -> None:
        """
        While the store doesn't say whether it waits for a core rows are on disk, and
        after ten seconds that is told of.
        """
        self.patch(pace, "MANY", 5)
        owed: Deferred[bool] = Deferred()
        self.store.owed = owed
        self.record(6)
        with capturedLogs() as log:
            self.pass_(4)
            self.assertEqual(self.service.counters()["spooled_rows"], 6)
            self.expectSum()
            self.pass_(10)
        [complaint] = self.complaints(log)
        self.assertIn("hasn't answered for 10 s", complaint)
        self.store.owed = None
        owed.callback(False)
        self.expect(6)
        self.expectSum()

    def test_stopWithAStarvedStore(self) -> None:
        """
        Stopping delivers what there is, though the store waits for a core.
        """
        self.patch(pace, "MANY", 5)
        self.store.starved = True
        self.record(20)
        self.pass_(2)
        self.expect(0)
        self.successResultOf(self.service.stopService())
        self.expect(20)

    def test_blocksPileUp(self) -> None:
        """
        Blocks that come faster than the store takes one are on disk before there is
        no room for more: none is lost, and all arrive in their order.
        """
        self.store.mode = "wait"
        for _ in range(20):
            self.record(25)
            self.recorder.pressed()
        numbers = self.service.counters()
        self.assertEqual(numbers["dropped_events"], 0)
        self.assertGreaterEqual(numbers["spooled_rows"], 450)
        self.expectSum()
        self.store.mode = "take"
        self.store.release()
        self.pass_(5)
        self.expect(500)
        self.expectSum()

    def test_diskStandsStill(self) -> None:
        """
        Nothing piles up behind a write to the spool that doesn't end, all rows
        are accounted for meanwhile, and when it does end all are on disk.
        """
        held: list[Any] = []
        real = PromptPool.callInThreadWithCallback
        self.store.mode = "wait"
        self.record(3)
        self.pass_(4)
        self.assertEqual(len(self.store.waiting), 1)
        patched = self.patch(
            PromptPool, "callInThreadWithCallback", lambda *arguments: held.append(arguments)
        )
        for _ in range(5):
            self.record(2)
            self.pass_(20)
        self.assertEqual(len(held), 1)
        self.assertEqual(len(self.service.deliveries._spoolLock.waiting), 0)
        self.expectSum()
        patched.restore()
        real(*held.pop())
        self.assertEqual(self.service.counters()["spooled_rows"], 13)
        self.store.mode = "take"
        self.store.release()
        self.expect(13)
        self.expectSum()

    def test_slowStoreFails(self) -> None:
        """
        A delivery that fails late costs nothing either.
        """
        self.store.mode = "wait"
        self.record(3)
        self.pass_(7)
        self.record(2)
        self.pass_(5)
        self.store.mode = "take"
        self.store.release(failing=True)
        self.pass_(5)
        self.expect(5)
        self.expectSum()

    def complaints(self, log: Sequence[dict[str, Any]]) -> list[str]:
        """
        The warnings and worse in a log.
        """
        return [str(formatEvent(event)) for event in log if event["log_level"] >= LogLevel.warn]

    def test_slowStoreIsToldOfOnce(self) -> None:
        """
        A store that stands still makes one line in the log, after ten seconds, and
        none for failing in the end.
        """
        self.store.mode = "wait"
        with capturedLogs() as log:
            self.record(3)
            self.pass_(12)
            self.assertEqual(self.complaints(log), [])
            self.pass_(18)
            self.store.mode = "refuse"
            self.store.release(failing=True)
            self.pass_(20)
            [complaint] = self.complaints(log)
            self.assertEqual(
                complaint, "query store fake hasn't answered for 10 s; rows wait, DNS goes on"
            )
            self.store.mode = "take"
            self.pass_(40)
        self.assertEqual(self.complaints(log), [complaint])
        self.assertEqual(formatEvent(log[-1]), "query store fake takes rows again")
        self.expect(3)

    def test_outageIsToldOfOnce(self) -> None:
        """
        An outage makes one line in the log, and another a minute later if it goes on;
        the next one is told of at once.
        """
        self.store.mode = "refuse"
        with capturedLogs() as log:
            self.record(3)
            self.pass_(40)
            self.assertEqual(
                self.complaints(log), ["query store fake fails: told to; rows wait, DNS goes on"]
            )
            self.pass_(60)
            self.assertEqual(len(self.complaints(log)), 2)
            self.store.mode = "take"
            self.pass_(40)
            self.expect(3)
            self.store.mode = "refuse"
            self.record(1)
            self.pass_(10)
            self.assertEqual(len(self.complaints(log)), 3)

    def test_defectiveStore(self) -> None:
        """
        A store that fails as it mustn't costs no rows.
        """
        self.store.mode = "break"
        self.record(3)
        self.pass_(3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.store.mode = "take"
        self.pass_(5)
        self.expect(3)
        self.expectSum()

    def test_crash(self) -> None:
        """
        After a crash in an outage, what was spooled is stored before what comes
        later; only what wasn't flushed is gone.
        """
        self.store.mode = "refuse"
        self.record(4)
        self.pass_(5)
        self.record(3)
        directory = self.directory
        self.begin(directory)
        self.sent = 4
        self.record(2)
        self.pass_(5)
        self.expect(6)

    def test_crashBeforeTheFileIsRemoved(self) -> None:
        """
        A block that was stored but is still in the spool is stored once.
        """
        self.store.mode = "take but fail"
        self.record(4)
        self.pass_(5)
        self.begin(self.directory, stored=self.store.stored)
        self.pass_(1)
        self.expect(4)

    def test_fullSpool(self) -> None:
        """
        What neither the spool nor memory has room for is counted, row by row.
        """
        self.patch(delivery, "MAX_HELD", 0)
        self.begin(Path(self.mktemp()), maxOctets=300)
        self.store.mode = "refuse"
        for _ in range(6):
            self.record(5)
            self.pass_(5)
        numbers = self.service.counters()
        self.assertGreater(numbers["dropped_events"], 0)
        self.assertEqual(numbers["dropped_events"] + numbers["spooled_rows"], 30)
        self.store.mode = "take"
        self.pass_(40)
        self.assertEqual(len(self.store.names) + self.service.deliveries.lost, 30)
        self.expectSum()

    def test_noRoomForTheSpool(self) -> None:
        """
        While neither the store nor the spool takes rows, as on a full disk,
        they wait in memory, in their order; when there is room again nothing
        is missing.
        """
        self.begin(Path(self.mktemp()), maxOctets=1)
        self.store.mode = "refuse"
        for _ in range(6):
            self.record(5)
            self.pass_(5)
        self.assertEqual(self.service.counters()["dropped_events"], 0)
        self.store.mode = "take"
        self.pass_(40)
        self.expect(30)
        self.expectSum()

    def test_spoolThatCannotBe(self) -> None:
        """
        Without a folder for the spool a working store still gets all rows, and
        a failing one costs rows that are counted, once there are many.
        """
        self.patch(delivery, "MAX_HELD", 0)
        place = Path(self.mktemp())
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        self.begin(place)
        self.record(5)
        self.pass_(5)
        self.expect(5)
        self.store.mode = "refuse"
        self.record(5)
        self.pass_(5)
        self.assertEqual(self.service.counters()["dropped_events"], 5)
        self.expectSum()

    def test_withoutSpool(self) -> None:
        """
        Without a spool rows wait in memory, as many as the buffer holds, and
        the rest is counted.
        """
        self.begin(None)
        self.store.mode = "refuse"
        for _ in range(15):
            self.record(10)
            self.pass_(5)
        numbers = self.service.counters()
        self.assertEqual(numbers["dropped_events"], 50)
        self.expectSum()
        self.store.mode = "take"
        self.pass_(60)
        self.expect(100)

    def test_stop(self) -> None:
        """
        Stopping delivers what there is and closes the store.
        """
        self.record(3)
        self.successResultOf(self.service.stopService())
        self.expect(3)
        self.assertTrue(self.store.closed)
        self.successResultOf(self.service.stopService())

    def test_stopInAnOutage(self) -> None:
        """
        Stopping while the store is away leaves everything in the spool.
        """
        self.store.mode = "refuse"
        self.record(3)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.service.counters()["spooled_rows"], 3)
        self.begin(self.directory)
        self.pass_(1)
        self.expect(3)

    def test_stopWithASlowStore(self) -> None:
        """
        Stopping doesn't wait long for a delivery; its block is spooled.
        """
        self.store.mode = "wait"
        self.record(3)
        stopping = self.service.stopService()
        self.assertNoResult(stopping)
        self.pass_(5)
        self.successResultOf(stopping)
        self.assertEqual(self.service.counters()["spooled_rows"], 3)

    def test_maintenance(self) -> None:
        """
        The store looks after itself once a minute, failing or not.
        """
        self.pass_(59)
        self.assertEqual(self.store.rounds, 0)
        self.pass_(1)
        self.assertEqual(self.store.rounds, 1)
        self.store.mode = "refuse"
        with capturedLogs() as log:
            self.pass_(60)
        self.assertEqual(self.complaints(log), ["query store upkeep: fake: told to"])
        self.store.mode = "take"
        self.pass_(60)
        self.assertEqual(self.store.rounds, 3)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["take", "refuse", "take but fail", "wait", "crash", "release", "starve"]
                ),
                st.integers(0, 60),
                st.integers(0, 7),
            ),
            max_size=12,
        )
    )
    def test_everyRowIsAccountedFor(self, story: list[tuple[str, int, int]]) -> None:
        """
        Whatever the store does, rows are stored once and in order, or counted;
        a crash costs only what wasn't on disk.
        """
        self.patch(pace, "MANY", 20)
        self.begin(Path(self.mktemp()))
        crashed = False
        for mode, count, seconds in story:
            if mode == "crash":
                # What is in memory is gone; what was stored stays.
                sent = self.sent
                self.begin(self.directory, stored=self.store.stored)
                self.sent = sent
                crashed = True
            elif mode == "release":
                self.store.release()
                self.store.starved = False
            elif mode == "starve":
                self.store.starved = True
            else:
                self.store.mode = mode
            self.record(count)
            self.pass_(seconds)
            self.expectSum()
        self.store.mode = "take"
        self.store.starved = False
        self.store.release()
        self.pass_(120)
        self.expectSum()
        numbers = [int(name[1:]) for name in self.store.names]
        self.assertEqual(numbers, sorted(set(numbers)))
        if not crashed:
            dropped = self.service.counters()["dropped_events"]
            self.assertEqual(len(numbers) + dropped, self.sent)
