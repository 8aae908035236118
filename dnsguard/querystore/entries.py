# -*- test-case-name: tests.querystore.test_buffer -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What rows have of replies that are replayed.

After a reload ten thousand entries of the replay store may be replayed for the
first time within a second, so what is done for each of them counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dnsguard.querystore.rows import Frame, factFragment, factFrame, plainFragment

if TYPE_CHECKING:
    from dnsguard.replay.entry import ReplayedAnswer

__all__ = ["EntryFragments"]

_FRAMES = 4096
"""Frames of facts that are held at once."""


class EntryFragments:
    """
    Encodes the facts of replay entries.
    """

    def __init__(self, excludesName: Callable[[bytes], bool] | None) -> None:
        """
        @param excludesName: Are queries for this name left out? L{None}: none is.
        """
        self._excludesName = excludesName
        self._frames: dict[int, tuple[object, Frame]] = {}

    def fragment(self, entry: ReplayedAnswer) -> bytes:
        """
        Encode a replay entry's facts; of one left out, nothing. What is
        replayed came from no upstream this time.

        It is done once, and kept with the entry; no entry outlives a change of
        what is left out.
        """
        if entry.row is None:
            left = self._excludesName is not None and self._excludesName(entry.qname)
            entry.row = b"" if left else self._encode(entry)
        return entry.row

    def _encode(self, entry: ReplayedAnswer) -> bytes:
        """
        Encode a replay entry's facts. Many share all but name and records.
        """
        end = entry.questionEnd
        # Each rule has a frame of its own, which few have in common.
        if end and plainFragment is not None and entry.attribution is None:
            message = entry.message
            words, rest = self._frame(entry)
            answers = message[6] << 8 | message[7]
            made: bytes | None = plainFragment(entry.qname, words, message, end, answers, rest)
            if made is not None:
                return made
        return factFragment(*self._factsOf(entry))

    def _frame(self, entry: ReplayedAnswer) -> Frame:
        """
        Encode what a replay entry has in common with many, once for all.
        """
        shared = entry.circumstances
        # By identity, as comparing takes longer than encoding. What has one is
        # held with it, so that nothing else gets it.
        known = self._frames.get(id(shared))
        if known is None:
            if len(self._frames) >= _FRAMES:
                self._frames.clear()
            _, *facts = self._factsOf(entry)
            known = self._frames[id(shared)] = (shared, factFrame(*facts))
        return known[1]

    def _factsOf(self, entry: ReplayedAnswer) -> tuple[Any, ...]:
        """
        Give the arguments of L{factFragment}. What is replayed came from no
        upstream.
        """
        return (
            entry.qname,
            entry.type,
            entry.cls,
            entry.outcome.value,
            entry.rCode,
            entry.groupID,
            entry.attribution,
            entry.answer,
            "",
        )
