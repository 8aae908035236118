# -*- test-case-name: tests.policy.test_domainset -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A set of domain names: millions of them, from several lists.

One set holds the names of all lists that any client group uses, each name
once, and with each the lists and lines it came from. A group's view of it is
the same set with only that group's lists L{selected <DomainSet.select>}, so
that groups with different lists share memory. The names stay in the mapped
file (see L{dnsguard.policy.setformat}): the operating system keeps what is
looked at in memory, once for all processes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnsguard.errors import PolicyError
from dnsguard.policy.setbuilder import Builder as PythonBuilder
from dnsguard.policy.setbuilder import Collector
from dnsguard.policy.setformat import HEADER_SIZE, Header, Scope, readHeader
from dnsguard.policy.settable import Place
from dnsguard.policy.settable import Table as PythonTable
from dnsguard.wire.names import fromText

try:
    from dnsguard.policy import _setbuilder, _settable
except ImportError:
    COMPILED = False
else:
    COMPILED = True

if TYPE_CHECKING:
    from dnsguard.policy.setformat import SetSource

__all__ = ["COMPILED", "DomainSet", "Place", "Scope", "newBuilder", "save"]


def newBuilder(compiled: bool = COMPILED) -> Collector:
    """
    Give an empty builder.

    @param compiled: The compiled one? By default, if there is one.
    """
    return _setbuilder.Builder() if compiled else PythonBuilder()


def save(data: bytes, path: str | os.PathLike[str]) -> None:
    """
    Write a set to a file, which appears whole or not at all. Waits for the
    disk: not for the reactor's thread.

    @param data: What a builder's C{build} gave.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=target.name + ".", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


class DomainSet:
    """
    Names, with the lists that have them. Immutable.

    @ivar header: The facts of the file.
    @ivar lookup: Find the most specific entry that speaks of a name (lower
        case, wire form): a L{Place} or L{None}. Of several lists that have
        it, the first selected one counts.
    @ivar matches: Find all such entries, most specific first: a list of
        L{Place}s.
    """

    __slots__ = ("_buffer", "_selected", "_tableClass", "header", "lookup", "matches")

    lookup: Callable[[bytes], Place | None]
    matches: Callable[[bytes], list[Place]]

    def __init__(
        self,
        buffer: Any,
        place: str = "set of names",
        *,
        header: Header | None = None,
        selected: bytes | None = None,
        compiled: bool = COMPILED,
    ) -> None:
        """
        @param buffer: The whole file, C{bytes} or C{mmap}.
        @param place: What to call it in an error.
        @param header: Its header, if it has been read already.
        @param selected: An octet for each source: zero for those that don't
            count. All count by default.
        @param compiled: Use the compiled twin?
        @raise PolicyError: It is no set, or damaged.
        """
        self.header = readHeader(buffer, place) if header is None else header
        self._buffer = buffer
        self._selected = bytes([1]) * len(self.header.sources) if selected is None else selected
        self._tableClass: Any = _settable.Table if compiled else PythonTable
        table = self._tableClass(buffer, self.header, self._selected)
        self.lookup = table.lookup
        self.matches = table.matches

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DomainSet:
        """
        Map a file. Looks at its header only: a few microseconds, whatever its
        size. The file may be replaced or deleted afterwards, but must not be
        written to.

        @raise PolicyError: It isn't there, is no set, or is damaged.
        """
        place = os.fspath(path)
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_size < HEADER_SIZE:
                    raise PolicyError(place, "no compiled set of names")
                buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as reason:
            raise PolicyError(place, reason.strerror or str(reason)) from None
        return cls(buffer, place)

    @classmethod
    def build(cls, lists: Iterable[tuple[str, Iterable[tuple[bytes, int]]]]) -> DomainSet:
        """
        Make a set in memory.

        @param lists: The name of each list, and its wire names with lines.
        @raise PolicyError: A name can't be kept.
        """
        builder = newBuilder()
        for source, entries in lists:
            builder.addSource(source)
            for name, line in entries:
                builder.add(name, line)
        return cls(builder.build())

    @classmethod
    def parse(cls, text: str, source: str = "inline") -> DomainSet:
        """
        Make a set of the names in a text, separated by white space.

        @param text: Such as C{"ads.example.org tracker.example.org"}.
        @param source: What to call the list.
        @raise InvalidName: Something is no name.
        @raise PolicyError: A name can't be kept.
        """
        names = [fromText(word) for word in text.split()]
        return cls.build([(source, [(name, line) for line, name in enumerate(names, 1)])])

    @property
    def sources(self) -> tuple[SetSource, ...]:
        """
        All lists in the set, whether they count or not; a L{Place}'s first
        item is an index into this.
        """
        return self.header.sources

    @property
    def selected(self) -> tuple[str, ...]:
        """
        The names of the lists that count.
        """
        return tuple(
            source.name
            for source, chosen in zip(self.sources, self._selected, strict=True)
            if chosen
        )

    def select(self, names: Iterable[str]) -> DomainSet:
        """
        Give the same set with only some lists counting; shares all memory.

        @param names: Names of lists; one that isn't in the set is one whose
            entries nobody has yet, and no error.
        """
        wanted = frozenset(names)
        return DomainSet(
            self._buffer,
            header=self.header,
            selected=bytes(source.name in wanted for source in self.sources),
            compiled=self._tableClass is not PythonTable,
        )

    def isSame(self, other: DomainSet) -> bool:
        """
        Are these the same lists of the same set in memory, or of the same file
        as it was mapped once?
        """
        return self._buffer is other._buffer and self._selected == other._selected

    def verify(self, place: str = "set of names") -> None:
        """
        Read the whole set and compare its checksum. Waits for the disk: not
        for the reactor's thread.

        @param place: What to call it in the error.
        @raise PolicyError: It is damaged.
        """
        view = memoryview(self._buffer)
        checksum = 0
        for start in range(HEADER_SIZE, len(view), 1 << 20):
            checksum = zlib.crc32(view[start : start + (1 << 20)], checksum)
        if checksum != self.header.checksum:
            raise PolicyError(place, "compiled set with a wrong checksum")

    def __len__(self) -> int:
        """
        How many distinct names all lists have together.
        """
        return self.header.names

    def __repr__(self) -> str:
        return f"<DomainSet of {len(self)} names from {len(self.sources)} lists>"
