# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Queries replayed, without a replay store.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Mapping

from zope.interface import implementer

from dnsguard.interfaces import IReplayBatch
from dnsguard.replay.entry import ReplayedAnswer

RECORD = struct.Struct("=qQIHBB16s")


@implementer(IReplayBatch)
class FakeReplayBatch:
    """
    A batch that a test fills by hand.
    """

    def __init__(self, entries: Mapping[int, ReplayedAnswer]) -> None:
        self.entries = dict(entries)
        self.hits: Counter[int] = Counter()
        self.records = bytearray()

    def add(
        self,
        number: int,
        address: str,
        when: float = 1_700_000_000.0,
        took: float = 0.00002,
        transport: int = 0,
    ) -> None:
        """
        Replay an entry to a client.

        @param when: Time of arrival, seconds since the epoch.
        @param took: Seconds it took.
        """
        parsed = ipaddress.ip_address(address)
        self.hits[number] += 1
        self.records += RECORD.pack(
            round(when * 1000) * 1_000_000,
            number,
            round(took * 1e9),
            100,
            transport,
            parsed.version,
            parsed.packed,
        )

    def __len__(self) -> int:
        return len(self.records) // RECORD.size
