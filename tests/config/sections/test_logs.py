# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.logs}.
"""

from __future__ import annotations

from dnsguard.config import loadText
from dnsguard.config.sections.logs import Level, LogFormat, TraceEvent
from tests.config.sections.cases import SectionCase


class LogTests(SectionCase):
    """
    Tests for C{request_log} and C{logging}.
    """

    def test_read(self) -> None:
        """
        Formats, levels and limits are read.
        """
        config = self.config(
            "request_log: {enabled: true, format: json, retention_days: 0, max_size: 1GB}\n"
            "logging: {format: JSON, level: warn}\n"
        )
        self.assertIs(config.requestLog.format, LogFormat.JSON)
        self.assertEqual(
            (config.requestLog.retentionDays, config.requestLog.maxSize), (0, 1 << 30)
        )
        self.assertIs(config.logging.format, LogFormat.JSON)
        self.assertIs(config.logging.level, Level.WARNING)

    def test_traceEvents(self) -> None:
        """
        What is traced can be set, one as well as several.
        """
        self.assertEqual(loadText("").config.logging.traceEvents, ())
        for text in ("[query_resolution, refresh_upstream]", "query_resolution"):
            config = loadText(f"logging: {{trace_events: {text}}}").config
            self.assertIs(config.logging.traceEvents[0], TraceEvent.QUERY_RESOLUTION)

    def test_refused(self) -> None:
        """
        Unknown words and file names that leave the directory are refused.
        """
        for text, path in [
            ("request_log: {format: xml}", "request_log.format"),
            ("request_log: {filename_prefix: ../x}", "request_log.filename_prefix"),
            ("request_log: {filename_prefix: .x}", "request_log.filename_prefix"),
            ("request_log: {directory: ''}", "request_log.directory"),
            ("logging: {level: loud}", "logging.level"),
            ("logging: {trace_events: [everything]}", "logging.trace_events[0]"),
        ]:
            self.assertEqual(self.paths(text), [path])

    def test_formerLevel(self) -> None:
        """
        The level's former place is still read, with a warning.
        """
        loaded = loadText("control: {errors: {log_level: debug}}")
        self.assertIs(loaded.config.logging.level, Level.DEBUG)
        self.assertEqual(
            [problem.path for problem in loaded.warnings], ["control.errors.log_level"]
        )
