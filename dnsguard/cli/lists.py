# -*- test-case-name: tests.cli.test_lists -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard lists}: how the lists are, fetching them anew, and trying one before
it is subscribed to.
"""

from __future__ import annotations

from typing import Any

import click

from dnsguard.cli.client import API, Trouble, apiOptions
from dnsguard.cli.defaulting import DefaultGroup
from dnsguard.cli.entry import Exit
from dnsguard.cli.output import clean, count, pairs, table, waiting, writeJSON

__all__ = ["lists"]


@click.group(cls=DefaultGroup, default="show")
def lists() -> None:
    """
    Show how the block lists are; reload them; try one.
    """


@lists.command("show")
@apiOptions
def show(api: API, asJSON: bool) -> None:
    """
    Show how the block lists are. This is what dnsguard lists does by itself.
    """
    found = api.get("/blocklists/stats")
    if asJSON:
        writeJSON(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    """
    Show the lists to people.
    """
    sources = found.get("sources") or []
    if sources:
        table(
            ("list", "names", "rejected", "fetched", "state"),
            (
                (
                    source["name"],
                    count(source["names"]),
                    count(source["rejected"]),
                    source["fetched"],
                    f"{source['state']}: {source['error']}"
                    if source["error"]
                    else source["state"],
                )
                for source in sources
            ),
            numbers=(1, 2),
        )
        click.echo()
    click.echo(
        f"{count(found['blocked'])} names in all lists; "
        f"{count(found['allow'])} rules allow, {count(found['deny'])} deny"
    )


@lists.command("reload")
@apiOptions
@click.pass_context
def reload(context: click.Context, api: API, asJSON: bool) -> None:
    """
    Read the configuration again and fetch all lists anew.

    Ends when they are in force; with 1 if a list couldn't be fetched.
    """
    with waiting("lists are fetched and compiled"):
        done = api.post("/blocklists/reload")
    found = api.get("/blocklists/stats")
    failing = [source for source in found.get("sources") or [] if source["error"]]
    if asJSON:
        writeJSON({**done, "blocked": found["blocked"], "failing": failing})
    else:
        click.echo(f"{count(found['blocked'])} names are in force")
        for source in failing:
            click.secho(f"{clean(source['name'])}: {clean(source['error'])}", fg="red", err=True)
    context.exit(Exit.NEGATIVE if failing else Exit.FINE)


@lists.command("try")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--name", help="Say whether this name would be blocked.")
@click.option(
    "--most",
    type=click.IntRange(1, 4096),
    default=256,
    show_default=True,
    help="Mebibytes that a list may have.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds to wait for a server.",
)
@click.option("--json", "asJSON", is_flag=True, help="Write JSON, for programs.")
@click.pass_context
def try_(
    context: click.Context,
    sources: tuple[str, ...],
    name: str | None,
    most: int,
    timeout: float,
    asJSON: bool,
) -> None:
    """
    Download lists and compile them, as a running instance would, and tell what
    is in them and what can't be understood.

    SOURCE is a URL or a file. No instance is needed, nothing is kept. Ends
    with 1 if lines were rejected or, with --name, if that isn't blocked.
    """
    from dnsguard.cli.listtrial import tryLists
    from dnsguard.cli.words import nameOf
    from dnsguard.errors import PolicyError

    try:
        wire = None if name is None else nameOf(name)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    try:
        trial = tryLists(sources, most << 20, timeout, wire)
    except PolicyError as problem:
        raise Trouble(str(problem), Exit.REFUSED) from None
    if asJSON:
        writeJSON(trial.toJSON())
    else:
        _showTrial(trial)
    fine = trial.rule is not None if wire is not None else not trial.rejected
    context.exit(Exit.FINE if fine else Exit.NEGATIVE)


def _showTrial(trial: Any) -> None:
    """
    Show to people what is in some lists.
    """
    table(
        ("list", "octets", "lines", "names", "rejected"),
        (
            (
                report.name,
                count(report.octets),
                count(report.lines),
                count(report.names),
                count(report.rejected),
            )
            for report in trial.reports
        ),
        numbers=(1, 2, 3, 4),
    )
    for report in trial.reports:
        if report.reasons:
            pairs(
                ((reason, count(number)) for reason, number in report.reasons.items()),
                f"\nrejected in {clean(report.name)}",
            )
        for example in report.examples:
            click.echo(f"    {clean(example)}")
    click.echo(
        f"\n{count(trial.names)} distinct names, {count(trial.octets)} octets compiled, "
        f"{trial.seconds:.2f} s"
    )
    if trial.asked:
        verdict = f"blocked by {clean(trial.rule)}" if trial.rule else "not blocked"
        click.echo(f"{clean(trial.asked)}: {verdict}")
