# -*- test-case-name: tests.cli.test_statistics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard stats} and C{top}: what an instance has done, and for whom.
"""

from __future__ import annotations

from typing import Any

import click

from dnsguard.cli.client import API, Trouble, apiOptions
from dnsguard.cli.entry import Exit
from dnsguard.cli.output import count, pairs, share, table, writeJSON
from dnsguard.cli.pausing import pauseText

__all__ = ["stats", "top"]

_minutes = click.option(
    "--minutes",
    type=click.IntRange(1, 1440),
    default=60,
    show_default=True,
    help="How far to look back.",
)

SUBJECTS = (
    "domains",
    "blocked",
    "clients",
    "upstreams",
    "lists",
    "rules",
    "groups",
    "instances",
)
"""What can be ranked, in the API's words."""

USUAL = SUBJECTS[:5]


@click.command()
@_minutes
@apiOptions
def stats(api: API, asJSON: bool, minutes: int) -> None:
    """
    Show what a running instance has done and how it is.

    Parts that it can't tell, such as queries when they aren't stored, are left
    out; with --json they are null.
    """
    window = {"window_minutes": minutes}
    found = {
        "version": api.get("/version"),
        "pause": _part(api, "/blocklists/pause/status"),
        "queries": _part(api, "/queries/summary", **window),
        "latency": _part(api, "/queries/latency", **window),
        "cache": _part(api, "/cache/stats"),
        "blocklists": _part(api, "/blocklists/stats"),
        "upstreams": _part(api, "/upstreams"),
    }
    if asJSON:
        writeJSON(found)
        return
    for show in (_about, _queries, _cache, _lists, _upstreams):
        show(found)


def _part(api: API, path: str, **query: Any) -> Any:
    """
    Read what this instance may not have.
    """
    try:
        value = api.get(path, **query)
    except Trouble as problem:
        if problem.exit_code != Exit.REFUSED:
            raise
        return None
    off = isinstance(value, dict) and (value.get("enabled") is False or value.get("error"))
    return None if off else value


def _about(found: dict[str, Any]) -> None:
    version = found["version"]
    rows = [("version", version["version"]), ("up", _span(version["uptime_seconds"]))]
    if found["pause"]:
        rows.append(("state", pauseText(found["pause"])))
    pairs(rows, "dnsguard")


def _queries(found: dict[str, Any]) -> None:
    summary, latency = found["queries"], found["latency"]
    if summary:
        total = summary["total"]
        rows = [
            (status["outcome"], f"{count(status['count'])}  {share(status['count'], total)}")
            for status in summary["statuses"]
        ]
        pairs(
            [("total", count(total)), *rows],
            f"\nqueries, last {summary.get('windowMinutes', '?')} minutes",
        )
    if latency and latency.get("count"):
        keys = ("avgMs", "p50Ms", "p95Ms", "p99Ms", "maxMs")
        pairs(
            (
                (key.removesuffix("Ms"), f"{latency[key]:.3f} ms")
                for key in keys
                if latency.get(key) is not None
            ),
            "\nlatency",
        )


def _cache(found: dict[str, Any]) -> None:
    cache = found["cache"]
    if not cache:
        return
    rows = [
        ("hits", count(cache["hits"])),
        ("misses", count(cache["misses"])),
        ("hit rate", f"{cache['hit_rate']:.1f}%"),
    ]
    memory = cache.get("lru")
    if memory:
        rows.append(("in memory", f"{count(memory['entries'])} of {count(memory['max_entries'])}"))
    if cache.get("redis_keys") is not None:
        rows.append(("in Redis", count(cache["redis_keys"])))
    pairs(rows, "\ncache")


def _lists(found: dict[str, Any]) -> None:
    lists = found["blocklists"]
    if lists:
        rows = [
            ("names", lists["blocked"]),
            ("allowed", lists["allow"]),
            ("denied", lists["deny"]),
        ]
        pairs([(name, count(number)) for name, number in rows], "\nblock lists")


def _upstreams(found: dict[str, Any]) -> None:
    states = (found["upstreams"] or {}).get("state")
    if states:
        click.secho("\nupstreams", bold=True)
        table(
            ("name", "address", "usable", "latency", "queries", "replies"),
            (
                (
                    state["name"],
                    state["address"],
                    state["usable"],
                    f"{state['latency_ms']:.1f} ms",
                    count(state["queries"]),
                    count(state["replies"]),
                )
                for state in states
            ),
            numbers=(3, 4, 5),
        )


def _span(seconds: float) -> str:
    """
    Say how long something is, as people do.
    """
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


@click.command()
@click.argument("subject", type=click.Choice(SUBJECTS), required=False)
@_minutes
@click.option(
    "-n",
    "--number",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="How many.",
)
@click.option("--client", help="Of clients with this in their address or name.")
@click.option("--outcome", help="Only these outcomes, such as blocked,upstream.")
@apiOptions
def top(
    api: API,
    asJSON: bool,
    subject: str | None,
    minutes: int,
    number: int,
    client: str | None,
    outcome: str | None,
) -> None:
    """
    Show the names asked for most, those blocked most, who asks most, and more.

    SUBJECT shows one of these alone. Needs the query store.
    """
    ranked: dict[str, Any] = {}
    for word in [subject] if subject else USUAL:
        found = api.get(
            "/queries/top",
            subject=word,
            window_minutes=minutes,
            limit=number,
            client=client,
            outcome=outcome,
        )
        if found.get("enabled") is False:
            reason = "queries aren't stored: query_store.enabled is off"
            raise Trouble(f"{api.url}: {reason}", Exit.REFUSED)
        ranked[word] = found["top"]
    if asJSON:
        writeJSON({"windowMinutes": minutes, **ranked})
        return
    _ranked(ranked, minutes)


def _ranked(ranked: dict[str, Any], minutes: int) -> None:
    """
    Show rankings to people.
    """
    shown = {word: entries for word, entries in ranked.items() if entries}
    if not shown:
        click.echo(f"no queries in the last {minutes} minutes", err=True)
    for place, (word, entries) in enumerate(shown.items()):
        if place:
            click.echo()
        table(
            (word, "queries"),
            ((entry["value"], count(entry["count"])) for entry in entries),
            numbers=(1,),
        )
