# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.wire.records}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.layout import MalformedMessage, scan
from dnsguard.wire.names import fromText
from dnsguard.wire.records import Record, join, split

WWW = fromText("www.example.org")
QUESTION = WWW + b"\0\1\0\1"

names = st.lists(
    st.binary(min_size=1, max_size=12).map(lambda label: label.lower()), max_size=4
).map(lambda parts: b"".join(bytes([len(part)]) + part for part in parts) + b"\0")
records = st.lists(
    st.builds(
        Record.make,
        names,
        st.sampled_from([1, 16, 28, 65, 65280]),
        st.integers(0, 2**31 - 1),
        st.binary(max_size=40),
    ),
    max_size=4,
)


class JoinTests(SynchronousTestCase):
    """
    Tests for L{join} and L{split}.
    """

    @given(names, records, records, records)
    @settings(max_examples=150, deadline=None)
    def test_layoutIsWhatAScanFinds(
        self, name: bytes, answer: list[Record], authority: list[Record], more: list[Record]
    ) -> None:
        """
        The scan that comes with a joined message is that of the message, and
        taking it apart gives the records back.
        """
        message, layout = join(name + b"\0\1\0\1", answer, authority, more)
        self.assertEqual(layout, scan(message))
        self.assertEqual(split(message, layout), (answer, authority, more))

    def test_negativeTTL(self) -> None:
        """
        The SOA record in the authority section gives the negative TTL.
        """
        soa = Record.soa(WWW, 300)
        message, layout = join(QUESTION, [], [soa])
        self.assertEqual(layout, scan(message))
        self.assertEqual(layout.negativeTTL, 300)
        least = Record.make(WWW, 6, 9, bytes(2 + 16) + bytes([0, 0, 0, 5]))
        message, layout = join(QUESTION, [], [least])
        self.assertEqual(layout.negativeTTL, 5)
        self.assertEqual(layout, scan(message))

    def test_ownerPointsAtTheQuestion(self) -> None:
        """
        A record of the name asked for points at the question.
        """
        message, layout = join(QUESTION, [Record.make(WWW, 1, 60, b"\xc0\0\2\1")])
        self.assertEqual(message[layout.questionEnd :][:2], b"\xc0\x0c")
        self.assertEqual(len(message), 12 + len(QUESTION) + 2 + 14)

    def test_rootNeedsNoPointer(self) -> None:
        """
        The root's single octet isn't made longer by a pointer.
        """
        record = Record.make(b"\0", 1, 60, b"\xc0\0\2\1")
        message, layout = join(b"\0\0\1\0\1", [record, record])
        self.assertEqual(layout, scan(message))
        self.assertEqual(layout.size, 12 + 5 + 2 * 15)


class SplitTests(SynchronousTestCase):
    """
    Tests for L{split} on messages of others.
    """

    def test_namesInDataAreWrittenOut(self) -> None:
        """
        Compressed names in a record's data no longer point anywhere.
        """
        message = dns.Message(answer=1)
        message.queries = [dns.Query(b"www.example.org", dns.MX)]
        for data in (
            dns.Record_MX(10, b"mail.example.org", 60),
            dns.Record_CNAME(b"alias.example.org", 60),
            dns.Record_SRV(1, 2, 3, b"host.example.org", 60),
            dns.Record_SOA(b"ns.example.org", b"root.example.org", 1, 2, 3, 4, 5, 60),
        ):
            message.answers.append(dns.RRHeader(b"www.example.org", data.TYPE, dns.IN, 60, data))
        wire = message.toStr()
        mx, cname, srv, soa = split(wire, scan(wire))[0]
        self.assertEqual(mx.data, b"\0\x0a" + fromText("mail.example.org"))
        self.assertEqual(cname.data, fromText("alias.example.org"))
        self.assertEqual(srv.data, b"\0\1\0\2\0\3" + fromText("host.example.org"))
        self.assertTrue(
            soa.data.startswith(fromText("ns.example.org") + fromText("root.example.org"))
        )
        self.assertTrue(soa.data.endswith(bytes([0, 0, 0, 4, 0, 0, 0, 5])))
        self.assertEqual(len(mx.body), 10 + len(mx.data))

    def test_emptyData(self) -> None:
        """
        A record without data has none, also where its type has names in it.
        """
        record = Record.make(WWW, 5, 60, b"")
        message, layout = join(QUESTION, [record])
        self.assertEqual(split(message, layout)[0], [record])

    def test_optIsLeftOut(self) -> None:
        """
        The OPT record is hop-by-hop and no record of the answer.
        """
        message = bytearray(join(QUESTION, [])[0] + b"\0\0\x29\4\xd0\0\0\0\0\0\0")
        message[11] = 1
        self.assertEqual(split(bytes(message), scan(bytes(message))), ([], [], []))

    def test_nameOverItsRecordsEnd(self) -> None:
        """
        A name that runs over the end of the data it stands in is refused.
        """
        record = Record.make(WWW, 5, 60, b"\3www")
        other = Record.make(WWW, 1, 60, b"\xc0\0\2\1")
        message, layout = join(QUESTION, [record, other])
        self.assertRaises(MalformedMessage, split, message, layout)

    def test_capped(self) -> None:
        """
        A TTL is lowered, never raised.
        """
        record = Record.make(WWW, 1, 60, b"\xc0\0\2\1")
        self.assertEqual(record.capped(30).ttl, 30)
        self.assertEqual(record.capped(30).data, record.data)
        self.assertIs(record.capped(90), record)
