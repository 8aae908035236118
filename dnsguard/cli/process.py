# -*- test-case-name: tests.cli.test_process -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The commands that need no running server: C{run}, C{check-config}, C{version}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

import dnsguard
from dnsguard.cli.entry import Exit

if TYPE_CHECKING:
    from dnsguard.config.problem import Problem

__all__ = ["checkConfig", "compiledModules", "run", "version"]


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Say what it runs on, too.")
@click.option("--json", "asJSON", is_flag=True, help="Write JSON, for programs: all of it.")
def version(verbose: bool, asJSON: bool) -> None:
    """
    Say which version this is.
    """
    if not verbose and not asJSON:
        click.echo(f"dnsguard {dnsguard.__version__}")
        return
    import platform

    from twisted import __version__ as twistedVersion

    compiled = list(compiledModules())
    if asJSON:
        told = {
            "version": dnsguard.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "twisted": twistedVersion,
            "compiled": compiled,
        }
        click.echo(json.dumps(told))
        return
    click.echo(f"dnsguard {dnsguard.__version__}")
    click.echo(f"Python {platform.python_version()} on {platform.platform()}")
    click.echo(f"Twisted {twistedVersion}")
    click.echo(f"Compiled: {', '.join(compiled) or 'nothing, pure Python is used'}")


def compiledModules() -> Iterator[str]:
    """
    The compiled modules of the package that can be used here.
    """
    import importlib
    from pathlib import Path

    root = Path(dnsguard.__file__).parent
    for source in sorted(root.rglob("_*.pyx")):
        name = ".".join(("dnsguard", *source.relative_to(root).with_suffix("").parts))
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        yield name


@click.command("check-config")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--default-config",
    type=click.Path(dir_okay=False),
    help="The file it is laid over. [default: $DEFAULT_CONFIG_PATH, or the packaged one]",
)
@click.option("--json", "asJSON", is_flag=True, help="Write one JSON object.")
@click.pass_context
def checkConfig(
    context: click.Context, file: str | None, default_config: str | None, asJSON: bool
) -> None:
    """
    Check a configuration FILE, by default $CONFIG_PATH.

    Writes every problem with its place. Ends with 0 if the configuration can
    be used, with 1 if it can't.
    """
    # What other commands needn't wait for.
    from dnsguard.config.load import Source, load
    from dnsguard.config.problem import Severity
    from dnsguard.errors import ConfigError

    source = Source.fromEnvironment(os.environ, file, default_config)
    try:
        loaded = load(source, os.environ)
    except ConfigError as error:
        problems = error.problems
    else:
        from dnsguard.assembly import problemsOf
        from dnsguard.policy.problems import InvalidPolicy

        problems = loaded.explain(InvalidPolicy(problemsOf(loaded.config)))
    usable = all(problem.severity is not Severity.ERROR for problem in problems)
    if asJSON:
        click.echo(json.dumps({"ok": usable, "problems": [_record(p) for p in problems]}))
    else:
        for problem in problems:
            click.echo(str(problem))
        click.echo(_summary(problems), err=True)
    context.exit(Exit.FINE if usable else Exit.NEGATIVE)


def _record(problem: Problem) -> dict[str, object]:
    """
    A problem for programs.
    """
    import attrs

    return {**attrs.asdict(problem), "severity": problem.severity.value}


def _summary(problems: tuple[Problem, ...]) -> str:
    """
    How it went, in a line.
    """
    from dnsguard.config.problem import Severity

    counts = []
    for severity in Severity:
        number = sum(problem.severity is severity for problem in problems)
        if number:
            counts.append(f"{number} {severity.value}{'s' if number > 1 else ''}")
    return ", ".join(counts) or "no problems"


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False),
    help="Your configuration file. [default: $CONFIG_PATH]",
)
@click.option(
    "--default-config",
    type=click.Path(dir_okay=False),
    help="The file it is laid over. [default: $DEFAULT_CONFIG_PATH, or the packaged one]",
)
def run(config: str | None, default_config: str | None) -> None:
    """
    Serve in the foreground: the same as twistd -n dnsguard.
    """
    from twisted.application.service import ServiceMaker
    from twisted.scripts import twistd

    maker = ServiceMaker("dnsguard", "dnsguard.tap", "A filtering DNS resolver.", "dnsguard")

    class ServerOptions(twistd.ServerOptions):  # type: ignore[name-defined]
        # Works where twistd's plugins can't be seen, and loads no others.
        _getPlugins = staticmethod(lambda interface: [maker])

    # Several may run at a time; a process in the foreground needs no file to
    # be found by.
    arguments = ["--nodaemon", "--pidfile=", "dnsguard"]
    if config:
        arguments += ["--config", config]
    if default_config:
        arguments += ["--default-config", default_config]
    options = ServerOptions()
    options.parseOptions(arguments)
    twistd.runApp(options)
