# -*- test-case-name: tests.cli.test_defaulting -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Groups of commands of which one is meant when none is named.
"""

from __future__ import annotations

from typing import Any

import click

__all__ = ["DefaultGroup", "withTwoDashes"]


class DefaultGroup(click.Group):
    """
    A group with a command that needn't be named.
    """

    def __init__(self, *arguments: Any, default: str, **options: Any) -> None:
        """
        @param default: The name of the command.
        """
        super().__init__(*arguments, **options)
        self.no_args_is_help = False
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        Name the command that is meant.
        """
        if not args or args[0] not in self.commands:
            args = [self.default, *args]
        command = self.commands[args[0]]
        return super().parse_args(ctx, [args[0], *withTwoDashes(command, args[1:])])


def withTwoDashes(command: click.Command, arguments: list[str]) -> list[str]:
    """
    Write long options with one dash, as Go's flags are, with two.
    """
    known = {name for option in command.params for name in [*option.opts, *option.secondary_opts]}
    found: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[place:]]
        name, equals, value = argument.partition("=")
        if name.startswith("-") and len(name) > 2 and f"-{name}" in known:
            argument = f"-{name}{equals}{value}"
        found.append(argument)
    return found
