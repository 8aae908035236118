# -*- test-case-name: tests.cli.test_entry -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The C{dnsguard} command itself: which commands there are, and where.

The table stands here so that C{dnsguard --help} imports none of them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

import click

__all__ = ["COMMANDS", "Exit", "LazyGroup", "main"]

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("process:run", "Serve in the foreground."),
    "check-config": ("process:checkConfig", "Check a configuration file."),
    "version": ("process:version", "Say which version this is."),
    "query": ("query:query", "Ask a running instance for a name."),
    "explain": ("explain:explain", "Say what decides about a name, and why."),
    "stats": ("statistics:stats", "Show what a running instance has done."),
    "top": ("statistics:top", "Show who asks most, and for what."),
    "tail": ("tail:tail", "Follow the queries as they are answered."),
    "pause": ("pausing:pause", "Stop blocking for some minutes."),
    "resume": ("pausing:resume", "End a pause."),
    "cache": ("cache:cache", "Look into the caches, or clear them."),
    "lists": ("lists:lists", "Show, reload and try block lists."),
    "token": ("tokens:token", "Make, list and revoke API tokens."),
    "set-admin-password": ("tokens:setAdminPassword", "Set the administrator's password."),
    "perf": ("perf.command:perf", "Measure how fast a server answers."),
    "completion": ("completion:completion", "Print a shell's completion script."),
}
"""Each command: its module below this package and its name there, and what it does."""


class Exit:
    """
    What the command's exit status says.
    """

    FINE = 0
    NEGATIVE = 1
    USAGE = 2
    UNREACHABLE = 3
    UNAUTHORIZED = 4
    REFUSED = 5
    INTERRUPTED = 130


class LazyGroup(click.Group):
    """
    A group whose commands are imported when they are called.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """
        Give the names of the commands, in the order of the table.
        """
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """
        Import a command.
        """
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"dnsguard.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """
        List the commands with what they do, without importing them.
        """
        with formatter.section("Commands"):
            formatter.write_dl([(name, meaning) for name, (_, meaning) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Ends with 0 if all is fine, 1 if the answer is no, 2 if the command line is wrong, "
    "3 if nobody could be reached, 4 if the token isn't good enough, 5 if the server refused.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """
    A filtering DNS resolver.
    """
    # https://no-color.org: what is not empty counts.
    if os.environ.get("NO_COLOR"):
        context.color = False
