# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.perf.run}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.perf import run
from dnsguard.cli.perf.questions import Questions
from dnsguard.cli.perf.run import Plan, Resolver, Unresolvable, measure
from tests.support.loopback import LoopbackServer, reply

QUESTIONS = Questions(["example.org"], 1)


class MeasureTests(SynchronousTestCase):
    """
    Tests for L{measure}.
    """

    def serve(self) -> Resolver:
        """
        Begin to answer.
        """
        server = LoopbackServer(lambda question: [reply(question)])
        self.addCleanup(server.close)
        return Resolver("127.0.0.1", server.port, "udp")

    def test_progress(self) -> None:
        """
        It is told how many questions are over, at last that all are.
        """
        self.patch(run, "_STEP", 0.001)
        seen: list[int] = []
        measure(self.serve(), QUESTIONS, Plan(200, 2, 5.0), seen.append)
        self.assertEqual(seen, sorted(seen))
        self.assertEqual(seen[-1], 200)

    def test_interrupted(self) -> None:
        """
        Interrupted, it gives what there is by then.
        """
        self.patch(run, "_STEP", 0.001)

        def advance(over: int) -> None:
            if over and not seen:
                seen.append(over)
                raise KeyboardInterrupt

        seen: list[int] = []
        result = measure(self.serve(), QUESTIONS, Plan(1_000_000, 2, 5.0), advance)
        self.assertFalse(result.complete)
        self.assertGreater(result.tally.samples, 0)
        self.assertLess(result.tally.samples, 1_000_000)

    def test_twins(self) -> None:
        """
        The twin in Python is used when it is asked for.
        """
        result = measure(self.serve(), QUESTIONS, Plan(20, 2, 5.0, compiled=False))
        self.assertEqual(result.tally["answered"], 20)
        self.assertGreater(result.rate, 0)

    def test_unresolvable(self) -> None:
        """
        A name without an address can't be measured.
        """
        resolver = Resolver("host.invalid", 53, "udp")
        problem = self.assertRaises(Unresolvable, measure, resolver, QUESTIONS, Plan(1, 1, 1.0))
        self.assertIn("host.invalid", str(problem))

    def test_shown(self) -> None:
        """
        A resolver is shown as it can be written.
        """
        self.assertEqual(str(Resolver("192.0.2.1", 53, "udp")), "192.0.2.1:53")
        self.assertEqual(str(Resolver("2001:db8::1", 53, "udp")), "[2001:db8::1]:53")
