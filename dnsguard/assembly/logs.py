# -*- test-case-name: tests.assembly.test_logs -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to the request log and to traces.
"""

from __future__ import annotations

from typing import Any

from dnsguard.config.model import Config
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.logfile import DailyFile
from dnsguard.observers.requestlog import LogFile, LogFormat, RequestLog
from dnsguard.observers.trace import TraceEvent

__all__ = ["makeRequestLog", "tracedEvents"]


def tracedEvents(config: Config) -> tuple[TraceEvent, ...]:
    """
    Say what is traced.
    """
    return tuple(TraceEvent(event.value) for event in config.logging.traceEvents)


def makeRequestLog(
    config: Config, reactor: Any, identities: Anonymizer, file: LogFile | None = None
) -> RequestLog | None:
    """
    Make the request log, if there is to be one.

    @param identities: Says what is written of clients.
    @param file: What is written to, instead of the file configured.
    """
    settings = config.requestLog
    if not settings.enabled:
        return None
    if file is None:
        file = DailyFile(
            config.statePath(settings.directory),
            settings.filenamePrefix,
            maxOctets=settings.maxSize,
            retentionDays=settings.retentionDays,
        )
    return RequestLog(
        file, reactor, reactor.getThreadPool(), LogFormat(settings.format.value), identities
    )
