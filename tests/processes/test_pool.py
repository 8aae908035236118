# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.pool}, without processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import HelperError
from dnsguard.observers.exposition import Metric
from dnsguard.processes.link import Handler
from dnsguard.processes.orders import Orders
from dnsguard.processes.pool import SCRAPE_SECONDS, HelperPool, Outfit, Past
from dnsguard.processes.run import Stage
from dnsguard.processes.standin import SocketStandIn
from dnsguard.server.address import ListenAddress
from tests.processes.test_helper import FakeRun, counted

QUERIES = Metric.counter("dnsguard_queries_total", "Queries.", lambda subject: 0)


class FakeStandIn(SocketStandIn):
    """
    Stands in for nothing.
    """

    def __init__(self) -> None:
        super().__init__((), lambda bound, address: None, Clock())
        self.closed = False

    def close(self) -> None:
        """
        Note it.
        """
        super().close()
        self.closed = True


class PoolTests(SynchronousTestCase):
    """
    Tests for L{HelperPool}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.past = Past()
        self.runs: list[FakeRun] = []
        self.handlers: list[Mapping[str, Handler]] = []
        self.ended: list[Callable[[], object]] = []
        self.made: list[int] = []
        self.asked: list[tuple[int, bytes]] = []
        self.outfits = [
            Outfit([(ListenAddress("127.0.0.1", 53), object())], FakeStandIn()) for _ in range(2)
        ]
        self.pool = HelperPool(
            self.outfits,
            self.launch,
            self.orders,
            [QUERIES],
            self.clock,
            {"rows": lambda number, fields, payload: self.asked.append((number, payload))},
            "1.0",
            self.past,
        )
        self.pool.startService()

    def launch(
        self,
        sockets: Sequence[Any],
        handlers: Mapping[str, Handler],
        ended: Callable[[], object],
    ) -> FakeRun:
        """
        Start a process that does nothing.
        """
        run = FakeRun(100 + len(self.runs))
        self.runs.append(run)
        self.handlers.append(handlers)
        self.ended.append(ended)
        return run

    def orders(self, revision: int) -> Orders:
        """
        Say what holds.
        """
        self.made.append(revision)
        return Orders(revision, b"config")

    def serve(self) -> None:
        """
        Let all come to serve.
        """
        for run, handlers in zip(self.runs, self.handlers, strict=True):
            handlers["hello"]({"version": "1.0"}, b"")
            handlers["ready"]({}, b"")
            run.reply("listen")
            run.reply("count", ({}, counted(0)))

    def test_greets(self) -> None:
        """
        A helper is told what holds and what its sockets are; one of other code
        than runs here is told to go.
        """
        hello = self.handlers[0]["hello"]
        fields, payload = hello({"version": "1.0"}, b"")
        self.assertEqual((fields["sockets"], payload), ([["127.0.0.1", 53]], b"config"))
        self.assertEqual(Orders.decode(fields, payload), Orders(1, b"config"))
        error = self.assertRaises(HelperError, hello, {"version": "2.0"}, b"")
        self.assertIn("version 2.0 was installed while 1.0 runs", str(error))

    def test_handlers(self) -> None:
        """
        What helpers hand over comes with their numbers.
        """
        self.handlers[1]["rows"]({}, b"octets")
        self.assertEqual(self.asked, [(2, b"octets")])

    def test_settled(self) -> None:
        """
        What has changed is settled when all who serve go by it, or have ended.
        Orders are made once for all.
        """
        self.serve()
        self.pool.changed()
        settled = self.pool.settled()
        self.runs[0].reply("follow")
        self.assertNoResult(settled)
        self.runs[1].fail("follow")
        self.assertNoResult(settled)
        self.assertEqual(self.runs[1].killed, 1)
        self.ended[1]()
        self.successResultOf(settled)
        self.assertEqual(self.made, [1, 2])
        self.assertEqual(self.past.ends, {"disobedient": 1})
        self.assertEqual([helper.number for helper in self.pool.serving()], [1])

    def test_counts(self) -> None:
        """
        Numbers are those of all who serve, and of those that have ended.
        """
        self.serve()
        counts = self.pool.counts()
        self.runs[0].reply("count", ({}, counted(5)))
        self.runs[1].reply("count", ({}, counted(7)))
        totals = [each.total(QUERIES.name) for each in self.successResultOf(counts)]
        self.assertEqual(totals, [0, 5, 7])
        self.ended[0]()
        counts = self.pool.counts()
        self.runs[1].reply("count", ({}, counted(8)))
        totals = [each.total(QUERIES.name) for each in self.successResultOf(counts)]
        self.assertEqual((totals, self.past.queries[1]), ([5, 0, 8], 5))

    def test_lateCounts(self) -> None:
        """
        Of one that takes too long the last numbers are shown; nobody waits for
        it. When it replies after all, those are the next ones.
        """
        self.serve()
        counts = self.pool.counts()
        self.runs[0].reply("count", ({}, counted(5)))
        self.assertNoResult(counts)
        self.clock.advance(SCRAPE_SECONDS)
        totals = [each.total(QUERIES.name) for each in self.successResultOf(counts)]
        self.assertEqual((totals, self.pool.lateCounts), ([0, 5, 0], 1))
        self.runs[1].reply("count", ({}, counted(9)))
        self.assertEqual(self.pool.helpers[1].counts.total(QUERIES.name), 9)

    def test_clear(self) -> None:
        """
        Clearing is done when all have; one that doesn't is ended first.
        """
        self.serve()
        cleared = self.pool.clear(b"\7example\0", True)
        self.runs[0].reply("clear", ({"cleared": 4}, b""))
        self.runs[1].fail("clear")
        self.assertNoResult(cleared)
        self.assertEqual(self.runs[1].killed, 1)
        self.ended[1]()
        self.assertEqual(self.successResultOf(cleared), 4)

    def test_clearWithoutAny(self) -> None:
        """
        Helpers that don't serve have nothing to clear.
        """
        self.assertEqual(self.successResultOf(self.pool.clear(None, False)), 0)

    def test_stop(self) -> None:
        """
        Stopping waits for all, and closes their sockets then.
        """
        self.serve()
        stopped = self.pool.stopService()
        for run in self.runs:
            run.reply("stop", ({}, counted(2)))
        self.ended[0]()
        self.assertNoResult(stopped)
        self.ended[1]()
        self.successResultOf(stopped)
        closed = [outfit.standIn.closed for outfit in self.outfits]  # type: ignore[attr-defined]
        self.assertEqual(closed, [True, True])
        self.assertEqual(self.past.counts.total(QUERIES.name), 4)
        self.assertEqual({helper.stage for helper in self.pool.helpers}, {Stage.AWAY})
        self.pool.changed()
        self.successResultOf(self.pool.settled())
        self.assertEqual(self.clock.getDelayedCalls(), [])
