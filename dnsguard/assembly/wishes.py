# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What somebody has set by hand, until the next reload, beside the configuration.
"""

from __future__ import annotations

import attrs

__all__ = ["Wishes"]


@attrs.frozen
class Wishes:
    """
    What holds instead of what is configured; L{None}: nothing does.

    @ivar level: How serious must be what is logged.
    @ivar maxKeys: How many answers a shared cache may have.
    """

    level: str | None = None
    maxKeys: int | None = None
