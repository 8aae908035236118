# -*- test-case-name: tests.querystore.test_buffer -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The query store's ear: what is recorded, and of whom.

Exclusion, anonymity and sampling are decided before a row is made, so nothing
that mustn't be kept is ever in memory, let alone on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from zope.interface import implementer

from dnsguard.interfaces import IEntryObserver
from dnsguard.observers.event import QueryEvent
from dnsguard.querystore.buffer import RowBuffer

__all__ = ["Exclusions", "Identities", "QueryRecorder"]

BLOCK_OCTETS = 4 << 20
"""Octets in the buffer that are made a block of without waiting for more."""


class Exclusions(Protocol):
    """
    Says whose queries, and for what, are left out.
    """

    def excludesName(self, qname: bytes) -> bool:
        """
        See L{dnsguard.observers.exclusion.Exclusion.excludesName}.
        """

    def excludesClient(self, address: str, name: str) -> bool:
        """
        See L{dnsguard.observers.exclusion.Exclusion.excludesClient}.
        """


class Identities(Protocol):
    """
    Says what is kept of a client.
    """

    def identity(self, address: str, name: str) -> tuple[str, str]:
        """
        See L{dnsguard.observers.anonymize.Anonymizer.identity}.
        """


@implementer(IEntryObserver)
class QueryRecorder:
    """
    Puts queries into a buffer.

    @ivar buffer: The buffer.
    @ivar pressed: Called after a batch that leaves the buffer half full or
        more, or with L{BLOCK_OCTETS} in it, so that it is emptied before it
        overflows, and in pieces of which a few copies do no harm.
    """

    def __init__(
        self,
        capacity: int,
        exclusion: Exclusions,
        anonymizer: Identities,
        nameOf: Callable[[str], str] = lambda address: "",
        sampleRate: float = 1.0,
        instance: str = "",
    ) -> None:
        """
        @param capacity: Rows the buffer holds.
        @param nameOf: Gives the configured name of a client's address.
        @param sampleRate: The share of queries recorded; outside of what a
            share can be, all are.
        @param instance: This server's name.
        """

        def clientOf(address: str, name: str) -> tuple[str, str] | None:
            if exclusion.excludesClient(address, name):
                return None
            return anonymizer.identity(address, name)

        self.buffer = RowBuffer(
            capacity,
            clientOf,
            nameOf,
            exclusion.excludesName if exclusion else None,
            sampleRate if 0 < sampleRate <= 1 else 1.0,
            instance,
        )
        self.pressed: Callable[[], None] = lambda: None

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        Record one query.
        """
        self.buffer.add(event)

    def meet(self, batch: Any, most: int) -> int:
        """
        Get ready for a batch. See L{IEntryObserver}.
        """
        return self.buffer.meet(batch, most)

    def queriesReplayed(self, batch: Any) -> None:
        """
        Record a batch.
        """
        self.buffer.addReplayed(batch)
        buffer = self.buffer
        if buffer.used * 2 >= buffer.capacity or buffer.octets >= BLOCK_OCTETS:
            self.pressed()
