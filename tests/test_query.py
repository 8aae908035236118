# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.query}.
"""

from __future__ import annotations

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.key import keyOf
from dnsguard.policy.view import View
from dnsguard.query import (
    Asker,
    ClientQuery,
    QueryFacts,
    Transport,
    nameToWire,
    newQuery,
    wireToName,
)
from dnsguard.wire.edns import EDNS
from dnsguard.wire.layout import AD, CD, RD
from dnsguard.wire.names import InvalidName, fromText

WWW = fromText("www.example.org")


class ClientQueryTests(SynchronousTestCase):
    """
    Tests for L{ClientQuery}.
    """

    def test_equalsPlainQuery(self) -> None:
        """
        It equals, and hashes like, the plain query for the same name, type and
        class, in whatever letter case: stock resolvers find it in their dicts.
        """
        query = ClientQuery(WWW, dns.AAAA)
        plain = dns.Query(b"WWW.example.org", dns.AAAA, dns.IN)
        self.assertEqual(query, plain)
        self.assertEqual(plain, query)
        self.assertEqual({plain: 1}[query], 1)
        found: dict[dns.Query, int] = {query: 1}
        self.assertEqual(found[plain], 1)

    def test_differsByType(self) -> None:
        """
        A query for another type is another query.
        """
        self.assertNotEqual(ClientQuery(WWW, dns.A), dns.Query(b"www.example.org", dns.MX))

    def test_adoptsPlainQuery(self) -> None:
        """
        A stock caller's query is adopted with the view it is given and nobody
        as the one who asks.
        """
        view = View(number=3)
        query = ClientQuery.adopt(dns.Query(b"WWW.Example.org.", dns.TXT), view)
        self.assertEqual(query.qname, WWW)
        self.assertEqual(query.type, dns.TXT)
        self.assertIs(query.view, view)
        self.assertIs(query.asker, Asker.ANONYMOUS)

    def test_adoptsOwnQueryUnchanged(self) -> None:
        """
        A query that already knows its view is given back as it is.
        """
        query = ClientQuery(WWW, view=View(number=1))
        self.assertIs(ClientQuery.adopt(query, View(number=2)), query)

    def test_aboutKeepsTheAsker(self) -> None:
        """
        The query for an alias's target has the same asker, view and options.
        """
        query = ClientQuery(
            WWW,
            dns.A,
            asker=Asker("192.0.2.7", "tablet", "kids"),
            transport=Transport.DOT,
            edns=EDNS(dnssecOK=True),
            checkingDisabled=True,
            wantsAD=True,
            received=12.5,
            timeout=(1.0, 2.0),
            view=View(number=4),
        )
        other = query.about(fromText("target.example.org"))
        self.assertEqual(other.qname, fromText("target.example.org"))
        for name in vars(query):
            if name not in {"qname", "_name"}:
                self.assertEqual(getattr(other, name), getattr(query, name), name)

    def test_question(self) -> None:
        """
        The question section is the wire name, the type and the class.
        """
        self.assertEqual(ClientQuery(WWW, 65).question, WWW + b"\0\x41\0\x01")


class NewQueryTests(SynchronousTestCase):
    """
    Tests for L{newQuery}.
    """

    def test_likeTheConstructor(self) -> None:
        """
        It makes what the constructor makes of the same facts, key included.
        """
        view = View(3)
        for flags in (0, RD, CD, AD, RD | CD | AD):
            for edns in (None, EDNS(), EDNS(dnssecOK=True)):
                made = newQuery(
                    WWW, 28, 1, Asker.INTERNAL, Transport.DOT, edns, flags | 0x8000, 2.5, view
                )
                expected = ClientQuery(
                    WWW,
                    28,
                    1,
                    asker=Asker.INTERNAL,
                    transport=Transport.DOT,
                    edns=edns,
                    recursionDesired=bool(flags & RD),
                    checkingDisabled=bool(flags & CD),
                    wantsAD=bool(flags & AD),
                    received=2.5,
                    view=view,
                )
                self.assertIs(type(made), ClientQuery)
                self.assertEqual(made.key, keyOf(made))
                self.assertEqual(made.name, expected.name)
                for name in QueryFacts.__slots__:
                    self.assertEqual(getattr(made, name), getattr(expected, name), name)


class NameTests(SynchronousTestCase):
    """
    Tests for L{nameToWire} and L{wireToName}.
    """

    def test_roundTrip(self) -> None:
        """
        A name goes to wire form and back, lower-cased.
        """
        self.assertEqual(wireToName(nameToWire(b"A.Example.ORG.")), b"a.example.org")

    def test_root(self) -> None:
        """
        The empty name and the dot are the root.
        """
        self.assertEqual(nameToWire(b""), b"\0")
        self.assertEqual(nameToWire(b"."), b"\0")
        self.assertEqual(wireToName(b"\0"), b"")

    def test_badNames(self) -> None:
        """
        Empty and over-long labels and over-long names are refused.
        """
        for name in (b"a..b", b"x" * 64 + b".org", b".".join([b"x" * 60] * 5)):
            self.assertRaises(InvalidName, nameToWire, name)
