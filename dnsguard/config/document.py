# -*- test-case-name: tests.config.test_document -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
YAML text into a L{tree <dnsguard.config.tree>} that knows its places.

PyYAML's parser is used for its events only. Building nodes here bounds what
its composer doesn't: depth, what aliases expand to, and repeated keys, which
YAML forbids and most loaders swallow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

import attrs
import yaml

from dnsguard.config.problem import Place, Problem, shown
from dnsguard.config.tree import Entry, Mapping, Node, Scalar, Sequence

__all__ = ["MAX_OCTETS", "DocumentError", "parseDocument"]

MAX_OCTETS = 8 * 1024 * 1024
"""The largest file that is read."""

MAX_DEPTH = 32
MAX_NODES = 1_000_000
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"

# YAML 1.1 §5.1 lets only printable characters stand in a stream.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")
}


class _Mark(Protocol):
    """
    A place, as both of PyYAML's parsers give it.
    """

    line: int
    column: int


_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(Exception):
    """
    The text can't be read as one YAML document.

    @ivar problem: What is wrong, and where.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@attrs.define
class _Open:
    """
    A collection whose end hasn't come yet.

    @ivar place: Where it begins.
    @ivar anchor: Its anchor, or L{None}.
    @ivar isMap: Is it a map?
    @ivar items: A list's members.
    @ivar entries: A map's entries.
    @ivar key: The key whose value comes next.
    @ivar merged: What C{<<} brings into this map.
    @ivar height: The depth of what is in it.
    @ivar weight: How many nodes are in it, aliases expanded.
    """

    place: Place
    anchor: str | None
    isMap: bool
    items: list[Node] = attrs.field(factory=list)
    entries: dict[str, Entry] = attrs.field(factory=dict)
    key: Scalar | None = None
    merged: list[Mapping] = attrs.field(factory=list)
    height: int = 1
    weight: int = 1


@attrs.frozen
class _Anchored:
    """
    What an alias stands for, how deep it is and how many nodes it has.
    """

    node: Node
    height: int
    weight: int


def parseDocument(octets: bytes, file: str) -> Node:
    """
    Read a YAML file.

    @param octets: Its content.
    @param file: Its name, for places.
    @return: The tree; an empty map for an empty file.
    @raise DocumentError: It can't be read; the first reason.
    """
    text = _decode(octets, file)
    return _Builder(file).build(_events(text, file))


def _decode(octets: bytes, file: str) -> str:
    """
    Turn a file's octets into text that a YAML parser takes.
    """
    if len(octets) > MAX_OCTETS:
        raise _fault(Place(file), f"larger than {MAX_OCTETS // 1024 // 1024} MiB")
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _fault(Place(file), "encoded as UTF-16; save it as UTF-8")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        column = error.start - (octets.rfind(b"\n", 0, error.start) + 1) + 1
        raise _fault(
            Place(file, line, column), f"not UTF-8 text: octet 0x{octets[error.start]:02x}"
        ) from None
    odd = _UNPRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        column = odd.start() - (text.rfind("\n", 0, odd.start()) + 1) + 1
        raise _fault(
            Place(file, line, column),
            f"not a text file: character U+{ord(odd[0]):04X} can't stand in YAML",
        )
    return text


def _events(text: str, file: str) -> Iterator[yaml.Event]:
    """
    Parse the text, with the parser's complaints turned into ours.
    """
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.problem and "nesting depth" in error.problem:
            # The C parser's own bound: it reads a run of brackets to its end,
            # looking for a key, before it tells of the first one.
            raise _fault(_place(file, mark), _TOO_DEEP) from None
        words = [word for word in (error.problem, error.context) if word]
        raise _fault(_place(file, mark), f"not valid YAML: {', '.join(words)}") from None
    except (yaml.YAMLError, ValueError, UnicodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _fault(Place(file), f"not valid YAML: {reason}") from None


def _place(file: str, mark: _Mark | None) -> Place:
    """
    Where a mark of PyYAML's is, counted from 1.
    """
    if mark is None:
        return Place(file)
    return Place(file, mark.line + 1, mark.column + 1)


def _fault(place: Place, message: str) -> DocumentError:
    return DocumentError(Problem.at(place, (), message))


class _Builder:
    """
    Puts a tree together from events.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.open: list[_Open] = []
        self.anchors: dict[str, _Anchored] = {}
        self.root: Node | None = None

    def build(self, events: Iterator[yaml.Event]) -> Node:
        """
        Make the tree.
        """
        documents = 0
        for event in events:
            place = _place(self.file, event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _fault(place, "a second YAML document begins here; only one is read")
            elif isinstance(event, yaml.ScalarEvent):
                self.scalar(event, place)
            elif isinstance(event, yaml.AliasEvent):
                self.alias(event, place)
            elif isinstance(event, yaml.CollectionStartEvent):
                self.begin(event, place)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.end()
        if self.root is None:
            return Mapping(Place(self.file, 1, 1))
        return self.root

    def scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        """
        A scalar: a value, a member or a key.
        """
        self.checkTag(event.tag, place)
        node = Scalar(place, event.value, not event.style)
        self.remember(event.anchor, node, 1, 1)
        self.add(node, 1, 1)

    def alias(self, event: yaml.AliasEvent, place: Place) -> None:
        """
        An alias: what it stands for comes again.
        """
        anchored = self.anchors.get(event.anchor or "")
        if anchored is None:
            raise _fault(place, f"no anchor &{event.anchor} is complete before this alias")
        self.add(anchored.node, anchored.height, anchored.weight, place)

    def begin(self, event: yaml.CollectionStartEvent, place: Place) -> None:
        """
        A map or list begins.
        """
        self.checkTag(event.tag, place)
        isMap = isinstance(event, yaml.MappingStartEvent)
        if len(self.open) >= MAX_DEPTH:
            raise _fault(place, _TOO_DEEP)
        if self.open and self.open[-1].isMap and self.open[-1].key is None:
            raise _fault(place, "a key must be plain text, not a list or map")
        self.open.append(_Open(place, event.anchor, isMap))

    def end(self) -> None:
        """
        The innermost map or list ends.
        """
        done = self.open.pop()
        node: Node
        if done.isMap:
            for mapping in done.merged:
                for name, entry in mapping.entries.items():
                    done.entries.setdefault(name, entry)
            node = Mapping(done.place, done.entries)
        else:
            node = Sequence(done.place, tuple(done.items))
        self.remember(done.anchor, node, done.height, done.weight)
        self.add(node, done.height, done.weight)

    def add(self, node: Node, height: int, weight: int, place: Place | None = None) -> None:
        """
        Put a node where the next one belongs.

        @param place: Where the alias stands that brought it.
        """
        where = place or node.place
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        parent.height = max(parent.height, height + 1)
        parent.weight += weight
        if len(self.open) + height > MAX_DEPTH + 1:
            raise _fault(where, _TOO_DEEP)
        if parent.weight > MAX_NODES:
            raise _fault(where, f"more than {MAX_NODES:,} values, aliases expanded")
        if not parent.isMap:
            parent.items.append(node)
        elif parent.key is None:
            self.addKey(parent, node, where)
        else:
            self.addValue(parent, parent.key, node, where)
            parent.key = None

    def addKey(self, parent: _Open, node: Node, place: Place) -> None:
        """
        A key of a map, checked.
        """
        if not isinstance(node, Scalar):
            raise _fault(place, "a key must be plain text, not a list or map")
        if node.text in parent.entries:
            first = parent.entries[node.text].place
            raise _fault(
                place, f"key {shown(node.text)} stands here again; first in line {first.line}"
            )
        parent.key = Scalar(place, node.text, node.plain)

    def addValue(self, parent: _Open, key: Scalar, node: Node, place: Place) -> None:
        """
        The value of a key; what stands behind C{<<} is merged in.
        """
        if key.text != "<<" or not key.plain:
            parent.entries[key.text] = Entry(key.place, node)
            return
        sources = node.items if isinstance(node, Sequence) else (node,)
        for source in sources:
            if not isinstance(source, Mapping):
                raise _fault(place, "only a map, or a list of maps, can be merged by <<")
            parent.merged.append(source)

    def remember(self, anchor: str | None, node: Node, height: int, weight: int) -> None:
        """
        Keep a node that aliases may refer to.
        """
        if anchor is not None:
            self.anchors[anchor] = _Anchored(node, height, weight)

    def checkTag(self, tag: str | None, place: Place) -> None:
        """
        Refuse tags that would make something else than text, list or map.
        """
        if tag is not None and tag != "!" and tag not in _TAGS:
            raise _fault(place, f"tag {shown(tag)} isn't supported")
