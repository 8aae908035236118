# -*- test-case-name: tests.cli.test_cache -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard cache}: what is remembered of a name, and forgetting it.
"""

from __future__ import annotations

import sys

import click

from dnsguard.cli.client import API, apiOptions
from dnsguard.cli.entry import Exit
from dnsguard.cli.output import count, table, writeJSON

__all__ = ["cache"]

_UNSEARCHED = {
    "away": "Redis can't be asked at the moment",
    "not_below": "what Redis holds of names below isn't shown",
}
"""What is said of a shared cache that wasn't looked into."""


@click.group()
def cache() -> None:
    """
    Look into the caches, or clear them.
    """


@cache.command("get")
@click.argument("name")
@click.option("--suffix", is_flag=True, help="And all names below it.")
@apiOptions
@click.pass_context
def get(context: click.Context, api: API, asJSON: bool, name: str, suffix: bool) -> None:
    """
    Show what the caches hold of NAME: l0 in the process, l1 shared by Redis.

    Ends with 1 if they hold nothing.
    """
    found = api.get("/cache/entries", name=name, **({"below": "true"} if suffix else {}))
    entries = found["entries"]
    if asJSON:
        writeJSON(found)
    elif entries:
        table(
            ("cache", "name", "type", "rcode", "ttl", "age", "octets", "upstream"),
            (
                (
                    entry["tier"],
                    entry["name"],
                    entry["type"],
                    entry["rcode"],
                    f"{entry['ttl']:.0f}",
                    f"{entry['age']:.0f}",
                    entry["octets"],
                    entry["upstream"],
                )
                for entry in entries
            ),
            numbers=(4, 5, 6),
        )
        if found.get("truncated"):
            click.echo("there are more", err=True)
    else:
        click.echo("nothing is held of it", err=True)
    if not asJSON and found["l1"] in _UNSEARCHED:
        click.echo(_UNSEARCHED[found["l1"]], err=True)
    context.exit(Exit.FINE if entries else Exit.NEGATIVE)


@cache.command("clear")
@click.argument("name", required=False)
@click.option("--suffix", is_flag=True, help="All names below it, too.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask before everything is cleared.")
@apiOptions
def clear(api: API, asJSON: bool, name: str | None, suffix: bool, yes: bool) -> None:
    """
    Forget what is known of NAME, or everything.
    """
    if name is None:
        if suffix:
            raise click.UsageError("--suffix needs a NAME")
        if not yes and sys.stdin.isatty():
            click.confirm("Forget everything that is cached?", abort=True, err=True)
        done = api.post("/cache/clear")
    else:
        query = {"name": name, **({"below": "true"} if suffix else {})}
        done = api.call("DELETE", "/cache/entries", query=query)
    if asJSON:
        writeJSON(done)
    else:
        cleared = done.get("cleared")
        what = "" if cleared is None else f" {count(cleared)} answer{'s' * (cleared != 1)}"
        click.echo(f"cleared{what}")
