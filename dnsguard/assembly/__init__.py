# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Where the rooms are put together: the only place that knows everything.
"""

from __future__ import annotations

from dnsguard.assembly.guard import Guard, makeService, problemsOf

__all__ = ["Guard", "makeService", "problemsOf"]
