# -*- test-case-name: tests.config.test_pending -*-
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
    "cache.redis.max_keys": _LATER,
    "cache.redis.hit_counter_max_entries": _LATER,
    "cache.refresh_upstream_fail_log_interval": _LATER,
    **{
        f"cache.refresh.{name}": _LATER
        for name in (
            "enabled",
            "refresh_mode",
            "hit_window",
            "hot_threshold_rate",
            "hot_threshold",
            "min_ttl",
            "hot_ttl",
            "hot_ttl_fraction",
            "warm_threshold",
            "warm_ttl",
            "warm_ttl_fraction",
            "refresh_past_auth_ttl",
            "lock_ttl",
            "max_inflight",
            "sweep_interval",
            "sweep_window",
            "max_batch_size",
            "batch_size",
            "sweep_min_hits",
            "sweep_hit_window",
            "hit_count_sample_rate",
        )
    },
    "logging.trace_events": _LATER,
    "control": _LATER,
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
