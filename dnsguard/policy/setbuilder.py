# -*- test-case-name: tests.policy.test_domainset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Building a compiled set of names.

A set is built in three steps that the two builders share: entries are
collected and sorted, and the code of letters is made from them; lines and
names are written in the order of the names' hashes; header and sources go in
front. The compiled twin of L{Builder} in C{_setbuilder.pyx} does the first two
in C.
"""

from __future__ import annotations

import re
import secrets
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from dnsguard.errors import PolicyError
from dnsguard.policy.setformat import (
    HEADER_SIZE,
    LINE_SIZE,
    LOAD,
    MAX_NAMES_SIZE,
    MAX_PLACES,
    MAX_SOURCES,
    Header,
    SetSource,
    packMeta,
)
from dnsguard.policy.setletters import codesOf
from dnsguard.policy.setlines import Lines
from dnsguard.wire.names import MAX_NAME

if TYPE_CHECKING:
    from dnsguard.policy.listparser import Scan

__all__ = ["Builder", "Collector", "Keys", "Parts", "assemble", "numbered", "randomKeys"]

_LABELS = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*").fullmatch
_END = b"\0"

_TRIES = 8

Keys = Iterator[tuple[int, int]]
"""Pairs of secrets to hash with: the key, the odd mix."""


def randomKeys() -> Keys:
    """
    Unpredictable secrets, as many as are asked for.
    """
    while True:
        yield secrets.randbits(64), secrets.randbits(64) | 1


class Collector(Protocol):
    """
    What both builders are.
    """

    def addSource(self, name: str) -> int:
        """
        Begin a list; what is added from now on is its.
        """

    def add(self, name: bytes, line: int, scope: int = 0) -> None:
        """
        Add an entry of the list begun last.
        """

    def build(self, facts: dict[str, Any] | None = None, keys: Keys | None = None) -> bytes:
        """
        Give the whole file. The builder can't be used again.
        """

    @property
    def scan(self) -> Scan | None:
        """
        What adds the names of easy lines fast, if this builder can.
        """


class Builder:
    """
    A collection of names that becomes a compiled set.

    It holds an octet string of some thirty octets for each entry.
    """

    scan = None

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._sources: list[tuple[str, int]] = []
        self._base = 0
        self._highest = 0
        self._leastLabels = 255
        self._mostLabels = 0

    def addSource(self, name: str) -> int:
        """
        Begin a list; what is added from now on is its.

        @param name: Its name.
        @return: Its number, counted from 0.
        @raise PolicyError: There are 4,096 already.
        """
        if len(self._sources) >= MAX_SOURCES:
            raise PolicyError(name, f"more than {MAX_SOURCES} lists in one set")
        self._base += self._highest + 1 if self._sources else 0
        self._highest = 0
        self._sources.append((name, self._base))
        return len(self._sources) - 1

    def add(self, name: bytes, line: int, scope: int = 0) -> None:
        """
        Add an entry of the list begun last.

        @param name: Not the root; lower-cased, in wire form, of letters,
            digits, C{-} and C{_}.
        @param line: Where it stands in the list.
        @param scope: A L{Scope <dnsguard.policy.setformat.Scope>}.
        @raise PolicyError: The name has other letters, or there are more than
            half a milliard of lines.
        """
        text = _textOf(name)
        if text is None:
            raise PolicyError(self._sources[-1][0], f"line {line}: {name[:80]!r} can't be kept")
        place = self._base + line
        if not 0 <= place < MAX_PLACES or line < 0:
            raise PolicyError(self._sources[-1][0], "too many lines in one set")
        if line > self._highest:
            self._highest = line
        labels = text.count(b".") + 1
        if labels > self._mostLabels:
            self._mostLabels = labels
        if labels < self._leastLabels:
            self._leastLabels = labels
        self._entries.append(text + _END + (place << 2 | scope).to_bytes(4, "big"))

    def build(self, facts: dict[str, Any] | None = None, keys: Keys | None = None) -> bytes:
        """
        Give the whole file. The builder can't be used again.

        @param facts: What to keep in the header; JSON types.
        @param keys: Secrets, for tests; unpredictable ones by default.
        """
        entries, self._entries = self._entries, []
        entries.sort()
        bases = [base for _, base in self._sources]
        names = [0] * len(bases)
        lines = Lines()
        for text, places in _distinct(entries, bases, names):
            lines.add(text, places)
        entries.clear()
        parts = Parts(
            lengths=lines.codeLengths(),
            leastLabels=self._leastLabels,
            mostLabels=self._mostLabels,
            names=len(lines),
            sources=numbered(self._sources, self._base + self._highest + 1, names),
            facts=facts or {},
        )
        return assemble(parts, lines.write, keys or randomKeys())


def _textOf(name: bytes) -> bytes | None:
    """
    Give a wire name's labels joined by dots, from last letter to first;
    L{None} if it can't be kept.
    """
    parts = []
    at = 0
    size = len(name)
    while at < size and (length := name[at]):
        at += length + 1
        parts.append(name[at - length : at])
    text = b".".join(parts)[::-1]
    # A dot inside a label would make one more label of it in text.
    sound = (
        at == size - 1
        and size <= MAX_NAME
        and text.count(b".") == len(parts) - 1
        and _LABELS(text)
    )
    return text if sound else None


def _distinct(
    entries: list[bytes], bases: list[int], names: list[int]
) -> Iterator[tuple[bytes, list[int]]]:
    """
    Each name once, with its places: of one list and scope the first line.

    @param names: Has its names counted for each list.
    """
    at = 0
    count = len(entries)
    while at < count:
        text = entries[at][:-5]
        values = [_place(entries[at])]
        at += 1
        # A zero ends a name, and no name goes on with one.
        prefix = text + _END
        while at < count and entries[at].startswith(prefix):
            values.append(_place(entries[at]))
            at += 1
        if len(values) == 1:
            names[bisect_right(bases, values[0] & 0x1FFFFFFF) - 1] += 1
        else:
            values = _withoutRepeats(values, bases, names)
        yield text, values


def _place(entry: bytes) -> int:
    value = int.from_bytes(entry[-4:], "big")
    return value >> 2 | (value & 3) << 29


def _withoutRepeats(values: list[int], bases: list[int], names: list[int]) -> list[int]:
    """
    Keep of one name's places the first of each source and scope.
    """
    kept: dict[tuple[int, int], int] = {}
    for value in values:
        source = bisect_right(bases, value & 0x1FFFFFFF) - 1
        kept.setdefault((source, value >> 29), value)
    for source in {source for source, _ in kept}:
        names[source] += 1
    return list(kept.values())


@attrs.frozen
class Parts:
    """
    What is known of a set before its names are written.

    @ivar lengths: What L{codeLengths <dnsguard.policy.setformat.codeLengths>}
        gave.
    @ivar leastLabels: Labels in the shortest name; likewise C{mostLabels}.
    @ivar names: Distinct names.
    @ivar sources: The lists.
    @ivar facts: What to keep in the header.
    """

    lengths: bytes
    leastLabels: int
    mostLabels: int
    names: int
    sources: list[SetSource]
    facts: dict[str, Any]


def numbered(sources: list[tuple[str, int]], end: int, names: list[int]) -> list[SetSource]:
    """
    Describe the lists.

    @param sources: The name and base of each.
    @param end: What the next one's base would be.
    @param names: How many names each has.
    """
    ends = [*(base for _, base in sources), end][1:]
    return [
        SetSource(name, base, after - base - 1, count)
        for (name, base), after, count in zip(sources, ends, names, strict=True)
    ]


Write = Callable[[int, int, int, "array[int]"], tuple[bytes, bytes, bytes] | None]
"""
Writes lines, names and places for a key, a mix, so many lines and these codes;
or says L{None}: others, please.
"""


def assemble(parts: Parts, write: Write, keys: Keys) -> bytes:
    """
    Put a set together.

    @raise PolicyError: There are too many names for one set.
    """
    codes = codesOf(parts.lengths)
    key, mix, lineCount, (lines, names, places) = _written(parts.names, codes, write, keys)
    if len(names) >= MAX_NAMES_SIZE:
        raise PolicyError("block lists", f"{parts.names} names are too many for one set")
    meta = packMeta(parts.sources, parts.lengths, parts.facts)
    linesOffset = -(-(HEADER_SIZE + len(meta)) // LINE_SIZE) * LINE_SIZE
    behind = (meta.ljust(linesOffset - HEADER_SIZE, b"\0"), lines, names, places)
    checksum = 0
    for part in behind:
        checksum = zlib.crc32(part, checksum)
    namesOffset = linesOffset + len(lines)
    header = Header(
        names=parts.names,
        places=sum(source.names for source in parts.sources),
        lines=lineCount,
        storedLines=len(lines) // LINE_SIZE,
        leastLabels=parts.leastLabels,
        mostLabels=parts.mostLabels,
        key=key,
        mix=mix,
        linesOffset=linesOffset,
        namesOffset=namesOffset,
        placesOffset=namesOffset + len(names),
        size=namesOffset + len(names) + len(places),
        checksum=checksum,
        sources=tuple(parts.sources),
        codes=codes,
        facts=parts.facts,
    )
    return b"".join((header.pack(meta), *behind))


def _written(
    names: int, codes: array[int], write: Write, keys: Keys
) -> tuple[int, int, int, tuple[bytes, bytes, bytes]]:
    """
    Write the names with the first key that serves.

    @return: The key, the mix, the number of lines, and what was written.
    """
    load = LOAD
    for attempt, (key, mix) in enumerate(keys, 1):
        lines = max(1, -(-names // load))
        written = write(key, mix, lines, codes)
        if written is not None:
            return key, mix, lines, written
        if attempt >= _TRIES:
            load = max(1, load // 2)
    raise PolicyError("block lists", "no key left to hash with")
