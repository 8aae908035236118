# -*- test-case-name: tests.upstream.test_message -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The octets that go to an upstream.

A query upstream is written here from the question alone: nothing of a client's
packet but name, type, class, DO and CD ever leaves, no EDNS option and no
cookie.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import AD, CD, RD

__all__ = ["CHANCE", "Entropy", "compose", "pythonCompose", "queryParts"]

_LETTERS = bytes(0x20 if 0x61 <= octet <= 0x7A else 0 for octet in range(256))


class Entropy:
    """
    Unpredictable octets from the kernel, fetched in batches: one system call
    serves hundreds of queries.

    @ivar octets: The present batch.
    """

    def __init__(self, batch: int = 4096) -> None:
        """
        @param batch: Octets fetched at a time; more than any one L{draw}.
        """
        self.octets = b""
        self._batch = batch
        self._at = 0

    def draw(self, count: int) -> int:
        """
        Set aside C{count} octets that nobody can guess.

        @return: Where they start in C{octets}.
        """
        start = self._at
        if start + count > len(self.octets):
            self.octets = os.urandom(self._batch)
            start = 0
        self._at = start + count
        return start

    def take(self, count: int) -> bytes:
        """
        Give C{count} octets that nobody can guess.
        """
        start = self.draw(count)
        return self.octets[start : start + count]


CHANCE = 5
"""Octets of chance that L{compose} takes besides one for each of the name's."""


def compose(
    octets: bytes, start: int, name: bytes, tail: bytes, mix: bool, header: bytes, opt: bytes
) -> tuple[int, bytes, bytes, bytes]:
    """
    Write a query that nobody can foretell. Replaced by compiled code where
    there is a compiler.

    @param octets: Among others, unpredictable octets: L{CHANCE} and as many as
        the name has.
    @param start: Where they start.
    @param name: The name, lower-cased, in wire form.
    @param tail: Type and class, four octets.
    @param mix: Leave each letter's case to chance, so that a forger must guess
        that too (draft-vixie-dnsext-dns0x20)?
    @param header: What stands between id and question.
    @param opt: What stands behind the question.
    @return: A number of 24 bits to draw a port with, the id, the question as
        sent, and the whole query.
    """
    size = len(name)
    behind = start + CHANCE + size
    if not 0 <= start <= len(octets) - CHANCE - size:
        raise ValueError("too few octets")
    if mix:
        letters = int.from_bytes(name.translate(_LETTERS), "big")
        chance = int.from_bytes(octets[behind - size : behind], "big")
        name = (int.from_bytes(name, "big") ^ (chance & letters)).to_bytes(size, "big")
    id = octets[start + 3 : start + 5]
    sent = name + tail
    return int.from_bytes(octets[start : start + 3], "big"), id, sent, id + header + sent + opt


def _queryParts(cd: bool, edns: bool, do: bool) -> tuple[bytes, bytes]:
    """
    What stands between id and question, and behind the question.
    """
    flags = RD | (CD if cd else 0)
    if not edns:
        return struct.pack("!HHHHH", flags, 1, 0, 0, 0), b""
    # AD says that the bit is understood in the reply, which saves asking for
    # signatures just to learn of it (RFC 6840 §5.7). A server too old for
    # EDNS may be too old for AD.
    return struct.pack("!HHHHH", flags | AD, 1, 0, 0, 1), EDNS(dnssecOK=do).encode()


_PARTS = [_queryParts(bool(number & 1), bool(number & 2), bool(number & 4)) for number in range(8)]


def queryParts(dnssecOK: bool, checkingDisabled: bool, edns: bool) -> tuple[bytes, bytes]:
    """
    What stands between a query's id and question, and behind the question.
    """
    return _PARTS[checkingDisabled | edns << 1 | dnssecOK << 2]


pythonCompose = compose
"""L{compose} in Python, whether or not there is a compiled one."""

with suppress(ImportError):  # Built where there was no compiler.
    from dnsguard.upstream._message import compose  # type: ignore[import-not-found,no-redef]
