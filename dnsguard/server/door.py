# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What listeners hand requests to.

Listeners know sockets and streams, the server knows queries and answers; this
is all they say to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dnsguard.query import Transport

__all__ = ["RequestDoor", "Respond"]

Respond = Callable[[bytes], bool]
"""Write a reply's octets; False if that can't be done, the client being gone."""


class RequestDoor(Protocol):
    """
    The way in for requests as octets.
    """

    def requestReceived(
        self, request: bytes, address: bytes, transport: Transport, respond: Respond
    ) -> bool:
        """
        Answer one request, now or later. Reactor thread; never raises.

        @param request: The request's octets, whatever they are.
        @param address: The client's packed address, 4 or 16 octets; empty
            when it has none.
        @param transport: What the request came over.
        @param respond: Called with the reply, once.
        @return: False when the request is dropped: C{respond} won't be called.
        """
