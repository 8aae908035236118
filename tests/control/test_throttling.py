# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.throttling}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.throttling import MAX_ADDRESSES, AttemptLimit, Bucket


class BucketTests(SynchronousTestCase):
    """
    Tests for L{Bucket}.
    """

    def test_burstThenOneAPeriod(self) -> None:
        """
        Two at once, then one each period; it never saves up more than two.
        """
        bucket = Bucket(10.0)
        self.assertEqual([bucket.take(0.0), bucket.take(0.0), bucket.take(0.0)], [0, 0, 10.0])
        self.assertEqual(bucket.take(4.0), 6.0)
        self.assertEqual(bucket.take(10.0), 0.0)
        self.assertEqual(bucket.take(10.0), 10.0)
        self.assertEqual([bucket.take(1e6) for _ in "123"], [0, 0, 10.0])

    def test_clockGoesBack(self) -> None:
        """
        A clock that goes back lets nobody wait for it to come forth again.
        """
        bucket = Bucket(10.0)
        for _ in "12":
            bucket.take(1000.0)
        self.assertEqual(bucket.take(0.0), 10.0)
        self.assertEqual(bucket.take(10.0), 0.0)


class AttemptLimitTests(SynchronousTestCase):
    """
    Tests for L{AttemptLimit}.
    """

    def test_forgiven(self) -> None:
        """
        Who is shut out is let in again some time after the last wrong guess,
        and has all guesses again.
        """
        limit = AttemptLimit(3, 60.0)
        for now in (0.0, 10.0, 20.0):
            self.assertEqual(limit.wait("192.0.2.1", now), 0.0)
            limit.failed("192.0.2.1", now)
        self.assertEqual(limit.wait("192.0.2.1", 30.0), 50.0)
        self.assertEqual(limit.wait("192.0.2.2", 30.0), 0.0)
        self.assertEqual(limit.wait("192.0.2.1", 80.0), 0.0)
        limit.failed("192.0.2.1", 80.0)
        self.assertEqual(limit.wait("192.0.2.1", 80.0), 0.0)
        self.assertEqual(limit.shutOut, 1)

    def test_rightGuessForgives(self) -> None:
        """
        Who knows it in the end has all guesses again.
        """
        limit = AttemptLimit(2, 60.0)
        limit.failed("192.0.2.1", 0.0)
        limit.succeeded("192.0.2.1")
        limit.failed("192.0.2.1", 0.0)
        self.assertEqual(limit.wait("192.0.2.1", 0.0), 0.0)

    def test_bounded(self) -> None:
        """
        Many addresses take no more than so much memory; those that guessed last
        stay shut out.
        """
        limit = AttemptLimit(1, 60.0)
        for number in range(MAX_ADDRESSES + 500):
            limit.failed(f"host {number}", 0.0)
        self.assertEqual(limit.wait("host 0", 1.0), 0.0)
        self.assertGreater(limit.wait(f"host {MAX_ADDRESSES + 499}", 1.0), 0.0)

    def test_mapped(self) -> None:
        """
        An IPv4 address is the same when it comes in IPv6's clothes.
        """
        limit = AttemptLimit(1, 60.0)
        limit.failed("::ffff:192.0.2.1", 0.0)
        self.assertGreater(limit.wait("192.0.2.1", 1.0), 0.0)
