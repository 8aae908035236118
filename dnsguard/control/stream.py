# -*- test-case-name: tests.control.test_stream -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Answers that come in pieces, as fast as they are taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

__all__ = ["closePieces", "sendPieces"]

_log = Logger()


@implementer(IPushProducer)
class _Valve:
    """
    Says when the client takes more.
    """

    def __init__(self) -> None:
        self._paused: Deferred[None] | None = None
        self.stopped = False

    def pauseProducing(self) -> None:
        """
        Wait, from now on.
        """
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """
        Wait no more.
        """
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """
        The client has gone.
        """
        self.stopped = True
        self.resumeProducing()

    async def open(self) -> None:
        """
        Wait until the client takes more.
        """
        if self._paused is not None:
            await self._paused


async def sendPieces(request: Any, pieces: AsyncIterator[bytes]) -> None:
    """
    Send an answer piece by piece, until there are no more or the client goes.

    @param pieces: Is closed in any case; what it waits for is cancelled when
        the client goes.
    """
    if request.method == b"HEAD":
        await closePieces(pieces)
        return
    valve = _Valve()
    sending = Deferred.fromCoroutine(_send(request, pieces, valve))
    request.registerProducer(valve, True)

    left: Deferred[None] = Deferred()

    def gone(_: object) -> None:
        valve.stopped = True
        sending.cancel()
        left.callback(None)

    request.notifyFinish().addErrback(gone)
    try:
        await sending
    except CancelledError:
        pass
    except Exception:
        # The status has been sent: that the answer is broken off says the rest.
        _log.failure("an answer of the control API broke off")
        request.channel.forceAbortClient()
        # Otherwise the answer would be ended in good order after all.
        await left
    finally:
        if not request._disconnected:
            request.unregisterProducer()


async def _send(request: Any, pieces: AsyncIterator[bytes], valve: _Valve) -> None:
    try:
        async for piece in pieces:
            await valve.open()
            if valve.stopped:
                break
            request.write(piece)
            await valve.open()
    finally:
        await closePieces(pieces)


async def closePieces(pieces: AsyncIterator[bytes] | None) -> None:
    """
    Tell whoever makes pieces, if anybody does, that no more are wanted.
    """
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()
