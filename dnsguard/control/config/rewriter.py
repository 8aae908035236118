# -*- test-case-name: tests.control.config.test_rewriter -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Changing a large YAML file without anybody else noticing.

Reading a file so that it can be written again as it was is slow, and a thread
that does it holds Python's lock for as long: queries that need the reactor
would wait. So this module is also a program, C{python -m
dnsguard.control.config.rewriter}: it reads a text and a patch as JSON from its
standard input, and writes the text that they come to, or says on standard error
why they don't.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from dnsguard.children import childEnvironment
from dnsguard.control.config.document import EditError, patched
from dnsguard.priority import LATER, stepBack

__all__ = ["LARGE", "rewritten"]

LARGE = 4 << 10
"""Characters from which on starting a process is the lesser evil."""

PATIENCE = 120.0
"""Seconds that the process gets."""

_log = Logger()


def rewritten(
    text: str, patch: Mapping[str, Any], large: int = LARGE, python: str = sys.executable
) -> str:
    """
    Do what L{patched} does; in a process of its own where that would take long,
    and can be had. For threads.

    @raise EditError: It can't be done.
    """
    order = json.dumps({"text": text, "patch": patch})
    if len(order) < large or not python:
        return patched(text, patch)
    try:
        done = subprocess.run(
            [python, "-m", "dnsguard.control.config.rewriter"],
            input=order.encode("ascii"),
            capture_output=True,
            timeout=PATIENCE,
            env=childEnvironment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EditError(f"the file can't be changed within {PATIENCE:.0f} s") from None
    except OSError as problem:
        _log.info("no process for changing the file, a thread does it: {problem}", problem=problem)
        return patched(text, patch)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise EditError(reason or f"the file can't be changed: status {done.returncode}")
    return done.stdout.decode("utf-8")


def main() -> int:
    """
    Be the program: 0 for success, 1 with one line on standard error.
    """
    stepBack(LATER)
    order = json.load(sys.stdin)
    try:
        text = patched(order["text"], order["patch"])
    except EditError as problem:
        print(problem, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(text.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
