# -*- test-case-name: tests.observers.test_loglines -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One line of text for each query.

What a line is made of is either a fact many queries share (who, what, how it
ended) or a number of its own (when, how long). Shared parts are formatted once
and kept, so that a replayed query costs one join of ready pieces.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, NamedTuple

from dnsguard.wire.mnemonics import className, rCodeName, typeName
from dnsguard.wire.names import ROOT, toText

if TYPE_CHECKING:
    from dnsguard.observers.event import QueryEvent
    from dnsguard.replay.entry import ReplayedAnswer

__all__ = ["REPLAY_RECORD", "JSONLines", "LogEntry", "TextLines", "entryOf", "nameText"]

REPLAY_RECORD = struct.Struct("=qQIHBB16s")
"""A record of L{dnsguard.interfaces.IReplayBatch}."""

REPLAY_TRANSPORTS = ("udp", "tcp")

MAX_KEPT = 20_000
"""Ready pieces kept of each sort before all are forgotten."""

_UNSAFE = dict.fromkeys([*range(0x21), 0x7F, 0x85, 0xA0, 0x2028, 0x2029], "_")


class LogEntry(NamedTuple):
    """
    What a line needs of one query; holds no answer and no packet.
    """

    finished: float
    duration: float
    cacheSeconds: float
    writeSeconds: float
    address: str
    transport: str
    qname: bytes
    type: int
    cls: int
    outcome: str
    rCode: int
    replied: bool
    upstream: str


def entryOf(event: QueryEvent) -> LogEntry:
    """
    Take from an event what a line needs.
    """
    query, answer = event.query, event.answer
    return LogEntry(
        event.finished,
        event.duration,
        event.cacheSeconds,
        event.writeSeconds,
        query.asker.address,
        query.transport.value,
        query.qname,
        query.type,
        query.cls,
        answer.outcome.value,
        answer.rCode,
        event.replySize > 0,
        answer.upstream,
    )


def nameText(qname: bytes) -> str:
    """
    Give a name as logs and rows show it: the root is C{-}.
    """
    return "-" if qname == ROOT else toText(qname)


class _Lines:
    """
    What both formats share: ready pieces, kept for a while.
    """

    def __init__(
        self,
        identify: Callable[[str, str], tuple[str, str]],
        firstID: int = 0,
    ) -> None:
        """
        @param identify: What may be shown of a client's address and name.
        @param firstID: Where the query ids begin.
        """
        self._identify = identify
        self._id = firstID
        self._second = -1
        self._secondText = ""
        self._clients: dict[str, str] = {}
        self._packed: dict[tuple[int, bytes], str] = {}

    def _timestamp(self, milliseconds: int) -> str:
        """
        Give a time as RFC 3339 shows it, in UTC.
        """
        second, thousandths = divmod(milliseconds, 1000)
        if second != self._second:
            self._second = second
            self._secondText = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._secondText}.{thousandths:03d}Z"

    def _client(self, address: str) -> str:
        """
        Give what is shown of a client, with nothing in it that could end a
        field or a line.
        """
        shown = self._clients.get(address)
        if shown is None:
            if len(self._clients) >= MAX_KEPT:
                self._clients.clear()
            shown = self._identify(address, "")[0].translate(_UNSAFE) or "-"
            self._clients[address] = shown
        return shown

    def _packedClient(self, family: int, packed: bytes) -> str:
        """
        Give what is shown of a client known by its packed address.
        """
        shown = self._packed.get((family, packed))
        if shown is None:
            if len(self._packed) >= MAX_KEPT:
                self._packed.clear()
            if family == 4:
                address = socket.inet_ntop(socket.AF_INET, packed[:4])
            else:
                address = socket.inet_ntop(socket.AF_INET6, packed)
            shown = self._packed[family, packed] = self._client(address)
        return shown

    def replayed(self, records: bytes, entries: Mapping[int, ReplayedAnswer]) -> Iterator[str]:
        """
        Make the lines of replayed queries.

        @param records: Whole records of L{dnsguard.interfaces.IReplayBatch}.
        @param entries: The facts of all entries in them.
        """
        middles: dict[int, str] = {}
        for when, number, took, _, transport, family, packed in REPLAY_RECORD.iter_unpack(records):
            middle = middles.get(number)
            if middle is None:
                middle = middles[number] = self._facts(entries[number])
            yield self._replayedLine(
                (when + took) // 1_000_000,
                self._packedClient(family, packed),
                REPLAY_TRANSPORTS[transport],
                middle,
                took / 1e6,
            )

    def _facts(self, entry: ReplayedAnswer) -> str:
        raise NotImplementedError

    def _replayedLine(
        self, milliseconds: int, client: str, protocol: str, facts: str, duration: float
    ) -> str:
        raise NotImplementedError


class TextLines(_Lines):
    """
    Lines of C{key=value} pairs for people and C{grep}.
    """

    def line(self, entry: LogEntry) -> str:
        """
        Make the line of one query.
        """
        if entry.cacheSeconds or entry.writeSeconds:
            times = (
                f"duration_ms={entry.duration * 1e3:.3f}"
                f" cache_lookup_ms={entry.cacheSeconds * 1e3:.3f}"
                f" network_write_ms={entry.writeSeconds * 1e3:.3f}"
            )
        else:
            times = f"duration_ms={entry.duration * 1e3:.2f}"
        facts = _textFacts(
            entry.qname, entry.type, entry.cls, entry.outcome, entry.rCode, entry.replied
        )
        upstream = entry.upstream.translate(_UNSAFE) or "-"
        return (
            f"{self._timestamp(int(entry.finished * 1000))} client={self._client(entry.address)}"
            f" protocol={entry.transport} {facts} {times} upstream={upstream}\n"
        )

    def _facts(self, entry: ReplayedAnswer) -> str:
        return _textFacts(
            entry.qname, entry.type, entry.cls, entry.outcome.value, entry.rCode, True
        )

    def _replayedLine(
        self, milliseconds: int, client: str, protocol: str, facts: str, duration: float
    ) -> str:
        return (
            f"{self._timestamp(milliseconds)} client={client} protocol={protocol} {facts}"
            f" duration_ms={duration:.2f} upstream=-\n"
        )


def _textFacts(qname: bytes, type: int, cls: int, outcome: str, rCode: int, replied: bool) -> str:
    """
    What was asked and how it ended.
    """
    return (
        f"qname={nameText(qname)} qtype={typeName(type)} qclass={className(cls)}"
        f" outcome={outcome} rcode={rCodeName(rCode) if replied else '-'}"
    )


class JSONLines(_Lines):
    """
    One JSON object a line, keys always in the same order.
    """

    def line(self, entry: LogEntry) -> str:
        """
        Make the line of one query.
        """
        facts = _jsonFacts(
            entry.qname, entry.type, entry.cls, entry.outcome, entry.rCode, entry.replied
        )
        tail = ""
        if entry.cacheSeconds:
            tail += f',"cache_lookup_ms":{entry.cacheSeconds * 1e3:.3f}'
        if entry.writeSeconds:
            tail += f',"network_write_ms":{entry.writeSeconds * 1e3:.3f}'
        if entry.upstream:
            tail += f',"upstream_address":{quoted(entry.upstream)}'
        return (
            f"{self._head(int(entry.finished * 1000))}{quoted(self._client(entry.address))}"
            f',"protocol":"{entry.transport}",{facts}'
            f',"duration_ms":{entry.duration * 1e3:.3f}{tail}}}\n'
        )

    def _head(self, milliseconds: int) -> str:
        """
        The keys before the client's address.
        """
        # An odd step visits each of the 2^48 ids once before any comes again.
        self._id = (self._id + 0x9E3779B97F4B) & 0xFFFFFFFFFFFF
        return (
            f'{{"query_id":"{self._id:012x}","timestamp":"{self._timestamp(milliseconds)}"'
            f',"client_ip":'
        )

    def _facts(self, entry: ReplayedAnswer) -> str:
        return _jsonFacts(
            entry.qname, entry.type, entry.cls, entry.outcome.value, entry.rCode, True
        )

    def _replayedLine(
        self, milliseconds: int, client: str, protocol: str, facts: str, duration: float
    ) -> str:
        return (
            f'{self._head(milliseconds)}"{client}","protocol":"{protocol}",{facts}'
            f',"duration_ms":{duration:.3f}}}\n'
        )


def _jsonFacts(qname: bytes, type: int, cls: int, outcome: str, rCode: int, replied: bool) -> str:
    """
    What was asked and how it ended.
    """
    return (
        f'"qname":{quoted(nameText(qname))},"qtype":"{typeName(type)}"'
        f',"qclass":"{className(cls)}","outcome":"{outcome}"'
        f',"rcode":"{rCodeName(rCode) if replied else "-"}"'
    )
