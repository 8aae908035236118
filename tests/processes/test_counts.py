# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.counts} and L{dnsguard.processes.totals}.
"""

from __future__ import annotations

import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Outcome
from dnsguard.assembly.metrics import METRICS
from dnsguard.histogram import Histogram
from dnsguard.observers.exposition import Exposition, Kind, Metric, Sample
from dnsguard.processes.counts import Counts
from dnsguard.processes.totals import (
    _MOST,
    _OWN,
    Across,
    acrossOf,
    addCaches,
    addCounts,
    addGathered,
    addRefreshes,
)
from tests.support.events import eventOf
from tests.support.guard import makeGuard


def durations(*seconds: float) -> Histogram:
    """
    A histogram of these.
    """
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    return histogram


METERS = (
    Metric.counter("asked_total", "Asked.", lambda subject: subject["asked"], ("by",)),
    Metric.gauge("held", "Held.", lambda subject: subject["held"]),
    Metric.histogram("took_seconds", "Took.", lambda subject: subject["took"]),
    Metric.gauge("dnsguard_list_names", "Names.", lambda subject: subject["names"]),
    Metric.gauge("dnsguard_reactor_lag_worst_seconds", "Worst.", lambda subject: subject["lag"]),
    Metric.gauge("dns_cache_hit_rate", "Rate.", lambda subject: subject["rate"]),
    Metric.counter("dns_cache_hits_total", "Hits.", lambda subject: subject["hits"]),
    Metric.counter("dns_cache_misses_total", "Misses.", lambda subject: subject["misses"]),
)

ONE = {
    "asked": [(("a",), 3), (("b",), 1)],
    "held": 10,
    "took": durations(0.0002, 0.2),
    "names": 100,
    "lag": 0.5,
    "rate": 50.0,
    "hits": 5,
    "misses": 5,
}
OTHER = {
    "asked": [(("b",), 4), (("c",), 2)],
    "held": 7,
    "took": durations(0.3, 99.0),
    "names": 100,
    "lag": 0.25,
    "rate": 90.0,
    "hits": 90,
    "misses": 0,
}


def counts(subject: dict[str, Any]) -> Counts:
    """
    What another process says, as it arrives.
    """
    return Counts.decode(Counts.of(Exposition(METERS, subject).gather()).encode())


class CountsTests(SynchronousTestCase):
    """
    Tests for numbers on their way.
    """

    def test_carried(self) -> None:
        """
        Numbers arrive as they were read, histograms too.
        """
        gathered = Exposition(METERS, ONE).gather()
        arrived = counts(ONE)
        for metric, samples in gathered:
            self.assertEqual(
                [(each.labels, _plain(each.value)) for each in arrived.samples[metric.name]],
                [(each.labels, _plain(each.value)) for each in samples],
            )
        self.assertEqual(arrived.total("asked_total"), 4)
        self.assertEqual(arrived.total("nothing"), 0)

    def test_wholeServer(self) -> None:
        """
        All that a server publishes can be carried, but what can't be added up.
        """
        guard = makeGuard(tempfile.mkdtemp())
        guard.observers.metrics.queryAnswered(eventOf(outcome=Outcome.CACHED))
        gathered = guard.exposition.gather()
        arrived = Counts.decode(
            Counts.of(gathered, guard.caches.cacheStats(), guard.caches.refreshStats()).encode()
        )
        for metric, samples in gathered:
            told = metric.name in arrived.samples
            self.assertEqual(told, bool(samples) and metric.kind is not Kind.INFO, metric.name)
        self.assertEqual(arrived.total("dnsguard_queries_total"), 1)
        self.assertIn("lru", arrived.caches)
        self.assertIn("sweeps_24h", arrived.refreshes)

    def test_growing(self) -> None:
        """
        Of a process that has ended counters stay, and what it held doesn't.
        """
        self.assertEqual(
            set(counts(ONE).growing(METERS).samples),
            {"asked_total", "took_seconds", "dns_cache_hits_total", "dns_cache_misses_total"},
        )


class TotalsTests(SynchronousTestCase):
    """
    Tests for sums.
    """

    def test_added(self) -> None:
        """
        Counters, what is held and histograms are added by their labels; what is
        the same for all, or only the main process knows, is what that says; of
        the worst there is one.
        """
        added = dict(addGathered(Exposition(METERS, ONE).gather(), [counts(OTHER), Counts()]))
        found = {metric.name: samples for metric, samples in added.items()}
        self.assertEqual(
            {each.labels: each.value for each in found["asked_total"]},
            {("a",): 3, ("b",): 5, ("c",): 2},
        )
        self.assertEqual(found["held"], [Sample((), 17)])
        self.assertEqual(found["dnsguard_list_names"], [Sample((), 100)])
        self.assertEqual(found["dnsguard_reactor_lag_worst_seconds"], [Sample((), 0.5)])
        both = durations(0.0002, 0.2, 0.3, 99.0)
        (sample,) = found["took_seconds"]
        buckets, total = _plain(sample.value)
        self.assertEqual(buckets, list(both.cumulative()))
        self.assertAlmostEqual(total, both.total)

    def test_rate(self) -> None:
        """
        A rate is that of the sums.
        """
        found = {
            metric.name: samples
            for metric, samples in addGathered(Exposition(METERS, ONE).gather(), [counts(OTHER)])
        }
        self.assertEqual(found["dns_cache_hit_rate"], [Sample((), 95.0)])

    def test_addedIsWritten(self) -> None:
        """
        What is added up is written down like what was read.
        """
        exposition = Exposition(METERS, ONE)
        octets, _ = exposition.encode("", addGathered(exposition.gather(), [counts(OTHER)]))
        self.assertIn(b'asked_total{by="b"} 5.0\n', octets)
        self.assertIn(b'took_seconds_bucket{le="+Inf"} 4.0\n', octets)

    def test_buried(self) -> None:
        """
        What processes counted one after the other is added up.
        """
        metrics = METERS[:3]
        both = addCounts(metrics, addCounts(metrics, Counts(), counts(ONE)), counts(OTHER))
        self.assertEqual(both.total("asked_total"), 10)
        self.assertEqual(set(both.samples), {"asked_total", "held", "took_seconds"})

    def test_declared(self) -> None:
        """
        Every exception is of a metric that there is.
        """
        names = {metric.name for metric in METRICS}
        self.assertEqual((_OWN | _MOST) - names, set())
        across = {metric.name: acrossOf(metric) for metric in METRICS}
        self.assertIs(across["dnsguard_queries_total"], Across.SUM)
        self.assertIs(across["dns_querystore_recorded_total"], Across.OWN)

    def test_caches(self) -> None:
        """
        Statistics of caches are added up, the shared store's being one; rates
        are those of the sums.
        """
        own = {
            "hits": 1,
            "misses": 1,
            "hit_rate": 50.0,
            "tiers": {"l0": {"hits": 1, "misses": 1, "hit_rate": 50.0}},
            "lru": {"entries": 5, "max_entries": 10, "fill_ratio": 0.5},
            "redis_keys": 9,
        }
        other = {
            "hits": 8,
            "misses": 0,
            "hit_rate": 100.0,
            "tiers": {"l0": {"hits": 8, "misses": 0, "hit_rate": 100.0}},
            "lru": {"entries": 10, "max_entries": 10, "fill_ratio": 1.0},
            "replay": {"hits": 3},
        }
        self.assertEqual(
            addCaches(own, [other, {}]),
            {
                "hits": 9,
                "misses": 1,
                "hit_rate": 90.0,
                "tiers": {"l0": {"hits": 9, "misses": 1, "hit_rate": 90.0}},
                "lru": {"entries": 15, "max_entries": 20, "fill_ratio": 0.75},
                "redis_keys": 9,
                "replay": {"hits": 3},
            },
        )
        self.assertEqual(own["hits"], 1)

    def test_refreshes(self) -> None:
        """
        What was refreshed in a day is added up, settings and the last sweep
        aren't.
        """
        own = {"refreshed_24h": 2, "batch_size": 100, "removed_24h_breakdown": {"cold_keys": 1}}
        other = {"refreshed_24h": 3, "batch_size": 100, "removed_24h_breakdown": {"cold_keys": 4}}
        self.assertEqual(
            addRefreshes(own, [other, {}]),
            {"refreshed_24h": 5, "batch_size": 100, "removed_24h_breakdown": {"cold_keys": 5}},
        )


def _plain(value: Any) -> Any:
    """
    A number, or a histogram with lists for tuples.
    """
    if isinstance(value, tuple):
        return [tuple(bucket) for bucket in value[0]], value[1]
    return value
