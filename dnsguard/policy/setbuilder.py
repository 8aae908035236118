# -*- test-case-name: tests.policy.test_domainset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Building a compiled set of names.

A set is built in three steps that the two builders share: entries are
collected, sorted and written to pages; hashes of the names are sorted and
written to the index; header and sources go in front. The compiled twin of
L{Builder} in C{_setbuilder.pyx} does the first two in C.
"""

from __future__ import annotations

import re
import secrets
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from dnsguard.errors import PolicyError
from dnsguard.policy.setformat import (
    HEADER_SIZE,
    LOAD,
    MAX_PAGE_BITS,
    MAX_PLACES,
    MAX_SOURCES,
    PRIME,
    Header,
    SetSource,
    encode,
    packMeta,
)
from dnsguard.policy.setpages import Pages, pageSizeFor
from dnsguard.wire.names import MAX_NAME

if TYPE_CHECKING:
    from dnsguard.policy.listparser import Scan

__all__ = ["Builder", "Collector", "Keys", "Parts", "assemble", "numbered", "randomKeys"]

_LABELS = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*").fullmatch
_END = b"\0\0"

_TRIES = 8

Keys = Iterator[tuple[int, int]]
"""Pairs of secrets to hash with: the key below L{PRIME}, the odd mix."""


def randomKeys() -> Keys:
    """
    Unpredictable secrets, as many as are asked for.
    """
    while True:
        yield secrets.randbelow(PRIME - (1 << 32)) + (1 << 31), secrets.randbits(64) | 1


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

    It holds an octet string of some twenty octets for each entry.
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
        self._entries.append(encode(text) + _END + (place << 2 | scope).to_bytes(4, "big"))

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
        pages = Pages(pageSizeFor(len(bases)))
        for encoded, places in _distinct(entries, bases, names):
            pages.add(encoded, places)
        entries.clear()
        pages.finish()
        parts = Parts(
            pages=pages.octets,
            pageSize=pages.size,
            leastLabels=self._leastLabels,
            mostLabels=self._mostLabels,
            names=len(pages.names),
            sources=numbered(self._sources, self._base + self._highest + 1, names),
            facts=facts or {},
        )
        return assemble(parts, pages.index, keys or randomKeys())


def _textOf(name: bytes) -> bytes | None:
    """
    Give a wire name's L{reversedText <dnsguard.policy.setformat.reversedText>};
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
        encoded = entries[at][:-6]
        values = [_place(entries[at])]
        at += 1
        # Zeros end a name, and no name goes on with zeros.
        prefix = encoded + _END
        while at < count and entries[at].startswith(prefix):
            values.append(_place(entries[at]))
            at += 1
        if len(values) == 1:
            names[bisect_right(bases, values[0] & 0x1FFFFFFF) - 1] += 1
        else:
            values = _withoutRepeats(values, bases, names)
        yield encoded, values


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
    A set all but for its index.

    @ivar pages: The pages' octets.
    @ivar pageSize: Octets in a page.
    @ivar leastLabels: Labels in the shortest name; likewise C{mostLabels}.
    @ivar names: Distinct names.
    @ivar sources: The lists.
    @ivar facts: What to keep in the header.
    """

    pages: bytes | bytearray
    pageSize: int
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


MakeIndex = Callable[[int, int, int, int], bytes | None]
"""
Writes the index for a key, a mix, so many bits for the page's number and so
many lines; or says L{None}: others, please.
"""


def assemble(parts: Parts, makeIndex: MakeIndex, keys: Keys) -> bytes:
    """
    Put a set together.

    @raise PolicyError: There are too many names for one set.
    """
    pageCount = len(parts.pages) // parts.pageSize
    pageBits = max(1, (pageCount - 1).bit_length()) if pageCount else 1
    if pageBits > MAX_PAGE_BITS:
        raise PolicyError("block lists", f"{parts.names} names are too many for one set")
    key, mix, lines, index = _indexed(parts.names, pageBits, makeIndex, keys)
    meta = packMeta(parts.sources, parts.facts)
    metaSize = len(meta)
    indexOffset = -(-(HEADER_SIZE + metaSize) // 64) * 64
    behind = (meta.ljust(indexOffset - HEADER_SIZE, b"\0"), index, parts.pages)
    checksum = 0
    for part in behind:
        checksum = zlib.crc32(part, checksum)
    header = Header(
        names=parts.names,
        places=sum(source.names for source in parts.sources),
        indexLines=lines,
        storedLines=len(index) // 64,
        pages=pageCount,
        pageSize=parts.pageSize,
        pageBits=pageBits,
        leastLabels=parts.leastLabels,
        mostLabels=parts.mostLabels,
        key=key,
        mix=mix,
        indexOffset=indexOffset,
        pagesOffset=indexOffset + len(index),
        size=indexOffset + len(index) + len(parts.pages),
        checksum=checksum,
        sources=tuple(parts.sources),
        facts=parts.facts,
    )
    return b"".join((header.pack(meta), *behind))


def _indexed(
    names: int, pageBits: int, makeIndex: MakeIndex, keys: Keys
) -> tuple[int, int, int, bytes]:
    """
    Write the index with the first key that serves.

    @return: The key, the mix, the number of lines and the index.
    """
    load = LOAD
    for attempt, (key, mix) in enumerate(keys, 1):
        lines = max(1, -(-names // load))
        index = makeIndex(key, mix, pageBits, lines)
        if index is not None:
            return key, mix, lines, index
        if attempt >= _TRIES:
            load = max(1, load // 2)
    raise PolicyError("block lists", "no key left to hash with")
