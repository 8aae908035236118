# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A replay store compared with the chain that it stands in for.

Whatever a store gives must be what the chain would say to the same request
from the same client now, but for the age of TTLs. The chain may be a model, as
in C{tests.replay.test_differential}, or a whole server.
"""

from __future__ import annotations

from typing import Any, Protocol

from dnsguard.wire.layout import scan
from tests.support.replay import facts

__all__ = ["Chain", "Comparison", "Mismatch"]


class Mismatch(AssertionError):
    """
    The store said something else than the chain.
    """


class Chain(Protocol):
    """
    Whoever makes replies when there is no store.
    """

    def view(self, address: bytes) -> int:
        """
        The number of a client's view under the present policy.
        """

    def reply(self, datagram: bytes, address: bytes) -> tuple[bytes | None, float]:
        """
        Answer a request.

        @return: The reply, L{None} for silence; and for how many seconds it
            may be replayed, 0 for never.
        """


class Comparison:
    """
    One store and the chain behind it.

    @ivar replayed: How many requests the store has answered.
    """

    def __init__(self, store: Any, chain: Chain) -> None:
        self.store = store
        self.chain = chain
        self.replayed = 0
        self._born: dict[bytes, float] = {}

    def ask(self, datagram: bytes, address: bytes, now: float) -> bytes | None:
        """
        Ask the store, and the chain; have the chain's reply remembered when
        the store has none, as the server does.

        @return: The store's reply.
        @raise Mismatch: It isn't the chain's.
        """
        found: bytes | None = self.store.lookup(datagram, address, now)
        expected, seconds = self.chain.reply(datagram, address)
        if found is None:
            if expected is not None and seconds > 0 and not expected[2] & 2:
                kept = facts(datagram, self.chain.view(address), self.store.generation)
                self.store.remember(datagram, expected, kept, seconds, now)
            return None
        self.replayed += 1
        if expected is None or seconds <= 0:
            raise Mismatch(f"a replay of what isn't replayable: {datagram!r}")
        self._compare(found, expected)
        return found

    def _compare(self, found: bytes, expected: bytes) -> None:
        """
        Compare two replies: equal, but that all TTLs of the first are less by
        the same number of seconds, or at their end.
        """
        try:
            ours = scan(found)
        except ValueError as reason:
            raise Mismatch(f"{found!r} is no message: {reason}") from reason
        theirs = scan(expected)
        if ours.ttls != theirs.ttls or ours.size != theirs.size:
            raise Mismatch(f"{found!r} isn't laid out like {expected!r}")
        blank = [bytearray(found), bytearray(expected)]
        ages = set()
        for at in ours.ttls:
            was, now = (int.from_bytes(m[at : at + 4], "big") for m in (expected, found))
            ages.add(was - now)
            for message in blank:
                message[at : at + 4] = bytes(4)
        if blank[0] != blank[1]:
            raise Mismatch(f"{found!r} isn't {expected!r}")
        if len(ages) > 1 or any(age < 0 for age in ages):
            raise Mismatch(f"TTLs of {found!r} don't count down from {expected!r}")
