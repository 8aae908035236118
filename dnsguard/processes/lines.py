# -*- test-case-name: tests.processes.test_lines -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Lines of a helper's request log, written by the main process: a file has one
writer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from dnsguard.errors import HelperError

__all__ = ["RemoteFile"]


class RemoteFile:
    """
    What the request log of a helper writes to, in place of a file: the log's
    own thread waits for the main process as it would for a disk.

    @ivar path: What it is called in complaints.
    """

    def __init__(self, hand: Callable[[bytes], Deferred[bool]], reactor: Any) -> None:
        """
        @param hand: Hands whole lines over, in the reactor's thread; gives
            whether they were taken, or fails with L{HelperError}.
        @param reactor: Provides L{IReactorFromThreads
            <twisted.internet.interfaces.IReactorFromThreads>}.
        """
        self.path = Path("of the main process")
        self._hand = hand
        self._reactor = reactor

    def write(self, octets: bytes) -> None:
        """
        Hand whole lines over. Not in the reactor's thread.

        @raise OSError: They weren't taken.
        """
        try:
            hand: Any = self._hand
            taken: bool = blockingCallFromThread(self._reactor, hand, octets)
        except HelperError as reason:
            raise OSError(errno.EPIPE, reason.reason) from None
        if not taken:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    def close(self) -> None:
        """
        There is nothing to close.
        """
