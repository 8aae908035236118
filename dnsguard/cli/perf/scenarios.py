# -*- test-case-name: tests.cli.perf.test_command -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{dnsguard perf scenarios}: five measurements that together say how a server
does: with cold, warm and hot caches, with many at a time, and for long.
"""

from __future__ import annotations

from typing import Any

import attrs
import click

from dnsguard.cli.output import table, writeJSON
from dnsguard.cli.perf.report import summary
from dnsguard.cli.perf.run import Result
from dnsguard.cli.perf.subject import amountOptions, statusOf, subjectOptions, takeSubject

__all__ = ["SCENARIOS", "Scenario", "scenarios"]


@attrs.frozen
class Scenario:
    """
    One of them.

    @ivar queries: How many; 0: as many as the command is told.
    @ivar concurrency: How many at a time; 0: as many as the command is told.
    @ivar warmup: How many before, which aren't counted.
    @ivar flush: Begin with empty caches?
    """

    name: str
    meaning: str
    queries: int = 0
    concurrency: int = 0
    warmup: int = 0
    flush: bool = False


SCENARIOS = (
    Scenario("cold", "caches cleared before", flush=True),
    Scenario("warm", "after the cold one: most names are cached"),
    Scenario("hot", "after 5,000 more", warmup=5_000),
    Scenario("concurrency", "200 at a time, after 2,000 more", concurrency=200, warmup=2_000),
    Scenario("large", "50,000 queries, after 10,000 more", queries=50_000, warmup=10_000),
)


@click.command("scenarios")
@subjectOptions
@amountOptions(
    "How many questions, but for the large one.", "How many at a time, but for the one called so."
)
@click.option("--only", type=click.Choice([each.name for each in SCENARIOS]), multiple=True)
@click.option("--no-flush", is_flag=True, help="Don't clear the caches for the cold one.")
@click.pass_context
def scenarios(
    context: click.Context,
    /,
    queries: int,
    concurrency: int,
    only: tuple[str, ...],
    no_flush: bool,
    **options: Any,
) -> None:
    """
    Measure a server in five ways: cold, warm, hot, concurrency, large.

    The cold one clears the server's caches by its control API. Ends as
    dnsguard perf does.
    """
    subject = takeSubject(options)
    results: dict[str, Result] = {}
    for scenario in SCENARIOS:
        if only and scenario.name not in only:
            continue
        if scenario.flush and not no_flush:
            subject.flush()
        atOnce = scenario.concurrency or concurrency
        if scenario.warmup:
            subject.measure(subject.plan(scenario.warmup, atOnce), f"{scenario.name}, warm-up")
        plan = subject.plan(scenario.queries or queries, atOnce)
        result = results[scenario.name] = subject.measure(plan, scenario.name)
        if not result.complete:
            break
    if subject.quiet:
        writeJSON({name: summary(result) for name, result in results.items()})
    else:
        _show(results)
    context.exit(statusOf(*results.values()))


def _show(results: dict[str, Result]) -> None:
    """
    Show all to people.
    """
    rows = []
    for name, result in results.items():
        values = result.tally.percentiles(50, 95, 99)
        rows.append(
            (
                name,
                result.tally.samples,
                result.tally.errors,
                f"{result.rate:,.0f}",
                *(f"{value:.3f}" for value in [*values, result.tally.greatest]),
            )
        )
    table(
        ("scenario", "queries", "errors", "qps", "p50 ms", "p95 ms", "p99 ms", "max ms"),
        rows,
        numbers=range(1, 8),
    )
