# -*- test-case-name: tests.config.test_sizes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Amounts of memory as operators write them: C{64MB}, C{512KiB}, C{1048576}.

All units are powers of 1024: C{KB} and C{KiB} are the same. Those who write
C{64MB} for a cache mean the former more often than the latter.
"""

from __future__ import annotations

import re

__all__ = ["formatSize", "parseSize"]

_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,3}))? ?(B|[KMGT]i?B?)?", re.IGNORECASE | re.ASCII)
_POWERS: dict[str, int] = {"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_MOST = 1 << 50


def parseSize(text: str) -> int:
    """
    Read an amount of memory.

    @return: Octets.
    @raise ValueError: It isn't one; the message says why.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("not a size such as 64MB, 512KB or 1048576 (octets)")
    unit = (match[3] or "").upper()[:1]
    whole, fraction = match[1], match[2] or ""
    digits = int(whole + fraction)
    octets: int = (digits << _POWERS[unit]) // 10 ** len(fraction)
    if octets > _MOST:
        raise ValueError("larger than 1024TB")
    return octets


def formatSize(octets: int) -> str:
    """
    Write an amount of memory in the form that L{parseSize} reads, in the
    largest unit that makes a whole number of it.
    """
    for unit in ("TB", "GB", "MB", "KB"):
        size = 1 << _POWERS[unit[0]]
        if octets and octets % size == 0:
            return f"{octets // size}{unit}"
    return str(octets)
