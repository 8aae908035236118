# -*- test-case-name: tests.upstream.test_coalesce -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Equal questions asked at the same time share one exchange.

When a popular name expires, a crowd asks for it within the time one reply
takes. Sharing spares the upstream the crowd; it also takes the birthday attack
from a forger, who would love to have many equal queries under way (RFC 5452 §5).
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from dnsguard.answer import Answer
from dnsguard.upstream.exchange import Exchange, Group, Trace
from dnsguard.upstream.waiter import Receiver, Waiter

__all__ = ["Coalescer"]


class Coalescer:
    """
    The exchanges under way, by what is asked.

    @ivar joined: Questions that shared an exchange.
    @ivar refused: Questions turned away because too much was under way.
    @ivar trace: Is told what goes on in exchanges begun from now on; usually
        L{None}.
    """

    def __init__(
        self, clock: IReactorTime, *, maxExchanges: int = 16384, maxWaiters: int = 1024
    ) -> None:
        """
        @param maxExchanges: How many questions may be under way.
        @param maxWaiters: How many may wait for one of them.
        """
        self.joined = 0
        self.refused = 0
        self.trace: Trace | None = None
        self._clock = clock
        self._maxExchanges = maxExchanges
        self._maxWaiters = maxWaiters
        self._underWay: dict[tuple[bytes, bytes, bool, bool], Exchange] = {}
        # Bound once, not for each question.
        self._end = self._ended

    def __len__(self) -> int:
        """
        How many questions are under way.
        """
        return len(self._underWay)

    def askInto(
        self,
        question: tuple[bytes, bytes, bool, bool],
        group: Group,
        timeout: float,
        receive: Receiver,
    ) -> Answer | Waiter | None:
        """
        Ask a question, or wait with those who have asked it already.

        @param question: The name, lower-cased, in wire form; type and class,
            four octets; DO; CD.
        @param group: Whom to ask.
        @param timeout: Seconds until the answer is that there is none.
        @param receive: Is called with the answer, once, but not if the
            L{Waiter} is cancelled, nor before this has returned; must not
            raise.
        @return: The L{Waiter}; or the answer if there is one at once, such as
            that nobody can be reached; or L{None} if too much is under way.
        """
        exchange = self._underWay.get(question)
        if exchange is not None:
            if len(exchange.waiters) >= self._maxWaiters:
                self.refused += 1
                return None
            self.joined += 1
            return exchange.join(receive)
        if len(self._underWay) >= self._maxExchanges:
            self.refused += 1
            return None
        now = self._clock.seconds()
        exchange = Exchange(question, group, self._end, now + timeout, self.trace)
        self._underWay[question] = exchange
        exchange.start(now)
        return exchange.join(receive) if exchange.answer is None else exchange.answer

    def close(self) -> None:
        """
        Answer whoever waits that there is no answer.
        """
        for exchange in list(self._underWay.values()):
            exchange.giveUp()

    def _ended(self, exchange: Exchange) -> None:
        """
        An exchange is over, or nobody waits for it.
        """
        del self._underWay[exchange.question]
