# -*- test-case-name: tests.services.test_heap -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Keeps the C library from holding on to memory that is free.

Blocks of rows are encoded, compressed and written in threads. By default glibc
gives each of several threads a heap of its own and, once a large piece was
freed, keeps pieces of that size: a tenth of the process was free memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

try:
    from dnsguard.services._heap import setHeap
except ImportError:  # Built where there was no compiler.
    setHeap = None  # type: ignore[assignment]

__all__ = ["ARENAS", "LARGE", "setHeap", "tuneHeap"]

ARENAS = 2
"""Heaps: the reactor's, and one for all other threads."""

LARGE = 256 << 10
"""Octets from which on what is freed goes back to the system at once."""


def tuneHeap(
    environ: Mapping[str, str] = os.environ,
    setHeap: Callable[[int, int], bool] | None = setHeap,
) -> bool:
    """
    Tell the C library, unless the environment says how it shall be. To be
    called before there are threads.

    @param setHeap: See L{dnsguard.services._heap.setHeap}; L{None} where that
        wasn't built.
    @return: Was it done?
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in environ)
    return not told and setHeap is not None and setHeap(ARENAS, LARGE)
