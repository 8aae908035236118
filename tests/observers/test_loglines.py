# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.loglines}.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Outcome
from dnsguard.observers.anonymize import Anonymity, Anonymizer
from dnsguard.observers.loglines import JSONLines, TextLines, entryOf
from dnsguard.query import Transport
from tests.support.events import NOON, entryFor, eventOf
from tests.support.replaybatch import FakeReplayBatch

PLAIN = Anonymizer().identity


class TextLinesTests(SynchronousTestCase):
    """
    The text format.
    """

    def test_plain(self) -> None:
        """
        Without a breakdown the duration has two digits.
        """
        event = eventOf(upstream="192.0.2.53:53", finished=NOON + 0.25)
        self.assertEqual(
            TextLines(PLAIN).line(entryOf(event)),
            "2023-11-14T22:13:20.250Z client=192.0.2.1 protocol=udp qname=www.example.org"
            " qtype=A qclass=IN outcome=upstream rcode=NOERROR duration_ms=12.50"
            " upstream=192.0.2.53:53\n",
        )

    def test_breakdown(self) -> None:
        """
        With a breakdown all times have three digits.
        """
        event = eventOf(outcome=Outcome.CACHED, cacheSeconds=0.001, writeSeconds=0.0005)
        self.assertIn(
            " duration_ms=12.500 cache_lookup_ms=1.000 network_write_ms=0.500 upstream=-\n",
            TextLines(PLAIN).line(entryOf(event)),
        )

    def test_rootAndNoReply(self) -> None:
        """
        The root is a dash, and so is the code of a reply that never was.
        """
        line = TextLines(PLAIN).line(entryOf(eventOf(".", type=65280, replySize=0)))
        self.assertIn(" qname=- qtype=65280 ", line)
        self.assertIn(" rcode=- ", line)

    def test_replayed(self) -> None:
        """
        A replayed query makes the line that a cached one makes.
        """
        batch = FakeReplayBatch({7: entryFor("a.example.org"), 8: entryFor("b.example.org")})
        batch.add(7, "192.0.2.1", when=NOON, took=0.001)
        batch.add(8, "2001:db8::1", when=NOON, took=0.001, transport=1)
        lines = list(TextLines(PLAIN).replayed(bytes(batch.records), batch.entries))
        expected = [
            eventOf("a.example.org", Outcome.CACHED, finished=NOON + 0.001, duration=0.001),
            eventOf(
                "b.example.org",
                Outcome.CACHED,
                client="2001:db8::1",
                transport=Transport.TCP,
                finished=NOON + 0.001,
                duration=0.001,
            ),
        ]
        single = TextLines(PLAIN)
        self.assertEqual(lines, [single.line(entryOf(event)) for event in expected])

    def test_anonymised(self) -> None:
        """
        Lines show what the anonymizer leaves, replayed or not.
        """
        lines = TextLines(Anonymizer(Anonymity.TRUNCATE).identity)
        batch = FakeReplayBatch({7: entryFor()})
        batch.add(7, "192.0.2.1")
        self.assertIn(" client=192.0.2.0 ", lines.line(entryOf(eventOf())))
        self.assertIn(
            " client=192.0.2.0 ", next(lines.replayed(bytes(batch.records), batch.entries))
        )

    @settings(max_examples=60, deadline=None)
    @given(
        label=st.binary(min_size=1, max_size=63),
        upstream=st.text(max_size=20),
        client=st.text(max_size=20),
    )
    def test_nothingBreaksALine(self, label: bytes, upstream: str, client: str) -> None:
        """
        Whatever a name, an upstream or a client is called, a line stays one
        line of ten fields.
        """
        event = eventOf(upstream=upstream, client=client)
        entry = entryOf(event)._replace(qname=bytes([len(label)]) + label + b"\0")
        line = TextLines(PLAIN).line(entry)
        self.assertEqual(len(line.splitlines()), 1)
        self.assertEqual(len(line.split()), 10)


class JSONLinesTests(SynchronousTestCase):
    """
    The JSON format.
    """

    def test_keysInOrder(self) -> None:
        """
        All keys, in the documented order.
        """
        event = eventOf(
            outcome=Outcome.STALE, cacheSeconds=0.001, writeSeconds=0.002, upstream="u"
        )
        row = json.loads(JSONLines(PLAIN).line(entryOf(event)))
        self.assertRegex(row.pop("query_id"), r"\A[0-9a-f]{12}\Z")
        self.assertEqual(
            list(row.items()),
            [
                ("timestamp", "2023-11-14T22:13:20.000Z"),
                ("client_ip", "192.0.2.1"),
                ("protocol", "udp"),
                ("qname", "www.example.org"),
                ("qtype", "A"),
                ("qclass", "IN"),
                ("outcome", "stale"),
                ("rcode", "NOERROR"),
                ("duration_ms", 12.5),
                ("cache_lookup_ms", 1.0),
                ("network_write_ms", 2.0),
                ("upstream_address", "u"),
            ],
        )

    def test_emptyKeysAreLeftOut(self) -> None:
        """
        Times of nothing and an upstream of nobody don't appear.
        """
        row = json.loads(JSONLines(PLAIN).line(entryOf(eventOf())))
        self.assertEqual(list(row)[-1], "duration_ms")

    def test_idsDiffer(self) -> None:
        """
        Each line has an id of its own.
        """
        lines = JSONLines(PLAIN)
        made = {json.loads(lines.line(entryOf(eventOf())))["query_id"] for _ in range(1000)}
        self.assertEqual(len(made), 1000)

    def test_replayed(self) -> None:
        """
        A replayed query has the keys of a cached one.
        """
        batch = FakeReplayBatch({7: entryFor()})
        batch.add(7, "192.0.2.1", when=NOON, took=0.0125)
        (line,) = JSONLines(PLAIN).replayed(bytes(batch.records), batch.entries)
        single = JSONLines(PLAIN).line(
            entryOf(eventOf(outcome=Outcome.CACHED, finished=NOON + 0.0125))
        )
        self.assertEqual(line, single)

    @settings(max_examples=60, deadline=None)
    @given(label=st.binary(min_size=1, max_size=63), upstream=st.text(max_size=20))
    def test_nothingBreaksALine(self, label: bytes, upstream: str) -> None:
        """
        Whatever a name or an upstream is called, a line is one JSON object.
        """
        entry = entryOf(eventOf(upstream=upstream))._replace(
            qname=bytes([len(label)]) + label + b"\0"
        )
        line = JSONLines(PLAIN).line(entry)
        self.assertEqual(len(line.splitlines()), 1)
        self.assertEqual(json.loads(line).get("upstream_address", ""), upstream)
