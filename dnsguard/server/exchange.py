# -*- test-case-name: tests.server.test_corridor -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is kept of a request until it is replied to.

Everything the reply and those told of it will need is here, so that an answer
that comes late finds its way back.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from dnsguard.query import ClientQuery
from dnsguard.server.door import Respond
from dnsguard.wire.layout import Layout

__all__ = ["Exchange"]


class Exchange:
    """
    One request on its way.

    @ivar request: Its octets.
    @ivar layout: The scan of them.
    @ivar query: The query that was made of it.
    @ivar policy: The policy that held on its arrival, or L{None}.
    @ivar respond: The way back; L{None} when it has been replied to.
    @ivar answering: What it waits for, if it does.
    """

    __slots__ = ("answering", "layout", "policy", "query", "request", "respond")

    def __init__(
        self, request: bytes, layout: Layout, query: ClientQuery, policy: Any, respond: Respond
    ) -> None:
        self.request = request
        self.layout = layout
        self.query = query
        self.policy = policy
        self.respond: Respond | None = respond
        self.answering: Deferred[Any] | None = None
