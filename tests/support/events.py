# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Queries answered, as tests need them.
"""

from __future__ import annotations

from typing import Any

from twisted.names import dns

from dnsguard.answer import Answer, Outcome
from dnsguard.observers.event import QueryEvent
from dnsguard.policy.decision import Attribution
from dnsguard.policy.view import View
from dnsguard.query import Asker, ClientQuery, Transport
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.names import fromText

NOON = 1_700_000_000.0
"""2023-11-14 22:13:20 UTC."""


def answerOf(outcome: Outcome = Outcome.UPSTREAM, *addresses: str, **facts: Any) -> Answer:
    """
    Make an answer of A records.
    """
    records = [
        dns.RRHeader(b"www.example.org", dns.A, dns.IN, 60, dns.Record_A(address))
        for address in addresses
    ]
    return Answer.fromRecords(records, outcome=outcome, **facts)


def eventOf(
    name: str = "www.example.org",
    outcome: Outcome = Outcome.UPSTREAM,
    *addresses: str,
    client: str = "192.0.2.1",
    clientName: str = "",
    group: str = "",
    type: int = dns.A,
    transport: Transport = Transport.UDP,
    finished: float = NOON,
    duration: float = 0.0125,
    replySize: int = 60,
    cacheSeconds: float = 0.0,
    writeSeconds: float = 0.0,
    **facts: Any,
) -> QueryEvent:
    """
    Make one event.

    @param facts: Keyword arguments of the answer.
    """
    query = ClientQuery(
        fromText(name),
        type,
        asker=Asker(client, clientName, group),
        transport=transport,
        view=View(0, group),
    )
    return QueryEvent(
        query,
        answerOf(outcome, *addresses, **facts),
        finished,
        duration,
        replySize,
        cacheSeconds,
        writeSeconds,
    )


def entryFor(
    name: str = "www.example.org",
    outcome: Outcome = Outcome.CACHED,
    *addresses: str,
    group: str = "",
    attribution: Attribution | None = None,
    rCode: int = 0,
) -> ReplayedAnswer:
    """
    Make what a replay store keeps of an answer.
    """
    return ReplayedAnswer(
        fromText(name),
        dns.A,
        dns.IN,
        outcome,
        rCode,
        group,
        attribution,
        answerOf(outcome, *addresses),
    )
