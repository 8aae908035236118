# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.applog}.
"""

from __future__ import annotations

import io

from twisted.application.service import IService
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.observers.applog import ApplicationLog, LineWriter
from dnsguard.services.applog import ApplicationLogService


class ApplicationLogServiceTests(SynchronousTestCase):
    """
    Tests for L{ApplicationLogService}.
    """

    def test_stop(self) -> None:
        """
        When it has stopped, everything is written.
        """
        stream = io.StringIO()
        service = ApplicationLogService(ApplicationLog(LineWriter(stream)))
        verifyObject(IService, service)
        self.assertEqual(service.name, "applog")
        service.startService()
        for number in range(100):
            service.writer.write(str(number))
        service.stopService()
        self.assertEqual(len(stream.getvalue().splitlines()), 100)

    def test_level(self) -> None:
        """
        The level can be changed; the format stays.
        """
        log = ApplicationLog(LineWriter(io.StringIO()), "json", "info")
        service = ApplicationLogService(log)
        self.assertEqual(service.level, "info")
        service.setLevel("error")
        self.assertEqual((service.level, log.level, log.format), ("error", "error", "json"))
