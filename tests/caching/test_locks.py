# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.locks}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.locks import LocalLocks


class LocalLocksTests(SynchronousTestCase):
    """
    Tests for L{LocalLocks}.
    """

    def setUp(self) -> None:
        self.locks: LocalLocks[str] = LocalLocks(10.0, capacity=3)

    def test_exclusive(self) -> None:
        """
        A lock is given once, until it is given back.
        """
        token = self.locks.acquire("a", 0.0)
        assert token is not None
        self.assertIsNone(self.locks.acquire("a", 9.9))
        self.assertIsNotNone(self.locks.acquire("b", 0.0))
        self.assertTrue(self.locks.release("a", token))
        self.assertIsNotNone(self.locks.acquire("a", 0.0))

    def test_endsByItself(self) -> None:
        """
        A lock that isn't given back ends after its time, and its late owner
        can't take the next one's away.
        """
        token = self.locks.acquire("a", 0.0)
        assert token is not None
        self.assertIsNotNone(self.locks.acquire("a", 10.0))
        self.assertFalse(self.locks.release("a", token))
        self.assertIsNone(self.locks.acquire("a", 10.1))

    def test_bounded(self) -> None:
        """
        No more than so many are held; those that have ended make room.
        """
        for key in "abc":
            self.assertIsNotNone(self.locks.acquire(key, 0.0))
        self.assertIsNone(self.locks.acquire("d", 5.0))
        self.assertEqual((len(self.locks), self.locks.refused), (3, 1))
        self.assertIsNotNone(self.locks.acquire("d", 10.0))
        self.locks.clear()
        self.assertEqual(len(self.locks), 0)
