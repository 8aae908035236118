# -*- test-case-name: tests.assembly.test_guard -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the process that an operator starts has, and its helpers haven't, or have
otherwise: see L{dnsguard.assembly.helper} for theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dnsguard.assembly.lists import makeBlocklists
from dnsguard.assembly.notes import Notes
from dnsguard.assembly.together import listenTogether

if TYPE_CHECKING:
    from dnsguard.assembly.guard import Guard
    from dnsguard.config.model import Config

__all__ = ["MainRole"]


class MainRole:
    """
    Fetches lists, writes to stores and files, and binds sockets.

    @cvar binds: Can it listen elsewhere?
    """

    binds = True

    def lists(
        self,
        config: Config,
        reactor: Any,
        onChange: Callable[[Any], object],
        now: Callable[[], float],
    ) -> Any:
        """
        Make what has the block lists.
        """
        return makeBlocklists(config, reactor, onChange, now)

    def notes(self, guard: Guard, config: Config, now: Callable[[], float]) -> Notes:
        """
        Make what writes queries down.
        """
        return Notes(config, guard.reactor, guard.observers, guard.policies, now)

    def listeners(self, guard: Guard, config: Config) -> Any:
        """
        Make what listens.
        """
        return listenTogether(guard, config)
