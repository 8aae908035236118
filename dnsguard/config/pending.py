# -*- test-case-name: tests.config.test_keys -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Documented keys that nothing reads: named in a warning, not called unknown.

A file written for other versions, or for the resolver whose format this is,
must load; but an option that does nothing must not pass in silence either. A
section that is added here for the first time leaves this table in the same
change.
"""

from __future__ import annotations

from dnsguard.config.problem import KeyPath

__all__ = ["pendingKeys", "pendingReason"]

_LATER = "known key, not supported by this version yet: ignored"

_KEYS: dict[str, str] = {
    "doh_dot_server": _LATER,
    "sync": _LATER,
    "ui": _LATER,
    "webhooks": _LATER,
}


def pendingReason(path: KeyPath) -> str:
    """
    Why a documented key is ignored; empty for a key that isn't documented.
    """
    return _KEYS.get(".".join(str(step) for step in path), "")


def pendingKeys() -> list[tuple[str, str]]:
    """
    The keys that are ignored, by path, with the reason.
    """
    return sorted(_KEYS.items())
