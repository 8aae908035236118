# -*- test-case-name: tests.assembly.test_served -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The control API of those who have one.

A web server and all that is served take ten megabytes and a while to import, so
that is left to whoever has the API switched on; and while queries are answered
it is done beside the reactor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from dnsguard.config.model import Config

if TYPE_CHECKING:
    from dnsguard.assembly.guard import Guard
    from dnsguard.control.service import ControlService, ControlSettings

__all__ = ["CONTROL", "controlSettings", "makeControl", "prepareControl"]

CONTROL = "dnsguard.assembly.control"
"""The module that makes it."""


async def prepareControl(config: Config, inThread: Callable[..., Deferred[Any]]) -> None:
    """
    Get ready to make the control API, if there is to be one.

    @param inThread: Calls a function in a thread.
    """
    if config.control.enabled and CONTROL not in sys.modules:
        await inThread(import_module, CONTROL)


def makeControl(
    guard: Guard, config: Config, reactor: Any, now: Callable[[], float]
) -> ControlService | None:
    """
    Make the control API, if there is to be one.

    @param now: Seconds since the epoch.
    """
    if not config.control.enabled:
        return None
    made: ControlService = import_module(CONTROL).makeControl(guard, config, reactor, now)
    return made


def controlSettings(config: Config) -> ControlSettings:
    """
    Say how the API, of which there is one, is served.
    """
    settings: ControlSettings = import_module(CONTROL).controlSettings(config)
    return settings
