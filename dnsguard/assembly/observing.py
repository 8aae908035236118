# -*- test-case-name: tests.assembly.test_observing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What of logs, traces and profiles the control API works with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, succeed

from dnsguard.assembly.metrics.parts import sibling
from dnsguard.control.debugging import DebugFamily
from dnsguard.control.errors import ErrorFamily
from dnsguard.control.metrics import MetricsFamily
from dnsguard.errors import PolicyError
from dnsguard.observers.exposition import Gathered
from dnsguard.observers.trace import TraceEvent
from dnsguard.policy.clients import Network, parseNetwork
from dnsguard.policy.problems import nearest
from dnsguard.policy.snapshot import DEFAULT_GROUP
from dnsguard.processes.totals import addGathered
from dnsguard.services.heapwatch import HeapWatch
from dnsguard.services.pyspy import NativeSampler
from dnsguard.services.reactorstate import reactorState
from dnsguard.services.sampler import Sampler

if TYPE_CHECKING:
    from dnsguard.assembly.guard import Guard
    from dnsguard.config.model import Config
    from dnsguard.observers.trace import Tracer

__all__ = [
    "Levels",
    "Tracing",
    "WholeExposition",
    "debugFamily",
    "errorFamily",
    "metricsFamily",
    "networksOf",
]

_errors = sibling("errors")
_log = sibling("applog")


class Levels:
    """
    How serious an event must be to be logged, and kept.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def level(self) -> str:
        """
        Say what it is.
        """
        service = _log(self._guard)
        level: str = self._guard.config.logging.level.value if service is None else service.level
        return level

    def setLevel(self, level: str) -> Deferred[None]:
        """
        Change it, until the next reload; nothing changes where the log isn't
        ours.

        @return: Fires when it holds in all processes.
        """
        service = _log(self._guard)
        if service is not None:
            service.setLevel(level)
            self._guard.wishes = attrs.evolve(self._guard.wishes, level=level)
            self._guard.tellHelpers()
        return self._guard.whenFollowed()


class Tracing:
    """
    What is traced.

    @ivar words: All that can be.
    """

    words: Sequence[str] = tuple(event.value for event in TraceEvent)

    def __init__(
        self,
        tracer: Tracer,
        config: Callable[[], Config],
        changed: Callable[[], Deferred[None]],
    ) -> None:
        """
        @param config: Gives what is in force: who is called what.
        @param changed: Called when something else is traced; fires when that
            holds in all processes.
        """
        self._tracer = tracer
        self._config = config
        self._changed = changed

    def traced(self) -> list[str]:
        """
        Say what is.
        """
        events = self._tracer.rule.events
        return [event.value for event in TraceEvent if event in events]

    def trace(
        self, events: Iterable[str], clients: list[str], names: list[bytes], groups: list[str]
    ) -> Deferred[None]:
        """
        Trace these from now on, and nothing else.

        @return: Fires when that is so in all processes.
        @raise PolicyError: There is no such client or group.
        """
        config = self._config()
        known = {DEFAULT_GROUP, *(group.id for group in config.clientGroups)}
        for group in groups:
            if group not in known:
                raise PolicyError("groups", f"no such group: {group!r}{nearest(group, known)}")
        networks = [network for client in clients for network in networksOf(client, config)]
        self._tracer.trace(map(TraceEvent, events), networks, names, groups)
        return self._changed()


def networksOf(client: str, config: Config) -> list[Network]:
    """
    Say which addresses somebody means.

    @param client: An address, a network, or the name of a client.
    @raise PolicyError: Nobody is called so.
    """
    with suppress(ValueError):
        return [parseNetwork(client.partition("%")[0])]
    named = [each for each in config.clientIdentification.clients if each.name]
    found = [parseNetwork(each.ip) for each in named if each.name.lower() == client.lower()]
    if not found:
        near = nearest(client, {each.name for each in named})
        raise PolicyError(
            "clients", f"no address, no network, and no client's name: {client!r}{near}"
        )
    return found


class WholeExposition:
    """
    What all processes of a server publish, as if they were one.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def gather(self) -> Deferred[Gathered]:
        """
        Read all numbers. Those of a process that takes too long are old.
        """
        exposition, helpers = self._guard.exposition, self._guard.helpers
        if helpers is None:
            past = self._guard.past.counts
            gathered = exposition.gather()
            return succeed(addGathered(gathered, [past]) if past.samples else gathered)
        return helpers.counts().addCallback(
            lambda others: addGathered(exposition.gather(), others)
        )

    def encode(self, accept: str, gathered: Gathered) -> tuple[bytes, str]:
        """
        See L{Exposition.encode <dnsguard.observers.exposition.Exposition.encode>}.
        """
        return self._guard.exposition.encode(accept, gathered)


def errorFamily(guard: Guard) -> ErrorFamily:
    """
    Make the endpoints of errors, levels and traces.
    """

    def entries() -> list[dict[str, str]]:
        service = _errors(guard)
        return [] if service is None else [each.record() for each in service.errors.entries()]

    def changed() -> Deferred[None]:
        guard.tellHelpers()
        return guard.whenFollowed()

    tracing = Tracing(guard.observers.tracer, lambda: guard.config, changed)
    return ErrorFamily(entries, Levels(guard), tracing)


def metricsFamily(guard: Guard, inThread: Any) -> MetricsFamily:
    """
    Make the endpoint of metrics.
    """
    return MetricsFamily(WholeExposition(guard), inThread)


def debugFamily(guard: Guard, inThread: Any) -> DebugFamily:
    """
    Make the endpoints of profiles.
    """
    reactor = guard.reactor
    return DebugFamily(
        lambda: guard.config.control.debug,
        Sampler(reactor),
        NativeSampler(reactor),
        HeapWatch(reactor),
        lambda: reactorState(reactor, guard.lag),
        inThread,
    )
