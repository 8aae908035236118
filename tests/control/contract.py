# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The documented endpoints, in the order in which they are documented: each with a
request, the status and what the answer must have in it.
"""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["CONTRACT", "DEBUG", "LIMITED", "OPEN", "Row", "differences"]

ZERO = "0001-01-01T00:00:00Z"


@attrs.frozen
class Row:
    """
    One request.

    @ivar has: Keys that the answer must have; with a value: that value.
    @ivar status: The status.
    @ivar text: What stands in an answer that isn't JSON.
    """

    method: str
    path: str
    has: dict[str, Any] = attrs.field(factory=dict)
    body: Any = None
    status: int = 200
    text: str = ""


ANY = object()
OK = {"ok": True}

TRACES = ["refresh_upstream", "query_resolution", "upstream_exchange"]

CONTRACT = (
    Row("GET", "/health", OK),
    Row("GET", "/ready", {"ready": ANY, "dependencies": ANY}, status=0),
    Row("GET", "/metrics", text="\n# TYPE dns_cache_hits_total counter\n"),
    Row("GET", "/errors", {"errors": ANY, "log_level": "info"}),
    Row("GET", "/trace-events", {"events": None, "all_events": TRACES}),
    Row(
        "PUT",
        "/trace-events",
        {"ok": True, "events": ["query_resolution"], "message": ANY},
        {"events": ["query_resolution", "no_such_event"]},
    ),
    Row("GET", "/trace-events", {"events": ["query_resolution"], "all_events": TRACES}),
    Row("PUT", "/trace-events", {"ok": True, "events": [], "message": ANY}, {"events": []}),
    Row("PUT", "/trace-events", {"error": ANY}, {}, 400),
    Row("POST", "/blocklists/reload", OK),
    Row("GET", "/blocklists/stats", {"blocked": 0, "allow": 0, "deny": 1}),
    Row("GET", "/blocklists/health", {"sources": [], "enabled": False}),
    Row("POST", "/blocklists/pause", {"paused": True, "until": ANY}, {"duration_minutes": 5}),
    Row("POST", "/blocklists/pause", {"error": ANY}, {"duration_minutes": 0}, 400),
    Row("POST", "/blocklists/pause", {"error": ANY}, {"duration_minutes": 1441}, 400),
    Row("GET", "/blocklists/pause/status", {"paused": True, "until": ANY}),
    Row("POST", "/blocklists/resume", {"paused": False, "until": ZERO}),
    Row("GET", "/blocklists/pause/status", {"paused": False, "until": ZERO}),
    Row("GET", "/blocked/check?domain=www.bad.example", {"blocked": True}),
    Row("GET", "/blocked/check?domain=good.example", {"blocked": False}),
    Row("GET", "/blocked/check", {"error": ANY}, status=400),
    Row("GET", "/cache/stats", {"hits": ANY, "misses": ANY, "hit_rate": ANY, "lru": ANY}),
    Row(
        "GET",
        "/cache/refresh/stats",
        dict.fromkeys(
            (
                "last_sweep_time",
                "last_sweep_count",
                "last_sweep_removed_count",
                "last_sweep_removed_breakdown",
                "average_per_sweep_24h",
                "std_dev_per_sweep_24h",
                "sweeps_24h",
                "refreshed_24h",
                "removed_24h",
                "batch_size",
                "stats_window_sec",
                "estimated_refreshed_daily",
                "estimated_removed_daily",
                "deletion_candidates",
                "sweep_hit_window",
                "sweep_min_hits",
                "request_refreshed_hot_24h",
                "request_refreshed_warm_24h",
                "refresh_config",
            ),
            ANY,
        ),
    ),
    Row("PUT", "/cache/config", {"error": ANY}, {"max_keys": 5}, 409),
    Row("PATCH", "/cache/config", {"error": ANY}, {"max_keys": 5}, 409),
    Row("POST", "/cache/clear", OK),
    Row(
        "GET",
        "/querystore/stats",
        {"buffer_size": ANY, "buffer_used": ANY, "dropped_events": ANY, "total_recorded": ANY},
    ),
    Row("POST", "/local-records/reload", OK),
    Row("POST", "/upstreams/reload", OK),
    Row("POST", "/response/reload", OK),
    Row("POST", "/safe-search/reload", OK),
    Row("POST", "/client-identification/reload", OK),
    Row("GET", "/upstreams", {"upstreams": ANY, "resolver_strategy": "failover"}),
    Row("GET", "/clients", {"clients": []}),
    Row(
        "POST",
        "/client-groups",
        OK,
        {
            "id": "kids",
            "description": "small",
            "blocklist": {
                "denylist": ["games.example"],
                "family_time": {
                    "enabled": True,
                    "days": [1],
                    "start": "18:00",
                    "end": "20:00",
                    "domains": ["video.example"],
                },
            },
            "disable_cache": True,
        },
    ),
    Row("POST", "/client-groups", {"error": ANY}, {"name": "nobody"}, 400),
    Row("GET", "/client-groups", {"client_groups": ANY}),
    Row("POST", "/clients", OK, {"ip": "192.0.2.9", "name": "tv", "group_id": "kids"}),
    Row("POST", "/clients", OK, {"ip": "192.0.2.9", "name": "telly", "group_id": "kids"}),
    Row("POST", "/clients", {"error": ANY}, {"name": "no address"}, 400),
    Row(
        "GET", "/clients", {"clients": [{"ip": "192.0.2.9", "name": "telly", "group_id": "kids"}]}
    ),
    Row("DELETE", "/client-groups/kids", OK),
    Row("DELETE", "/client-groups/kids", OK),
    Row("DELETE", "/client-groups/default", {"error": ANY}, status=400),
    Row("GET", "/clients", {"clients": [{"ip": "192.0.2.9", "name": "telly", "group_id": ""}]}),
    Row("DELETE", "/clients/192.0.2.9", OK),
    Row("DELETE", "/clients/192.0.2.9", OK),
    Row("GET", "/clients", {"clients": []}),
    Row("GET", "/sync/config", {"error": ANY}, status=503),
    Row("GET", "/sync/status", {"error": ANY}, status=503),
    Row("POST", "/sync/stats", {"error": ANY}, {"release": "1"}, 503),
    Row("GET", "/sync/replica-stats", {"replicas": []}),
    Row(
        "GET",
        "/api/queries/recent?page=1&page_size=2&sort_by=ts&sort_dir=asc&q=a&outcome=blocked,local",
        {
            "enabled": True,
            "rows": ANY,
            "total": ANY,
            "page": 1,
            "pageSize": 2,
            "sortBy": "ts",
            "sortDir": "asc",
        },
    ),
    Row("GET", "/api/queries/recent?page_size=501", {"error": ANY}, status=400),
    Row(
        "GET",
        "/api/queries/summary?window_minutes=1440",
        {"windowMinutes": 1440, "total": ANY, "statuses": ANY},
    ),
    Row("GET", "/api/queries/summary?window_minutes=1441", {"error": ANY}, status=400),
    Row(
        "GET",
        "/api/queries/latency",
        {"count": ANY, "avgMs": ANY, "minMs": ANY, "maxMs": ANY, "p50Ms": ANY, "p95Ms": ANY}
        | {"p99Ms": ANY},
    ),
    Row(
        "GET",
        "/api/queries/time-series?window_minutes=60&bucket_minutes=5",
        {"buckets": ANY, "latencyBuckets": ANY},
    ),
    Row("GET", "/api/queries/upstream-stats", {"total": ANY, "upstreams": ANY}),
    Row("GET", "/api/queries/filter-options?window_minutes=10080", {"options": ANY}),
    Row("GET", "/api/clients/discovery?window_minutes=5&limit=200", {"discovered": ANY}),
)
"""
The rows stand in an order in which each finds what those before have left.
"""

DEBUG = (
    Row("GET", "/debug/profile?seconds=1", text="<svg "),
    Row(
        "GET",
        "/debug/profile?seconds=1&format=speedscope",
        {"$schema": "https://www.speedscope.app/file-format-schema.json", "profiles": ANY},
    ),
    Row("GET", "/debug/profile?seconds=1&format=folded", text=" "),
    Row("GET", "/debug/profile?seconds=61", {"error": ANY}, status=400),
    Row("GET", "/debug/heap?seconds=0.1", {"top": ANY}),
    Row(
        "GET",
        "/debug/reactor",
        dict.fromkeys(("delayed_calls", "readers", "writers", "thread_pool", "lag"), ANY),
    ),
)
"""What stands in for the documented profiles: where they are switched on."""

OPEN = {"/health", "/metrics", "/ready", "/sync/config", "/sync/stats", "/sync/status"}
"""
Paths that need no token of the API's: those for syncing have tokens of their own
where there is syncing.
"""

LIMITED = {
    "/blocklists/reload": 10,
    "/blocklists/pause": 5,
    "/blocklists/resume": 5,
    "/cache/clear": 30,
    "/local-records/reload": 10,
    "/upstreams/reload": 10,
    "/response/reload": 10,
    "/safe-search/reload": 10,
    "/client-identification/reload": 10,
}
"""Seconds a path's limit lets one call through in."""


def differences(row: Row, status: int, answer: Any) -> list[str]:
    """
    Say how an answer isn't as documented.
    """
    found = []
    if status != row.status and row.status:
        found.append(f"{row.method} {row.path}: {status} instead of {row.status}: {answer}")
    if row.text and row.text not in str(answer):
        found.append(f"{row.method} {row.path}: no {row.text!r} in the answer")
    for name, value in row.has.items():
        if name not in answer:
            found.append(f"{row.method} {row.path}: no {name} in {answer}")
        elif value is not ANY and answer[name] != value:
            found.append(f"{row.method} {row.path}: {name} is {answer[name]!r}, not {value!r}")
    return found
