# -*- test-case-name: tests.querystore.test_engines -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which engine keeps the rows.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from importlib.util import find_spec

__all__ = ["Engine", "choose"]


class Engine(enum.Enum):
    """
    The engines. The values are the words of the configuration.
    """

    AUTO = "auto"
    CLICKHOUSE = "clickhouse"
    DUCKDB = "duckdb"
    MEMORY = "memory"
    NONE = "none"


_PACKAGES = {
    Engine.CLICKHOUSE: ("clickhouse_connect", "lz4"),
    Engine.DUCKDB: ("duckdb", "numpy"),
}


def _isInstalled(package: str) -> bool:
    """
    Is a package there? It isn't imported to find out.
    """
    return find_spec(package) is not None


def choose(
    engine: Engine, address: str, isInstalled: Callable[[str], bool] = _isInstalled
) -> tuple[Engine, str]:
    """
    Turn C{auto} into an engine: ClickHouse where an address is set, else DuckDB,
    and memory where that can't be had.

    @param address: ClickHouse's address, or empty.
    @return: The engine, and a warning for the log, or empty: an engine that was
        asked for by name but lacks its packages is replaced by memory, so that
        there is something to look at.
    """
    wanted = engine
    if engine is Engine.AUTO:
        wanted = Engine.CLICKHOUSE if address else Engine.DUCKDB
    missing = [name for name in _PACKAGES.get(wanted, ()) if not isInstalled(name)]
    if not missing:
        return wanted, ""
    return Engine.MEMORY, (
        f"query store engine {wanted.value} needs {' and '.join(missing)};"
        " the last queries are kept in memory instead"
    )
