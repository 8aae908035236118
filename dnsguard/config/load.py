# -*- test-case-name: tests.config.test_load -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Files and environment into a L{Config <dnsguard.config.model.Config>}.

Three layers: the packaged defaults, the operator's file, the environment. Each
is read and brought up to date by itself, so that a problem is told with the
place where somebody wrote it; then they are laid over each other and
converted.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping as AnyMapping
from pathlib import Path

import attrs

from dnsguard.config.convert import blame, convertRoot
from dnsguard.config.document import MAX_OCTETS, DocumentError, parseDocument
from dnsguard.config.keys import keysOf
from dnsguard.config.kinds import FAULTY, Context
from dnsguard.config.migrate import migrate
from dnsguard.config.model import Config
from dnsguard.config.override import environmentTree, stateTree
from dnsguard.config.problem import KeyPath, Place, Problem, Severity, pathFromText
from dnsguard.config.redisenviron import redisTree
from dnsguard.config.tree import Mapping, Node, Scalar, merge
from dnsguard.errors import ConfigError, DNSGuardError, PolicyError

__all__ = ["PACKAGED_DEFAULTS", "Loaded", "Source", "load", "loadText"]

PACKAGED_DEFAULTS = Path(__file__).with_name("default.yaml")
"""What holds where the operator says nothing, beyond the keys' own defaults."""

_MOST_PROBLEMS = 500


@attrs.frozen
class Source:
    """
    Where a configuration is read from. Reading it again is reloading.

    @ivar path: The operator's file, or L{None}.
    @ivar defaults: The file below it.
    """

    path: Path | None = None
    defaults: Path = PACKAGED_DEFAULTS

    @classmethod
    def fromEnvironment(
        cls,
        environ: AnyMapping[str, str],
        path: str | None = None,
        defaults: str | None = None,
    ) -> Source:
        """
        Find the files: an option goes before C{CONFIG_PATH} and
        C{DEFAULT_CONFIG_PATH}; empty variables count as unset.

        @param path: The operator's file, if an option names it.
        @param defaults: The file below it, if an option names it.
        """
        path = path or environ.get("CONFIG_PATH") or None
        defaults = defaults or environ.get("DEFAULT_CONFIG_PATH") or None
        return cls(Path(path) if path else None, Path(defaults) if defaults else PACKAGED_DEFAULTS)


@attrs.frozen
class Loaded:
    """
    A configuration that can be used.

    @ivar config: It.
    @ivar warnings: What there is to say about it all the same.
    @ivar root: The tree it was made of, for places.
    """

    config: Config
    warnings: tuple[Problem, ...]
    root: Node = attrs.field(repr=False, eq=False)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """
        Blame a value for something found out later, such as a record whose
        data can't be read.

        @param path: Where it stands: key names, and indexes from 0.
        """
        return Problem.at(blame(self.root, path), path, message)

    def explain(self, error: DNSGuardError) -> tuple[Problem, ...]:
        """
        Find the places of what kept this configuration from being used.

        @param error: A L{ConfigError}, a L{PolicyError}, or one that has
            several of them as C{problems}.
        """
        if isinstance(error, ConfigError):
            return error.problems
        faults = getattr(error, "problems", (error,))
        return self.warnings + tuple(self._explainOne(fault) for fault in faults)

    def _explainOne(self, error: DNSGuardError) -> Problem:
        """
        The problem that one error tells of.
        """
        if not isinstance(error, PolicyError):
            return Problem.at(Place("configuration"), (), str(error))
        path = pathFromText(error.place)
        if path and path[0] in keysOf(Config):
            return self.problem(path, error.reason)
        return Problem.at(Place(error.place), (), error.reason)


def load(source: Source, environ: AnyMapping[str, str]) -> Loaded:
    """
    Read a configuration. Waits for the disk: not for the reactor's thread.

    @param environ: The process's environment.
    @raise ConfigError: It can't be used; says everything that is wrong.
    """
    context = Context(environ)
    layers: list[Node] = [stateTree(environ)]
    for path in (source.defaults, source.path):
        if path is not None:
            layers.append(_layer(_read(path, context), str(path), context))
    return _combine(layers, context)


def loadText(text: str, file: str = "text", environ: AnyMapping[str, str] | None = None) -> Loaded:
    """
    Make a configuration of a text over the keys' own defaults alone.

    @param file: What problems call the text.
    @raise ConfigError: It can't be used; says everything that is wrong.
    """
    context = Context(environ or {})
    return _combine([_layer(text.encode("utf-8", "surrogateescape"), file, context)], context)


def _combine(layers: list[Node], context: Context) -> Loaded:
    """
    Lay layers and environment over each other and convert them.
    """
    layers.append(redisTree(context.environ, context))
    layers.append(migrate(environmentTree(context.environ, context), context))
    root: Node = Mapping(Place("configuration"))
    for layer in layers:
        root = merge(root, layer)
    config = convertRoot(Config, root, context)
    problems = _ordered(context.problems)[:_MOST_PROBLEMS]
    left = len(context.problems) - len(problems)
    if any(problem.severity is Severity.ERROR for problem in context.problems):
        if left:
            problems += (Problem.at(Place("configuration"), (), f"and {left} problems more"),)
        raise ConfigError(problems)
    assert config is not FAULTY
    return Loaded(config, problems, root)


def _ordered(problems: list[Problem]) -> tuple[Problem, ...]:
    """
    Sort problems as one reads: file by file, from top to bottom.
    """
    files = {file: number for number, file in enumerate(dict.fromkeys(p.file for p in problems))}
    return tuple(sorted(problems, key=lambda p: (files[p.file], p.line, p.column)))


def _read(path: Path, context: Context) -> bytes:
    """
    Read a file; nothing if it can't be, after saying why.
    """
    place = Place(str(path))
    try:
        with path.open("rb") as source:
            if not stat.S_ISREG(path.stat().st_mode) and path.is_dir():
                raise IsADirectoryError
            return source.read(MAX_OCTETS + 1)
    except OSError as error:
        context.error(place, (), f"can't be read: {error.strerror or error}")
    except ValueError as error:
        context.error(place, (), f"can't be read: {error}")
    return b""


def _layer(octets: bytes, file: str, context: Context) -> Node:
    """
    Make the tree of one file, brought up to date; an empty one if it can't be
    read, after saying why.
    """
    empty = Mapping(Place(file, 1, 1))
    try:
        root = parseDocument(octets, file)
    except DocumentError as error:
        context.problems.append(error.problem)
        return empty
    if isinstance(root, Scalar) and root.missing:
        return empty
    if not isinstance(root, Mapping):
        context.error(root.place, (), "a configuration is a map of keys to values")
        return empty
    return migrate(root, context)
