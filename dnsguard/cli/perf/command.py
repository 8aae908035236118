# -*- test-case-name: tests.cli.perf.test_command -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard perf}: the command.

Its options are known, with one dash or two, to scripts that were written for
another tester; so are the lines that it writes.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from dnsguard.cli.defaulting import DefaultGroup
from dnsguard.cli.output import writeJSON
from dnsguard.cli.perf.report import lines, picture, summary
from dnsguard.cli.perf.run import MOST_QUERIES, Result
from dnsguard.cli.perf.scenarios import scenarios
from dnsguard.cli.perf.subject import Subject, amountOptions, statusOf, subjectOptions, takeSubject

__all__ = ["perf"]


@click.group(cls=DefaultGroup, default="run")
def perf() -> None:
    """
    Measure how fast a server answers, and whether it answers right.
    """


perf.add_command(scenarios)


@perf.command("run")
@subjectOptions
@amountOptions("How many questions.", "How many may be under way at a time.")
@click.option(
    "--warmup",
    type=click.IntRange(0, MOST_QUERIES),
    default=0,
    show_default=True,
    help="So many questions before, which aren't counted.",
)
@click.option(
    "--flush-redis",
    type=bool,
    is_flag=False,
    flag_value=True,
    default=False,
    help="Clear all caches before.",
)
@click.option(
    "--histogram/--no-histogram", default=None, help="Draw one.  [default: on a terminal]"
)
@click.pass_context
def run(
    context: click.Context,
    /,
    queries: int,
    concurrency: int,
    warmup: int,
    flush_redis: bool,
    histogram: bool | None,
    **options: Any,
) -> None:
    """
    Measure how fast a server answers, and whether it answers right.

    Options may be written with one dash, too. Ends with 0 if each question got
    its answer, with 1 if some didn't, with 3 if none did. See also: dnsguard
    perf scenarios.
    """
    subject = takeSubject(options)
    if flush_redis:
        subject.flush()
        subject.say("caches cleared")
    if warmup:
        subject.say(f"warm-up: {warmup} queries, not counted")
        subject.measure(subject.plan(warmup, concurrency), "warm-up")
    rate = f", {subject.rate:g} a second" if subject.rate else ""
    subject.say(
        f"start: {queries} queries for {len(subject.names)} names to {subject.resolver} over "
        f"{subject.resolver.protocol}, concurrency {concurrency}{rate}"
    )
    result = subject.measure(subject.plan(queries, concurrency), "queries")
    if subject.quiet:
        facts = {"concurrency": concurrency, "rate": subject.rate, "names": len(subject.names)}
        resolver = subject.resolver
        told = {"resolver": str(resolver), "protocol": resolver.protocol, **facts}
        writeJSON({**told, **summary(result)})
    else:
        _show(subject, result, sys.stdout.isatty() if histogram is None else histogram)
    context.exit(statusOf(result))


def _show(subject: Subject, result: Result, histogram: bool) -> None:
    """
    Show what came of it to people.
    """
    for line in lines(result):
        subject.say(line)
    if histogram:
        click.echo()
        for line in picture(result.tally):
            click.echo(line)
