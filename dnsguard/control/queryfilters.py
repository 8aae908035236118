# -*- test-case-name: tests.control.test_queries -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which queries: the parameters that all questions to the query store share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnsguard.control.route import Refused
from dnsguard.control.schema import Schema, decimal, integer, text
from dnsguard.querystore.filters import BadFilter, QueryFilter

__all__ = ["FILTERS", "WINDOW", "arguments", "filterOf"]

_MOST = 1024
_MOST_MINUTES = 60 * 24 * 366

WINDOW: Mapping[str, Schema] = {
    "window_minutes": integer(1, 1440, "How far back.", default=60),
}

FILTERS: Mapping[str, Schema] = {
    "q": text("In the name, or the client's address or name.", most=_MOST),
    "search": text("The same.", most=_MOST),
    "qname": text("In the name asked for.", most=_MOST),
    "client": text("In the client's address or name.", most=_MOST),
    "client_ip": text("The same.", most=_MOST),
    "outcome": text("One or more, parted by commas.", most=_MOST),
    "rcode": text("The same.", most=_MOST),
    "qtype": text("The same.", most=_MOST),
    "qclass": text("The same.", most=_MOST),
    "protocol": text("The same.", most=_MOST),
    "upstream": text("The same.", most=_MOST),
    "list": text("The same.", most=_MOST),
    "group": text("The same.", most=_MOST),
    "instance": text("The same.", most=_MOST),
    "since_minutes": decimal(0, _MOST_MINUTES, "How far back, instead of the window."),
    "min_duration_ms": decimal(0, 1e9),
    "max_duration_ms": decimal(0, 1e9),
}


def arguments(query: Mapping[str, Any]) -> dict[str, str]:
    """
    Give the parameters that filter, as text.
    """
    told = {name: str(query[name]) for name in FILTERS if name in query}
    if "since_minutes" not in told and "window_minutes" in query:
        told["since_minutes"] = str(query["window_minutes"])
    return told


def filterOf(told: Mapping[str, str], now: float) -> QueryFilter:
    """
    Make the filter.

    @param now: Seconds since the epoch.
    @raise Refused: It makes no sense.
    """
    try:
        return QueryFilter.fromArguments(told, now)
    except BadFilter as problem:
        raise Refused(400, str(problem), field=problem.key) from None
