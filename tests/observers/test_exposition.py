# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.exposition}.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as readOpenMetrics,
)
from prometheus_client.parser import text_string_to_metric_families as readText
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.histogram import Histogram
from dnsguard.observers.exposition import Exposition, Metric

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def durations() -> Histogram:
    """
    Some durations.
    """
    histogram = Histogram((0.5, 1.0))
    for seconds in (0.25, 0.75, 2.0):
        histogram.add(seconds)
    return histogram


METRICS = (
    Metric.counter("dnsguard_things_total", "Things.", lambda part: part["things"]),
    Metric.gauge(
        "dnsguard_sizes",
        "Sizes.",
        lambda part: [((name,), size) for name, size in part["sizes"].items()],
        ("name",),
    ),
    Metric.histogram("dnsguard_times_seconds", "Times.", lambda part: durations()),
    Metric.info("dnsguard_build_info", "Facts.", lambda part: {"version": "1"}),
    Metric.gauge("dnsguard_absent", "Isn't there.", lambda part: None),
)


class ExpositionTests(SynchronousTestCase):
    """
    Numbers are written down as Prometheus wants them.
    """

    def exposition(self) -> Exposition:
        """
        Publish something.
        """
        return Exposition(METRICS, {"things": 3, "sizes": {'a"b': 1, "c": 2}})

    def samples(self, read: Any, accept: str) -> dict[tuple[str, tuple[str, ...]], float]:
        """
        Write it down and read it again.
        """
        exposition = self.exposition()
        octets, _ = exposition.encode(accept, exposition.gather())
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in read(octets.decode())
            for sample in family.samples
        }

    def test_writtenDown(self) -> None:
        """
        Both formats hold the same numbers.
        """
        expected = {
            ("dnsguard_things_total", ()): 3,
            ("dnsguard_sizes", ('a"b',)): 1,
            ("dnsguard_sizes", ("c",)): 2,
            ("dnsguard_times_seconds_bucket", ("0.5",)): 1,
            ("dnsguard_times_seconds_bucket", ("1.0",)): 2,
            ("dnsguard_times_seconds_bucket", ("+Inf",)): 3,
            ("dnsguard_times_seconds_count", ()): 3,
            ("dnsguard_times_seconds_sum", ()): 3.0,
            ("dnsguard_build_info", ("1",)): 1,
        }
        self.assertEqual(self.samples(readText, ""), expected)
        self.assertEqual(self.samples(readOpenMetrics, OPEN_METRICS), expected)

    def test_formatIsNegotiated(self) -> None:
        """
        Who takes OpenMetrics gets it, others get plain text.
        """
        exposition = self.exposition()
        gathered = exposition.gather()
        octets, kind = exposition.encode(OPEN_METRICS, gathered)
        self.assertIn("application/openmetrics-text", kind)
        self.assertTrue(octets.endswith(b"# EOF\n"))
        for accept in ("", "*/*", "text/html", "nonsense;;q=x"):
            octets, kind = exposition.encode(accept, gathered)
            self.assertIn("text/plain", kind)
            self.assertNotIn(b"# EOF", octets)

    def test_brokenMetricIsLeftOut(self) -> None:
        """
        A metric that can't be read is counted and logged once; the others are
        there.
        """
        exposition = Exposition(
            [Metric.gauge("dnsguard_odd", "?", lambda part: 1 / 0), METRICS[2]], {}
        )
        for _ in range(2):
            octets, _ = exposition.encode("", exposition.gather())
        self.assertIn(b"dnsguard_times_seconds_count 3", octets)
        self.assertNotIn(b"dnsguard_odd", octets)
        self.assertEqual(exposition.failures, {"dnsguard_odd": 2})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_partOfAnotherRegistry(self) -> None:
        """
        It can be registered with a registry of prometheus_client's.
        """
        registry = CollectorRegistry()
        Gauge("mine", "Something of the operator's own.", registry=registry)
        registry.register(self.exposition())
        text = generate_latest(registry)
        self.assertIn(b"\nmine 0.0\n", text)
        self.assertIn(b"\ndnsguard_things_total 3.0\n", text)

    def test_oneNameOnce(self) -> None:
        """
        Two metrics can't have one name, nor one that differs in a counter's
        ending only: in OpenMetrics that is one name.
        """
        things = Metric.gauge("dnsguard_things", "?", len)
        for other in (METRICS[0], things):
            error = self.assertRaises(ValueError, Exposition, [METRICS[0], other], {})
            self.assertEqual(str(error), "dnsguard_things is declared 2 times")

    def test_soundNames(self) -> None:
        """
        A counter's name ends as a counter's name does.
        """
        self.assertRaises(ValueError, Metric.counter, "dnsguard_things", "?", len)
        self.assertRaises(ValueError, Metric.gauge, "dnsguard-things", "?", len)
