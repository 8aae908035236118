# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Threads for tests that have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure

__all__ = ["PromptPool", "PromptReactor"]


class PromptReactor(Clock):
    """
    A clock that calls at once what threads want called.
    """

    def callFromThread(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """
        Call something.
        """
        work(*arguments, **named)


class PromptPool:
    """
    A pool that does at once what it is given, and so needs no threads.
    """

    max = 0
    threads: Sequence[object] = ()
    working: Sequence[object] = ()

    def callInThreadWithCallback(
        self,
        onResult: Callable[[bool, Any], Any],
        work: Callable[..., Any],
        *arguments: Any,
        **named: Any,
    ) -> None:
        """
        Do something, and tell how it went.
        """
        try:
            result = work(*arguments, **named)
        except Exception:
            onResult(False, Failure())
        else:
            onResult(True, result)
