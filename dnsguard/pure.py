# -*- test-case-name: tests.test_pure -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The switch that turns compiled code off: C{DNSGUARD_PURE_PYTHON}.

With it dnsguard behaves as it does where there was no compiler: for those who
look for an error, and for whoever measures what the compiler is worth.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType

__all__ = ["PURE_PYTHON", "SourceFinder", "isAsked", "obey"]

PURE_PYTHON = "DNSGUARD_PURE_PYTHON"
"""The environment variable that, set to anything but 0, turns compiled code off."""


class SourceFinder(MetaPathFinder):
    """
    Finds dnsguard's modules as source, and nothing else of it.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """
        Find one of our modules.

        @raise ModuleNotFoundError: It is there as compiled code only, or not
            at all.
        """
        if not name.startswith("dnsguard."):
            return None
        for folder in path or ():
            spec = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name)
            if spec is not None:
                return spec
        raise ModuleNotFoundError(f"no source of {name!r}", name=name)


def isAsked(environ: Mapping[str, str]) -> bool:
    """
    Does the environment ask for it?
    """
    return environ.get(PURE_PYTHON, "0") not in ("", "0")


def obey(environ: Mapping[str, str]) -> None:
    """
    Turn compiled code off, if the environment says so.
    """
    if isAsked(environ):
        sys.meta_path.insert(0, SourceFinder())
