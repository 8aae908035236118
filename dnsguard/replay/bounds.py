# -*- test-case-name: tests.replay.test_storebounds -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What replay stores hold, and give at once, at most.

Both stores have the same bounds.
"""

from __future__ import annotations

from dnsguard.replay.key import LEAST_LIMIT

__all__ = ["DRAIN_LIMIT", "LONGEST", "STREAM_MOST", "checkBounds"]

DRAIN_LIMIT = 8192
"""
Records that one call of C{drain} gives at most, lest the reactor stall after it
was busy elsewhere, and what is made of them be large; the rest is given by the
next calls.
"""

STREAM_MOST = 65536
"""Octets of replies after which no more are looked for on one stream."""

LONGEST = 7 * 86400.0
"""Seconds that an entry is kept at most."""


def checkBounds(maxEntries: int, maxBytes: int, payloadLimit: int, ringSize: int) -> None:
    """
    Check the arguments that both stores take.

    @raise ValueError: One of them is out of range.
    """
    for name, value, least, most in [
        ("maxEntries", maxEntries, 1, 1 << 26),
        ("maxBytes", maxBytes, 1 << 16, 1 << 40),
        ("payloadLimit", payloadLimit, LEAST_LIMIT, 65535),
        ("ringSize", ringSize, 1, 1 << 24),
    ]:
        if not least <= value <= most:
            raise ValueError(f"{name} {value} is not from {least} to {most}")
