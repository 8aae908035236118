# -*- test-case-name: tests.services.test_errorlog -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The error buffer as a service: its file is read and written beside the reactor.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from dnsguard.observers.applog import LineWriter
from dnsguard.observers.errorlog import ErrorFile, ErrorLog, LoggedError

__all__ = ["ErrorLogService"]


class ErrorLogService(Service):
    """
    Lets errors outlive the process.

    @ivar errors: The L{ErrorLog}.
    @ivar publisher: Whose events they are, unless somebody else hands those on.
    """

    name = "errors"
    log = Logger()

    def __init__(
        self,
        errors: ErrorLog,
        reactor: Any,
        file: ErrorFile | None = None,
        publisher: LogPublisher | None = None,
    ) -> None:
        """
        @param file: Where they are kept; L{None}: in memory alone.
        @param publisher: See the attribute.
        """
        self.errors = errors
        self._reactor = reactor
        self._file = file
        self.publisher = publisher
        self._writer: LineWriter | None = None
        self._loading: Deferred[None] | None = None

    @property
    def dropped(self) -> int:
        """
        Errors that the file has no line of.
        """
        return 0 if self._writer is None else self._writer.dropped + self._writer.failed

    def startService(self) -> None:
        """
        Keep errors from now on, and read those that were kept.
        """
        super().startService()
        if self.publisher is not None:
            self.publisher.addObserver(self.errors)
        self._begin()

    def stopService(self) -> Deferred[None]:
        """
        Write what is left.
        """
        super().stopService()
        if self.publisher is not None:
            self.publisher.removeObserver(self.errors)
        loading = self._loading or succeed(None)
        return loading.addCallback(lambda _: self._end())

    def keepIn(self, file: ErrorFile | None) -> None:
        """
        Keep errors elsewhere from now on; L{None}: in memory alone.
        """
        known = self._file
        if known is not None and file is not None and known.path == file.path:
            known.retention = self.errors.retention = file.retention
            return
        self._end()
        self._file = file
        if self.running:
            self._begin()

    def _begin(self) -> None:
        file = self._file
        if file is None:
            return
        loading = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), file.load)
        self._loading = loading.addCallback(self._loaded, file).addErrback(self._notLoaded)

    def _loaded(self, earlier: list[LoggedError], file: ErrorFile) -> None:
        if file is not self._file:
            return
        self._loading = None
        writer = self._writer = LineWriter(file)
        if self.running:
            writer.start()
        self.errors.retention = file.retention
        self.errors.persist(earlier, writer.write)

    def _notLoaded(self, reason: Failure) -> None:
        self._loading = None
        self.log.warn("errors aren't kept on disk: {reason}", reason=reason.getErrorMessage())

    def _end(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self.errors.forgo()
            writer.stop()
