# -*- test-case-name: tests.config.sections.test_logs -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{request_log}, C{logging}: what is written down.
"""

from __future__ import annotations

import enum

import attrs

from dnsguard.config.keys import key
from dnsguard.config.kinds import Choice, Flag, Many, Text
from dnsguard.config.quantities import Integer, Size

__all__ = ["Level", "LogFormat", "LoggingConfig", "RequestLogConfig", "TraceEvent"]


class LogFormat(enum.Enum):
    """
    What a line looks like.
    """

    TEXT = "text"
    JSON = "json"


class Level(enum.Enum):
    """
    How serious an event must be to be written down.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


class TraceEvent(enum.Enum):
    """
    What single events can be logged.
    """

    REFRESH_UPSTREAM = "refresh_upstream"
    QUERY_RESOLUTION = "query_resolution"
    UPSTREAM_EXCHANGE = "upstream_exchange"


@attrs.frozen
class RequestLogConfig:
    """
    A line for every query.
    """

    enabled: bool = key(Flag(), False, meaning="Is it written?")
    directory: str = key(
        Text("a directory"),
        "logs",
        meaning="""Where its files are kept; made if it doesn't exist. Not from the root: below
            ``data_directory``.""",
    )
    filenamePrefix: str = key(
        Text("the beginning of a file name, without '/'", pattern=r"[^/\0.][^/\0]*", most=100),
        "dns-requests",
        meaning="Files are called so, then ``-YYYY-MM-DD.log``.",
    )
    format: LogFormat = key(
        Choice(LogFormat), LogFormat.TEXT, meaning="``text``, or ``json``: an object a line."
    )
    retentionDays: int = key(
        Integer(0, 36_500, "days"),
        30,
        meaning="Files of days longer ago are deleted; 0 keeps them all.",
    )
    maxSize: int = key(
        Size(),
        0,
        meaning="A file larger than this is put aside and a new one begun; 0 doesn't limit it.",
    )


@attrs.frozen
class LoggingConfig:
    """
    What dnsguard says of itself.
    """

    format: LogFormat = key(
        Choice(LogFormat),
        LogFormat.TEXT,
        meaning="``text`` for people, or ``json``: an object a line.",
    )
    level: Level = key(
        Choice(Level, {"warn": "warning", "err": "error"}),
        Level.INFO,
        meaning="What is less serious isn't written. Queries are never logged above ``debug``.",
        deprecated=("control.errors.log_level",),
    )
    traceEvents: tuple[TraceEvent, ...] = key(
        Many(Choice(TraceEvent), single=True),
        (),
        meaning="""What is logged one by one, whatever the level is: ``query_resolution``, each
            query; ``upstream_exchange``, each time an upstream is asked; ``refresh_upstream``,
            each refresh. It can be changed at run time, too. For looking into a trouble, not for
            good.""",
    )
