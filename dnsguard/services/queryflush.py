# -*- test-case-name: tests.services.test_queryflush -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Empties the query store's buffer in time, and has the store look after itself.

A service: it ticks, and leaves what may go wrong with a delivery to
L{Deliveries<dnsguard.querystore.delivery.Deliveries>}.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.errors import StoreError
from dnsguard.querystore.block import Block
from dnsguard.querystore.delivery import Deliveries
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.spool import Spool
from dnsguard.querystore.tail import LiveTail

__all__ = ["QueryFlushService"]

TICK = 1.0
"""Seconds between two looks at the buffer."""

MARGIN = 2.0
"""
Seconds of the interval that are left for a delivery: when it takes long, to find
that out at the next look, and to write the block to the spool.
"""

WAITING_OCTETS = 8 << 20
"""Octets of blocks that wait in memory; from there on rows wait in the buffer."""

STOP_SECONDS = 5.0
"""Seconds that stopping waits for deliveries; the spool gets the rest."""


class QueryFlushService(Service):
    """
    Empties the buffer into the store.

    @ivar deliveries: What has left the buffer.
    @ivar received: Rows of other processes that were taken.
    """

    log = Logger()

    def __init__(
        self,
        recorder: QueryRecorder,
        store: Any,
        spool: Spool | None,
        reactor: Any,
        pool: Any,
        interval: float = 5.0,
        batchSize: int = 2_000,
        maintenanceInterval: float = 60.0,
        tail: LiveTail | None = None,
    ) -> None:
        """
        @param store: An L{dnsguard.interfaces.IQueryStore}; started when it is
            first needed, closed with the service.
        @param spool: Where undelivered blocks wait; L{None}: in memory, as many
            rows as the buffer holds.
        @param reactor: Provides L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} and L{IReactorThreads
            <twisted.internet.interfaces.IReactorThreads>}.
        @param pool: The thread pool for the spool's files.
        @param interval: Seconds after which a row is in the store, or on disk in
            the spool, unless there is no spool; three if this is less.
        @param batchSize: Rows that are sent at once, interval or not.
        @param maintenanceInterval: Seconds between two rounds of the store's
            upkeep.
        @param tail: Those who watch rows come.
        """
        self.setName("querystore")
        self._recorder = recorder
        self._buffer = recorder.buffer
        self._store = store
        self.deliveries = Deliveries(store, spool, reactor, pool)
        self.received = 0
        self._reactor = reactor
        # Looks are a little early or late.
        self._period = max(min(interval, TICK), interval - MARGIN) - min(interval, TICK) / 2
        self._batchSize = batchSize
        self._maintenanceInterval = maintenanceInterval
        self._tail = tail if tail is not None else LiveTail()
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = reactor
        self._maintaining = False
        self._nextFlush = self._nextMaintenance = 0.0

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish. No row is unaccounted for:
        C{total_recorded} and C{recovered_rows} together are C{delivered_rows},
        C{waiting_rows}, C{spooled_rows}, C{broken_rows}, C{buffer_used} and
        C{lost_rows}. C{dropped_events} is C{lost_rows} and what the buffer had
        no room for.
        """
        buffer = self._buffer
        return {
            "buffer_size": buffer.capacity,
            "buffer_used": buffer.used,
            "buffer_octets": buffer.octets,
            "total_recorded": buffer.recorded + self.received,
            "left_out_events": buffer.leftOut,
            "dropped_events": buffer.dropped + self.deliveries.lost,
            **self.deliveries.counters(),
            **self._store.counters(),
        }

    def take(self, block: Block) -> bool:
        """
        Take rows of another process, to be delivered with those of this one.

        @return: False: too many rows wait already, or the service has stopped.
        """
        if self._isFull or not self.running:
            return False
        self.received += len(block)
        self.deliveries.add(block)
        self._tail.offer(block)
        self.deliveries.look()
        return True

    def startService(self) -> None:
        """
        Begin. Nothing is waited for: the store is looked for by the first
        delivery.
        """
        super().startService()
        now = self._reactor.seconds()
        self._nextFlush = now + self._period
        self._nextMaintenance = now + self._maintenanceInterval
        self._recorder.pressed = self._pressed
        self._ticker.start(TICK, now=True)

    def stopService(self) -> Deferred[None]:
        """
        Deliver what there is, or write it to the spool, and close the store.

        @return: Fires when that is done.
        """
        if not self.running:
            return succeed(None)
        super().stopService()
        self._recorder.pressed = lambda: None
        self._ticker.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        """
        End in order.
        """
        self._gather(always=True)
        await self.deliveries.finish(STOP_SECONDS)
        await self._store.close()

    def _pressed(self) -> None:
        """
        The buffer fills faster than it is looked at.
        """
        self._gather()
        self.deliveries.look()

    def _tick(self) -> None:
        """
        Look at the buffer, the clock and those who watch.
        """
        try:
            now = self._reactor.seconds()
            due = now >= self._nextFlush or self._buffer.used >= self._batchSize
            if due or self._tail:
                self._nextFlush = now + self._period
                self._gather()
            self.deliveries.look()
            if now >= self._nextMaintenance and not self._maintaining:
                self._nextMaintenance = now + self._maintenanceInterval
                self._detach(self._maintain())
        except Exception:
            self.log.failure("query store: flush failed")

    def _detach(self, work: Any) -> None:
        """
        Run a coroutine that nobody waits for.
        """
        Deferred.fromCoroutine(work).addErrback(self._unexpected)

    def _unexpected(self, failure: Failure) -> None:
        self.log.failure("query store: flush failed", failure)

    @property
    def _isFull(self) -> bool:
        """
        Do as many rows wait as may?
        """
        deliveries = self.deliveries
        return (
            deliveries.waitingRows >= self._buffer.capacity
            or deliveries.waitingOctets >= WAITING_OCTETS
        )

    def _gather(self, always: bool = False) -> None:
        """
        Take a block out of the buffer, unless too many rows wait already: then
        the buffer fills, and counts what it has no room for.
        """
        if self._isFull and not always:
            return
        block = self._buffer.take()
        if block is not None:
            self.deliveries.add(block)
            self._tail.offer(block)

    async def _maintain(self) -> None:
        """
        Have the store look after itself.
        """
        self._maintaining = True
        try:
            await self._store.maintain()
        except StoreError as reason:
            # Once a minute at most, as upkeep is; a store that takes no rows either has
            # been told of.
            if not self.deliveries.isFailing:
                self.log.warn("query store upkeep: {reason}", reason=reason)
        finally:
            self._maintaining = False
