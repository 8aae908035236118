# -*- test-case-name: tests.server.test_corridor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is kept of a request until it is replied to.

Everything the reply and those told of it will need is here, so that an answer
that comes late finds its way back.
"""

from __future__ import annotations

from typing import Any, Protocol

from dnsguard.answer import Answer
from dnsguard.query import ClientQuery
from dnsguard.server.door import Respond
from dnsguard.wire.layout import Layout, scan

__all__ = ["Ending", "Exchange"]


class Ending(Protocol):
    """
    What ends exchanges.
    """

    def answered(self, exchange: Exchange, answer: Any) -> None:
        """
        Reply with what the chain gave in its time. Never raises.
        """


class Exchange:
    """
    One request on its way.

    @ivar ending: Who is to end it.
    @ivar request: Its octets.
    @ivar query: The query that was made of it.
    @ivar flags: Its header's second 16 bits.
    @ivar questionEnd: The offset behind its question.
    @ivar policy: The policy that held on its arrival, or L{None}.
    @ivar respond: The way back; L{None} when it has been replied to.
    @ivar answering: What it waits for, if it does; it can be cancelled.
    """

    __slots__ = (
        "_layout",
        "answering",
        "ending",
        "flags",
        "policy",
        "query",
        "questionEnd",
        "request",
        "respond",
    )

    def __init__(
        self,
        ending: Ending,
        request: bytes,
        query: ClientQuery,
        flags: int,
        questionEnd: int,
        policy: Any,
        respond: Respond,
        layout: Layout | None = None,
    ) -> None:
        """
        @param layout: The scan of the request, if there is one already.
        """
        self.ending = ending
        self.request = request
        self.query = query
        self.flags = flags
        self.questionEnd = questionEnd
        self.policy = policy
        self.respond: Respond | None = respond
        self.answering: Any = None
        self._layout = layout

    @property
    def layout(self) -> Layout:
        """
        The scan of the request, for replies of the unusual kind.
        """
        if self._layout is None:
            self._layout = scan(self.request)
        return self._layout

    def receive(self, answer: Answer | None) -> None:
        """
        Be told the chain's answer.
        """
        self.ending.answered(self, answer)
