# -*- test-case-name: tests.observers.test_exposition -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Numbers of running parts, as Prometheus and OpenMetrics want them.

A part counts in plain attributes of its own. What is published of it is
declared as L{Metric}s, each with a function that reads its number off whatever
runs at the time: a part that a reload replaces is never held on to. Reading
is quick and done in the reactor's thread; writing it all down takes a few
milliseconds and may be done in another.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Exported
from twisted.logger import Logger

from dnsguard.histogram import Histogram

__all__ = ["Exposition", "Kind", "Metric", "Reading", "Sample"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Kind(enum.Enum):
    """
    What a metric is.
    """

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@attrs.frozen
class Sample:
    """
    One number with its labels.

    @ivar labels: The values of the metric's labels.
    @ivar value: The number; of a histogram, its buckets and sum; of an info,
        a dict.
    """

    labels: tuple[str, ...]
    value: Any


Reading = Iterable[tuple[tuple[str, ...], Any]]
"""Values of labels, with the number or the L{Histogram} they belong to."""


@attrs.frozen
class Metric:
    """
    One thing that is published.

    @ivar name: Its name, as it is queried: a counter's ends in C{_total}.
    @ivar kind: What it is.
    @ivar help: What it says, in a sentence.
    @ivar labels: The names of its labels.
    @ivar read: Reads it off a running server: with labels, a L{Reading};
        without, a number, or L{None} when there is none to tell.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    read: Callable[[Any], Any] = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        ending = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind)
        if not _NAME.fullmatch(self.name) or (ending and not self.name.endswith(ending)):
            raise ValueError(f"{self.name}: no name for a {self.kind.value}")

    @classmethod
    def counter(
        cls, name: str, help: str, read: Callable[[Any], Any], labels: Sequence[str] = ()
    ) -> Metric:
        """
        Declare a number that only grows.
        """
        return cls(name, Kind.COUNTER, help, tuple(labels), read)

    @classmethod
    def gauge(
        cls, name: str, help: str, read: Callable[[Any], Any], labels: Sequence[str] = ()
    ) -> Metric:
        """
        Declare a number that grows and shrinks.
        """
        return cls(name, Kind.GAUGE, help, tuple(labels), read)

    @classmethod
    def histogram(
        cls, name: str, help: str, read: Callable[[Any], Any], labels: Sequence[str] = ()
    ) -> Metric:
        """
        Declare durations, as L{Histogram}s.
        """
        return cls(name, Kind.HISTOGRAM, help, tuple(labels), read)

    @classmethod
    def info(cls, name: str, help: str, read: Callable[[Any], dict[str, str]]) -> Metric:
        """
        Declare facts, as a dict.
        """
        return cls(name, Kind.INFO, help, (), read)

    def samples(self, subject: Any) -> list[Sample]:
        """
        Read it.
        """
        found = self.read(subject)
        if not self.labels:
            found = [] if found is None else [((), found)]
        return [Sample(labels, self._frozen(value)) for labels, value in found]

    def _frozen(self, value: Any) -> Any:
        if isinstance(value, Histogram):
            return tuple(value.cumulative()), value.total
        return value

    def family(self, samples: Iterable[Sample]) -> Exported:
        """
        Turn what was read into what prometheus_client writes down.
        """
        family: Any = _FAMILIES[self.kind](self.name, self.help, labels=self.labels)
        for sample in samples:
            if self.kind is Kind.HISTOGRAM:
                buckets, total = sample.value
                named = [(_bound(bound), count) for bound, count in buckets]
                family.add_metric(sample.labels, buckets=named, sum_value=total)
            else:
                family.add_metric(sample.labels, sample.value)
        exported: Exported = family
        return exported


_FAMILIES: dict[Kind, Any] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
    Kind.INFO: lambda name, help, labels: InfoMetricFamily(name.removesuffix("_info"), help),
}


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == float("inf") else repr(seconds)


Gathered = list[tuple[Metric, list[Sample]]]


@attrs.frozen
class _Snapshot:
    """
    What was gathered, in the form of a registry.
    """

    gathered: Gathered
    others: tuple[Any, ...]

    def collect(self) -> Iterator[Exported]:
        for metric, samples in self.gathered:
            if samples:
                yield metric.family(samples)
        for collector in self.others:
            yield from collector.collect()


class Exposition:
    """
    All that is published.

    It is a collector, too: registered with a registry of prometheus_client's,
    it is published together with what else is there.

    @ivar metrics: What is declared.
    @ivar failures: Metrics that couldn't be read, by name: how often.
    """

    log = Logger()

    def __init__(
        self, metrics: Iterable[Metric], subject: Any, others: Iterable[Any] = ()
    ) -> None:
        """
        @param subject: What the metrics are read off.
        @param others: Further collectors in the manner of prometheus_client.
        @raise ValueError: Two metrics of the same name.
        """
        self.metrics = tuple(metrics)
        self.failures: Counter[str] = Counter()
        self._subject = subject
        self._others = tuple(others)
        # OpenMetrics knows a counter without its ending.
        names = Counter(metric.name.removesuffix("_total") for metric in self.metrics)
        for name, times in names.items():
            if times > 1:
                raise ValueError(f"{name} is declared {times} times")

    def gather(self) -> Gathered:
        """
        Read all numbers. In the thread of what counts them: the reactor's.
        A metric that can't be read is left out.
        """
        gathered = []
        for metric in self.metrics:
            try:
                gathered.append((metric, metric.samples(self._subject)))
            except Exception:
                self.failures[metric.name] += 1
                if self.failures[metric.name] == 1:
                    self.log.failure("metric {name} can't be read", name=metric.name)
        return gathered

    def collect(self) -> Iterator[Exported]:
        """
        Give all metrics to prometheus_client.
        """
        return _Snapshot(self.gather(), self._others).collect()

    def encode(self, accept: str, gathered: Gathered) -> tuple[bytes, str]:
        """
        Write down what was gathered. Any thread.

        @param accept: The C{Accept} header of whoever asks: who knows
            OpenMetrics gets that.
        @return: The octets and their content type.
        """
        encoder, contentType = choose_encoder(accept)
        return encoder(_Snapshot(gathered, self._others)), contentType
