# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.orders}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.processes.orders import Orders, Traced
from dnsguard.querystore.frames import FrameReader, frame
from dnsguard.wire.names import fromText


class OrdersTests(SynchronousTestCase):
    """
    Tests for L{Orders}.
    """

    def test_carried(self) -> None:
        """
        Orders arrive as they were sent.
        """
        for orders in (
            Orders(1, b""),
            Orders(
                7,
                b"\x80config",
                "/var/lib/dnsguard/lists/lists.set",
                3,
                {"": 1.5, "kids": 2e9},
                "debug",
                Traced(("query",), ((b"\xc0\0\2\1", 32),), (fromText("example.org"),), ("kids",)),
                5000,
            ),
        ):
            ((fields, payload),) = FrameReader().feed(frame(*orders.encode()))
            self.assertEqual(Orders.decode(fields, payload), orders)
