# -*- test-case-name: tests.test_children -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The environment of processes that run other parts of this package.
"""

from __future__ import annotations

import os
from pathlib import Path

import dnsguard

__all__ = ["childEnvironment"]


def childEnvironment() -> dict[str, str]:
    """
    Give this process's environment, in which a child's Python finds the very
    package that runs here, wherever it is: it may be a folder that nobody has
    installed.
    """
    places = [str(Path(dnsguard.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
