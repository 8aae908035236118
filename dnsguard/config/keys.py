# -*- test-case-name: tests.config.test_keys -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How a key is declared: once, with kind, default, meaning and older names.

A section is a frozen attrs class whose attributes are made by L{key}. Loading,
checking, the nearest-name hints and the reference page are all read off these
declarations; adding a key is one line in a section and nothing elsewhere.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import attrs

from dnsguard.config.kinds import Kind
from dnsguard.config.problem import KeyPath

__all__ = ["Checked", "Fault", "Key", "key", "keysOf", "snake"]

_METADATA = "dnsguard.config"
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z]|$)|[A-Z]?[a-z0-9]+")

_NEEDED = object()


@attrs.frozen
class Key:
    """
    One key of a section.

    @ivar name: Its name in YAML.
    @ivar attribute: The attribute of the section's class.
    @ivar kind: What its value means.
    @ivar needed: Must it be there?
    @ivar default: Its value when it isn't there.
    @ivar meaning: What it does: a sentence or two, reStructuredText.
    @ivar unset: In words, what holds when it isn't there, where the default
        alone doesn't tell.
    @ivar aliases: Other paths from the root that mean the same.
    @ivar deprecated: Former paths from the root, reported when used.
    """

    name: str
    attribute: str
    kind: Kind
    needed: bool
    default: Any
    meaning: str
    unset: str
    aliases: tuple[str, ...]
    deprecated: tuple[str, ...]


@attrs.frozen
class Fault:
    """
    A rule between keys that a section breaks.

    @ivar path: The key to blame, from the section down.
    @ivar message: What is wrong.
    @ivar also: Other keys of the section it depends on; nothing is said while
        one of them can't be read.
    """

    path: KeyPath
    message: str
    also: tuple[str, ...] = ()


@runtime_checkable
class Checked(Protocol):
    """
    A section that has rules between its keys.
    """

    def faults(self) -> Iterator[Fault]:
        """
        Name each rule broken.
        """


def key(
    kind: Kind,
    default: Any = _NEEDED,
    *,
    meaning: str,
    unset: str = "",
    aliases: tuple[str, ...] = (),
    deprecated: tuple[str, ...] = (),
) -> Any:
    """
    Declare a key of a section; see L{Key} for the parameters. Without a
    default it must be there.
    """
    metadata = {
        _METADATA: {
            "kind": kind,
            "meaning": " ".join(meaning.split()),
            "unset": unset,
            "aliases": aliases,
            "deprecated": deprecated,
        }
    }
    # What references stand for may be secret, and reprs get into logs.
    secret = getattr(kind, "references", False) or getattr(kind, "secret", False)
    if default is _NEEDED:
        default = attrs.NOTHING
    return attrs.field(default=default, metadata=metadata, kw_only=True, repr=not secret)


@functools.cache
def keysOf(section: type) -> Mapping[str, Key]:
    """
    The keys of a section by their YAML name, in order.
    """
    keys = {}
    for attribute in attrs.fields(section):
        name = snake(attribute.name)
        keys[name] = Key(
            name=name,
            attribute=attribute.name,
            needed=attribute.default is attrs.NOTHING,
            default=attribute.default,
            **attribute.metadata[_METADATA],
        )
    return keys


def snake(attribute: str) -> str:
    """
    The YAML name of an attribute: C{clientTTLCap} is C{client_ttl_cap}.
    """
    return "_".join(_WORD.findall(attribute)).lower()
