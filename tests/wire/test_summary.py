# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.wire.summary}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.layout import scan
from dnsguard.wire.summary import summarize


def message(*records: Any) -> bytes:
    """
    Make a response for www.example.org with some answer records.
    """
    made = dns.Message(answer=1)
    made.queries = [dns.Query(b"www.example.org", dns.A)]
    made.answers = [
        dns.RRHeader(b"www.example.org", record.TYPE, dns.IN, 60, record) for record in records
    ]
    return bytes(made.toStr())


class SummaryTests(SynchronousTestCase):
    """
    A line of text for an answer.
    """

    def summary(self, *records: Any) -> str:
        """
        Summarize a response with some records.
        """
        octets = message(*records)
        return summarize(octets, scan(octets))

    def test_nothing(self) -> None:
        """
        Of no records there is nothing to say.
        """
        self.assertEqual(self.summary(), "")

    def test_kinds(self) -> None:
        """
        Addresses, names, exchanges and texts are spelled out, the rest is
        named.
        """
        self.assertEqual(
            self.summary(
                dns.Record_CNAME(b"example.net"),
                dns.Record_A("192.0.2.1"),
                dns.Record_AAAA("2001:db8::1"),
                dns.Record_MX(10, b"mx.example.org"),
            ),
            "CNAME example.net, A 192.0.2.1, AAAA 2001:db8::1, MX 10 mx.example.org",
        )
        self.assertEqual(
            self.summary(dns.Record_TXT(b'say "hi"\n'), dns.Record_SRV(1, 2, 3, b"a.example")),
            'TXT "say \\"hi\\"\\010", SRV',
        )

    def test_manyRecords(self) -> None:
        """
        What isn't spelled out is counted.
        """
        records = [dns.Record_A(f"192.0.2.{number}") for number in range(9)]
        self.assertEqual(
            self.summary(*records), "A 192.0.2.0, A 192.0.2.1, A 192.0.2.2, A 192.0.2.3, +5"
        )

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_anyMessageThatScans(self, data: st.DataObject) -> None:
        """
        Whatever scans can be summarized, in one line of bounded length.
        """
        octets = bytearray(
            message(
                dns.Record_CNAME(b"example.net"),
                dns.Record_TXT(b"text"),
                dns.Record_MX(10, b"mx.example.org"),
            )
        )
        for _ in range(data.draw(st.integers(1, 4))):
            octets[data.draw(st.integers(12, len(octets) - 1))] = data.draw(st.integers(0, 255))
        try:
            layout = scan(bytes(octets))
        except ValueError:
            return
        text = summarize(bytes(octets), layout)
        self.assertLessEqual(len(text), 250)
        self.assertTrue(text.isprintable())
