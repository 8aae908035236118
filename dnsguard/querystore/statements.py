# -*- test-case-name: tests.querystore.test_duckfile -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A statement and its typed parameters: all that an SQL engine is ever sent.

Text comes from this program only. Whatever a person or a client typed is a
parameter; names of columns come out of closed sets.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

__all__ = ["Statement", "Value"]

Value: TypeAlias = str | int | float | list[str]


@attrs.frozen
class Statement:
    """
    One statement.

    @ivar text: SQL with places for parameters.
    @ivar parameters: Their values by name.
    """

    text: str
    parameters: dict[str, Value] = attrs.field(factory=dict)
