# -*- test-case-name: tests.cli.perf.test_command -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is measured, and with what: the options that all measurements share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import attrs
import click

from dnsguard.cli.client import API, DEFAULT_URL, Trouble, readToken
from dnsguard.cli.entry import Exit
from dnsguard.cli.output import progress
from dnsguard.cli.perf.questions import MOST_NAMES, Questions, generate, readNames, shuffled
from dnsguard.cli.perf.report import stamped
from dnsguard.cli.perf.run import (
    MOST_CONCURRENCY,
    MOST_QUERIES,
    MOST_SOCKETS,
    Plan,
    Resolver,
    Result,
    Unresolvable,
    measure,
)
from dnsguard.cli.words import typeOf
from dnsguard.config.durations import parseDuration

__all__ = ["Subject", "amountOptions", "flushCaches", "statusOf", "subjectOptions", "takeSubject"]


class Duration(click.ParamType[float]):
    """
    A span of time such as C{2s} or C{300ms}.
    """

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """
        Read it.
        """
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parseDuration(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)
        if not 0.001 <= seconds <= 600:
            self.fail("from 1ms to 10m", param, ctx)
        return seconds


class Place(click.ParamType[tuple[str, int]]):
    """
    A host and a port.
    """

    name = "host:port"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, int]:
        """
        Read it; the port is 53 if there is none.
        """
        if isinstance(value, tuple):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or (":" in host and not host.endswith("]")):
            host, port = value, "53"
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
            self.fail(f"{value!r} is no host:port", param, ctx)
        return host, int(port)


@attrs.frozen
class Subject:
    """
    What all measurements of one call have in common.

    @ivar resolver: What is measured.
    @ivar names: What is asked for.
    @ivar flush: Clears the caches of what is measured.
    @ivar quiet: Write no lines, because JSON is wanted?
    """

    resolver: Resolver
    names: list[str]
    type: int
    timeout: float
    rate: float
    sockets: int
    flush: Callable[[], None]
    quiet: bool

    def say(self, line: str) -> None:
        """
        Write a documented line.
        """
        if not self.quiet:
            click.echo(stamped(line))

    def measure(self, plan: Plan, what: str) -> Result:
        """
        Measure, with a bar on a terminal.
        """
        questions = Questions(self.names, self.type)
        with progress() as bars:
            bar = bars.add_task(what, total=plan.queries)
            try:
                return measure(
                    self.resolver,
                    questions,
                    plan,
                    lambda over: bars.update(bar, completed=over),
                )
            except Unresolvable as problem:
                raise Trouble(str(problem), Exit.UNREACHABLE) from None
            except OSError as problem:
                raise Trouble(f"no sockets: {problem.strerror}", Exit.UNREACHABLE) from None

    def plan(self, queries: int, concurrency: int) -> Plan:
        """
        Say how it is measured.
        """
        sockets = min(self.sockets, concurrency)
        return Plan(queries, concurrency, self.timeout, self.rate, sockets)


def subjectOptions(command: Callable[..., Any]) -> Callable[..., Any]:
    """
    Give a command the options that L{takeSubject} reads.
    """
    for option in reversed(_SUBJECT):
        command = option(command)
    return command


_SUBJECT = (
    click.option(
        "--resolver",
        type=Place(),
        default="127.0.0.1:53",
        show_default=True,
        help="What to measure.",
    ),
    click.option(
        "--protocol",
        type=click.Choice(["udp", "tcp"]),
        default="udp",
        show_default=True,
        help="What to speak. TCP keeps a connection for each question under way.",
    ),
    click.option(
        "--names",
        "namesFile",
        type=click.Path(exists=True, dir_okay=False),
        help="Names to ask for, one a line; # begins a comment.",
    ),
    click.option(
        "--generate",
        "generated",
        type=click.IntRange(1, MOST_NAMES),
        default=10_000,
        show_default=True,
        help="So many made-up names, if there are none of --names.",
    ),
    click.option(
        "--write-names", type=click.Path(dir_okay=False), help="Write the names to a file."
    ),
    click.option(
        "--timeout", type=Duration(), default="2s", show_default=True, help="For each question."
    ),
    click.option("--qtype", default="A", show_default=True, help="The type to ask for."),
    click.option(
        "--shuffle",
        type=bool,
        is_flag=False,
        flag_value=True,
        default=True,
        show_default=True,
        help="Put the names into another order.",
    ),
    click.option("--seed", type=int, help="Make up and shuffle the same as then.  [default: now]"),
    click.option(
        "--rate",
        type=click.FloatRange(0, 10_000_000),
        default=0.0,
        help="Questions a second. Latency is counted from when each is due, so that a server "
        "that stalls can't hide it.  [default: as many as can be]",
    ),
    click.option(
        "--sockets",
        type=click.IntRange(0, MOST_SOCKETS),
        default=0,
        help="Source ports for UDP.  [default: as many as suit]",
    ),
    click.option(
        "--control-url",
        envvar=["DNSGUARD_URL", "DNS_CONTROL_URL"],
        default=DEFAULT_URL,
        show_default=True,
        help="The control API, for clearing caches.",
    ),
    click.option(
        "--control-token",
        envvar=["DNSGUARD_TOKEN", "DNS_CONTROL_TOKEN"],
        help="Its token; - reads it from stdin. Better set $DNSGUARD_TOKEN.",
    ),
    click.option(
        "--control-token-file",
        type=click.Path(dir_okay=False),
        envvar="DNSGUARD_TOKEN_FILE",
        help="Or a file with it that nobody else may read.",
    ),
    click.option("--json", "asJSON", is_flag=True, help="Write JSON, for programs."),
)


def amountOptions(queries: str, concurrency: str) -> Callable[..., Any]:
    """
    Give a command the options that say how much is asked, with these helps.
    """
    many = click.option(
        "--queries",
        type=click.IntRange(1, MOST_QUERIES),
        default=10_000,
        show_default=True,
        help=queries,
    )
    atOnce = click.option(
        "--concurrency",
        type=click.IntRange(1, MOST_CONCURRENCY),
        default=50,
        show_default=True,
        help=concurrency,
    )
    return lambda command: many(atOnce(command))


def takeSubject(options: dict[str, Any]) -> Subject:
    """
    Read the options that all measurements have in common; takes them out.
    """
    seed = options.pop("seed")
    random = Random(time.time_ns() if seed is None else seed)
    try:
        number = typeOf(options.pop("qtype"))
        file = options.pop("namesFile")
        generated = options.pop("generated")
        names = readNames(file) if file else generate(generated, random)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    except OSError as problem:
        raise click.UsageError(f"{problem.filename}: {problem.strerror}") from None
    if options.pop("shuffle"):
        names = shuffled(names, random)
    _write(options.pop("write_names"), names)
    host, port = options.pop("resolver")
    url, token = options.pop("control_url"), options.pop("control_token")
    tokenFile = options.pop("control_token_file")
    return Subject(
        Resolver(host, port, options.pop("protocol")),
        names,
        number,
        options.pop("timeout"),
        options.pop("rate"),
        options.pop("sockets"),
        lambda: flushCaches(url, readToken(token, tokenFile)),
        options.pop("asJSON"),
    )


def _write(path: str | None, names: list[str]) -> None:
    if path is None:
        return
    try:
        Path(path).write_text("".join(f"{name}\n" for name in names), "utf-8")
    except OSError as problem:
        raise click.UsageError(f"{path}: {problem.strerror}") from None


def flushCaches(url: str, token: str) -> None:
    """
    Have the caches cleared.
    """
    # The documented path, which other servers know as well.
    API(url, token, 60.0, prefix="").post("/cache/clear")


def statusOf(*results: Result) -> int:
    """
    Say what the command ends with.
    """
    if not all(result.complete for result in results):
        return Exit.INTERRUPTED
    if not any(result.tally["answered"] for result in results):
        return Exit.UNREACHABLE
    return Exit.NEGATIVE if any(result.tally.errors for result in results) else Exit.FINE
