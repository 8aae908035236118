# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.routes}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.upstream.exchange import Group
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import Strategy
from dnsguard.upstream.wheel import TimerWheel
from dnsguard.wire.names import ROOT, fromText, toText
from tests.support.upstreams import FakeUpstream

A, DS = 1, 43


def group(*upstreams: FakeUpstream) -> Group:
    return Group.of(Strategy.FAILOVER, upstreams)


class UpstreamSetTests(SynchronousTestCase):
    """
    Tests for L{UpstreamSet}.
    """

    def setUp(self) -> None:
        self.first = FakeUpstream("first")
        self.second = FakeUpstream("second")
        self.set = UpstreamSet(
            {
                ROOT: group(self.first),
                fromText("example.org"): group(self.second),
                fromText("lab.example.org"): group(self.second, self.first),
                fromText("private.example.org"): group(),
            }
        )

    def domain(self, name: str, type: int = A) -> str:
        found = self.set.find(fromText(name), type)
        assert found is not None
        self.assertIs(found[1], self.set.groups[found[0]])
        return toText(found[0])

    def test_longestDomainCounts(self) -> None:
        """
        The longest domain that a name is at or below says whom to ask.
        """
        for name, domain in {
            "example.org": "example.org",
            "www.example.org": "example.org",
            "a.b.lab.example.org": "lab.example.org",
            "lab.example.org": "lab.example.org",
            "private.example.org": "private.example.org",
            "notexample.org": ".",
            "example.net": ".",
            ".": ".",
        }.items():
            self.assertEqual(self.domain(name), domain, name)

    def test_delegationSignerIsTheParents(self) -> None:
        """
        The DS records of a domain are asked for where its parent is.
        """
        self.assertEqual(self.domain("example.org", DS), ".")
        self.assertEqual(self.domain("lab.example.org", DS), "example.org")
        self.assertEqual(self.domain("x.lab.example.org", DS), "lab.example.org")
        self.assertEqual(self.domain(".", DS), ".")

    def test_noUpstreamForOtherNames(self) -> None:
        """
        Without upstreams for all names there is nobody to ask for most.
        """
        routed = UpstreamSet({fromText("example.org"): group(self.first)})
        self.assertIsNone(routed.find(fromText("example.net"), A))
        self.assertIsNotNone(routed.find(fromText("www.example.org"), A))
        self.assertIsNone(UpstreamSet({}).find(fromText("example.net"), A))

    def test_upstreams(self) -> None:
        """
        Each upstream is there once, however many groups it is in.
        """
        self.assertEqual(self.set.upstreams, (self.first, self.second))

    def test_retire(self) -> None:
        """
        Those that the next set lacks retire.
        """
        self.set.retire(kept=UpstreamSet({ROOT: group(self.second)}))
        self.assertEqual((self.first.retired, self.second.retired), (True, False))

    def test_closeOthers(self) -> None:
        """
        Those that another set has may be spared, and the timers if it shares
        them.
        """
        clock = Clock()
        wheel = TimerWheel(clock)
        wheel.add(type("Item", (), {"due": 1.0, "pending": True})())
        old = UpstreamSet({ROOT: group(self.first, self.second)}, wheel)
        self.successResultOf(old.close(kept=UpstreamSet({ROOT: group(self.second)}, wheel)))
        self.assertEqual((self.first.closed, self.second.closed), (True, False))
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        self.successResultOf(old.close(kept=UpstreamSet({ROOT: group(self.second)})))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """
        All are closed, and their timers with them.
        """
        clock = Clock()
        wheel = TimerWheel(clock)
        wheel.add(type("Item", (), {"due": 1.0, "pending": True})())
        closed = UpstreamSet({ROOT: group(self.first, self.second)}, wheel).close()
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual((self.first.closed, self.second.closed), (True, True))
        self.assertEqual(clock.getDelayedCalls(), [])
