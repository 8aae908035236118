# -*- test-case-name: tests.config.test_tree -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A configuration file as it was written: maps, lists and scalars with places.

Scalars stay text until a key says what they mean, so that C{no} can be a
country, C{21:30} a time of day and C{off} a choice, whatever YAML 1.1 makes
of them.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping

import attrs

from dnsguard.config.problem import KeyPath, Place

__all__ = ["Entry", "Mapping", "Node", "Scalar", "Sequence", "find", "insert", "merge", "remove"]


@attrs.frozen
class Scalar:
    """
    A single value.

    @ivar place: Where it begins.
    @ivar text: The text, quotes removed.
    @ivar plain: Was it written without quotes?
    """

    place: Place
    text: str
    plain: bool = True

    @property
    def missing(self) -> bool:
        """
        Does it say nothing: C{key:}, C{~} or C{null}?
        """
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


@attrs.frozen
class Sequence:
    """
    A list.

    @ivar place: Where it begins.
    @ivar items: Its members, in order.
    """

    place: Place
    items: tuple[Node, ...] = ()


@attrs.frozen
class Entry:
    """
    A key of a map and its value.

    @ivar place: Where the key stands.
    @ivar value: What stands behind it.
    """

    place: Place
    value: Node


@attrs.frozen
class Mapping:
    """
    A map.

    @ivar place: Where it begins.
    @ivar entries: Its entries by key, in order.
    """

    place: Place
    entries: AnyMapping[str, Entry] = attrs.field(factory=dict)


Node = Scalar | Sequence | Mapping


def merge(base: Node, above: Node) -> Node:
    """
    Lay one tree over another: maps are merged key by key, anything else in
    the upper one replaces what is below, and a key without a value says
    nothing.
    """
    if isinstance(above, Scalar) and above.missing:
        return base
    if not (isinstance(base, Mapping) and isinstance(above, Mapping)):
        return above
    entries = dict(base.entries)
    for name, entry in above.entries.items():
        if name in entries:
            value = merge(entries[name].value, entry.value)
            place = entries[name].place if value is entries[name].value else entry.place
            entries[name] = Entry(place, value)
        else:
            entries[name] = entry
    return Mapping(above.place, entries)


def find(node: Node, path: KeyPath) -> Entry | None:
    """
    Find the entry at a path of key names; L{None} if there is none.

    An index counts in lists; the entry then has the member's own place.
    """
    entry: Entry | None = Entry(node.place, node)
    for step in path:
        assert entry is not None
        if isinstance(step, int):
            value = entry.value
            if not isinstance(value, Sequence) or step >= len(value.items):
                return None
            entry = Entry(value.items[step].place, value.items[step])
        else:
            if not isinstance(entry.value, Mapping):
                return None
            entry = entry.value.entries.get(step)
            if entry is None:
                return None
    return entry


def insert(root: Mapping, path: tuple[str, ...], entry: Entry) -> Mapping:
    """
    Put an entry at a path, making the maps on the way.

    @raise ValueError: Something else than a map stands on the way.
    """
    name, *rest = path
    entries = dict(root.entries)
    if rest:
        below = entries[name].value if name in entries else Mapping(entry.place)
        if isinstance(below, Scalar) and below.missing:
            below = Mapping(entry.place)
        if not isinstance(below, Mapping):
            raise ValueError(f"{name} is not a map")
        place = entries[name].place if name in entries else entry.place
        entries[name] = Entry(place, insert(below, tuple(rest), entry))
    else:
        entries[name] = entry
    return attrs.evolve(root, entries=entries)


def remove(root: Mapping, path: tuple[str, ...]) -> Mapping:
    """
    Take the entry at a path out; maps that are empty then go with it.
    """
    name, *rest = path
    if name not in root.entries:
        return root
    entries = dict(root.entries)
    below = entries[name].value
    if rest and isinstance(below, Mapping):
        left = remove(below, tuple(rest))
        if left.entries:
            entries[name] = Entry(entries[name].place, left)
        else:
            del entries[name]
    elif not rest:
        del entries[name]
    return attrs.evolve(root, entries=entries)
