# -*- test-case-name: tests.services.test_applog -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The application log as a service: its thread runs while the process serves.
"""

from __future__ import annotations

from twisted.application.service import Service

from dnsguard.observers.applog import ApplicationLog

__all__ = ["ApplicationLogService"]


class ApplicationLogService(Service):
    """
    Starts the writer after the process has become a daemon, and stops it
    once the last line is out.
    """

    name = "applog"

    def __init__(self, log: ApplicationLog) -> None:
        """
        @param log: Whose lines are written.
        """
        self.writer = log.writer
        self._log = log

    @property
    def level(self) -> str:
        """
        How serious an event must be to be written.
        """
        return self._log.level

    def setLevel(self, level: str) -> None:
        """
        Write what is at least as serious as this, until the next reload.
        """
        self._log.configure(self._log.format, level)

    def startService(self) -> None:
        """
        Have the thread write from now on.
        """
        Service.startService(self)
        self.writer.start()

    def stopService(self) -> None:
        """
        Write what is left.
        """
        Service.stopService(self)
        self.writer.stop()
