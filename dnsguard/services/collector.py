# -*- test-case-name: tests.services.test_collector -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Keeps Python's cyclic garbage collector from stopping the world.

Queries leave no cycles behind: what they used is freed as they end. But a cache
of a hundred thousand answers is a million objects, all of which the collector,
left to itself, looks at again and again as answers come and go; that took a
third of the time of a server that forwards, in pauses of a tenth of a second.
So what is there at the start is put out of its sight, and of the rest only the
young are looked at as often as it likes; all of it, once in a while.

Reading a configuration or making a policy is another matter: it makes a hundred
thousand objects in a thread, and looking at those holds everybody up, too. It is
L{undisturbed}.
"""

from __future__ import annotations

import gc
import linecache
from collections.abc import Callable
from threading import Lock
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["CollectorService", "undisturbed"]

YOUNG = 20_000
"""Objects made and not yet freed before the youngest are looked at: a millisecond's work."""

MIDDLE = 5
"""Such looks before one at those that have outlived some."""

NEVER = 1 << 30
"""Looks at the middle ones before one at all, if it weren't for this service."""

SECONDS = 600.0
"""Time between two looks at everything."""

_lock = Lock()
_working = 0


def undisturbed(function: Callable[..., Any], *arguments: Any, collector: Any = gc) -> Any:
    """
    Call a function, and have nothing looked at meanwhile. For threads, and for
    what leaves no cycles behind.

    @param collector: The module C{gc}, or its like.
    """
    global _working
    with _lock:
        _working += 1
        collector.disable()
    try:
        return function(*arguments)
    finally:
        with _lock:
            _working -= 1
            if not _working:
                collector.enable()


class CollectorService(Service):
    """
    Sets the collector up for a server, and back when it stops.

    @ivar collections: How often everything was looked at.
    @ivar collected: Objects that only the collector could free.
    @ivar longest: The longest such look, in seconds.
    """

    def __init__(self, clock: IReactorTime, collector: Any = gc) -> None:
        """
        @param collector: The module C{gc}, or its like.
        """
        self.setName("collector")
        self.collections = 0
        self.collected = 0
        self.longest = 0.0
        self._clock = clock
        self._collector = collector
        self._thresholds: tuple[int, int, int] | None = None
        self._call: IDelayedCall | None = None

    def startService(self) -> None:
        """
        Put all there is out of the collector's sight, but for a megabyte that
        nobody needs: the lines of functions that attrs has generated, kept for
        tracebacks that go through one. Those of files are read again.
        """
        super().startService()
        linecache.clearcache()
        self._thresholds = self._collector.get_threshold()
        self._collector.set_threshold(YOUNG, MIDDLE, NEVER)
        self._collector.collect()
        self._collector.freeze()
        self._call = self._clock.callLater(SECONDS, self._collect)

    def stopService(self) -> None:
        """
        Leave the collector as it was.
        """
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._thresholds is not None:
            self._collector.set_threshold(*self._thresholds)
            self._collector.unfreeze()
            self._thresholds = None

    def _collect(self) -> None:
        """
        Look at everything.
        """
        began = self._clock.seconds()
        self.collected += self._collector.collect()
        self.collections += 1
        self.longest = max(self.longest, self._clock.seconds() - began)
        self._call = self._clock.callLater(SECONDS, self._collect)
