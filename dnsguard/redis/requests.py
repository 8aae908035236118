# -*- test-case-name: tests.redis.test_link -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is under way on a link, and what was.

Plain values with the fewest steps to make them: there is a request for each
lookup.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from dnsguard.redis.replies import Reply

__all__ = ["Batch", "LinkCounters", "Request"]


class LinkCounters:
    """
    What happened on a link so far.

    @ivar commands: Commands sent.
    @ivar writes: Writes they took.
    @ivar timeouts: Requests that had no reply in time.
    @ivar late: Replies that came after their deadline.
    @ivar refused: Requests that weren't sent because the server was known to
        be away.
    @ivar overflows: Requests not sent because too much was waiting.
    @ivar lost: Connections that ended.
    @ivar connected: Connections made.
    @ivar stalls: Connections cut off because nothing came any more.
    """

    __slots__ = (
        "commands",
        "connected",
        "late",
        "lost",
        "overflows",
        "refused",
        "stalls",
        "timeouts",
        "writes",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    commands: int
    connected: int
    late: int
    lost: int
    overflows: int
    refused: int
    stalls: int
    timeouts: int
    writes: int


class Request:
    """
    Commands that somebody waits for together.
    """

    __slots__ = ("batch", "count", "deferred", "octets", "replies")

    def __init__(self, octets: bytes, count: int, deferred: Deferred[list[Reply]]) -> None:
        self.octets = octets
        self.count = count
        self.deferred: Deferred[list[Reply]] | None = deferred
        self.replies: list[Reply] = []
        self.batch: Batch | None = None


class Batch:
    """
    The requests of one write.
    """

    __slots__ = ("due", "left", "lenient", "requests", "sent", "timer")

    def __init__(self, requests: list[Request], sent: float, due: float) -> None:
        self.requests = requests
        self.left = len(requests)
        self.sent = sent
        self.due = due
        self.timer: IDelayedCall | None = None
        # Whether it has been given more time already.
        self.lenient = False
