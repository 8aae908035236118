# -*- test-case-name: tests.config.test_override -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the environment says about the configuration.

C{DNSGUARD__CACHE__LRU_SIZE=5000} sets C{cache.lru_size}; the value is YAML, so
that C{[udp]} is a list. Two underscores after the name, too: a container
platform that puts C{DNSGUARD_PORT} into the environment means something else.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from pathlib import Path

from dnsguard.config.document import DocumentError, parseDocument
from dnsguard.config.kinds import Context
from dnsguard.config.problem import BUILT_IN, Place, Problem
from dnsguard.config.tree import Entry, Mapping, Node, Scalar, Sequence, insert

__all__ = ["PREFIX", "environmentTree", "stateTree"]

PREFIX = "DNSGUARD__"


def environmentTree(environ: AnyMapping[str, str], context: Context) -> Mapping:
    """
    Gather the variables that set keys into a tree.
    """
    root = Mapping(Place("configuration"))
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        place = Place(f"environment variable {variable}")
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if not all(path):
            context.error(place, (), "it names no key; write DNSGUARD__SECTION__KEY")
            continue
        try:
            octets = environ[variable].encode("utf-8", "surrogateescape")
            value = _moved(parseDocument(octets, place.file), place)
            root = insert(root, path, Entry(place, value))
        except DocumentError as error:
            context.problems.append(Problem.at(place, path, error.problem.message))
        except ValueError:
            context.error(place, path, "another variable sets a value around this one")
    return root


def _moved(node: Node, place: Place) -> Node:
    """
    Give a tree one place: lines and columns of a variable help nobody.
    """
    if isinstance(node, Scalar):
        return Scalar(place, node.text, node.plain)
    if isinstance(node, Sequence):
        return Sequence(place, tuple(_moved(item, place) for item in node.items))
    return Mapping(
        place,
        {name: Entry(place, _moved(entry.value, place)) for name, entry in node.entries.items()},
    )


def stateTree(environ: AnyMapping[str, str]) -> Mapping:
    """
    The data directory that fits the environment, as the lowest layer.
    """
    # systemd.exec(5): several directories are parted by colons.
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    state = environ.get("XDG_STATE_HOME", "")
    home = environ.get("HOME", "")
    if given:
        path = given
    elif state.startswith("/"):
        # The XDG base directory specification has relative paths ignored.
        path = str(Path(state, "dnsguard"))
    elif home.startswith("/"):
        path = str(Path(home, ".local", "state", "dnsguard"))
    else:
        path = "dnsguard-data"
    value = Scalar(BUILT_IN, path, plain=False)
    return Mapping(BUILT_IN, {"data_directory": Entry(BUILT_IN, value)})
