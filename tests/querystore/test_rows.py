# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.rows}.
"""

from __future__ import annotations

import struct
from unittest import SkipTest
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.query import Transport
from dnsguard.querystore import rows
from dnsguard.querystore.rows import (
    CLIENT_COLUMNS,
    COLUMNS,
    ENCODED_COLUMNS,
    FACT_COLUMNS,
    PROTOCOLS,
    ROW,
    factFragment,
    fragment,
    texts,
    transportOf,
)
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.support.events import answerOf

NAMES = st.lists(
    st.text("abcxyz019-_", min_size=1, max_size=63).map(str.encode)
    | st.binary(min_size=1, max_size=3),
    max_size=3,
).map(lambda labels: b"".join(bytes((len(each),)) + each.lower() for each in labels) + b"\0")
RECORDS = (
    st.tuples(st.just(1), st.binary(min_size=4, max_size=4))
    | st.tuples(st.just(28), st.binary(min_size=16, max_size=16))
    | st.tuples(st.sampled_from([2, 5, 12, 39]), NAMES | st.sampled_from([b"\xc0\x0c", b"\xc0"]))
    | st.tuples(st.sampled_from([1, 15, 16, 65]), st.binary(max_size=8))
)


class FragmentTests(SynchronousTestCase):
    """
    Texts one behind the other.
    """

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.text(max_size=300), max_size=8))
    def test_roundTrip(self, values: list[str]) -> None:
        """
        Texts come back as they were.
        """
        self.assertEqual(texts(fragment(values)), tuple(values))

    def test_longTextsAreCut(self) -> None:
        """
        A text over the limit is cut between two letters.
        """
        (text,) = texts(fragment(["é" * 2000]))
        self.assertEqual(text, "é" * 600)

    def test_surrogates(self) -> None:
        """
        What UTF-8 can't hold is replaced, not refused.
        """
        self.assertEqual(texts(fragment(["a\udc80"])), ("a?",))

    def test_columnsAgree(self) -> None:
        """
        The order of encoding has every column once.
        """
        self.assertEqual(sorted(ENCODED_COLUMNS), sorted(column.name for column in COLUMNS))
        self.assertEqual(len(set(ENCODED_COLUMNS)), 20)
        self.assertEqual((len(CLIENT_COLUMNS), len(FACT_COLUMNS), ROW.size), (2, 12, 32))

    def test_allTransportsHaveANumber(self) -> None:
        """
        Whatever a query can arrive over can be in a row.
        """
        self.assertEqual([transport.value for transport in Transport], list(PROTOCOLS))

    def test_facts(self) -> None:
        """
        The root and a reply that never was are dashes; validation is told.
        """
        for facts, expected in (
            ({"authenticData": True}, "secure"),
            ({"extendedError": ExtendedError(6)}, "bogus"),
            ({"extendedError": ExtendedError(5)}, "indeterminate"),
            ({"extendedError": ExtendedError(15)}, ""),
            ({}, ""),
        ):
            answer = answerOf(Outcome.UPSTREAM, "192.0.2.1", **facts)
            made = texts(factFragment(b"\0", 65280, 3, "upstream", None, "g", None, answer, "dot"))
            self.assertEqual(
                dict(zip(FACT_COLUMNS, made, strict=True)),
                {
                    "qname": "-",
                    "qtype": "65280",
                    "qclass": "CH",
                    "outcome": "upstream",
                    "rcode": "-",
                    "upstream_address": "",
                    "answer": "A 192.0.2.1",
                    "rule": "",
                    "list": "",
                    "client_group": "g",
                    "dnssec": expected,
                    "upstream_transport": "dot",
                },
            )

    def test_transports(self) -> None:
        """
        An upstream's scheme tells how it is spoken to.
        """
        for upstream, expected in (
            ("", ""),
            ("192.0.2.53:53", "udp"),
            ("udp://192.0.2.53", "udp"),
            ("tcp://192.0.2.53", "tcp"),
            ("tls://dns.example", "dot"),
            ("https://dns.example/dns-query", "doh"),
            ("quic://dns.example", "doq"),
            ("sdns://x", "sdns"),
        ):
            self.assertEqual(transportOf(upstream), expected)


class FactTests(SynchronousTestCase):
    """
    What queries share that were answered alike.
    """

    def test_names(self) -> None:
        """
        A name is stored as text, escaped.
        """
        answer = answerOf()
        made = factFragment(
            fromText(r"a\.b\000.example"), 1, 1, "upstream", 0, "", None, answer, ""
        )
        self.assertEqual(texts(made)[0], r"a\.b\000.example")

    @settings(max_examples=400, deadline=None)
    @given(NAMES, st.lists(RECORDS, max_size=6), st.booleans())
    def test_compiled(self, qname: bytes, records: list[tuple[int, bytes]], blocked: bool) -> None:
        """
        Compiled code encodes names and answers as Python does.
        """
        if rows.plainFragment is None:
            raise SkipTest("there are no compiled twins here")
        wire = struct.pack("!6H", 0, 0x8180, 1, len(records), 0, 0) + qname + b"\0\1\0\1"
        for type, data in records:
            wire += b"\xc0\x0c" + struct.pack("!HHIH", type, 1, 60, len(data)) + data
        answer = Answer.fromWire(wire, scan(wire), outcome=Outcome.UPSTREAM, upstream="192.0.2.1")
        why = Attribution(RuleKind.LIST, "ads", "a" * 130, 1, b"\0") if blocked else None
        facts = (qname, 1, 1, "upstream", 0, "group", why, answer, "udp")
        made = factFragment(*facts)
        with patch.object(rows, "plainFragment", None):
            self.assertEqual(texts(made), texts(factFragment(*facts)))
            self.assertEqual(made, factFragment(*facts))
