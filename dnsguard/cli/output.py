# -*- test-case-name: tests.cli.test_output -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What people see: tables and colour on a terminal, plain columns in a pipe, JSON
when asked for.

Names and reasons come from the network. What in them would move a terminal's
cursor or rename its window is shown escaped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = [
    "clean",
    "console",
    "count",
    "pairs",
    "progress",
    "share",
    "table",
    "waiting",
    "writeJSON",
]

_WIDE = 4096
"""Columns of what isn't a terminal: nothing is cut there."""


def clean(value: Any) -> str:
    """
    Give a value's text without what isn't to be printed.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def count(number: Any) -> str:
    """
    Give a number that people can read.
    """
    return f"{number:,}" if isinstance(number, int) else clean(number)


def share(part: float, whole: float) -> str:
    """
    Give a part of a whole, in percent.
    """
    return f"{100 * part / whole:.1f}%" if whole else "-"


def writeJSON(value: Any) -> None:
    """
    Write a value for programs.
    """
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def console(stderr: bool = False) -> Console:
    """
    Give what draws on a terminal, and writes plainly elsewhere.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
        width=None if terminal else _WIDE,
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Iterable[int] = ()
) -> None:
    """
    Write a table.

    @param columns: Their names.
    @param numbers: Which columns, from 0, go to the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    screen = console()
    right = set(numbers)
    drawn = Table(
        box=box.SIMPLE_HEAD if screen.is_terminal else None,
        pad_edge=False,
        header_style="bold",
        show_edge=False,
    )
    for place, name in enumerate(columns):
        drawn.add_column(
            name, justify="right" if place in right else "left", overflow="fold", no_wrap=False
        )
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    if screen.is_terminal:
        screen.print(drawn)
        return
    with screen.capture() as captured:
        screen.print(drawn)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def pairs(rows: Iterable[tuple[str, Any]], title: str = "") -> None:
    """
    Write names and their values.
    """
    found = [(name, clean(value)) for name, value in rows]
    if title:
        click.secho(title, bold=True)
    width = max((len(name) for name, _ in found), default=0)
    for name, value in found:
        click.echo(f"  {click.style(name.ljust(width), fg='cyan')}  {value}")


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """
    Show on a terminal that something takes its time, and how long it has.
    """
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
    )
    with shown:
        shown.add_task(what, total=None)
        yield


def progress(*, octets: bool = False) -> Progress:
    """
    Give bars for long work, on stderr; nothing is shown but on a terminal.

    @param octets: Is what goes on measured in octets?
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    screen = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if octets else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
