# -*- test-case-name: tests.services.test_queryflush -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Blocks on their way to the store, whatever happens.

Blocks are delivered one at a time and in order. A block whose delivery fails or
takes long is written to the spool, and so is every block behind it, until the
store has caught up. Delivering a block twice does no harm, so when in doubt it is
delivered again. While the store would take the CPU from those who answer, blocks wait
in the spool as well. What finds room neither in the store nor in the spool is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.errors import StoreError
from dnsguard.querystore.block import Block
from dnsguard.querystore.pace import Pace
from dnsguard.querystore.spool import Spool

__all__ = ["Deliveries"]

T = TypeVar("T")

PATIENCE = 0.9
"""
Seconds that a delivery may take before its block is written to the spool: a little
less than there are between two looks.
"""

MAX_BEHIND = 1
"""
Blocks that may wait in memory behind a delivery: where one fills before another has
arrived, there is soon no room for more.
"""

SLOWNESS = 10.0
"""Seconds that a delivery may take before it is spoken of."""

MAX_HELD = 100_000
"""Rows that may wait in memory while the spool has no room."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds between two tries to reach a store that fails."""

COMPLAINT_SECONDS = 60.0
"""The least time between two log lines about one trouble."""


@attrs.define(eq=False)
class _Delivery:
    """
    A block on its way.

    @ivar number: Its number in the spool, or L{None} if it isn't there.
    @ivar since: When it was sent off.
    """

    block: Block
    number: int | None
    since: float


class Deliveries:
    """
    A queue of blocks and the one that is on its way.

    @ivar delivered: Rows the store has taken.
    @ivar lost: Rows that neither the store nor the spool had room for.
    @ivar failures: Deliveries that failed.
    """

    log = Logger()

    def __init__(self, store: Any, spool: Spool | None, reactor: Any, pool: Any) -> None:
        """
        @param store: An L{dnsguard.interfaces.IQueryStore}.
        @param spool: Where undelivered blocks wait; L{None}: in memory.
        @param reactor: Provides L{IReactorTime
            <twisted.internet.interfaces.IReactorTime>} and L{IReactorThreads
            <twisted.internet.interfaces.IReactorThreads>}.
        @param pool: The thread pool for the spool's files.
        """
        self._store = store
        self._spool = spool
        self._reactor = reactor
        self._pool = pool
        self._waiting: deque[Block] = deque()
        self._delivery: _Delivery | None = None
        self._delivering: Deferred[None] | None = None
        self._persisting: Deferred[None] | None = None
        self._spoolLock = DeferredLock()
        self._retryAt = self._pause = 0.0
        self._pace = Pace(store, spool, reactor)
        # Rows that are just being written to the spool, and on no other way.
        self._writing = 0
        self._complained: dict[str, float] = {}
        self.delivered = self.lost = self.failures = 0

    @property
    def isFailing(self) -> bool:
        """
        Did the last delivery fail?
        """
        return self._pause > 0

    @property
    def waitingRows(self) -> int:
        """
        Rows that wait in memory, without those on their way.
        """
        return sum(map(len, self._waiting))

    @property
    def waitingOctets(self) -> int:
        """
        What those take in memory.
        """
        return sum(block.octets for block in self._waiting)

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish.
        """
        spool, waiting = self._spool, self.waitingRows + self._writing
        if self._delivery is not None and self._delivery.number is None:
            waiting += len(self._delivery.block)
        return {
            "delivered_rows": self.delivered,
            "lost_rows": self.lost,
            "waiting_rows": waiting,
            "spooled_rows": self._spooledRows,
            "spooled_octets": spool.octets if spool else 0,
            "recovered_rows": spool.recoveredRows if spool else 0,
            "broken_rows": spool.brokenRows if spool else 0,
            "failed_deliveries": self.failures,
            "store_rests": self._pace.rests,
        }

    def add(self, block: Block) -> None:
        """
        Put a block behind all others.
        """
        self._waiting.append(block)

    def look(self) -> None:
        """
        Write to the spool what can't be delivered now, and deliver what can.
        """
        now = self._reactor.seconds()
        if self._spool is not None and self._persisting is None and self._isStuck(now):
            # One at a time: a disk that stands still may do so for hours.
            self._persisting = running = Deferred.fromCoroutine(self._persist())
            running.addErrback(self._unexpected).addBoth(self._persisted)
        since = self._since
        if since is not None and now - since >= SLOWNESS:
            # Its failure, if it comes to that, is the same trouble: no second line.
            self._complain(
                "store",
                "query store {store} hasn't answered for {seconds:.0f} s; rows wait, DNS goes on",
                seconds=now - since,
            )
        self.deliver()

    @property
    def _since(self) -> float | None:
        """
        Since when has the store owed an answer? L{None}: it doesn't.
        """
        return self._pace.since if self._delivery is None else self._delivery.since

    def _persisted(self, result: None) -> None:
        self._persisting = None

    async def finish(self, seconds: float) -> None:
        """
        Deliver what there is; what isn't delivered in time goes to the spool.
        """
        self._retryAt = 0.0
        self._pace.hurry()
        self.deliver()
        delivering = self._delivering
        if delivering is not None:
            ended: Deferred[None] = Deferred()

            def tell(result: None) -> None:
                if not ended.called:
                    ended.callback(None)

            delivering.addCallback(tell)
            try:
                await ended.addTimeout(seconds, self._reactor)
            except TimeoutError:
                self._complain("stop", "query store {store} is slow; the rest is spooled")
        if self._spool is not None:
            await self._persist()
        self.lost += self.waitingRows
        self._waiting.clear()

    def _unexpected(self, failure: Failure) -> None:
        self.log.failure("query store: delivery failed", failure)

    def _isStuck(self, now: float) -> bool:
        """
        Is the store slow or away, at rest, or not done with what was spooled?
        """
        spooled = self._spool is not None and self._spool.blocks
        if now < self._retryAt or self._pace.isResting or spooled:
            return bool(self._waiting)
        if self._since is None:
            return False
        return now - self._since >= PATIENCE or len(self._waiting) > MAX_BEHIND

    def _inThread(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)

    async def _persist(self) -> None:
        """
        Write what waits to the spool, in order: first the block on its way.
        """
        assert self._spool is not None
        await self._spoolLock.acquire()
        try:
            delivery = self._delivery
            if delivery is not None and delivery.number is None:
                try:
                    delivery.number = await self._inThread(self._spool.add, delivery.block)
                except StoreError as reason:
                    # It may arrive yet; it is lost when it turns out not to.
                    self._complain("spool", "query store: spool: {reason}", reason=reason)
            while self._waiting:
                block = self._waiting.popleft()
                if not await self._spoolOrHold(block):
                    break
        finally:
            self._spoolLock.release()

    async def _spoolOrHold(self, block: Block) -> bool:
        """
        Write a block to the spool. If it has no room, as when a disk is full,
        the block goes on waiting in memory; of more than can wait there the
        oldest rows are lost.

        @return: Was there room in the spool?
        """
        assert self._spool is not None
        self._writing = len(block)
        try:
            await self._inThread(self._spool.add, block)
        except StoreError as reason:
            self._waiting.appendleft(block)
            while self.waitingRows > MAX_HELD:
                self.lost += len(self._waiting.popleft())
            self._complain(
                "spool",
                "query store: spool: {reason}: {held} rows wait in memory, {rows} lost so far",
                reason=reason,
                held=self.waitingRows,
                rows=self.lost,
            )
            return False
        finally:
            self._writing = 0
        return True

    def deliver(self) -> None:
        """
        Deliver blocks until there are none or the store fails, unless that is
        under way.
        """
        if self._delivering is not None or self._pace.isResting:
            return
        if self._reactor.seconds() < self._retryAt:
            return
        self._delivering = running = Deferred.fromCoroutine(self._deliverAll())

        def done(result: Any) -> None:
            self._delivering = None
            if isinstance(result, Failure):
                self._unexpected(result)

        running.addBoth(done)

    async def _deliverAll(self) -> None:
        """
        Deliver blocks, the spooled ones first.
        """
        while await self._pace.allows(self.waitingRows + self._spooledRows) and await self._next():
            delivery = self._delivery
            assert delivery is not None
            try:
                await self._store.insert(delivery.block)
            except StoreError as reason:
                await self._undelivered(delivery, reason)
                return
            except Exception as reason:
                # A defect of the store's, but the rows aren't to blame.
                self.log.failure("query store: insert failed")
                await self._undelivered(delivery, StoreError(self._store.name, repr(reason)))
                return
            await self._done(delivery)

    @property
    def _spooledRows(self) -> int:
        return self._spool.rows if self._spool is not None else 0

    async def _next(self) -> bool:
        """
        Find the block whose turn it is.

        @return: Is there one?
        """
        now = self._reactor.seconds()
        if self._spool is None:
            if self._waiting:
                self._delivery = _Delivery(self._waiting.popleft(), None, now)
            return self._delivery is not None
        await self._spoolLock.acquire()
        try:
            # Under the lock, so that no block that came later gets in between.
            found = await self._inThread(self._spool.first)
            if found is not None:
                number, block = found
                self._delivery = _Delivery(block, number, now)
        except StoreError as reason:
            self._complain("spool", "query store: spool: {reason}", reason=reason)
        finally:
            if self._delivery is None and self._waiting:
                self._delivery = _Delivery(self._waiting.popleft(), None, now)
            self._spoolLock.release()
        return self._delivery is not None

    async def _done(self, delivery: _Delivery) -> None:
        """
        Note that a block arrived.
        """
        self.delivered += len(delivery.block)
        self._delivery = None
        self._pause = 0.0
        if self._complained.pop("store", None) is not None:
            self.log.info("query store {store} takes rows again", store=self._store.name)
        if self._spool is None:
            return
        await self._spoolLock.acquire()
        try:
            if delivery.number is not None:
                await self._inThread(self._spool.remove, delivery.number)
        except StoreError as reason:
            self._complain("spool", "query store: spool: {reason}", reason=reason)
        finally:
            self._spoolLock.release()

    async def _undelivered(self, delivery: _Delivery, reason: StoreError) -> None:
        """
        Keep a block that didn't arrive, and try again later.
        """
        self.failures += 1
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        self._retryAt = self._reactor.seconds() + self._pause
        self._complain(
            "store",
            "query store {store} fails: {reason}; rows wait, DNS goes on",
            reason=reason.reason,
        )
        if self._spool is None:
            self._delivery = None
            self._waiting.appendleft(delivery.block)
            return
        await self._spoolLock.acquire()
        try:
            self._delivery = None
            if delivery.number is None:
                await self._spoolOrHold(delivery.block)
        finally:
            self._spoolLock.release()

    def _complain(self, trouble: str, format: str, **fields: Any) -> None:
        """
        Log a trouble, unless that was done a moment ago.
        """
        now = self._reactor.seconds()
        last = self._complained.get(trouble)
        if last is None or now - last >= COMPLAINT_SECONDS:
            self._complained[trouble] = now
            self.log.warn(format, store=self._store.name, **fields)
