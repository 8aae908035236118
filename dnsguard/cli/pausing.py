# -*- test-case-name: tests.cli.test_pausing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard pause} and C{resume}: blocking off for some minutes.
"""

from __future__ import annotations

from typing import Any

import click

from dnsguard.cli.client import API, apiOptions
from dnsguard.cli.output import clean, writeJSON

__all__ = ["pause", "pauseText", "resume"]

_group = click.option("--group", metavar="ID", help="For this client group alone.")


@click.command()
@click.argument("minutes", type=click.IntRange(1, 1440))
@_group
@apiOptions
def pause(api: API, asJSON: bool, minutes: int, group: str | None) -> None:
    """
    Stop blocking for so many MINUTES, at most a day.

    A pause under way is replaced.
    """
    body: dict[str, Any] = {"duration_minutes": minutes, **({"group": group} if group else {})}
    _tell(api.post("/blocklists/pause", body), asJSON)


@click.command()
@_group
@apiOptions
def resume(api: API, asJSON: bool, group: str | None) -> None:
    """
    Block again: end a pause made by hand. Those on a schedule go on.
    """
    _tell(api.post("/blocklists/resume", {"group": group} if group else None), asJSON)


def _tell(status: dict[str, Any], asJSON: bool) -> None:
    if asJSON:
        writeJSON(status)
    else:
        click.echo(pauseText(status))


def pauseText(status: dict[str, Any]) -> str:
    """
    Say in words how it stands.
    """
    group = f" for group {clean(status['group'])}" if status.get("group") else ""
    if not status["paused"]:
        return f"blocking{group}"
    # Year 1 stands for "nobody knows": a schedule says when it ends.
    until = clean(status.get("until") or "0001")
    how = "by schedule" if until.startswith("0001") else f"until {until}"
    return f"paused{group} {how}"
