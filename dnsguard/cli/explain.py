# -*- test-case-name: tests.cli.test_explain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard explain}: which rule of which list decides about a name.
"""

from __future__ import annotations

from typing import Any

import click

from dnsguard.cli.client import API, apiOptions
from dnsguard.cli.entry import Exit
from dnsguard.cli.output import clean, pairs, table, writeJSON

__all__ = ["explain"]

_COLOURS = {"blocked": "red", "allowed": "green", "forwarded": "green"}


@click.command()
@click.argument("name")
@click.option("--type", "qtype", default="A", show_default=True, help="The type asked for.")
@click.option("--client", metavar="IP", help="As this client sees it.")
@click.option("--group", metavar="ID", help="Or as this client group sees it.")
@apiOptions
@click.pass_context
def explain(
    context: click.Context,
    api: API,
    asJSON: bool,
    name: str,
    qtype: str,
    client: str | None,
    group: str | None,
) -> None:
    """
    Say what happens to a question for NAME, which rule decides, and which
    others speak of it.

    Nothing is asked upstream. Ends with 0 if the name is let through, with 1
    if it is blocked.
    """
    if client and group:
        raise click.UsageError("--client or --group, not both")
    found = api.get("/explain", domain=name, type=qtype, client=client, group=group)
    if asJSON:
        writeJSON(found)
    else:
        _show(found)
    context.exit(Exit.NEGATIVE if found["blocked"] else Exit.FINE)


def _show(found: dict[str, Any]) -> None:
    """
    Show an explanation to people.
    """
    outcome = clean(found["outcome"])
    word = click.style(outcome, fg=_COLOURS.get(outcome, "yellow"), bold=True)
    click.echo(f"{clean(found['domain'])} {clean(found['type'])}: {word}")
    asker = [
        ("client", f"{found['client']} {found['client_name']}".strip()),
        ("group", found["group"]),
    ]
    pairs((title, value) for title, value in asker if value)
    decisive = found["decided_by"]
    if decisive is not None:
        pairs([("decided by", _place(decisive)), ("rule", decisive["text"] or decisive["rule"])])
    if found["matches"]:
        click.echo()
        table(
            ("kind", "where", "name", "rule"),
            (
                (rule["kind"], _place(rule), rule["name"], rule["text"] or rule["rule"])
                for rule in found["matches"]
            ),
        )


def _place(rule: dict[str, Any]) -> str:
    """
    Say where a rule stands.
    """
    return f"{rule['source']}:{rule['line']}" if rule["line"] else str(rule["source"])
