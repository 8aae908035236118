# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.heap}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.services.heap import ARENAS, LARGE, setHeap, tuneHeap


class TuneHeapTests(SynchronousTestCase):
    """
    Tests for L{tuneHeap}.
    """

    def setUp(self) -> None:
        self.told: list[tuple[int, int]] = []

    def tell(self, arenas: int, octets: int) -> bool:
        self.told.append((arenas, octets))
        return True

    def test_tells(self) -> None:
        """
        The library is told once.
        """
        self.assertTrue(tuneHeap({"PATH": "/bin"}, self.tell))
        self.assertEqual(self.told, [(ARENAS, LARGE)])

    def test_environmentHolds(self) -> None:
        """
        What the environment says isn't changed.
        """
        for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
            self.assertFalse(tuneHeap({name: "1"}, self.tell))
        self.assertEqual(self.told, [])

    def test_withoutCompiler(self) -> None:
        """
        Where it wasn't built nothing is done.
        """
        self.assertFalse(tuneHeap({}, None))

    def test_built(self) -> None:
        """
        The compiled function says whether it could.
        """
        if setHeap is None:
            self.skipTest("not built")
        self.assertIsInstance(setHeap(ARENAS, LARGE), bool)
