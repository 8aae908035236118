# -*- test-case-name: tests.cli.test_tokens -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard token} and C{set-admin-password}: who may use the control API.

Both ask the API, or, for whoever lost the token that would be needed for that,
change the files of an instance on this machine; it sees that by itself.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from dnsguard.cli.client import API, Trouble, apiOptions, quoted
from dnsguard.cli.entry import Exit
from dnsguard.cli.output import table, writeJSON

__all__ = ["setAdminPassword", "token"]

ROLES = ("viewer", "operator", "admin")
MIN_PASSWORD = 8
MAX_PASSWORD = 1024

_file = click.option(
    "--file",
    type=click.Path(dir_okay=False),
    help="Change this file, control/tokens.json in an instance's data directory, instead of "
    "calling the API.",
)


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
@_file
@apiOptions
def create(
    api: API, asJSON: bool, name: str, role: str, days: int | None, file: str | None
) -> None:
    """
    Make a token called NAME.

    It is written to standard output, this once: only a digest of it is kept.
    """
    if file:
        made = _create(Path(file), name, role, days)
    else:
        hours = {} if days is None else {"hours": 24 * days}
        made = api.post("/tokens", {"name": name, "role": role, **hours})
    if asJSON:
        writeJSON(made)
        return
    click.echo(made["token"])
    expires = f", until {made['expires']}" if made.get("expires") else ""
    click.echo(f"{made['name']}: role {made['role']}{expires}; it is shown this once", err=True)


def _create(path: Path, name: str, role: str, days: int | None) -> dict[str, Any]:
    """
    Add a token to a file.
    """
    from dnsguard.control.route import Role
    from dnsguard.control.tokens import TokenFile, newToken
    from dnsguard.errors import StoreError

    seconds = None if days is None else 86400.0 * days
    try:
        secret, made = newToken(name, Role[role.upper()], time.time(), seconds)
        TokenFile(path).add(made)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    except StoreError as problem:
        raise Trouble(str(problem), Exit.REFUSED) from None
    _giveAway(path)
    return {"name": name, "role": role, "token": secret, "expires": _moment(made.expires)}


def _moment(seconds: float | None) -> str | None:
    """
    Write a time as the API does.
    """
    if not seconds:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _giveAway(path: Path) -> None:
    """
    Give a file that root has written to whom its folder belongs: that is who
    has to read it.
    """
    user, group = _folderOwner(path)
    if os.geteuid() == 0 and user != 0:
        os.chown(path, user, group)


def _folderOwner(path: Path) -> tuple[int, int]:
    status = path.parent.stat()
    return status.st_uid, status.st_gid


@token.command("list")
@_file
@apiOptions
def list_(api: API, asJSON: bool, file: str | None) -> None:
    """
    List the tokens: not themselves, but what they are for.
    """
    found = _list(Path(file)) if file else api.get("/tokens")
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


def _list(path: Path) -> dict[str, Any]:
    """
    Read the tokens of a file.
    """
    from dnsguard.control.tokens import TokenFile
    from dnsguard.errors import StoreError

    try:
        tokens = TokenFile(path).read()
    except StoreError as problem:
        raise Trouble(str(problem), Exit.REFUSED) from None
    if tokens is None:
        raise Trouble(f"{path}: there is no such file", Exit.USAGE)
    return {
        "tokens": [
            {
                "name": each.name,
                "role": each.role.word,
                "created": _moment(each.created),
                "expires": _moment(each.expires),
                "expired": not each.holds(time.time()),
                "last_used": None,
            }
            for each in tokens
        ]
    }


@token.command("revoke")
@click.argument("name")
@_file
@apiOptions
def revoke(api: API, asJSON: bool, name: str, file: str | None) -> None:
    """
    Make the token called NAME worthless, at once.
    """
    if file:
        _revoke(Path(file), name)
        done = {"ok": True}
    else:
        done = api.call("DELETE", f"/tokens/{quoted(name)}")
    if asJSON:
        writeJSON(done)
    else:
        click.echo(f"{name} is revoked")


def _revoke(path: Path, name: str) -> None:
    """
    Take a token out of a file.
    """
    from dnsguard.control.tokens import TokenFile
    from dnsguard.errors import StoreError

    try:
        found = TokenFile(path).remove(name)
    except StoreError as problem:
        raise Trouble(str(problem), Exit.REFUSED) from None
    if not found:
        raise Trouble(f"{path}: there is no token of that name", Exit.REFUSED)
    _giveAway(path)


@click.command("set-admin-password")
@click.argument("password", required=False)
@click.option(
    "--file",
    type=click.Path(dir_okay=False),
    envvar="ADMIN_PASSWORD_FILE",
    help="Change this file, which control.password_file names, instead of calling the API.  "
    "[default: $ADMIN_PASSWORD_FILE]",
)
@apiOptions
def setAdminPassword(api: API, asJSON: bool, password: str | None, file: str | None) -> None:
    """
    Set the administrator's password, with which one logs in to the dashboard.

    PASSWORD can be seen by others on this machine: better leave it out. Then it
    is asked for twice on a terminal; otherwise it is the first line of standard
    input. All who know the old one have to log in again.
    """
    if password is None:
        password = _askPassword()
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Trouble(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters", Exit.USAGE)
    if file:
        _setPassword(Path(file), password)
        done = {"ok": True}
    else:
        done = api.call("PUT", "/password", {"password": password})
    if asJSON:
        writeJSON(done)
    else:
        click.echo("the password is set")


def _askPassword() -> str:
    """
    Have the password typed, or read it.
    """
    if sys.stdin.isatty():
        typed: str = click.prompt(
            "New password", hide_input=True, confirmation_prompt=True, err=True
        )
        return typed
    return sys.stdin.readline().rstrip("\r\n")


def _setPassword(path: Path, password: str) -> None:
    """
    Write the hash of a password to a file.
    """
    from dnsguard.control.passwords import PasswordFile
    from dnsguard.errors import StoreError

    try:
        PasswordFile(path).set(password)
    except StoreError as problem:
        raise Trouble(str(problem), Exit.REFUSED) from None
    _giveAway(path)
