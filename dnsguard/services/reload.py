# -*- test-case-name: tests.services.test_reload -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
SIGHUP: read the configuration again and go over to it, or keep the old one.

Reading waits for the disk, so it is done in a thread. Whatever goes wrong
before the new configuration is in force is logged, and nothing has changed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredLock,
    maybeDeferred,
    succeed,
)
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from dnsguard.config.load import Loaded, Source
from dnsguard.config.model import Config
from dnsguard.config.problem import Place, Problem, Severity
from dnsguard.errors import ConfigError, DNSGuardError

__all__ = ["Apply", "Outcome", "ReloadService"]

PATIENCE = 5.0
"""How long stopping waits for a reload under way, in seconds."""

Apply = Callable[[Config], "Deferred[None] | None"]
"""Goes over to a configuration; fails, with everything as it was, if it can't."""


@attrs.frozen
class Outcome:
    """
    How a reload went.

    @ivar ok: Is what was read in force?
    @ivar problems: What there is to say about it: of one that isn't in force
        why, otherwise warnings.
    @ivar loaded: What was read, if it could be.
    """

    ok: bool
    problems: tuple[Problem, ...] = ()
    loaded: Loaded | None = None


class ReloadService(Service):
    """
    Reloads the configuration at SIGHUP, and whenever asked.

    @ivar source: Where it is read from, for those who change what is there.
    @ivar environ: The process's environment, which is laid over it.
    @ivar reloads: How often another configuration came into force.
    @ivar failures: How often the old one was kept.
    """

    name = "reload"
    log = Logger()

    def __init__(
        self,
        load: Callable[[], Loaded],
        apply: Apply,
        reactor: Any,
        threadPool: Any,
        source: Source = Source(),  # noqa: B008
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """
        @param load: Reads the configuration, in a thread; raises
            L{ConfigError}.
        @param apply: Goes over to it, in the reactor's thread.
        @param reactor: Tells the time and takes the signal over into its
            thread.
        @param threadPool: Where C{load} is run.
        @param source: See the attribute.
        @param environ: See the attribute.
        """
        self.source = source
        self.environ = environ or {}
        self._lock = DeferredLock()
        self.reloads = 0
        self.failures = 0
        self._load = load
        self._apply = apply
        self._reactor = reactor
        self._threadPool = threadPool
        self._current: Deferred[bool] | None = None
        self._again = False
        self._before: Any = None

    def startService(self) -> None:
        """
        Listen for the signal.
        """
        Service.startService(self)
        if hasattr(signal, "SIGHUP"):
            self._before = signal.signal(signal.SIGHUP, self._hangUp)

    def stopService(self) -> Deferred[None]:
        """
        Let go of the signal; wait for a reload under way, though not for ever.
        """
        Service.stopService(self)
        self._again = False
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._before or signal.SIG_DFL)
        if self._current is None:
            return succeed(None)
        waiting = DeferredList([self._current])
        waiting.addTimeout(PATIENCE, self._reactor)  # Gives the reload up, too.
        return waiting.addBoth(lambda _: None)

    def _hangUp(self, signum: int, frame: FrameType | None) -> None:
        """
        The signal's handler: little may be done in one.
        """
        self._reactor.callFromThread(self.request)

    def request(self) -> None:
        """
        Reload soon. Requests during a reload are one request for another.
        """
        if self._current is not None:
            self._again = True
        elif self.running:
            self._begin()

    def _begin(self) -> None:
        """
        Reload now.
        """
        done = self._current = self.reload()
        done.addBoth(self._finished)

    def _finished(self, result: bool) -> bool:
        """
        A reload has ended; is another one asked for?
        """
        self._current = None
        if self._again and self.running:
            self._again = False
            self._begin()
        return result

    def reload(self) -> Deferred[bool]:
        """
        Read the configuration and go over to it.

        @return: Whether it is in force. Doesn't fail: what is wrong is logged.
        """
        return self.attempt().addCallback(lambda outcome: outcome.ok)

    def attempt(self) -> Deferred[Outcome]:
        """
        Read the configuration and go over to it, one after the other where
        several ask.

        @return: How it went. Doesn't fail: what is wrong is logged, too.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._attempt()))

    async def _attempt(self) -> Outcome:
        """
        See L{attempt}.
        """
        self.log.info("reloading the configuration")
        loaded = None
        problems: tuple[Problem, ...] = ()
        try:
            loaded = await deferToThreadPool(self._reactor, self._threadPool, self._load)
            await maybeDeferred(self._apply, loaded.config)
        except CancelledError:
            self.log.warn("reloading given up, as dnsguard stops")
        except DNSGuardError as error:
            if loaded is not None:
                problems = loaded.explain(error)
            elif isinstance(error, ConfigError):
                problems = error.problems
            self._tell(problems)
            self.log.error("configuration not reloaded: the old one stays in force")
        except Exception as error:
            problems = (
                Problem.at(Place("configuration"), (), f"{type(error).__name__}: {error}"),
            )
            self.log.failure("configuration not reloaded: the old one stays in force")
        else:
            self._tell(loaded.warnings)
            self.reloads += 1
            self.log.info("configuration reloaded")
            return Outcome(True, loaded.warnings, loaded)
        self.failures += 1
        return Outcome(False, problems, loaded)

    def _tell(self, problems: Iterable[Problem]) -> None:
        """
        Log each problem.
        """
        for problem in problems:
            if problem.severity is Severity.WARNING:
                self.log.warn("{problem}", problem=problem.sentence)
            else:
                self.log.error("{problem}", problem=problem.sentence)
