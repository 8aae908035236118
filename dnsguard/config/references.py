# -*- test-case-name: tests.config.test_references -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{${env:NAME}} and C{${file:/path}} in values: secrets kept out of the file.

The notation is that of the OpenTelemetry collector. It holds only in values
whose key says so, and what it stands for is never shown: messages quote the
reference as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["expand", "readSecret"]

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)\}?")
_MOST_OCTETS = 64 * 1024


def readSecret(path: str) -> str:
    """
    Read a file that holds one secret; one newline at its end is cut off.

    @raise ValueError: It can't be read, or is no secret; the message says why.
    """
    try:
        with Path(path).open("rb") as source:
            octets = source.read(_MOST_OCTETS + 1)
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"file {path} isn't UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"file {path}: {reason}") from None
    if len(octets) > _MOST_OCTETS:
        raise ValueError(f"file {path} is larger than {_MOST_OCTETS // 1024} KiB")
    return text.removesuffix("\n").removesuffix("\r")


def expand(
    text: str, environ: Mapping[str, str], readFile: Callable[[str], str] = readSecret
) -> str:
    """
    Put in what references stand for; C{$$} is a plain dollar sign.

    @param environ: The process's environment.
    @param readFile: Gives a file's text, or raises C{ValueError}.
    @raise ValueError: A reference is malformed or leads nowhere.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        source, colon, name = match[1].partition(":")
        if not match[0].endswith("}") or not colon or not name:
            raise ValueError("a reference must be ${env:NAME} or ${file:/path}")
        if source == "env":
            if name not in environ:
                raise ValueError(f"environment variable {name} isn't set")
            return environ[name]
        if source == "file":
            return readFile(name)
        raise ValueError(f"no reference of kind {source!r}; use ${{env:NAME}} or ${{file:/path}}")

    return _REFERENCE.sub(value, text)
