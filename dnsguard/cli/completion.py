# -*- test-case-name: tests.cli.test_completion -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard completion}: what a shell needs to complete the command.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dnsguard.cli.entry import main

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """
    Print the script that completes dnsguard's commands and options in SHELL.

    Put it where your shell looks, such as
    ~/.local/share/bash-completion/completions/dnsguard.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(main, {}, "dnsguard", "_DNSGUARD_COMPLETE")
    # Not source(), which wants to see that very shell at work.
    click.echo(script.source_template % script.source_vars())
