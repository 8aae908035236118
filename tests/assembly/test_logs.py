# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.logs}.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from dnsguard.assembly.logs import makeRequestLog, tracedEvents
from dnsguard.config.load import loadText
from dnsguard.config.model import Config
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.trace import TraceEvent
from tests.support.events import eventOf


class LogsTests(TestCase):
    """
    Logs as they are configured.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def read(self, text: str) -> Config:
        """
        Read a configuration whose state is in a folder of the test's.
        """
        return loadText(f"data_directory: {self.folder}\n{text}").config

    async def test_requestLog(self) -> None:
        """
        Each setting of the request log holds.
        """
        written = self.folder / "written"
        written.mkdir()
        old = written / f"asked-{date.today() - timedelta(days=9)}.log"
        old.write_text("old\n")
        log: Any = makeRequestLog(
            self.read(
                "request_log: {enabled: true, directory: written, filename_prefix: asked,"
                " format: json, max_size: 500b, retention_days: 3}\n"
            ),
            reactor,
            Anonymizer(),
        )
        log.startService()
        for number in range(5):
            log.queryAnswered(eventOf(f"n{number}.example.org"))
            log.writeQueued()
        await ensureDeferred(log.stopService())
        files = sorted(written.iterdir())
        self.assertNotIn(old, files)
        self.assertGreater(len(files), 1)
        self.assertTrue(all(file.name.startswith(f"asked-{date.today()}.log") for file in files))
        newest = (written / f"asked-{date.today()}.log").read_text().splitlines()
        self.assertEqual(json.loads(newest[-1])["qname"], "n4.example.org")

    def test_none(self) -> None:
        """
        There is no request log unless it is asked for.
        """
        self.assertIsNone(makeRequestLog(self.read(""), reactor, Anonymizer()))

    def test_tracedEvents(self) -> None:
        """
        What is configured to be traced is.
        """
        config = self.read("logging: {trace_events: [upstream_exchange]}\n")
        self.assertEqual(tracedEvents(config), (TraceEvent.UPSTREAM_EXCHANGE,))
