# -*- test-case-name: tests.control.test_throttling -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How often something may be done: buckets of tokens, and guesses at secrets.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

import attrs

__all__ = ["AttemptLimit", "Bucket"]

BURST = 2.0

MAX_ADDRESSES = 10_000
ATTEMPTS = 10
FORGIVEN_AFTER = 60.0


@attrs.define
class Bucket:
    """
    Lets through two at once, then one each period.

    @ivar period: Seconds.
    @ivar tokens: How many it lets through now.
    @ivar filled: When that was so, seconds of some clock.
    """

    period: float
    tokens: float = BURST
    filled: float = 0.0

    def take(self, now: float) -> float:
        """
        Ask to be let through.

        @param now: Seconds of the clock.
        @return: 0: go on; otherwise the seconds to wait.
        """
        self.tokens = min(BURST, self.tokens + max(0.0, now - self.filled) / self.period)
        self.filled = now
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) * self.period


class AttemptLimit:
    """
    Counts wrong guesses by address, and shuts out who guesses too often.

    An IPv6 network of 64 bits counts as one address: it is what one household
    or machine is given. Addresses are forgotten when there are too many, those
    first that guessed longest ago, so that many addresses make no memory.

    @ivar shutOut: How often somebody was.
    """

    def __init__(self, attempts: int = ATTEMPTS, forgivenAfter: float = FORGIVEN_AFTER) -> None:
        """
        @param attempts: Guesses that are looked at.
        @param forgivenAfter: Seconds after the last of them until they are
            forgotten.
        """
        self.shutOut = 0
        self._attempts = attempts
        self._forgivenAfter = forgivenAfter
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """
        Say for how long nothing is looked at that comes from an address.

        @return: Seconds; 0: it is.
        """
        count, last = self._failures.get(_network(address), (0, 0.0))
        left = last + self._forgivenAfter - now
        if count < self._attempts or left <= 0:
            return 0.0
        self.shutOut += 1
        return left

    def failed(self, address: str, now: float) -> None:
        """
        Somebody guessed wrong.
        """
        network = _network(address)
        count, last = self._failures.pop(network, (0, 0.0))
        if now - last >= self._forgivenAfter:
            count = 0
        self._failures[network] = (count + 1, now)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """
        Somebody knew.
        """
        self._failures.pop(_network(address), None)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
