# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Finding parts of a running server that may not be there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["numberOf", "sibling"]

Find = Callable[[Any], Any]
"""Finds a part of a L{Guard <dnsguard.assembly.Guard>}, or L{None}."""


def sibling(name: str) -> Find:
    """
    Find the service of a name beside the server: those around it are there
    only if it runs as the plugin makes it.
    """
    return lambda guard: getattr(guard.parent, "namedServices", {}).get(name)


def numberOf(find: Find, name: str) -> Callable[[Any], int | None]:
    """
    Read a number that a part gives under this name, if the part is there.
    """

    def read(guard: Any) -> int | None:
        found = find(guard)
        return None if found is None else found.counters().get(name)

    return read
