# -*- test-case-name: tests.querystore.test_rows -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a row of the query store holds.

Most of a row is shared: many queries have the same name and outcome, and many
come from the same client. Each set of shared texts is therefore encoded once, as
a I{fragment}, and 32 octets a row refer to two of them. Fragments are as they are
in ClickHouse's RowBinary, into which they are copied.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

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
