# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.defaulting}.
"""

from __future__ import annotations

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.defaulting import DefaultGroup


@click.group(cls=DefaultGroup, default="usual")
def group() -> None:
    """
    A group.
    """


@group.command()
@click.option("--number", type=int, default=1)
@click.option("--flag", type=bool, is_flag=False, flag_value=True, default=False)
@click.option("-s", "short", is_flag=True)
@click.argument("words", nargs=-1)
def usual(number: int, flag: bool, short: bool, words: tuple[str, ...]) -> None:
    """
    What is meant.
    """
    click.echo(f"usual {number} {flag} {short} {' '.join(words)}".rstrip())


@group.command()
def other() -> None:
    """
    Another one.
    """
    click.echo("other")


class DefaultGroupTests(SynchronousTestCase):
    """
    Tests for L{DefaultGroup}.
    """

    def ran(self, *arguments: str) -> str:
        """
        What was written.
        """
        return CliRunner().invoke(group, arguments).output.rstrip()

    def test_default(self) -> None:
        """
        Without a name one command is meant.
        """
        self.assertEqual(self.ran(), "usual 1 False False")
        self.assertEqual(self.ran("--number", "2", "a"), "usual 2 False False a")
        self.assertEqual(self.ran("usual", "a"), "usual 1 False False a")

    def test_named(self) -> None:
        """
        Others are called by name.
        """
        self.assertEqual(self.ran("other"), "other")

    def test_oneDash(self) -> None:
        """
        Long options may have one dash, as Go's flags.
        """
        self.assertEqual(self.ran("-number", "3", "-flag=true", "-s"), "usual 3 True True")
        self.assertEqual(self.ran("-flag", "-number=4"), "usual 4 True False")

    def test_values(self) -> None:
        """
        What stands behind two dashes isn't an option.
        """
        self.assertEqual(self.ran("--", "-number"), "usual 1 False False -number")
