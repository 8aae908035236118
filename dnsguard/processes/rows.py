# -*- test-case-name: tests.processes.test_rows -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rows of a helper on their way to the main process, which has the query store.

The helper gathers rows as any server does, in a bounded buffer, and hands them
over in blocks. A block is let go of when the main process says that it has it;
while it can't take any, rows stay in the buffer, which counts what it has no
room for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dnsguard.errors import HelperError
from dnsguard.querystore.block import Block
from dnsguard.querystore.recorder import QueryRecorder

__all__ = ["HAND_OVER_SECONDS", "RecentBlocks", "RowCourier"]

TICK = 1.0
"""Seconds a row waits at most before it is handed over: who watches queries sees
those of all processes."""

MOST_BLOCKS = 4
"""Blocks that wait to be taken; from there on rows wait in the buffer."""

REMEMBERED = 4096
"""Blocks remembered: all helpers together hand over some tens in the time that one
of them waits for a reply."""

HAND_OVER_SECONDS = 8.0
"""How long the main process may take for one; below what a stop may take."""


class RowCourier(Service):
    """
    Hands rows over.

    @ivar lost: Rows that it hasn't taken by the end.
    @ivar refusals: How often it couldn't take a block.
    """

    log = Logger()

    def __init__(
        self,
        recorder: QueryRecorder,
        hand: Callable[[bytes], Deferred[bool]],
        clock: IReactorTime,
        inThread: Callable[..., Deferred[Any]],
    ) -> None:
        """
        @param hand: Hands an encoded block over; gives whether it was taken,
            or fails with L{HelperError}.
        @param inThread: Calls a function in a thread.
        """
        self.setName("querystore")
        self.lost = self.refusals = 0
        self._recorder = recorder
        self._buffer = recorder.buffer
        self._hand = hand
        self._inThread = inThread
        self._blocks: deque[Block] = deque()
        self._lock = DeferredLock()
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = clock

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish, by the names that
        L{QueryFlushService <dnsguard.services.queryflush.QueryFlushService>} has
        for them.
        """
        buffer = self._buffer
        return {
            "buffer_size": buffer.capacity,
            "buffer_used": buffer.used + sum(map(len, self._blocks)),
            "buffer_octets": buffer.octets,
            "total_recorded": buffer.recorded,
            "left_out_events": buffer.leftOut,
            "dropped_events": buffer.dropped + self.lost,
            "failed_deliveries": self.refusals,
        }

    def startService(self) -> None:
        """
        Begin.
        """
        super().startService()
        self._recorder.pressed = self._tick
        self._ticker.start(TICK, now=False)

    def stopService(self) -> Deferred[None]:
        """
        Hand over what there is.

        @return: Fires when that is done, or can't be.
        """
        super().stopService()
        self._recorder.pressed = lambda: None
        if self._ticker.running:
            self._ticker.stop()
        self._gather(always=True)
        return self._lock.run(lambda: Deferred.fromCoroutine(self._finish()))

    async def _finish(self) -> None:
        await self._deliver()
        self.lost += sum(map(len, self._blocks))
        self._blocks.clear()

    def _tick(self) -> None:
        self._gather()
        if self._blocks and not self._lock.locked:
            delivering = self._lock.run(lambda: Deferred.fromCoroutine(self._deliver()))
            delivering.addErrback(
                lambda reason: self.log.failure("rows can't be handed over", reason)
            )

    def _gather(self, always: bool = False) -> None:
        """
        Take a block out of the buffer, unless too many wait already.
        """
        if len(self._blocks) >= MOST_BLOCKS and not always:
            return
        block = self._buffer.take()
        if block is not None:
            self._blocks.append(block)

    async def _deliver(self) -> None:
        """
        Hand blocks over, one after the other, as long as they are taken.
        """
        while self._blocks:
            block = self._blocks[0]
            octets = await self._inThread(block.encode)
            try:
                taken = await self._hand(octets)
            except HelperError:
                # Whether it was taken isn't known; a block that comes twice is
                # stored once.
                taken = False
            if not taken:
                self.refusals += 1
                return
            self._blocks.popleft()


class RecentBlocks:
    """
    The other side's memory of what it has taken: a block whose taking the
    helper didn't hear of is handed over again.
    """

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}

    def __contains__(self, block: Block) -> bool:
        return block.id in self._ids

    def note(self, block: Block) -> None:
        """
        Remember that a block was taken.
        """
        self._ids[block.id] = None
        if len(self._ids) > REMEMBERED:
            del self._ids[next(iter(self._ids))]
