# -*- test-case-name: tests.cli.test_tokens -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard token} and C{set-admin-password}: who may use the control API.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from dnsguard.cli.client import API, Trouble, apiOptions, quoted
from dnsguard.cli.entry import Exit
from dnsguard.cli.output import table, writeJSON

__all__ = ["setAdminPassword", "token"]

ROLES = ("viewer", "operator", "admin")
MIN_PASSWORD = 8
MAX_PASSWORD = 1024


@click.group()
def token() -> None:
    """
    Make, list and revoke API tokens. Needs a token of the role admin.
    """


@token.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="viewer",
    show_default=True,
    help="What its bearer may do: look, also pause and clear, or everything.",
)
@click.option(
    "--days", type=click.IntRange(1, 3660), help="How long it holds.  [default: for good]"
)
@apiOptions
def create(api: API, asJSON: bool, name: str, role: str, days: int | None) -> None:
    """
    Make a token called NAME.

    It is written to standard output, this once: only a digest of it is kept.
    """
    body: dict[str, Any] = {"name": name, "role": role}
    if days is not None:
        body["hours"] = 24 * days
    made = api.post("/tokens", body)
    if asJSON:
        writeJSON(made)
        return
    click.echo(made["token"])
    expires = f", until {made['expires']}" if made.get("expires") else ""
    click.echo(f"{made['name']}: role {made['role']}{expires}; it is shown this once", err=True)


@token.command("list")
@apiOptions
def list_(api: API, asJSON: bool) -> None:
    """
    List the tokens: not themselves, but what they are for.
    """
    found = api.get("/tokens")
    if asJSON:
        writeJSON(found)
        return
    table(
        ("name", "role", "created", "expires", "last used"),
        (
            (
                each["name"],
                each["role"],
                each["created"],
                f"{each['expires']} (expired)" if each["expired"] else each["expires"],
                each["last_used"],
            )
            for each in found["tokens"]
        ),
    )


@token.command("revoke")
@click.argument("name")
@apiOptions
def revoke(api: API, asJSON: bool, name: str) -> None:
    """
    Make the token called NAME worthless, at once.
    """
    done = api.call("DELETE", f"/tokens/{quoted(name)}")
    if asJSON:
        writeJSON(done)
    else:
        click.echo(f"{name} is revoked")


@click.command("set-admin-password")
@apiOptions
def setAdminPassword(api: API, asJSON: bool) -> None:
    """
    Set the administrator's password, with which one logs in to the dashboard.

    It is asked for twice on a terminal; otherwise it is the first line of
    standard input. All who know the old one have to log in again.
    """
    if sys.stdin.isatty():
        password = click.prompt(
            "New password", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Trouble(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters", Exit.USAGE)
    done = api.call("PUT", "/password", {"password": password})
    if asJSON:
        writeJSON(done)
    else:
        click.echo("the password is set")
