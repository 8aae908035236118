# -*- test-case-name: tests.querystore.test_rows -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a row of the query store holds, and how many rows travel together.

Most of a row is shared: many queries have the same name and outcome, and many
come from the same client. A L{Block} therefore holds each set of shared texts
once, as a I{fragment}, and 32 octets a row that refer to two of them. That is
what is buffered, spooled to disk, sent to the embedded engine's process and
turned into ClickHouse's RowBinary, in which fragments are copied as they are.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from dnsguard.notes import SKIP
from dnsguard.wire.mnemonics import className, rCodeName, typeName
from dnsguard.wire.names import ROOT, toText
from dnsguard.wire.summary import summarize

if TYPE_CHECKING:
    from dnsguard.answer import Answer
    from dnsguard.policy.decision import Attribution

try:
    from dnsguard.querystore._facts import plainFragment  # type: ignore[import-not-found]
except ImportError:  # Built where there was no compiler: the long way, always.
    plainFragment = None

__all__ = [
    "CLIENT_COLUMNS",
    "COLUMNS",
    "ENCODED_COLUMNS",
    "FACT_COLUMNS",
    "FRAGMENT_OVERHEAD",
    "PROTOCOLS",
    "ROW",
    "SKIP",
    "Block",
    "BrokenBlock",
    "Column",
    "Kind",
    "factFragment",
    "factFrame",
    "fragment",
    "framedFact",
    "plainFragment",
    "texts",
    "transportOf",
]


class Kind(enum.Enum):
    """
    What sort of values a column holds.
    """

    TIME = "time"
    TEXT = "text"
    WORD = "word"
    NUMBER = "number"


@attrs.frozen
class Column:
    """
    One column.

    @ivar name: Its name in every engine.
    @ivar kind: Words are texts of which there are few.
    """

    name: str
    kind: Kind


COLUMNS = (
    Column("ts", Kind.TIME),
    Column("client_ip", Kind.TEXT),
    Column("client_name", Kind.TEXT),
    Column("protocol", Kind.WORD),
    Column("qname", Kind.TEXT),
    Column("qtype", Kind.WORD),
    Column("qclass", Kind.WORD),
    Column("outcome", Kind.WORD),
    Column("rcode", Kind.WORD),
    Column("duration_ms", Kind.NUMBER),
    Column("cache_lookup_ms", Kind.NUMBER),
    Column("network_write_ms", Kind.NUMBER),
    Column("upstream_address", Kind.WORD),
    Column("answer", Kind.TEXT),
    Column("rule", Kind.TEXT),
    Column("list", Kind.WORD),
    Column("client_group", Kind.WORD),
    Column("dnssec", Kind.WORD),
    Column("upstream_transport", Kind.WORD),
    Column("instance", Kind.WORD),
)
"""The columns of a row, in the order in which people see them."""

CLIENT_COLUMNS = ("client_ip", "client_name")
"""What a client fragment holds."""

FACT_COLUMNS = (
    "qname",
    "qtype",
    "qclass",
    "outcome",
    "rcode",
    "upstream_address",
    "answer",
    "rule",
    "list",
    "client_group",
    "dnssec",
    "upstream_transport",
)
"""What a fact fragment holds."""

ENCODED_COLUMNS = (
    "ts",
    *CLIENT_COLUMNS,
    *FACT_COLUMNS,
    "protocol",
    "duration_ms",
    "cache_lookup_ms",
    "network_write_ms",
    "instance",
)
"""The order of columns in RowBinary: fragments stay in one piece."""

PROTOCOLS = ("udp", "tcp", "dot", "doh", "doq", "internal")
"""The words for a row's protocol number, which is the place in here."""

ROW = struct.Struct("=qIIIIIB3x")
"""
A row: milliseconds since the epoch, client, fact, then microseconds in all, of
cache lookup and of writing, then the protocol.
"""

FRAGMENT_OVERHEAD = 192
"""Octets that a fragment takes in memory besides its own, its place in tables included."""

MAX_TEXT = 1200
"""Octets in one text; a name of 255 octets all escaped has 1004."""

BOGUS = frozenset([6, 7, 8, 9, 10, 11, 12])
"""Extended errors of answers that didn't validate (RFC 8914 §4.7 to 4.13)."""

INDETERMINATE = 5
"""The extended error of what can't be validated (RFC 8914 §4.6)."""

_TRANSPORTS = {"udp": "udp", "tcp": "tcp", "tls": "dot", "https": "doh", "quic": "doq"}


class BrokenBlock(ValueError):
    """
    These octets are no block, or not all of one.
    """


def _text(value: str) -> bytes:
    """
    Encode one text as RowBinary has it: its length in LEB128, then UTF-8.
    """
    octets = value.encode("utf-8", "replace")
    if len(octets) > MAX_TEXT:
        octets = octets[:MAX_TEXT].decode("utf-8", "ignore").encode("utf-8")
    length = len(octets)
    if length < 128:
        return bytes((length,)) + octets
    return bytes((length & 127 | 128, length >> 7)) + octets


def fragment(values: Sequence[str]) -> bytes:
    """
    Encode texts one behind the other.
    """
    return b"".join(map(_text, values))


def texts(octets: bytes) -> tuple[str, ...]:
    """
    Decode a fragment.
    """
    found = []
    at = 0
    while at < len(octets):
        length = octets[at]
        at += 1
        if length & 128:
            length = length & 127 | octets[at] << 7
            at += 1
        found.append(octets[at : at + length].decode("utf-8"))
        at += length
    return tuple(found)


def transportOf(upstream: str) -> str:
    """
    Tell how an upstream is spoken to, by the scheme in its address; without
    one it is UDP.
    """
    if not upstream:
        return ""
    scheme, separator, _ = upstream.partition("://")
    return _TRANSPORTS.get(scheme, scheme) if separator else "udp"


def factFragment(
    qname: bytes,
    type: int,
    cls: int,
    outcome: str,
    rCode: int | None,
    groupID: str,
    attribution: Attribution | None,
    answer: Answer,
    upstreamTransport: str,
) -> bytes:
    """
    Encode what a query shares with others that were answered alike.

    @param rCode: L{None} when no reply was sent.
    """
    frame = factFrame(type, cls, outcome, rCode, groupID, attribution, answer, upstreamTransport)
    return framedFact(qname, type, cls, answer, frame)


Frame = tuple[bytes, bytes]
"""What stands between the name and the summary of a fact, and behind that."""


def factFrame(
    type: int,
    cls: int,
    outcome: str,
    rCode: int | None,
    groupID: str,
    attribution: Attribution | None,
    answer: Answer,
    upstreamTransport: str,
) -> Frame:
    """
    Encode that of a fact which it has in common with those of many other names;
    as L{factFragment}.
    """
    words = _words(type, cls, outcome, rCode, answer.upstream)
    rest = _rest(
        attribution.source if attribution else "", groupID, _dnssec(answer), upstreamTransport
    )
    return words, (_text(attribution.rule) if attribution else b"\0") + rest


def framedFact(qname: bytes, type: int, cls: int, answer: Answer, frame: Frame) -> bytes:
    """
    Encode a fact whose frame is encoded; as L{factFragment}.
    """
    wire, layout = answer.wire, answer.layout
    if wire is None or layout is None:
        wire, layout = answer.encoded(qname + struct.pack("!HH", type, cls))
    words, rest = frame
    if plainFragment is not None:
        made: bytes | None = plainFragment(
            qname, words, wire, layout.questionEnd, layout.counts[1], rest
        )
        if made is not None:
            return made
    name = _text("-" if qname == ROOT else toText(qname))
    return b"".join((name, words, _text(summarize(wire, layout)), rest))


@lru_cache(maxsize=4096)
def _words(type: int, cls: int, outcome: str, rCode: int | None, upstream: str) -> bytes:
    """
    Encode what stands between a fact's name and its answer: there are few such
    combinations.
    """
    code = "-" if rCode is None else rCodeName(rCode)
    return fragment((typeName(type), className(cls), outcome, code, upstream))


@lru_cache(maxsize=4096)
def _rest(*words: str) -> bytes:
    """
    Encode what stands behind a fact's rule.
    """
    return fragment(words)


def _dnssec(answer: Answer) -> str:
    """
    Say what is known of an answer's validation; empty when nothing is.
    """
    if answer.authenticData:
        return "secure"
    if answer.extendedError is None:
        return ""
    if answer.extendedError.code in BOGUS:
        return "bogus"
    return "indeterminate" if answer.extendedError.code == INDETERMINATE else ""


_HEADER = struct.Struct("=4sH16sIIIHI")
_CHECKSUM = struct.Struct("=I")
_MAGIC = b"DGQB"
_VERSION = 1


@attrs.frozen(eq=False)
class Block:
    """
    Rows that are delivered together, or not at all.

    @ivar id: 16 random octets; an engine stores a block of one id once.
    @ivar instance: The name of the server that made it.
    @ivar rows: Records of L{ROW}.
    @ivar clients: Client fragments.
    @ivar facts: Fact fragments.
    @ivar octets: What it takes in memory, about.
    """

    id: bytes
    instance: str
    rows: bytes
    clients: tuple[bytes, ...]
    facts: tuple[bytes, ...]
    octets: int = attrs.field(init=False)

    @octets.default
    def _sum(self) -> int:
        fragments = FRAGMENT_OVERHEAD * (len(self.clients) + len(self.facts))
        return len(self.rows) + sum(map(len, self.clients)) + sum(map(len, self.facts)) + fragments

    def __len__(self) -> int:
        return len(self.rows) // ROW.size

    @property
    def token(self) -> str:
        """
        The id as text.
        """
        return self.id.hex()

    def encode(self) -> bytes:
        """
        Give the block as octets, with a checksum.
        """
        instance = self.instance.encode("utf-8")
        fragments = [*self.clients, *self.facts]
        body = b"".join(
            (
                instance,
                struct.pack(f"={len(fragments)}H", *map(len, fragments)),
                *fragments,
                self.rows,
            )
        )
        header = _HEADER.pack(
            _MAGIC,
            _VERSION,
            self.id,
            len(self),
            len(self.clients),
            len(self.facts),
            len(instance),
            len(body),
        )
        checksum = _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(header)))
        return b"".join((header, body, checksum))

    @classmethod
    def decode(cls, octets: bytes) -> Block:
        """
        Read a block.

        @raise BrokenBlock: Something is missing, left over or changed.
        """
        if len(octets) < _HEADER.size + _CHECKSUM.size:
            raise BrokenBlock("shorter than a header")
        magic, version, id, count, clients, facts, name, size = _HEADER.unpack_from(octets)
        if magic != _MAGIC or version != _VERSION:
            raise BrokenBlock("not a block of this version")
        body = octets[_HEADER.size : -_CHECKSUM.size]
        (checksum,) = _CHECKSUM.unpack_from(octets, len(octets) - _CHECKSUM.size)
        if len(body) != size or zlib.crc32(memoryview(octets)[: -_CHECKSUM.size]) != checksum:
            raise BrokenBlock("cut short or damaged")
        lengths = struct.unpack_from(f"={clients + facts}H", body, name)
        at = name + 2 * len(lengths)
        fragments = []
        for length in lengths:
            fragments.append(body[at : at + length])
            at += length
        rows = body[at:]
        if len(rows) != count * ROW.size:
            raise BrokenBlock("another number of rows than announced")
        return cls(
            id,
            body[:name].decode("utf-8"),
            rows,
            tuple(fragments[:clients]),
            tuple(fragments[clients:]),
        )

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """
        Walk over the rows as tuples of all L{COLUMNS}: C{ts} and the times in
        milliseconds, the rest text.
        """
        known: dict[bytes, tuple[str, ...]] = {}

        def decoded(made: bytes) -> tuple[str, ...]:
            found = known.get(made)
            if found is None:
                found = known[made] = texts(made)
            return found

        for when, client, fact, took, cache, write, protocol in self.records():
            qname, qtype, qclass, outcome, rcode, upstream, *rest = decoded(self.facts[fact])
            yield (
                when,
                *decoded(self.clients[client]),
                PROTOCOLS[protocol],
                qname,
                qtype,
                qclass,
                outcome,
                rcode,
                took / 1000,
                cache / 1000,
                write / 1000,
                upstream,
                *rest,
                self.instance,
            )

    def newest(self, count: int) -> Block:
        """
        Give a block of the last rows alone.
        """
        return attrs.evolve(self, rows=self.rows[-count * ROW.size :])

    def records(self) -> Iterator[tuple[int, int, int, int, int, int, int]]:
        """
        Walk over the rows as L{ROW} has them.
        """
        return ROW.iter_unpack(self.rows)
