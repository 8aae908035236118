# -*- test-case-name: tests.replay.test_storebounds -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Queries answered from the replay store, on their way to the observers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import attrs
from zope.interface import implementer

from dnsguard.interfaces import IReplayBatch
from dnsguard.replay.entry import ReplayedAnswer

__all__ = ["RECORD", "ReplayBatch"]

RECORD = struct.Struct("=qQIHBB16s")
"""One record; see L{IReplayBatch}."""


@implementer(IReplayBatch)
@attrs.frozen
class ReplayBatch:
    """
    What one call of C{drain} took.

    @ivar records: See L{IReplayBatch}.
    @ivar hits: How often each entry number occurs.
    @ivar entries: The facts behind each entry number, and behind others.
    """

    records: bytes
    hits: Mapping[int, int]
    entries: Mapping[int, ReplayedAnswer]

    def __len__(self) -> int:
        return len(self.records) // RECORD.size
