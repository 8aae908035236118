# -*- test-case-name: tests.upstream.test_coalesce -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Somebody who waits for the answer to a question.

A L{Deferred<twisted.internet.defer.Deferred>} for each question asked upstream
costs as much as putting the question does. Who needs no more than to be called
once, or to say that it isn't wanted any more, gets this instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dnsguard.answer import Answer

if TYPE_CHECKING:
    from dnsguard.upstream.exchange import Exchange

__all__ = ["Receiver", "Waiter"]

Receiver = Callable[[Answer], object]
"""Is told the answer, once; must not raise."""


class Waiter:
    """
    One who waits for an exchange's answer.
    """

    __slots__ = ("_exchange", "_receive")

    def __init__(self, exchange: Exchange, receive: Receiver) -> None:
        self._exchange: Exchange | None = exchange
        self._receive: Receiver | None = receive

    def cancel(self) -> None:
        """
        Don't be told any more. Of no effect on one who has been told.
        """
        exchange, self._exchange = self._exchange, None
        self._receive = None
        if exchange is not None:
            exchange.leave(self)

    def tell(self, answer: Answer) -> None:
        """
        Give the answer to who waits for it.
        """
        receive, self._receive = self._receive, None
        self._exchange = None
        # One told before may have cancelled this one.
        if receive is not None:
            receive(answer)
