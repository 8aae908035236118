# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.metrics.processes}, and for metrics of several
processes.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly.observing import WholeExposition
from dnsguard.observers.exposition import Sample
from dnsguard.processes.counts import Counts
from dnsguard.processes.run import Stage
from tests.support.events import eventOf
from tests.support.guard import makeGuard

LABELS = ("upstream", "udp", "A", "NOERROR")


BURIED = Counts({"dnsguard_queries_total": (Sample(LABELS, 10),)})


class FakePool:
    """
    Two helpers, of which one serves.
    """

    def __init__(self) -> None:
        counts = Counts({"dnsguard_queries_total": (Sample(LABELS, 5),)})
        self.helpers = (
            SimpleNamespace(
                number=1,
                stage=Stage.SERVING,
                starts=2,
                counts=counts,
                run=SimpleNamespace(pid=os.getpid()),
            ),
            SimpleNamespace(number=2, stage=Stage.AWAY, starts=1, counts=Counts(), run=None),
        )
        self.lateCounts = 1

    def counts(self) -> Deferred[list[Counts]]:
        """
        What they counted.
        """
        return succeed([BURIED, *(helper.counts for helper in self.helpers)])


class ProcessMetricsTests(SynchronousTestCase):
    """
    What is published of several processes.
    """

    def samples(self, guard: Any) -> dict[tuple[str, tuple[str, ...]], float]:
        """
        Publish all, and read what is there.
        """
        exposition = WholeExposition(guard)
        octets, _ = exposition.encode("", self.successResultOf(exposition.gather()))
        self.assertEqual(guard.exposition.failures, {})
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(octets.decode())
            for sample in family.samples
        }

    def test_together(self) -> None:
        """
        Queries are those of all processes, those that have ended included; of
        each process it is told how many it answered, whether it serves and what
        it takes.
        """
        guard = makeGuard(self.mktemp())
        guard.observers.metrics.queryAnswered(eventOf())
        listening: Any = guard.listeners.inner
        listening.helpers = FakePool()
        guard.past.queries[1] = 10
        guard.past.ends["silent"] = 1
        samples = self.samples(guard)
        self.assertEqual(
            sum(value for (name, _), value in samples.items() if name == "dnsguard_queries_total"),
            16,
        )
        expected = {
            ("dnsguard_process_queries_total", ("0",)): 1,
            ("dnsguard_process_queries_total", ("1",)): 15,
            ("dnsguard_process_queries_total", ("2",)): 0,
            ("dnsguard_process_up", ("1",)): 1,
            ("dnsguard_process_up", ("2",)): 0,
            ("dnsguard_process_starts_total", ("1",)): 2,
            ("dnsguard_process_ends_total", ("silent",)): 1,
            ("dnsguard_process_late_total", ()): 1,
        }
        self.assertEqual({key: samples[key] for key in expected}, expected)
        self.assertGreater(samples["dnsguard_process_resident_bytes", ("1",)], 1 << 20)
        self.assertGreater(samples["dnsguard_process_cpu_seconds_total", ("0",)], 0)
        self.assertNotIn(("dnsguard_process_cpu_seconds_total", ("2",)), samples)

    def test_noneAnyMore(self) -> None:
        """
        What helpers counted stays counted when there are to be none any more.
        """
        guard = makeGuard(self.mktemp())
        guard.past.counts = BURIED
        samples = self.samples(guard)
        (key,) = (key for key in samples if key[0] == "dnsguard_queries_total")
        self.assertEqual(samples[key], 10)

    def test_alone(self) -> None:
        """
        A process that serves alone says nothing of others.
        """
        samples = self.samples(makeGuard(self.mktemp()))
        self.assertEqual([name for name, _ in samples if name.startswith("dnsguard_process")], [])

    def test_queryStore(self) -> None:
        """
        The rows of the query store are published, wherever it is put.
        """
        guard = makeGuard(self.mktemp())
        assert guard.queryStore is not None
        guard.queryStore.recorder.queryAnswered(eventOf())
        guard.queryStore.flush.received = 4
        samples = self.samples(guard)
        self.assertEqual(samples["dns_querystore_recorded_total", ()], 5)
        self.assertEqual(samples["dns_querystore_buffer_used", ()], 1)
        self.assertEqual(samples["dnsguard_querystore_rows_total", ("lost",)], 0)
