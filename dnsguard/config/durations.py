# -*- test-case-name: tests.config.test_durations -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Spans of time as operators write them: C{300ms}, C{5s}, C{1h30m}, C{90}.

The notation is Go's, strictly, because existing files use it; a bare whole
number counts seconds. Days (C{d}) are accepted as well.
"""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["MOST_SECONDS", "formatDuration", "parseDuration"]

_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|us|µs|μs|ms|s|m|h|d)")
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)

MOST_SECONDS = 100 * 366 * 86400
"""The longest span that is accepted: a hundred years."""


def parseDuration(text: str) -> float:
    """
    Read a span of time.

    @return: Seconds.
    @raise ValueError: It isn't one; the message says why.
    """
    if _WHOLE.fullmatch(text):
        seconds = Decimal(text)
    elif text.startswith(("-", "+")):
        raise ValueError("a duration has no sign")
    else:
        seconds = _sum(text)
    if seconds > MOST_SECONDS:
        raise ValueError("longer than 100 years")
    return float(seconds)


def _sum(text: str) -> Decimal:
    """
    Add up the parts of C{1h30m}.
    """
    seconds = Decimal(0)
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            break
        seconds += Decimal(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not text or position < len(text):
        raise ValueError("not a duration such as 300ms, 5s, 1h30m or 90 (seconds)")
    return seconds


def formatDuration(seconds: float) -> str:
    """
    Write a span of time in the form that L{parseDuration} reads.

    @param seconds: The span, not negative; rounded to nanoseconds.
    """
    nanoseconds = round(Decimal(seconds).scaleb(9))
    if nanoseconds == 0:
        return "0s"
    text = ""
    for unit, size in (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9)):
        count, nanoseconds = divmod(nanoseconds, size)
        if count:
            text += f"{count}{unit}"
    for unit, size in (("ms", 10**6), ("us", 10**3), ("ns", 1)):
        count, nanoseconds = divmod(nanoseconds, size)
        if count:
            text += f"{count}{unit}"
    return text
