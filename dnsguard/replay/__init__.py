# -*- test-case-name: tests.replay.test_choice -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Finished replies, given again to equal questions from equally treated clients.

There are two stores and two listeners, one of each in Python and one compiled,
and this is where one of them is chosen. Both stores publish the same counters:

  - C{entries}, C{bytes}: what is held now, the dead not yet swept included
  - C{hits}, C{misses}: lookups, those of listener threads included
  - C{stored}, C{replaced}, C{refused}: what became of replies offered
  - C{evicted}, C{expired}: entries that went by the bounds or by their time
  - C{ringDropped}: hits that no observer will hear of, the ring being full
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from dnsguard.pure import PURE_PYTHON, isAsked

if TYPE_CHECKING:
    from dnsguard.replay.store import PythonReplayStore

__all__ = ["newStore", "pathInUse"]


def _whyNot(name: str, environ: Mapping[str, str]) -> str:
    """
    Why a compiled module isn't used; empty when it is.
    """
    if isAsked(environ):
        return f"{PURE_PYTHON} is set"
    try:
        import_module(f"dnsguard.replay.{name}")
    except ImportError as reason:
        return str(reason)
    return ""


def pathInUse(environ: Mapping[str, str] = os.environ) -> tuple[bool, str]:
    """
    Say which path is in use.

    @param environ: The environment.
    @return: Is the listener the compiled one, which needs the compiled store
        as well; and the line that the log and C{dnsguard version --verbose}
        print of it.
    """
    if reason := _whyNot("_store", environ):
        return False, f"replay path: pure Python ({reason})"
    if reason := _whyNot("_listener", environ):
        return False, f"replay path: compiled store, plain listener ({reason})"
    return True, "replay path: compiled store and listener"


def newStore(*, compiled: bool | None = None, **bounds: int) -> PythonReplayStore:
    """
    Make a store.

    @param compiled: L{False}: the one in Python even if the other is there;
        L{None}: the compiled one where it can be used.
    @param bounds: See L{dnsguard.replay.store.PythonReplayStore}; its compiled
        twin has the same methods.
    """
    if compiled is None:
        compiled = not _whyNot("_store", os.environ)
    if compiled:
        from dnsguard.replay._store import CompiledReplayStore

        return CompiledReplayStore(**bounds)
    from dnsguard.replay.store import PythonReplayStore

    return PythonReplayStore(**bounds)
