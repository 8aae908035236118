# -*- test-case-name: tests.assembly.test_logs -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to the request log.
"""

from __future__ import annotations

from typing import Any

from dnsguard.config.model import Config
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.logfile import DailyFile
from dnsguard.observers.requestlog import LogFormat, RequestLog

__all__ = ["makeRequestLog"]


def makeRequestLog(config: Config, reactor: Any, identities: Anonymizer) -> RequestLog | None:
    """
    Make the request log, if there is to be one.

    @param identities: Says what is written of clients.
    """
    settings = config.requestLog
    if not settings.enabled:
        return None
    file = DailyFile(
        config.statePath(settings.directory),
        settings.filenamePrefix,
        maxOctets=settings.maxSize,
        retentionDays=settings.retentionDays,
    )
    return RequestLog(
        file, reactor, reactor.getThreadPool(), LogFormat(settings.format.value), identities
    )
