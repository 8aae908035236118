# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.perf.report}.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.perf.report import bars, lines, picture, stamped, summary
from dnsguard.cli.perf.run import Result
from dnsguard.cli.perf.tally import Tally


def tallied(*latencies: int) -> Tally:
    """
    A tally of answers with these latencies.
    """
    tally = Tally()
    for latency in latencies:
        tally.add("answered")
        tally.rCodes[0] += 1
        tally.record(latency)
    return tally


class LinesTests(SynchronousTestCase):
    """
    Tests for L{lines}.
    """

    def test_format(self) -> None:
        """
        The lines have the documented format.
        """
        tally = tallied(1000, 2000, 3000)
        tally.rCodes[0] -= 1
        tally.rCodes[3] += 1
        tally.add("timeouts")
        tally.record(2_000_000)
        last = "2000.000"
        self.assertEqual(
            list(lines(Result(tally, 2.5))),
            [
                "completed 4 queries with 1 errors",
                "elapsed: 2.5s",
                "qps: 1.60",
                f"latency (ms): avg=501.500 p50=3.000 p95={last} p99={last} min=1.000 max={last}",
                "rcode counts:",
                "  NOERROR (0): 2",
                "  NXDOMAIN (3): 1",
                "errors: 1",
                "of these and others: timeouts=1",
            ],
        )

    def test_elapsed(self) -> None:
        """
        The time it took is written as Go writes it.
        """
        for seconds, text in [
            (0.0123456, "12.3456ms"),
            (1.5, "1.5s"),
            (90.25, "1m30.25s"),
            (7325.0, "2h2m5s"),
        ]:
            found = list(lines(Result(tallied(1), seconds)))[1]
            self.assertEqual(found, f"elapsed: {text}")

    def test_interrupted(self) -> None:
        """
        What was interrupted says so.
        """
        first = next(lines(Result(tallied(1), 1.0, False)))
        self.assertEqual(first, "interrupted: completed 1 queries with 0 errors")

    def test_stamped(self) -> None:
        """
        Lines begin with the documented prefix.
        """
        self.assertTrue(
            re.fullmatch(r"perf-tester \d{4}/\d\d/\d\d \d\d:\d\d:\d\d x", stamped("x"))
        )


class HistogramTests(SynchronousTestCase):
    """
    Tests for L{bars}, L{picture} and L{summary}.
    """

    def test_empty(self) -> None:
        """
        Nothing is drawn of nothing.
        """
        self.assertEqual((bars(Tally()), list(picture(Tally()))), ([], []))
        self.assertEqual(summary(Result(Tally(), 0.0))["qps"], 0.0)

    def test_drawn(self) -> None:
        """
        The longest bar is that of most, and nothing that isn't nothing is
        invisible.
        """
        drawn = list(picture(tallied(*[1000] * 900, 4000)))
        self.assertIn("█" * 50, drawn[0])
        self.assertTrue(drawn[0].endswith("900"))
        self.assertIn("▏", drawn[-1])

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, 1 << 40), max_size=50))
    def test_whole(self, latencies: list[int]) -> None:
        """
        Each sample is in one bar, the bars follow each other, and there are
        few enough to be looked at.
        """
        tally = tallied(*latencies)
        found = bars(tally)
        self.assertEqual(sum(bar.count for bar in found), len(latencies))
        for before, after in pairwise(found):
            self.assertEqual(before.end, after.begin)
        self.assertLessEqual(len(list(picture(tally))), 24)
        told = json.loads(json.dumps(summary(Result(tally, 1.0))))
        self.assertEqual(sum(bar["count"] for bar in told["histogram"]), len(latencies))
