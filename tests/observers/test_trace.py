# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.trace}.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs, formatEvent
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Outcome
from dnsguard.interfaces import IQueryObserver
from dnsguard.observers.applog import ApplicationLog, LineWriter
from dnsguard.observers.trace import (
    LINES_PER_BATCH,
    LINES_PER_SECOND,
    MOST_LOOKED_AT,
    TraceEvent,
    Tracer,
)
from dnsguard.policy.clients import contains, normalized, parseNetwork
from dnsguard.wire.names import fromText
from tests.support.events import entryFor, eventOf
from tests.support.replaybatch import FakeReplayBatch

QUERIES = TraceEvent.QUERY_RESOLUTION
EXCHANGES = TraceEvent.UPSTREAM_EXCHANGE
REFRESHES = TraceEvent.REFRESH_UPSTREAM


def texts(events: Iterable[LogEvent]) -> list[str]:
    """
    What was traced.
    """
    return [formatEvent(event) for event in events if "traced" in event]


class TracerTests(SynchronousTestCase):
    """
    What is to be traced is logged, and nothing else.
    """

    def setUp(self) -> None:
        """
        A tracer at a standstill.
        """
        self.now = 100.0
        self.changes = 0
        self.tracer = Tracer(self.changed, lambda: self.now)

    def changed(self) -> None:
        """
        Count the changes.
        """
        self.changes += 1

    def trace(
        self,
        *events: TraceEvent,
        clients: Iterable[str] = (),
        names: Iterable[str] = (),
        groups: Iterable[str] = (),
    ) -> None:
        """
        Trace something.
        """
        self.tracer.trace(
            events, map(parseNetwork, clients), [fromText(name) for name in names], groups
        )

    def test_interface(self) -> None:
        """
        It is an observer.
        """
        verifyObject(IQueryObserver, self.tracer)

    def test_wants(self) -> None:
        """
        It says what it wants to know when that changes.
        """
        self.assertFalse(any(map(self.tracer.wants, TraceEvent)))
        self.trace(QUERIES, EXCHANGES)
        self.assertEqual(self.changes, 1)
        self.assertEqual(list(filter(self.tracer.wants, TraceEvent)), [QUERIES, EXCHANGES])

    def test_clientsHaveNoExchanges(self) -> None:
        """
        Nobody knows for whom upstream is asked: one client's trace doesn't
        show everybody's exchanges.
        """
        self.trace(*TraceEvent, clients=["192.0.2.1"])
        self.assertEqual(list(filter(self.tracer.wants, TraceEvent)), [QUERIES])
        self.trace(*TraceEvent, clients=["192.0.2.1"], names=["example.org"])
        self.assertTrue(all(map(self.tracer.wants, TraceEvent)))

    def test_query(self) -> None:
        """
        A query is one line, at level debug, with what is known of it.
        """
        self.trace(QUERIES)
        with capturedLogs() as events:
            self.tracer.queryAnswered(eventOf(outcome=Outcome.BLOCKED, rCode=dns.ENAME))
        self.assertEqual(
            texts(events),
            ["query www.example.org A from 192.0.2.1 by udp: blocked, NXDOMAIN, 12.5 ms"],
        )
        (event,) = events
        self.assertEqual((event["log_level"], event["traced"]), (LogLevel.debug, QUERIES.value))

    def test_filters(self) -> None:
        """
        Queries of other clients and for other names aren't logged; names below
        one that is named are.
        """
        asked = [
            eventOf("www.example.org", client="192.0.2.1"),
            eventOf("www.example.org", client="192.0.2.2"),
            eventOf("example.net", client="192.0.2.1"),
            eventOf("example.org", client=""),
        ]
        for clients, names, count in [
            ((), (), 4),
            (("192.0.2.1",), (), 2),
            ((), ("example.org",), 3),
            (("192.0.2.1", "2001:db8::1"), ("example.org",), 1),
        ]:
            self.trace(QUERIES, clients=clients, names=names)
            with capturedLogs() as events:
                for event in asked:
                    self.tracer.queryAnswered(event)
            self.assertEqual(len(texts(events)), count, (clients, names))

    def batch(self, *clients: str) -> FakeReplayBatch:
        """
        Queries replayed to clients.
        """
        batch = FakeReplayBatch({7: entryFor(), 8: entryFor("example.net")})
        for client in clients:
            batch.add(7, client, took=0.00002)
            batch.add(8, client, took=0.00003, transport=1)
        return batch

    def test_replayed(self) -> None:
        """
        Queries replayed are lines like the others.
        """
        self.trace(QUERIES)
        with capturedLogs() as events:
            self.tracer.queriesReplayed(self.batch("192.0.2.1", "2001:db8::1"))
        self.assertEqual(
            texts(events),
            [
                "query www.example.org A from 192.0.2.1 by udp: cached, NOERROR, 0.02 ms",
                "query example.net A from 192.0.2.1 by tcp: cached, NOERROR, 0.03 ms",
                "query www.example.org A from 2001:db8::1 by udp: cached, NOERROR, 0.02 ms",
                "query example.net A from 2001:db8::1 by tcp: cached, NOERROR, 0.03 ms",
            ],
        )

    def test_replayedFilters(self) -> None:
        """
        The filters hold for queries replayed, too.
        """
        for clients, names, count in [
            (("192.0.2.1",), (), 4),
            (("2001:db8::1",), (), 2),
            (("192.0.2.7",), (), 0),
            ((), ("example.net",), 3),
            (("192.0.2.1",), ("example.net",), 2),
            ((), ("example.com",), 0),
            (("192.0.2.0/25",), (), 4),
            (("192.0.2.0/31", "192.0.2.1", "192.0.0.0/16"), (), 4),
            (("192.0.2.128/25",), (), 0),
            (("2001:db8::/29",), (), 2),
            (("0.0.0.0/0", "::/0"), (), 6),
        ]:
            self.trace(QUERIES, clients=clients, names=names)
            with capturedLogs() as events:
                self.tracer.queriesReplayed(self.batch("192.0.2.1", "2001:db8::1", "192.0.2.1"))
            self.assertEqual(len(texts(events)), count, (clients, names))

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.ip_addresses(v=4), max_size=20), st.ip_addresses(v=4))
    def test_addressesAreNotMistaken(self, clients: list[object], wanted: object) -> None:
        """
        Octets elsewhere in a record aren't taken for an address.
        """
        tracer = Tracer(now=lambda: 1.0)
        tracer.trace([QUERIES], [parseNetwork(str(wanted))])
        with capturedLogs() as events:
            tracer.queriesReplayed(self.batch(*map(str, [*clients, wanted])))
        self.assertEqual(len(texts(events)), 2 * ([*clients, wanted].count(wanted)))

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.ip_addresses(), max_size=10), st.ip_addresses(), st.integers(0, 32))
    def test_networks(self, clients: list[object], base: object, length: int) -> None:
        """
        Those of a network are found, and nobody else.
        """
        network = ip_network(f"{base}/{length}", strict=False)
        tracer = Tracer(now=lambda: 1.0)
        tracer.trace([QUERIES], [parseNetwork(str(network))])
        with capturedLogs() as events:
            tracer.queriesReplayed(self.batch(*map(str, [*clients, base])))
        inside = sum(ip_address(str(each)) in network for each in [*clients, base])
        self.assertEqual(len(texts(events)), 2 * inside)

    def test_groups(self) -> None:
        """
        Queries of the clients of a group are logged, however they are answered;
        whoever is in no group is in the group default.
        """
        for groups, clients, count in [
            (["kids"], [], 2),
            (["kids"], ["192.0.2.9"], 4),
            (["kids", "default"], [], 5),
            (["default"], [], 3),
            (["others"], [], 0),
        ]:
            self.trace(QUERIES, groups=groups, clients=clients)
            batch = FakeReplayBatch({7: entryFor(group="kids"), 8: entryFor(group="")})
            batch.add(7, "192.0.2.1")
            batch.add(8, "192.0.2.9")
            with capturedLogs() as events:
                self.tracer.queriesReplayed(batch)
                for client, group in [
                    ("192.0.2.1", "kids"),
                    ("192.0.2.9", ""),
                    ("192.0.2.8", "default"),
                ]:
                    self.tracer.queryAnswered(eventOf(client=client, group=group))
            self.assertEqual(len(texts(events)), count, (groups, clients))

    def test_rateIsBounded(self) -> None:
        """
        Only so many lines a second are written; the rest is counted.
        """
        self.trace(QUERIES)
        with capturedLogs() as events:
            for _ in range(LINES_PER_SECOND + 10):
                self.tracer.queryAnswered(eventOf())
            self.tracer.queriesReplayed(self.batch("192.0.2.1", "192.0.2.2"))
            self.now += 1
            self.tracer.queryAnswered(eventOf())
        self.assertEqual(len(texts(events)), LINES_PER_SECOND + 1)
        self.assertEqual((self.tracer.written, self.tracer.suppressed), (LINES_PER_SECOND + 1, 14))

    def test_batchesAreBounded(self) -> None:
        """
        Of a large batch only so many queries are looked at one by one, and so
        many lines written; all that isn't is counted. One client's are found
        wherever they are.
        """
        entries = {7: entryFor(group="kids"), 8: entryFor("example.net")}
        batch = FakeReplayBatch(entries)
        for number in range(1200):
            batch.add(7 + number % 2, f"192.0.2.{number % 100}")
        batch.add(7, "198.51.100.1")
        some = [f"203.0.113.{number}" for number in range(3)]
        for clients, groups, written, suppressed, unseen in [
            ((), (), LINES_PER_BATCH, 1201 - LINES_PER_BATCH, 0),
            ((), ("kids",), LINES_PER_BATCH, 601 - LINES_PER_BATCH, 0),
            (("198.51.100.1",), (), 1, 0, 0),
            (("192.0.2.0/24",), (), LINES_PER_BATCH, MOST_LOOKED_AT - LINES_PER_BATCH, 701),
            (
                ("192.0.2.0/24", "198.51.100.1"),
                (),
                LINES_PER_BATCH,
                MOST_LOOKED_AT + 1 - LINES_PER_BATCH,
                700,
            ),
            (some, (), 0, 0, 1201 - MOST_LOOKED_AT),
            (some, ("kids",), LINES_PER_BATCH, 0, 1202 - 2 * LINES_PER_BATCH),
        ]:
            self.now += 1
            self.tracer = Tracer(now=lambda: self.now)
            self.trace(QUERIES, clients=clients, groups=groups)
            with capturedLogs() as events:
                self.tracer.queriesReplayed(batch)
            counted = (len(texts(events)), self.tracer.suppressed, self.tracer.unseen)
            self.assertEqual(counted, (written, suppressed, unseen), (clients, groups))
            self.assertEqual(self.tracer.written, written)

    def test_unseenOfNames(self) -> None:
        """
        When a network has too many queries in a batch to look at all of them, those
        for names that are traced count as not seen, and no others.
        """
        batch = FakeReplayBatch({7: entryFor("example.org"), 8: entryFor("example.net")})
        for number in range(1200):
            batch.add(7 + (number >= MOST_LOOKED_AT + 600), "192.0.2.1")
        self.trace(QUERIES, clients=["192.0.2.0/24"], names=["example.net"])
        self.tracer.queriesReplayed(batch)
        counted = (self.tracer.written, self.tracer.suppressed, self.tracer.unseen)
        self.assertEqual(counted, (0, 0, 100))

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=12),
        st.lists(st.ip_addresses(), max_size=12),
    )
    def test_manyNetworks(self, clients: list[Any], asking: list[Any]) -> None:
        """
        Of however many networks, who is in one of them is found.
        """
        networks = [
            ip_network(f"{base}/{min(length, base.max_prefixlen)}", strict=False)
            for base, length in clients
        ]
        tracer = Tracer(now=lambda: 1.0)
        tracer.trace([QUERIES], [parseNetwork(str(network)) for network in networks], (), ["x"])
        for address in [*asking, *(base for base, _ in clients)]:
            packed = normalized(address.packed)
            inside = any(contains(parseNetwork(str(each)), packed) for each in networks)
            self.assertEqual(tracer.rule.concerns(packed, ""), inside, (address, networks))

    def test_exchangesAndRefreshes(self) -> None:
        """
        What becomes of asking an upstream, and of refreshes, is logged by name.
        """
        self.trace(EXCHANGES, REFRESHES, names=["example.org"])
        with capturedLogs() as events:
            for name in ("www.example.org", "example.net"):
                self.tracer.exchanged(fromText(name), dns.A, "quad9", "NOERROR", 0.0123, 2)
                self.tracer.refreshed(fromText(name), dns.AAAA, "asked")
        self.assertEqual(
            texts(events),
            [
                "upstream quad9 for www.example.org A: NOERROR, 12.3 ms, attempt 2",
                "refresh of www.example.org AAAA: asked",
            ],
        )

    def test_shownAtAnyLevel(self) -> None:
        """
        Who switches a trace on sees it, whatever the level of the log is.
        """
        out = io.StringIO()
        log = ApplicationLog(LineWriter(out), level="error")
        Logger(namespace="dnsguard.x", observer=log).debug("line {a}", a=1, traced="x")
        Logger(namespace="dnsguard.x", observer=log).debug("other {a}", a=1)
        self.assertIn("line 1", out.getvalue())
        self.assertNotIn("other", out.getvalue())
