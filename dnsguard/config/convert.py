# -*- test-case-name: tests.config.test_convert -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Trees into sections: each key by its declaration, all problems at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from dnsguard.config.keys import Checked, Key, keysOf
from dnsguard.config.kinds import FAULTY, Context, described
from dnsguard.config.nearest import nearest
from dnsguard.config.pending import pendingReason
from dnsguard.config.problem import KeyPath, Place, shown
from dnsguard.config.tree import Entry, Mapping, Node, Scalar, find

__all__ = ["Section", "allPaths", "blame", "convertRoot"]

_MOST_HINTS = 100


@attrs.frozen
class Section:
    """
    A kind: a map whose keys a section class declares.

    @ivar section: The class.
    @ivar shorthand: The key that a scalar in place of the map is the value
        of, or empty.
    """

    section: type
    shorthand: str = ""

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        words = f"a map with {', '.join(keysOf(self.section))}"
        if self.shorthand:
            words += f", or {keysOf(self.section)[self.shorthand].kind.expected}"
        return words

    def convert(self, node: Node, path: KeyPath, context: Context) -> Any:
        """
        Make the section.
        """
        if isinstance(node, Scalar) and self.shorthand:
            node = Mapping(node.place, {self.shorthand: Entry(node.place, node)})
        if not isinstance(node, Mapping):
            context.error(node.place, path, f"expected {self.expected}, not {described(node)}")
            return FAULTY
        return _Reading(self.section, node, path, context).section()

    def show(self, value: Any) -> str:
        """
        Write the section in one line: what differs from the defaults.
        """
        keys = keysOf(self.section).values()
        if self.shorthand:
            key = keysOf(self.section)[self.shorthand]
            return key.kind.show(getattr(value, key.attribute))
        told = [
            f"{key.name}: {key.kind.show(getattr(value, key.attribute))}"
            for key in keys
            if getattr(value, key.attribute) != key.default
        ]
        return f"{{{', '.join(told)}}}"


def convertRoot(root: type, node: Node, context: Context) -> Any:
    """
    Make the whole configuration, and check the rules between its keys.

    @return: The root section, or L{FAULTY}.
    """
    return Section(root).convert(node, (), context)


def blame(node: Node, path: KeyPath) -> Place:
    """
    The place of a value, or of the innermost map around it that was written.
    """
    while path:
        entry = find(node, path)
        if entry is not None:
            return entry.value.place
        path = path[:-1]
    return node.place


@attrs.define
class _Reading:
    """
    One section being read from one map.

    @ivar cls: The section's class.
    @ivar node: The map.
    @ivar path: Where it stands.
    @ivar context: Who is told of problems.
    @ivar sound: Can the section be used, as far as read?
    @ivar faulty: The keys whose values can't be used.
    """

    cls: type
    node: Mapping
    path: KeyPath
    context: Context
    sound: bool = True
    faulty: set[str] = attrs.field(factory=set)

    def section(self) -> Any:
        """
        Read every key, then check the rules between them. Keys that can't be
        used count with their defaults there, so that one pass finds what there
        is to find.
        """
        known = keysOf(self.cls)
        values = {}
        for name, entry in self.node.entries.items():
            key = known.get(name)
            if key is None:
                self.unknown(name, entry.place)
            elif not (isinstance(entry.value, Scalar) and entry.value.missing):
                value = key.kind.convert(entry.value, (*self.path, name), self.context)
                if value is FAULTY:
                    self.faulty.add(name)
                else:
                    values[key.attribute] = value
        for key in known.values():
            if key.needed and key.attribute not in values and key.name not in self.faulty:
                self.missing(key)
        if any(known[name].needed for name in self.faulty):
            return FAULTY
        section = self.cls(**values)
        self.check(section)
        return section if self.sound and not self.faulty else FAULTY

    def check(self, section: Any) -> None:
        """
        Report each rule broken, unless it is about keys that are faulty.
        """
        if not isinstance(section, Checked):
            return
        for fault in section.faults():
            if self.faulty.isdisjoint({str(fault.path[0]), *fault.also}):
                place = blame(self.node, fault.path)
                self.context.error(place, (*self.path, *fault.path), fault.message)
                self.sound = False

    def missing(self, key: Key) -> None:
        """
        Report a key that must be there.
        """
        entry = self.node.entries.get(key.name)
        place = entry.place if entry else self.node.place
        expected = key.kind.expected
        self.context.error(place, self.path, f"key {key.name} is missing: expected {expected}")
        self.faulty.add(key.name)

    def unknown(self, name: str, place: Place) -> None:
        """
        Report a key that no declaration knows.
        """
        path = (*self.path, name)
        reason = pendingReason(path)
        if reason:
            self.context.warn(place, path, reason)
            return
        message = f"unknown key {shown(name)}"
        if len(self.context.problems) < _MOST_HINTS:
            hint = nearest(name, list(keysOf(self.cls))) or _elsewhere(name)
            if hint:
                message += f"; did you mean {hint}?"
        self.context.error(place, path, message)
        self.sound = False


def _elsewhere(name: str) -> str | None:
    """
    The only key of that name in another section, by its path.
    """
    from dnsguard.config.model import Config  # It is made of what is declared here.

    paths = {text for text, _ in allPaths(Config) if text.rpartition(".")[2] == name}
    return paths.pop() if len(paths) == 1 else None


def allPaths(section: type, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """
    Every declared key below a section with its path from there; C{[]} marks
    lists.
    """
    for key in keysOf(section).values():
        path = f"{prefix}{key.name}"
        yield path, key
        kind: Any = key.kind
        brackets = ""
        while hasattr(kind, "member"):
            kind, brackets = kind.member, brackets + "[]"
        if isinstance(kind, Section):
            yield from allPaths(kind.section, f"{path}{brackets}.")
