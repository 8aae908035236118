# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.metrics}.
"""

from __future__ import annotations

from typing import Any

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Outcome
from dnsguard.interfaces import IEntryObserver
from dnsguard.observers import metrics as module
from dnsguard.observers.metrics import FEW_SAMPLES, OTHER, SAMPLES, QueryMetrics
from dnsguard.query import Transport
from tests.support.events import entryFor, eventOf
from tests.support.replaybatch import FakeReplayBatch


def countsOf(metrics: QueryMetrics) -> dict[tuple[Any, ...], tuple[int, int]]:
    """
    Give what was counted, by key.
    """
    return {tuple(key): (chained, replayed) for key, chained, replayed in metrics.queries()}


class ChainedQueryTests(SynchronousTestCase):
    """
    Queries that went through the chain.
    """

    def test_interface(self) -> None:
        """
        It is an observer.
        """
        verifyObject(IEntryObserver, QueryMetrics())

    def test_meets(self) -> None:
        """
        What entries are counted under can be looked up beforehand, some at a
        time; that counts nothing.
        """
        metrics = QueryMetrics()
        batch = FakeReplayBatch({number: entryFor() for number in range(5)})
        for number in range(5):
            batch.add(number, "192.0.2.1")
        self.assertEqual([metrics.meet(batch, 3) for _ in range(3)], [3, 2, 0])
        self.assertEqual((metrics.replayed, list(metrics.queries())), (0, []))
        metrics.queriesReplayed(batch)
        self.assertEqual(metrics.replayed, 5)

    def test_meetsAFew(self) -> None:
        """
        Entries that were noted are forgotten when there are too many.
        """
        self.patch(module, "_REMEMBERED", 3)
        metrics = QueryMetrics()
        batch = FakeReplayBatch({number: entryFor() for number in range(5)})
        for number in range(5):
            batch.add(number, "192.0.2.1")
        self.assertEqual([metrics.meet(batch, 4), metrics.meet(batch, 9)], [4, 5])
        for _ in range(2):
            metrics.queriesReplayed(batch)
        self.assertEqual(metrics.replayed, 10)

    def test_countedByWhatTheyAre(self) -> None:
        """
        Queries are counted by outcome, transport, type and response code.
        """
        metrics = QueryMetrics()
        metrics.queryAnswered(eventOf())
        metrics.queryAnswered(eventOf())
        metrics.queryAnswered(
            eventOf(
                outcome=Outcome.BLOCKED,
                type=dns.AAAA,
                transport=Transport.TCP,
                rCode=dns.ENAME,
            )
        )
        self.assertEqual(
            countsOf(metrics),
            {
                (Outcome.UPSTREAM, Transport.UDP, "A", "NOERROR"): (2, 0),
                (Outcome.BLOCKED, Transport.TCP, "AAAA", "NXDOMAIN"): (1, 0),
            },
        )
        self.assertEqual(metrics.total(Outcome.BLOCKED), 1)
        self.assertEqual(metrics.total(Outcome.BLOCKED, Outcome.UPSTREAM), 3)

    def test_labelsAreBounded(self) -> None:
        """
        Whatever types and codes there are, they take few series and no memory
        each.
        """
        metrics = QueryMetrics()
        for type in range(2000):
            metrics.queryAnswered(eventOf(type=type))
        for code in range(2000):
            metrics.queryAnswered(eventOf(rCode=code))
        counts = countsOf(metrics)
        self.assertLess(len(counts), 50)
        self.assertLess(len(metrics._known), 50)
        self.assertEqual(sum(chained for chained, _ in counts.values()), 4000)
        self.assertEqual(
            counts[Outcome.UPSTREAM, Transport.UDP, OTHER, "NOERROR"][0],
            2000 - (len({qtype for _, _, qtype, _ in counts}) - 1),
        )

    def test_durations(self) -> None:
        """
        Durations are kept apart by outcome.
        """
        metrics = QueryMetrics()
        metrics.queryAnswered(eventOf(duration=0.02))
        metrics.queryAnswered(eventOf(outcome=Outcome.CACHED, duration=0.001))
        self.assertEqual(metrics.durations[Outcome.UPSTREAM].total, 0.02)
        self.assertEqual(metrics.durations[Outcome.CACHED].count, 1)
        self.assertEqual(metrics.durations[Outcome.LOCAL].count, 0)


class ReplayedQueryTests(SynchronousTestCase):
    """
    Queries replayed.
    """

    def batch(self) -> FakeReplayBatch:
        """
        A batch with two entries and another one with the same labels.
        """
        return FakeReplayBatch(
            {
                1: entryFor(),
                2: entryFor(outcome=Outcome.BLOCKED, rCode=dns.ENAME),
                3: entryFor("mail.example.org"),
            }
        )

    def test_countedByEntry(self) -> None:
        """
        Every query of a batch is counted, under what its entry says.
        """
        metrics = QueryMetrics()
        for _ in range(2):
            batch = self.batch()
            for number in (1, 1, 2, 3):
                batch.add(number, "192.0.2.1")
            metrics.queriesReplayed(batch)
        self.assertEqual(
            countsOf(metrics),
            {
                (Outcome.CACHED, Transport.UDP, "A", "NOERROR"): (0, 6),
                (Outcome.BLOCKED, Transport.UDP, "A", "NXDOMAIN"): (0, 2),
            },
        )
        self.assertEqual(metrics.replayed, 8)
        self.assertEqual(metrics.durations[Outcome.CACHED].count, 6)
        self.assertEqual(metrics.durations[Outcome.BLOCKED].count, 2)

    def test_transportIsRead(self) -> None:
        """
        Queries over TCP among the others are counted as such.
        """
        metrics = QueryMetrics()
        batch = self.batch()
        batch.add(1, "192.0.2.1", transport=0)
        batch.add(1, "192.0.2.1", transport=1)
        batch.add(1, "2001:db8::1", transport=1)
        metrics.queriesReplayed(batch)
        self.assertEqual(
            countsOf(metrics),
            {
                (Outcome.CACHED, Transport.UDP, "A", "NOERROR"): (0, 1),
                (Outcome.CACHED, Transport.TCP, "A", "NOERROR"): (0, 2),
            },
        )
        self.assertEqual(metrics.durations[Outcome.CACHED].count, 3)

    def test_emptyBatch(self) -> None:
        """
        A batch without queries changes nothing.
        """
        metrics = QueryMetrics()
        metrics.queriesReplayed(self.batch())
        self.assertEqual(metrics.replayed, 0)

    def test_smallBatchIsMeasuredWhole(self) -> None:
        """
        Of a small batch each duration is looked at.
        """
        metrics = QueryMetrics()
        batch = self.batch()
        for took in (0.00001, 0.0002, 0.02):
            batch.add(1, "192.0.2.1", took=took)
        metrics.queriesReplayed(batch)
        durations = metrics.durations[Outcome.CACHED]
        self.assertAlmostEqual(durations.total, 0.02021)
        self.assertEqual(sum(count == 1 for count in durations.counts), 3)

    def test_largeBatchIsSampled(self) -> None:
        """
        In a large batch each sample stands for several queries, and together
        they stand for all.
        """
        metrics = QueryMetrics()
        batch = self.batch()
        queries = SAMPLES * 10 + 3
        for _ in range(queries):
            batch.add(1, "192.0.2.1", took=0.00002)
        metrics.queriesReplayed(batch)
        durations = metrics.durations[Outcome.CACHED]
        self.assertEqual(durations.count, queries)
        self.assertAlmostEqual(durations.total, queries * 0.00002)

    def test_rareOutcomeIsMadeUpFor(self) -> None:
        """
        An outcome that no sample shows gets its durations when one does.
        """
        metrics = QueryMetrics()
        for _ in range(SAMPLES):
            batch = self.batch()
            for at in range(SAMPLES * 4):
                batch.add(2 if at == 5 else 1, "192.0.2.1")
            metrics.queriesReplayed(batch)
        queries = SAMPLES * SAMPLES * 4
        self.assertEqual(metrics.replayed, queries)
        counted = {outcome: metrics.durations[outcome].count for outcome in Outcome}
        owed = {outcome: metrics._owed[outcome] for outcome in Outcome}
        self.assertEqual(sum(counted.values()) + sum(owed.values()), queries)
        # One of the sixteen queries that are apart is looked at.
        self.assertGreater(counted[Outcome.BLOCKED], SAMPLES - SAMPLES * 4 // FEW_SAMPLES)
        self.assertLess(owed[Outcome.BLOCKED], SAMPLES * 4 // FEW_SAMPLES)

    def test_entriesAreForgotten(self) -> None:
        """
        However many entries there are, few are remembered.
        """
        metrics = QueryMetrics()
        self.patch(module, "_REMEMBERED", 10)
        for number in range(100):
            batch = FakeReplayBatch({number: entryFor()})
            batch.add(number, "192.0.2.1")
            metrics.queriesReplayed(batch)
        self.assertLessEqual(len(metrics._notes), 12)
        self.assertEqual(metrics.replayed, 100)

    def test_bothWaysTogether(self) -> None:
        """
        A query counts the same whether it was replayed or not.
        """
        metrics = QueryMetrics()
        metrics.queryAnswered(eventOf(outcome=Outcome.CACHED))
        batch = self.batch()
        batch.add(1, "192.0.2.1")
        metrics.queriesReplayed(batch)
        self.assertEqual(
            countsOf(metrics), {(Outcome.CACHED, Transport.UDP, "A", "NOERROR"): (1, 1)}
        )
        self.assertEqual(metrics.total(Outcome.CACHED), 2)
