# -*- test-case-name: tests.cli.test_tail -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard tail}: queries as they are answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import click

from dnsguard.cli.client import API, apiOptions
from dnsguard.cli.output import clean

__all__ = ["events", "tail"]

_COLOURS = {
    "blocked": "red",
    "cached": "green",
    "local": "cyan",
    "stale": "yellow",
    "servfail": "magenta",
    "upstream_error": "magenta",
    "invalid": "magenta",
}


@click.command()
@click.option("--name", help="Only names with this in them.")
@click.option("--client", help="Only clients with this in their address or name.")
@click.option("--outcome", help="Only these outcomes, such as blocked,upstream.")
@click.option("--qtype", help="Only this type.")
@click.option("-n", "--number", type=click.IntRange(1), help="End after so many.")
@apiOptions
def tail(
    api: API,
    asJSON: bool,
    name: str | None,
    client: str | None,
    outcome: str | None,
    qtype: str | None,
    number: int | None,
) -> None:
    """
    Follow the queries as they are answered, until interrupted.

    With --json, each is a JSON object on a line of its own.
    """
    wanted = {"qname": name, "client": client, "outcome": outcome, "qtype": qtype}
    rows = events(api.lines("/queries/tail", **wanted))
    try:
        for seen, row in enumerate(rows, 1):
            click.echo(json.dumps(row) if asJSON else _line(row))
            if seen == number:
                break
    except KeyboardInterrupt:
        # That is how it ends.
        click.echo(err=True)


def events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """
    Find the rows in a stream of events, as HTML's server-sent events have it
    or as JSON on lines.
    """
    for line in lines:
        text = line.removeprefix("data:").strip()
        if not text.startswith(("{", "[")):
            # Kinds of events, comments that keep the connection open.
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        rows = value.get("rows", [value]) if isinstance(value, dict) else value
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and "qname" in row:
                yield row


def _line(row: dict[str, Any]) -> str:
    """
    Show a query to people.
    """
    outcome = clean(row.get("outcome"))
    who = clean(row.get("client_name") or row.get("client_ip"))
    word = click.style(f"{outcome:<14}", fg=_COLOURS.get(outcome))
    return (
        f"{clean(row.get('ts'))}  {who:<20}  {word}  {clean(row.get('rcode')):<8}  "
        f"{row.get('duration_ms') or 0:>9.3f} ms  "
        f"{clean(row.get('qtype')):<6} {clean(row['qname'])}"
    )
