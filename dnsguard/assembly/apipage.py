# -*- test-case-name: tests.control.test_reference -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{docs/control-api.rst}, written from what is served.

Run C{python -m dnsguard.assembly.apipage docs/control-api.rst} after an
endpoint was changed; a test fails until it's done.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dnsguard
from dnsguard.assembly.control import families
from dnsguard.control.openapi import openAPI
from dnsguard.control.reference import reference

__all__ = ["apiDocument", "apiPage"]


class _Anything:
    """
    Stands for each part of a server: families only keep what they are handed.
    """

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __call__(self, *arguments: Any) -> _Anything:
        return self

    def __truediv__(self, other: object) -> _Anything:
        return self


def apiDocument() -> dict[str, Any]:
    """
    Make the OpenAPI document without a server.
    """
    room: Any = _Anything()
    declared = [(family, tuple(family.routes())) for family in families(room)]
    return openAPI(declared, dnsguard.__version__)


def apiPage() -> str:
    """
    Write the page.
    """
    return reference(apiDocument())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(apiPage(), "utf-8")
