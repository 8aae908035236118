# -*- test-case-name: tests.caching.test_ttl -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How long an answer is true, and how long it is kept.

Its own records say how long it is true (RFC 2181 §5.2, RFC 2308 §5 for a
negative one); the operator's bounds say how long it is kept.
"""

from __future__ import annotations

import attrs

from dnsguard.wire.layout import TC, Layout

__all__ = ["TTLPolicy", "authTTL", "hasData"]

_CNAME = 5
_ANY = 255
_NXDOMAIN = 3


def hasData(wire: bytes, layout: Layout) -> bool:
    """
    Is there a record of the type asked for in the answer section?

    A chain of aliases that ends in nothing is a negative answer
    (RFC 2308 §2.2).

    @param layout: The scan of C{wire}.
    """
    answers = layout.counts[1]
    if layout.type == _ANY:
        return answers > 0
    asked = layout.type.to_bytes(2, "big")
    # A record's type stands four octets before its TTL.
    return any(wire[at - 4 : at - 2] == asked for at in layout.ttls[:answers])


def authTTL(wire: bytes, layout: Layout, rCode: int, negativeTTL: int) -> int:
    """
    Tell for how many seconds an answer is true by its own records.

    @param layout: The scan of C{wire}.
    @param rCode: NOERROR or NXDOMAIN.
    @param negativeTTL: What to take for a negative answer without SOA record.
    @return: Seconds; 0 for an answer that must not be kept.
    """
    if layout.flags & TC:
        # RFC 2181 §9: a truncated answer isn't kept.
        return 0
    least = layout.leastTTL
    if rCode != _NXDOMAIN and least is not None and hasData(wire, layout):
        return least
    # RFC 2308 §5: the SOA's MINIMUM or TTL, the lesser, for NXDOMAIN and NODATA
    # alike. The aliases that lead there hold no longer than their own TTLs.
    negative = layout.negativeTTL
    if negative is None:
        negative = negativeTTL
    return negative if least is None else min(negative, least)


@attrs.frozen
class TTLPolicy:
    """
    The operator's bounds, in seconds.

    @ivar minTTL: Keep an answer at least so long.
    @ivar maxTTL: Keep an answer at most so long.
    @ivar negativeTTL: How long a negative answer without SOA record is true.
    @ivar respectSourceTTL: Never keep an answer longer than it is true.
    @ivar grace: How long an answer is kept beyond that, at most as long again
        as it was fresh.
    @ivar staleTTL: How long beyond that it may still be served when upstream
        is silent (RFC 8767); 0: never. It is kept for so long at least.
    """

    minTTL: int = 300
    maxTTL: int = 3600
    negativeTTL: int = 300
    respectSourceTTL: bool = False
    grace: int = 3600
    staleTTL: int = 3600

    def storedTTL(self, authTTL: int, hot: bool = False) -> int:
        """
        Tell for how many seconds to keep an answer.

        @param authTTL: How long it is true.
        @param hot: Is this the refresh of a key in the hot tier? It comes back
            soon enough without being kept longer than it is true.
        @return: Seconds; 0: don't keep it. An answer that is true for no time
            at all isn't kept (RFC 1035 §3.2.1), whatever the bounds.
        """
        if authTTL <= 0:
            return 0
        if not (hot or self.respectSourceTTL):
            authTTL = max(authTTL, self.minTTL)
        return min(authTTL, self.maxTTL)

    def retention(self, storedTTL: int) -> int:
        """
        Tell for how many seconds to hold on to an answer that is no longer
        fresh.
        """
        return max(min(storedTTL, self.grace), self.staleTTL)
