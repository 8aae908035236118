# -*- test-case-name: tests.test_tap -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{twistd dnsguard}: options, configuration, log and SIGHUP around the service
that L{dnsguard.assembly} builds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python import logfile, usage
from twisted.python.reflect import namedModule

from dnsguard.config.load import Loaded, Source, load
from dnsguard.config.model import Config
from dnsguard.errors import ConfigError, DNSGuardError, ListenError
from dnsguard.interfaces import IReloadable
from dnsguard.observers.applog import ApplicationLog, LineWriter, Stream
from dnsguard.observers.errorlog import ErrorFile, ErrorLog
from dnsguard.priority import keepForefront
from dnsguard.services.applog import ApplicationLogService
from dnsguard.services.collector import undisturbed
from dnsguard.services.errorlog import ErrorLogService
from dnsguard.services.reload import Apply, ReloadService

__all__ = ["Options", "TopService", "makeService"]

_LOG_OCTETS = 10_000_000
_LOG_FILES = 9
_DAY = 86400.0

Assemble = Callable[[Config, Any], IService]
"""Makes the service of a configuration and a reactor; provides L{IReloadable}."""


class Options(usage.Options):
    """
    What can be said on the command line.
    """

    synopsis = "[options]"
    longdesc = "A filtering DNS resolver. Without options it serves on 127.0.0.1:5300."

    optParameters = [
        ["config", "c", None, "Your configuration file. [default: $CONFIG_PATH]"],
        [
            "default-config",
            None,
            None,
            "The file it is laid over. [default: $DEFAULT_CONFIG_PATH, or the packaged one]",
        ],
    ]

    compData = usage.Completions(
        optActions={
            "config": usage.CompleteFiles("*.yaml"),
            "default-config": usage.CompleteFiles("*.yaml"),
        }
    )


class TopService(MultiService):
    """
    Everything that runs.

    It brings its log observer along: twistd asks the application for one, and
    a plugin doesn't get to see the application but as its service's parent.

    @ivar applicationLog: The observer, or L{None} to leave it to twistd.
    @ivar apply: Goes over to another configuration.
    """

    log = Logger()

    def __init__(self, applicationLog: ApplicationLog | None, apply: Apply) -> None:
        MultiService.__init__(self)
        self.applicationLog = applicationLog
        self.apply = apply

    def setServiceParent(self, parent: Any) -> None:
        """
        Join the application.
        """
        MultiService.setServiceParent(self, parent)
        if self.applicationLog is not None and hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self.applicationLog)

    def privilegedStartService(self) -> None:
        """
        Start what needs privileges.

        @raise SystemExit: A port can't be had.
        """
        try:
            MultiService.privilegedStartService(self)
        except (CannotListenError, ListenError) as error:
            self._giveUp(error)

    def startService(self) -> None:
        """
        Start everything.

        @raise SystemExit: A port can't be had.
        """
        try:
            MultiService.startService(self)
        except (CannotListenError, ListenError) as error:
            self._giveUp(error)

    def _giveUp(self, error: Exception) -> NoReturn:
        """
        End the process; what is wrong is outside of it.
        """
        self.log.error("{reason}", reason=str(error).strip())
        raise SystemExit(1)


def makeService(
    options: Options,
    reactor: Any = None,
    assemble: Assemble | None = None,
    environ: Mapping[str, str] = os.environ,
) -> IService:
    """
    Build everything that runs, without starting it.

    @param options: The parsed command line.
    @param reactor: The reactor; twistd's by default.
    @param assemble: Builds the resolver; L{dnsguard.assembly.makeService} by
        default.
    @param environ: The process's environment.
    @raise SystemExit: The configuration can't be used; what is wrong has been
        written to standard error.
    """
    own = reactor is None
    if reactor is None:
        from twisted.internet import reactor
    # Everything is imported by the assembly, which --help needn't wait for.
    build: Assemble = assemble or namedModule("dnsguard.assembly").makeService
    source = Source.fromEnvironment(environ, options["config"], options["default-config"])
    loaded, resolver = _build(source, environ, lambda config: build(config, reactor))
    for problem in loaded.warnings:
        Logger(namespace="dnsguard.config").warn("{problem}", problem=problem.sentence)
    if own and loaded.config.server.processes == 1:
        # The process is ours, and starts no others of its kind.
        keepForefront()
    errors = _errors(loaded.config, reactor)
    applicationLog = _applicationLog(loaded.config, options.parent or {}, errors.errors)

    def apply(config: Config) -> Deferred[None]:
        return Deferred.fromCoroutine(
            _goOver(IReloadable(resolver), applicationLog, errors, config)
        )

    top = TopService(applicationLog, apply)
    if applicationLog is not None:
        ApplicationLogService(applicationLog).setServiceParent(top)
    else:
        errors.publisher = globalLogPublisher
    errors.setServiceParent(top)
    again = partial(undisturbed, load, source, environ)
    pool = reactor.getThreadPool()
    ReloadService(again, apply, reactor, pool, source, environ).setServiceParent(top)
    resolver.setServiceParent(top)
    return top


async def _goOver(
    resolver: Any,
    applicationLog: ApplicationLog | None,
    errors: ErrorLogService,
    config: Config,
) -> None:
    """
    Put another configuration into force: all of it, or nothing.
    """
    await resolver.reloadConfiguration(config)
    level = config.logging.level.value
    if applicationLog is not None:
        applicationLog.configure(config.logging.format.value, level)
    errors.errors.setLevel(level)
    errors.keepIn(_errorFile(config))


def _build(
    source: Source, environ: Mapping[str, str], assemble: Callable[[Config], IService]
) -> tuple[Loaded, IService]:
    """
    Load the configuration and build the resolver, or end the process.
    """
    try:
        loaded = load(source, environ)
    except ConfigError as error:
        problems = error.problems
    else:
        try:
            return loaded, assemble(loaded.config)
        except DNSGuardError as error:
            problems = loaded.explain(error)
    for problem in problems:
        print(problem, file=sys.stderr)
    print("dnsguard: the configuration can't be used", file=sys.stderr)
    raise SystemExit(1)


def _errors(config: Config, reactor: Any) -> ErrorLogService:
    """
    Make what keeps errors.
    """
    return ErrorLogService(ErrorLog(config.logging.level.value), reactor, _errorFile(config))


def _errorFile(config: Config) -> ErrorFile | None:
    """
    Say where errors are kept, if they are.
    """
    settings = config.control.errors
    if not settings.enabled:
        return None
    return ErrorFile(
        config.statePath(settings.directory) / f"{settings.filenamePrefix}.jsonl",
        settings.retentionDays * _DAY or float("inf"),
    )


def _applicationLog(
    config: Config, twistd: Mapping[str, Any], errors: ErrorLog
) -> ApplicationLog | None:
    """
    Make the log observer that goes where twistd's own would go.

    @param twistd: twistd's options.
    @param errors: Who keeps the errors in it.
    @return: L{None} where twistd is told to log in a way of its own.
    @raise SystemExit: The log file can't be written.
    """
    if twistd.get("logger") or twistd.get("syslog"):
        return None
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon", True) else "twistd.log")
    stream: Stream = sys.stdout
    if name != "-":
        try:
            stream = logfile.LogFile.fromFullPath(
                name, rotateLength=_LOG_OCTETS, maxRotatedFiles=_LOG_FILES
            )
        except OSError as error:
            print(f"dnsguard: log file {name}: {error.strerror}", file=sys.stderr)
            raise SystemExit(1) from None
    elif not twistd.get("nodaemon", True):
        return None  # twistd refuses: a daemon has no standard output.
    return ApplicationLog(
        LineWriter(stream), config.logging.format.value, config.logging.level.value, errors
    )
