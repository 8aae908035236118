# -*- test-case-name: tests.processes.test_helper -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a L{Helper <dnsguard.processes.helper.Helper>} works with: a process that
runs, and who stands in for it while it doesn't.
"""

from __future__ import annotations

import enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred

__all__ = ["Run", "Stage", "StandIn"]


class Run(Protocol):
    """
    A process that runs.
    """

    pid: int

    @property
    def alive(self) -> bool:
        """
        Can it be spoken to?
        """

    def call(
        self,
        name: str,
        fields: dict[str, Any] | None = None,
        payload: bytes = b"",
        *,
        seconds: float,
    ) -> Deferred[Any]:
        """
        See L{dnsguard.processes.link.Link.call}.
        """

    def close(self) -> None:
        """
        Hang up, which is the end of it.
        """

    def kill(self) -> None:
        """
        End it now.
        """


class StandIn(Protocol):
    """
    Reads the sockets of a helper in the main process.
    """

    def begin(self) -> None:
        """
        Take requests.
        """

    def end(self) -> None:
        """
        Take no more; replies are still sent.
        """


class Stage(enum.Enum):
    """
    Where a helper is in its life.
    """

    AWAY = "away"
    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"
