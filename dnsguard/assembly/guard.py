# -*- test-case-name: tests.assembly.test_guard -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The whole server as one service, put together as an operator reads it: rules,
upstreams, chain, server, listeners.

Every change, whether by SIGHUP or because a list has been refreshed, goes the
same way: all that may fail is done first and beside the reactor; what then is
put into force can't fail, or is put back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.assembly.chain import Chain, makeChain
from dnsguard.assembly.lists import listSources, makeBlocklists
from dnsguard.assembly.listeners import makeListeners, serverLimits
from dnsguard.assembly.logs import makeRequestLog
from dnsguard.assembly.rules import makePolicy
from dnsguard.assembly.upstreams import upstreamFactory, upstreamSet, upstreamSpecs
from dnsguard.config.model import Config
from dnsguard.interfaces import IQueryObserver, IReloadable
from dnsguard.policy.snapshot import Policies, Policy
from dnsguard.replay import newStore, pathInUse
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.server.corridor import Corridor
from dnsguard.services.blocklists import BlockLists
from dnsguard.services.gate import GateService
from dnsguard.services.policyclock import PolicyClockService
from dnsguard.services.replaydrain import ReplayDrainService

__all__ = ["Guard", "makeService"]

LIST_PATIENCE = 1.0
"""
Seconds that listeners wait for the lists of the last run to be read from disk.
"""


def makeService(config: Config, reactor: Any) -> Guard:
    """
    Make the server.

    @raise dnsguard.errors.PolicyError: The configuration can't be put into
        force. So does L{dnsguard.policy.problems.InvalidPolicy}.
    """
    return Guard(config, reactor)
