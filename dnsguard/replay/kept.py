# -*- test-case-name: tests.replay -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One finished reply, as the store in Python keeps it.

Its octets are made once a second, when TTLs count down, and not once a query.
"""

from __future__ import annotations

import struct

from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.replay.key import RequestKey
from dnsguard.wire.edns import InvalidOPT
from dnsguard.wire.layout import MalformedMessage, scan

__all__ = ["Exact", "KeptReply", "isAnswer"]

_ENTRY_OVERHEAD = 1450
"""Octets that an entry costs besides its key and its reply, measured."""

_TTL = struct.Struct("!I")

Exact = dict[bytes, "KeptReply"]
"""Kept replies by the very octets of the requests that they answer, without id."""


class KeptReply:
    """
    One finished reply.

    @ivar key: Where it stands in the store: request key and view number.
    @ivar number: Its number in records.
    @ivar reply: The reply's octets as remembered.
    @ivar facts: What the observers need.
    @ivar born: When it was made, in seconds.
    @ivar expires: When it stops being replayed.
    @ivar body: What a reply to a lower-case question has behind its id, from
        C{since} until C{turns}, when the TTLs count down again.
    @ivar ttls: The TTLs' offsets in C{body} and their values in seconds;
        L{None} until first needed.
    @ivar exact: The requests, without id, that find it at once.
    @ivar touched: Was it replayed since the last drain?
    @ivar visited: Was it replayed since eviction last looked at it?
    @ivar until: The last life of the store that it holds for.
    """

    __slots__ = (
        "aliases",
        "body",
        "born",
        "exact",
        "expires",
        "facts",
        "key",
        "number",
        "qname",
        "reply",
        "since",
        "touched",
        "ttls",
        "turns",
        "until",
        "visited",
    )

    def __init__(
        self,
        key: bytes,
        qname: bytes,
        number: int,
        reply: bytes,
        facts: ReplayedAnswer,
        born: float,
        expires: float,
        exact: Exact,
        until: int,
    ) -> None:
        self.key = key
        self.qname = qname
        self.number = number
        self.reply = reply
        self.facts = facts
        self.born = born
        self.expires = expires
        self.exact = exact
        self.until = until
        self.aliases: list[bytes] = []
        self.ttls: list[tuple[int, int]] | None = None
        self.body = b""
        self.since = self.turns = born
        self.touched = False
        self.visited = False

    @property
    def cost(self) -> int:
        """
        The octets it counts for.
        """
        return _ENTRY_OVERHEAD + 2 * len(self.reply) + 2 * len(self.key)

    def turn(self, now: float) -> bool:
        """
        Make C{body} right for C{now}.

        @return: Whether it still may be replayed.
        """
        if self.ttls is None and not self._prepare():
            self.expires = self.born
        if self.ttls is None or not self.born <= now < self.expires:
            return False
        age = int(now - self.born)
        body = self.body or self._lowerBody()
        if len(self.ttls) == 1:
            # Nearly all have one record, and this is done for each second.
            ((offset, seconds),) = self.ttls
            left = seconds - age if seconds > age else 0
            self.body = body[:offset] + left.to_bytes(4, "big") + body[offset + 4 :]
        else:
            changed = bytearray(body)
            for offset, seconds in self.ttls:
                _TTL.pack_into(changed, offset, max(0, seconds - age))
            self.body = bytes(changed)
        self.since = self.born + age
        self.turns = min(self.since + 1, self.expires)
        return True

    def _lowerBody(self) -> bytes:
        return self.reply[2:12] + self.qname + self.reply[12 + len(self.qname) :]

    def _prepare(self) -> bool:
        """
        Find the TTLs, and let the entry expire with the first of its records.
        """
        try:
            layout = scan(self.reply)
        except (MalformedMessage, InvalidOPT):
            return False
        ttls = []
        for offset in layout.ttls:
            (seconds,) = _TTL.unpack_from(self.reply, offset)
            # RFC 2181 §8: the top bit set means 0.
            ttls.append((offset - 2, 0 if seconds > 0x7FFFFFFF else seconds))
        self.ttls = ttls
        least = min((seconds for _, seconds in ttls), default=None)
        if least is not None:
            self.expires = min(self.expires, self.born + least)
        return True


def isAnswer(reply: bytes, request: RequestKey) -> bool:
    """
    Is this a whole response to that request which its sender can take?
    """
    question = request.question
    end = 12 + len(question)
    return (
        end <= len(reply) <= request.limit
        and bool(reply[2] & 0x80)
        and not reply[2] & 0x02
        and reply[4:6] == b"\0\1"
        and reply[12 : end - 4].lower() == question[:-4]
        and reply[end - 4 : end] == question[-4:]
    )
