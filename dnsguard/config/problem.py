# -*- test-case-name: tests.config.test_problem -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One thing wrong with a configuration, and where it stands.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

import attrs

__all__ = [
    "BUILT_IN",
    "KeyPath",
    "Place",
    "Problem",
    "Severity",
    "pathFromText",
    "pathText",
    "shown",
]

KeyPath = tuple[str | int, ...]
"""Where a value stands in the tree: key names, and indexes from 0."""

_SHOWN = 60


class Severity(enum.Enum):
    """
    What a problem means for the configuration.
    """

    ERROR = "error"
    WARNING = "warning"


@attrs.frozen
class Place:
    """
    A place in a file.

    @ivar file: The file's name; or where else the value came from.
    @ivar line: The line, from 1; 0 where there are none.
    @ivar column: The column, from 1; 0 where there are none.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


BUILT_IN = Place("built-in default")


@attrs.frozen
class Problem:
    """
    One thing wrong.

    @ivar file: The file's name; or where else the value came from.
    @ivar line: The line, from 1; 0 where there are none.
    @ivar column: The column, from 1; 0 where there are none.
    @ivar path: The key path, such as C{client_groups[2].id}; empty for the
        file as a whole.
    @ivar message: What is wrong, naming the value; never a secret.
    @ivar severity: Whether the configuration can be used all the same.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Severity = Severity.ERROR

    @classmethod
    def at(
        cls, place: Place, path: KeyPath, message: str, severity: Severity = Severity.ERROR
    ) -> Problem:
        """
        A problem with the value that stands at a place.
        """
        return cls(place.file, place.line, place.column, pathText(path), message, severity)

    @property
    def sentence(self) -> str:
        """
        Place, key path and what is wrong.
        """
        place = str(Place(self.file, self.line, self.column))
        return ": ".join(part for part in (place, self.path, self.message) if part)

    def __str__(self) -> str:
        if self.severity is Severity.WARNING:
            return f"{self.sentence} (warning)"
        return self.sentence


def pathText(path: Iterable[str | int]) -> str:
    """
    Write a key path as people do: C{client_groups[2].id}.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if step.isprintable() and len(step) <= _SHOWN else shown(step)
            text += f".{name}" if text else name
    return text


def pathFromText(text: str) -> KeyPath:
    """
    Read a key path that L{pathText} wrote of plain names.
    """
    steps = re.findall(r"\[([0-9]{1,9})\]|([^.\[\]]+)", text)
    return tuple(int(index) if index else name for index, name in steps)


def shown(text: str) -> str:
    """
    Quote an operator's text for a message: one line, not too long.
    """
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
