# -*- test-case-name: tests.config.test_quantities -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Kinds for how many, how long and how much.

Zero is a value like any other here; where it means "off", the key says so.
"""

from __future__ import annotations

import re
from typing import Any

import attrs

from dnsguard.config.durations import MOST_SECONDS, formatDuration, parseDuration
from dnsguard.config.kinds import ScalarKind
from dnsguard.config.sizes import formatSize, parseSize

__all__ = ["Duration", "Integer", "Number", "Size"]


@attrs.frozen
class Integer(ScalarKind):
    """
    A whole number between two bounds, both included.
    """

    least: int = 0
    most: int = 2**53
    unit: str = ""

    @property
    def expected(self) -> str:
        words = f"a whole number of {self.unit}" if self.unit else "a whole number"
        if self.most == 2**53:
            return f"{words}, {self.least} or more"
        return f"{words} from {self.least} to {self.most}"

    def read(self, text: str) -> int:
        """
        Read a decimal number; underscores may part its digits.
        """
        if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,19}", text, re.ASCII):
            raise ValueError
        number = int(text.replace("_", ""))
        if not self.least <= number <= self.most:
            raise ValueError
        return number


@attrs.frozen
class Number(ScalarKind):
    """
    A number, whole or not, between two bounds, both included.
    """

    least: float = 0.0
    most: float = 1e9

    @property
    def expected(self) -> str:
        return f"a number from {self.least:g} to {self.most:g}"

    def read(self, text: str) -> float:
        """
        Read a decimal number without an exponent.
        """
        if not re.fullmatch(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?", text, re.ASCII):
            raise ValueError
        number = float(text)
        if not self.least <= number <= self.most:
            raise ValueError
        return number

    def show(self, value: Any) -> str:
        return f"{value:g}"


@attrs.frozen
class Duration(ScalarKind):
    """
    A span of time, in seconds, between two bounds, both included.
    """

    least: float = 0
    most: float = MOST_SECONDS

    @property
    def expected(self) -> str:
        words = "a duration such as 300ms, 5s, 1h30m or 90 (seconds)"
        if self.least:
            words += f", at least {formatDuration(self.least)}"
        if self.most != MOST_SECONDS:
            words += f", at most {formatDuration(self.most)}"
        return words

    def read(self, text: str) -> float:
        """
        Read a duration in Go's notation.
        """
        seconds = parseDuration(text)
        if not self.least <= seconds <= self.most:
            raise ValueError
        return seconds

    def show(self, value: Any) -> str:
        return formatDuration(value)


@attrs.frozen
class Size(ScalarKind):
    """
    An amount of memory, in octets, between two bounds, both included.
    """

    least: int = 0
    most: int = 1 << 50

    @property
    def expected(self) -> str:
        words = "a size such as 64MB, 512KB or 1048576 (octets)"
        if self.least:
            words += f", at least {formatSize(self.least)}"
        if self.most != 1 << 50:
            words += f", at most {formatSize(self.most)}"
        return words

    def read(self, text: str) -> int:
        """
        Read a size.
        """
        octets = parseSize(text)
        if not self.least <= octets <= self.most:
            raise ValueError
        return octets

    def show(self, value: Any) -> str:
        return formatSize(value)
