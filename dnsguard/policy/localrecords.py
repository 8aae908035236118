# -*- test-case-name: tests.policy.test_localrecords -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Names that the operator answers for.

Not zones: each name stands alone, and whatever isn't named here is somebody
else's. But a name that is here is wholly here: a type it doesn't have is "no
data", and never asked upstream, where an internal name has no business.
Records are turned into octets when the policy is built, so that an answer is
a lookup and a join.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import ClassVar, TypeVar

import attrs

from dnsguard.policy.presentation import RecordError, parseName, parseType, parseValue
from dnsguard.policy.problems import Problems
from dnsguard.wire.names import fromText, parent, toText
from dnsguard.wire.records import Record

__all__ = ["DEFAULT_TTL", "LocalAnswer", "LocalRecords", "RecordSpec"]

DEFAULT_TTL = 3600
"""Seconds that a local record may be kept, where nothing else is said."""

NEGATIVE_TTL = 300
"""
Seconds that "this name has nothing of that type" may be kept: short, as the
operator may add it any moment.
"""

TTL_LIMIT = 0x7FFFFFFF
"""The longest TTL (RFC 2181 §8)."""

NAME_LIMIT = 60000
"""Octets of all records of one name: what fits in a message with room to spare."""

CHAIN_LIMIT = 16
"""Aliases followed from one to the next."""

_A, _CNAME, _PTR, _AAAA, _ANY = 1, 5, 12, 28, 255
_WILDCARD = b"\1*"

_Text = TypeVar("_Text")
_Read = TypeVar("_Read")

Node = Mapping[int, tuple[Record, ...]]
"""All records of one name, by type. An empty one: ask upstream after all."""


@attrs.frozen
class RecordSpec:
    """
    One local record, as it was written.

    @ivar name: Whose it is; C{*.} in front stands for every name below that
        has no record of its own.
    @ivar type: The type's mnemonic.
    @ivar value: The value in presentation form; a tuple: the strings of a TXT.
        A CNAME whose value is its own name exempts that name from wildcards.
    @ivar ttl: Seconds, or L{None} for the default.
    @ivar place: Where it was written, for problems.
    """

    name: str
    type: str
    value: str | tuple[str, ...]
    ttl: int | None = None
    place: str = "local_records"


@attrs.frozen(slots=True)
class LocalAnswer:
    """
    What local records say to one question.

    @ivar answer: The records, aliases first.
    @ivar authority: The SOA record when the last name has nothing of the type.
    @ivar target: The name an alias leads to that isn't local: somebody else
        must be asked for it; L{None} when the answer is complete.
    """

    answer: tuple[Record, ...]
    authority: tuple[Record, ...] = ()
    target: bytes | None = None


class LocalRecords:
    """
    All names the operator answers for. Immutable.

    @ivar names: How many names there are, wildcards and reverse ones included.
    """

    NONE: ClassVar[LocalRecords]

    def __init__(self, exact: Mapping[bytes, Node], wildcards: Mapping[bytes, Node]) -> None:
        """
        Use L{build}.

        @param exact: The nodes of plain names.
        @param wildcards: Those of wildcards, by the name behind the star.
        """
        self._exact = exact
        self._wildcards = wildcards
        self.names = len(exact) + len(wildcards)

    @classmethod
    def build(
        cls,
        specs: Iterable[RecordSpec],
        imported: Iterable[RecordSpec] = (),
        *,
        defaultTTL: int = DEFAULT_TTL,
        automaticPTR: bool = True,
    ) -> LocalRecords:
        """
        Make local records of what was written.

        @param specs: The operator's own records.
        @param imported: Those of hosts files: a name that the operator writes
            of counts only as the operator wrote it.
        @param automaticPTR: Have each address point back to the first name
            that has it, unless a PTR record was written for it.
        @raise InvalidPolicy: All that is wrong with them.
        """
        reader = _Reader(defaultTTL)
        for spec in specs:
            reader.read(spec)
        reader.imports(imported)
        if automaticPTR:
            reader.pointBack()
        return reader.finish()

    def find(self, qname: bytes, type: int) -> LocalAnswer | None:
        """
        Say what is known of a name. Takes microseconds.

        @param qname: The name, lower-cased, in wire form.
        @param type: The type asked for; 255 asks for all.
        @return: L{None} when the name isn't ours.
        """
        node = self._node(qname)
        if not node:
            return None
        aliases: list[Record] = []
        name = qname
        while node:
            records = _allOf(node) if type == _ANY else node.get(type)
            if records is not None:
                return LocalAnswer((*aliases, *_owned(records, name)))
            alias = node.get(_CNAME)
            if alias is None:
                return LocalAnswer(tuple(aliases), (Record.soa(name, NEGATIVE_TTL),))
            aliases.extend(_owned(alias, name))
            name = alias[0].data.lower()
            if len(aliases) == CHAIN_LIMIT or any(name == link.owner for link in aliases):
                # Wildcards can lead in circles that no reading of the records
                # finds; what there is of the chain is the answer then.
                return LocalAnswer(tuple(aliases))
            node = self._node(name)
        return LocalAnswer(tuple(aliases), (), name)

    def isSame(self, other: LocalRecords) -> bool:
        """
        Are these the same records?
        """
        return self._exact == other._exact and self._wildcards == other._wildcards

    def __contains__(self, qname: bytes) -> bool:
        return bool(self._node(qname))

    def _node(self, qname: bytes) -> Node | None:
        """
        All records of a name: its own, or the most specific wildcard's.
        """
        node = self._exact.get(qname)
        if node is not None or not self._wildcards:
            return node
        name = qname
        while name[0]:
            name = parent(name)
            node = self._wildcards.get(name)
            if node is not None:
                # A wildcard alias to the very name asked for says: not this one.
                alias = node.get(_CNAME)
                return None if alias and alias[0].data.lower() == qname else node
        return None


LocalRecords.NONE = LocalRecords({}, {})


def _allOf(node: Node) -> tuple[Record, ...]:
    return tuple(record for records in node.values() for record in records)


def _owned(records: tuple[Record, ...], name: bytes) -> Iterable[Record]:
    """
    Give a node's records to the name asked for, which a wildcard's aren't yet.
    """
    if records[0].owner == name:
        return records
    return [record.ownedBy(name) for record in records]


class _Reader:
    """
    Reads specs into nodes, noting all problems.
    """

    def __init__(self, defaultTTL: int) -> None:
        self.problems = Problems()
        self.defaultTTL = defaultTTL
        self.nodes: dict[bytes, dict[int, list[Record]]] = {}
        self.places: dict[bytes, str] = {}
        self.pointers: dict[bytes, Record] = {}

    def read(self, spec: RecordSpec) -> None:
        """
        Add one record, or note what is wrong with it.
        """
        record = self.parse(spec)
        if record is not None:
            self.add(record, spec)

    def add(self, record: Record, spec: RecordSpec) -> None:
        """
        Add one record that was read.
        """
        node = self.nodes.setdefault(record.owner, {})
        self.places.setdefault(record.owner, spec.place)
        same = node.setdefault(record.type, [])
        if all(record.data != other.data for other in same):
            same.append(record)
        if _CNAME in node and (len(node) > 1 or len(node[_CNAME]) > 1):
            # RFC 1034 §3.6.2
            self.problems.note(
                spec.place, f"an alias stands alone: {spec.name} has other records too"
            )
        self.noteAddress(record)

    def parse(self, spec: RecordSpec) -> Record | None:
        """
        Read one spec; L{None} when something is wrong with it.
        """
        ttl = self.defaultTTL if spec.ttl is None else spec.ttl
        owner = self.attempt(f"{spec.place}.name", _owner, spec.name)
        type = self.attempt(f"{spec.place}.type", parseType, spec.type)
        if not 0 <= ttl <= TTL_LIMIT:
            self.problems.note(f"{spec.place}.ttl", f"a TTL is 0 to {TTL_LIMIT} seconds")
        elif owner is not None and type is not None:
            data = self.attempt(f"{spec.place}.value", partial(parseValue, type), spec.value)
            return None if data is None else Record.make(owner, type, ttl, data)
        return None

    def attempt(self, place: str, read: Callable[[_Text], _Read], text: _Text) -> _Read | None:
        """
        Read something, or note why it can't be read.
        """
        try:
            return read(text)
        except RecordError as reason:
            self.problems.note(place, str(reason))
            return None

    def imports(self, imported: Iterable[RecordSpec]) -> None:
        """
        Add records of names that the operator wrote nothing of.
        """
        written = set(self.nodes)
        for spec in imported:
            record = self.parse(spec)
            if record is not None and record.owner not in written:
                self.add(record, spec)

    def noteAddress(self, record: Record) -> None:
        """
        Remember the first name of each address.
        """
        if record.type not in (_A, _AAAA) or record.owner.startswith(_WILDCARD):
            return
        address = ipaddress.ip_address(record.data)
        if address.is_unspecified or address.is_multicast:
            return
        pointer = Record.make(fromText(address.reverse_pointer), _PTR, record.ttl, record.owner)
        self.pointers.setdefault(pointer.owner, pointer)

    def pointBack(self) -> None:
        """
        Add the pointers whose place nobody wrote of.
        """
        for owner, pointer in self.pointers.items():
            if owner not in self.nodes:
                self.nodes[owner] = {_PTR: [pointer]}

    def finish(self) -> LocalRecords:
        """
        Make the records, if nothing is wrong.
        """
        exact: dict[bytes, Node] = {}
        wildcards: dict[bytes, Node] = {}
        for owner, node in self.nodes.items():
            frozen = {type: _oneTTL(records) for type, records in node.items()}
            if sum(len(record.body) for record in _allOf(frozen)) > NAME_LIMIT:
                self.problems.note(
                    self.places[owner], f"{toText(owner)}: more records than a message holds"
                )
            alias = frozen.get(_CNAME)
            if alias and alias[0].data.lower() == owner:
                frozen = {}
            if owner.startswith(_WILDCARD):
                wildcards[parent(owner)] = frozen
            else:
                exact[owner] = frozen
        self.findCircles(exact)
        self.problems.check()
        return LocalRecords(exact, wildcards)

    def findCircles(self, exact: Mapping[bytes, Node]) -> None:
        """
        Note each circle of aliases once.
        """
        done: set[bytes] = set()
        for start in exact:
            path: list[bytes] = []
            name = start
            while name in exact and name not in done and _CNAME in exact[name]:
                done.add(name)
                path.append(name)
                name = exact[name][_CNAME][0].data.lower()
            if name in path:
                circle = [*path[path.index(name) :], name]
                words = " -> ".join(map(toText, circle))
                self.problems.note(self.places[circle[0]], f"aliases lead in a circle: {words}")


def _oneTTL(records: list[Record]) -> tuple[Record, ...]:
    """
    Give all records of a name and type the least TTL among them: they go
    together (RFC 2181 §5.2).
    """
    least = min(record.ttl for record in records)
    return tuple(record.capped(least) for record in records)


def _owner(text: str) -> bytes:
    """
    Read an owner name: at most one star, in front.
    """
    if not text.strip(". "):
        raise RecordError("a name is missing")
    owner = parseName(text.strip())
    if b"*" in (owner[2:] if owner.startswith(_WILDCARD) else owner):
        raise RecordError(f"one star, as the whole first label: {text[:60]!r}")
    return owner
