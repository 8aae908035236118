# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A whole server that never runs, for tests of what is read off one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.internet.testing import MemoryReactorClock
from twisted.python.threadpool import ThreadPool

from dnsguard.assembly import Guard
from dnsguard.config.model import Config

__all__ = ["StillReactor", "makeGuard"]


class StillReactor(MemoryReactorClock):
    """
    A reactor in memory with a pool of threads that is never started.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pool = ThreadPool(0, 1)

    def getThreadPool(self) -> ThreadPool:
        """
        Give the pool.
        """
        return self._pool

    def callFromThread(self, callable: Any, *arguments: Any, **keywords: Any) -> None:
        """
        Call it with the others.
        """
        self.callLater(0, callable, *arguments, **keywords)


def makeGuard(folder: str, **settings: Any) -> Guard:
    """
    Put a server together.

    @param folder: Its data directory.
    @param settings: What is set, besides.
    """
    config = attrs.evolve(Config(), dataDirectory=str(Path(folder)), **settings)
    return Guard(config, StillReactor())
