# -*- test-case-name: tests.querystore.test_buffer -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is told of one answered query to those who log, store and count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnsguard.answer import Answer
from dnsguard.query import ClientQuery

__all__ = ["QueryEvent"]

if TYPE_CHECKING:
    from dnsguard.policy.decision import Attribution


class QueryEvent:
    """
    One query that went through the chain, and how it ended.

    Cheap to make: it refers to the query and the answer, and what nobody
    looks at is never worked out.

    @ivar query: The query, who asked it included.
    @ivar answer: The answer the reply was made of.
    @ivar finished: When the reply was written, seconds since the epoch.
    @ivar duration: From arrival to writing, in seconds.
    @ivar replySize: Octets of the reply; 0 when none was sent.
    @ivar cacheSeconds: Spent looking caches up, in seconds, or 0.
    @ivar writeSeconds: Spent writing the reply, in seconds, or 0.
    @ivar error: What went wrong, in a few words, or empty.
    """

    __slots__ = (
        "answer",
        "cacheSeconds",
        "duration",
        "error",
        "finished",
        "query",
        "replySize",
        "writeSeconds",
    )

    def __init__(
        self,
        query: ClientQuery,
        answer: Answer,
        finished: float,
        duration: float,
        replySize: int = 0,
        cacheSeconds: float = 0.0,
        writeSeconds: float = 0.0,
        error: str = "",
    ) -> None:
        self.query = query
        self.answer = answer
        self.finished = finished
        self.duration = duration
        self.replySize = replySize
        self.cacheSeconds = cacheSeconds
        self.writeSeconds = writeSeconds
        self.error = error

    @property
    def attribution(self) -> Attribution | None:
        """
        The rule that decided, where one did.
        """
        return self.answer.attribution
