# -*- test-case-name: tests.redis.test_slots -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which node of a cluster has which key.

The arithmetic of the Redis Cluster specification, and what nodes say of each
other; knows no network. What nodes say is read with care: a table that is half
wrong would send questions in circles.
"""

from __future__ import annotations

from binascii import crc_hqx

from dnsguard.redis.endpoints import Place
from dnsguard.redis.replies import Command, ErrorReply, Reply

__all__ = ["SLOTS", "keyOfCommand", "readRedirection", "readSlots", "slotOf"]

SLOTS = 16384

_SCRIPTS = frozenset({b"EVAL", b"EVALSHA"})


def slotOf(key: bytes) -> int:
    """
    The slot of a key: a checksum of it, or of what stands in its first pair of
    braces, if that isn't empty.
    """
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def keyOfCommand(command: Command) -> bytes:
    """
    The key that says where a command goes. All others it has must share the
    slot.
    """
    return command[3] if command[0] in _SCRIPTS else command[1]


def readSlots(reply: Reply, asked: Place) -> list[tuple[int, int, Place]]:
    """
    Read what C{CLUSTER SLOTS} says.

    @param asked: Who said it: a node that doesn't know its own address means
        the one it was asked at.
    @return: Ranges of slots, first and last, with their masters.
    @raise ValueError: It is no such reply.
    """
    if not isinstance(reply, list):
        raise ValueError("no list of slots")
    masters = []
    for part in reply:
        try:
            first, last, (host, port, *_) = part[0], part[1], part[2]
            if not 0 <= first <= last < SLOTS or not 0 < port < 65536:
                raise ValueError("a slot or port that there can't be")
            name = bytes(host).decode("ascii") if host else asked.host
        except (TypeError, IndexError) as error:
            raise ValueError(f"no range of slots: {error}") from None
        place = Place(name if name != "?" else asked.host, port)
        masters.append((first, last, place))
    return masters


def readRedirection(reply: ErrorReply, asked: Place) -> tuple[int, Place] | None:
    """
    Read where C{MOVED} or C{ASK} point to.

    @return: The slot and the node; L{None}: it can't be read.
    """
    words = reply.reason.split(" ")
    if len(words) < 3 or not words[1].isdigit() or int(words[1]) >= SLOTS:
        return None
    host, _, port = words[2].rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        return None
    return int(words[1]), Place(host.strip("[]") or asked.host, int(port))
