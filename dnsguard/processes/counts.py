# -*- test-case-name: tests.processes.test_counts -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What one process has counted, on its way to the one that publishes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from dnsguard.observers.exposition import Gathered, Kind, Metric, Sample

__all__ = ["Counts"]


@attrs.frozen
class Counts:
    """
    Numbers of one process.

    @ivar samples: By the names of metrics.
    @ivar caches: What C{/cache/stats} tells of its caches.
    @ivar refreshes: What C{/cache/refresh/stats} tells.
    """

    samples: Mapping[str, tuple[Sample, ...]] = attrs.field(factory=dict)
    caches: Mapping[str, Any] = attrs.field(factory=dict)
    refreshes: Mapping[str, Any] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls,
        gathered: Gathered,
        caches: Mapping[str, Any] = {},
        refreshes: Mapping[str, Any] = {},
    ) -> Counts:
        """
        Take what was read.
        """
        samples = {
            metric.name: tuple(samples)
            for metric, samples in gathered
            if samples and metric.kind is not Kind.INFO
        }
        return cls(samples, caches, refreshes)

    def encode(self) -> bytes:
        """
        Write them down.
        """
        samples = {
            name: [[each.labels, each.value] for each in samples]
            for name, samples in self.samples.items()
        }
        return json.dumps([samples, self.caches, self.refreshes]).encode("ascii")

    @classmethod
    def decode(cls, octets: bytes) -> Counts:
        """
        Read what L{encode} gave.
        """
        samples, caches, refreshes = json.loads(octets)
        return cls(
            {
                name: tuple(Sample(tuple(labels), _value(value)) for labels, value in found)
                for name, found in samples.items()
            },
            caches,
            refreshes,
        )

    def total(self, name: str) -> float:
        """
        Add all samples of a metric up.
        """
        return float(sum(each.value for each in self.samples.get(name, ())))

    def growing(self, metrics: Iterable[Metric]) -> Counts:
        """
        Keep only what a process that has ended leaves behind: what only grows.
        """
        kept = {metric.name for metric in metrics if metric.kind in (Kind.COUNTER, Kind.HISTOGRAM)}
        return Counts({name: each for name, each in self.samples.items() if name in kept})


def _value(value: Any) -> Any:
    """
    A number; or of a histogram the buckets and the sum, as it was.
    """
    if isinstance(value, list):
        buckets, total = value
        return [(bound, count) for bound, count in buckets], total
    return value
