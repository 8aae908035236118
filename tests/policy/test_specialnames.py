# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.specialnames}.
"""

from __future__ import annotations

import ipaddress

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.decision import RuleKind
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.policy.specialnames import (
    SpecialAnswer,
    SpecialName,
    SpecialNames,
    SpecialNamesSpec,
)
from dnsguard.wire.names import fromText

A, SOA, PTR, AAAA, DS, ANY = 1, 6, 12, 28, 43, 255

ALL = SpecialNames.of(SpecialName)


def ask(names: SpecialNames, name: str, type: int = A) -> SpecialAnswer | None:
    """
    Ask for a name in presentation form.
    """
    return names.find(fromText(name), type)


class SpecialNamesTests(SynchronousTestCase):
    """
    Tests for L{SpecialNames.find}.
    """

    def test_localhost(self) -> None:
        """
        localhost and all below it are the loopback addresses, and nothing of
        other types.
        """
        for name in ("localhost", "www.localhost"):
            for type, address in [(A, "127.0.0.1"), (AAAA, "::1")]:
                found = ask(ALL, name, type)
                assert found is not None
                (record,) = found.answer
                self.assertEqual(record.data, ipaddress.ip_address(address).packed)
                self.assertEqual(record.owner, fromText(name))
            nothing = ask(ALL, name, 15)
            assert nothing is not None
            self.assertTrue(nothing.exists)
            self.assertEqual((nothing.answer, nothing.authority[0].type), ((), SOA))
        both = ask(ALL, "localhost", ANY)
        assert both is not None
        self.assertEqual(len(both.answer), 2)

    def test_noSuchName(self) -> None:
        """
        Names that can't exist are denied with the SOA record of their zone.
        """
        for name, apex in [
            ("invalid", "invalid"),
            ("a.b.invalid", "invalid"),
            ("x.onion", "onion"),
            ("printer.local", "local"),
            ("some.test", "test"),
            ("nas.home.arpa", "home.arpa"),
            ("x.service.arpa", "service.arpa"),
            ("use-application-dns.net", "use-application-dns.net"),
            ("1.0.0.10.in-addr.arpa", "10.in-addr.arpa"),
            ("1.0.16.172.in-addr.arpa", "16.172.in-addr.arpa"),
            ("1.0.31.172.in-addr.arpa", "31.172.in-addr.arpa"),
            ("1.1.168.192.in-addr.arpa", "168.192.in-addr.arpa"),
            ("1.1.254.169.in-addr.arpa", "254.169.in-addr.arpa"),
            ("9.0.0.127.in-addr.arpa", "127.in-addr.arpa"),
            ("1.1.64.100.in-addr.arpa", "64.100.in-addr.arpa"),
            ("1.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa"),
            ("255.255.255.255.in-addr.arpa", "255.255.255.255.in-addr.arpa"),
            ("1.0.d.f.ip6.arpa", "d.f.ip6.arpa"),
            ("1.0.8.e.f.ip6.arpa", "8.e.f.ip6.arpa"),
            ("1.8.b.d.0.1.0.0.2.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"),
        ]:
            found = ask(ALL, name, PTR)
            assert found is not None, name
            self.assertEqual(found.authority[0].owner, fromText(apex))
            self.assertEqual(found.answer, ())
            self.assertEqual(found.attribution.kind, RuleKind.SPECIAL_NAME)
            self.assertEqual(found.exists, name == apex and name.endswith(".arpa"), name)

    def test_othersAreLeftAlone(self) -> None:
        """
        Names that only look like special ones are as all others.
        """
        for name in [
            ".",
            "example.org",
            "example",
            "notlocalhost",
            "localhost.example.org",
            "net",
            "application-dns.net",
            "arpa",
            "in-addr.arpa",
            "8.8.8.8.in-addr.arpa",
            "1.0.32.172.in-addr.arpa",
            "1.1.128.100.in-addr.arpa",
            "1.0.c.e.f.ip6.arpa",
            "ipv4only.arpa",
        ]:
            self.assertIsNone(ask(ALL, name), name)

    def test_reverseOfLoopback(self) -> None:
        """
        The loopback addresses are called localhost.
        """
        for address in ("127.0.0.1", "::1"):
            found = ask(ALL, ipaddress.ip_address(address).reverse_pointer, PTR)
            assert found is not None
            self.assertEqual(found.answer[0].data, fromText("localhost"))
        below = ask(ALL, "x.1.0.0.127.in-addr.arpa", PTR)
        assert below is not None
        self.assertFalse(below.exists)

    def test_resolverArpa(self) -> None:
        """
        No designated resolver is announced: the name is there, with nothing.
        """
        found = ask(ALL, "_dns.resolver.arpa", 64)
        assert found is not None
        self.assertTrue(found.exists)
        self.assertEqual(found.answer, ())

    def test_signaturesOfTheParent(self) -> None:
        """
        Who validates may ask the parent zone whether home.arpa is signed.
        """
        self.assertIsNone(ask(ALL, "home.arpa", DS))
        self.assertIsNone(ask(ALL, "10.in-addr.arpa", DS))
        self.assertIsNotNone(ask(ALL, "x.home.arpa", DS))
        self.assertIsNotNone(ask(ALL, "onion", DS))

    def test_oneSwitchedOff(self) -> None:
        """
        A family that is switched off is as all other names; the others stay.
        """
        names = SpecialNames.build(SpecialNamesSpec((("local", False),)))
        self.assertIsNone(ask(names, "printer.local"))
        self.assertIsNotNone(ask(names, "x.onion"))

    def test_routedNames(self) -> None:
        """
        Names that an upstream is set for are asked there, and so are all below
        them; their neighbours aren't.
        """
        names = SpecialNames.build(
            SpecialNamesSpec(routed=("10.in-addr.arpa", "corp.local", "*.2.168.192.in-addr.arpa"))
        )
        for name in ("1.0.0.10.in-addr.arpa", "dc.corp.local", "1.2.168.192.in-addr.arpa"):
            self.assertIsNone(ask(names, name), name)
        for name in ("printer.local", "1.1.168.192.in-addr.arpa", "1.0.16.172.in-addr.arpa"):
            self.assertIsNotNone(ask(names, name), name)

    def test_routeAboveZones(self) -> None:
        """
        A route for all reverse names takes the private ones along; a route for
        everything is just the default upstream.
        """
        names = SpecialNames.of(SpecialName, [fromText("in-addr.arpa")])
        self.assertIsNone(ask(names, "1.0.0.10.in-addr.arpa"))
        self.assertIsNotNone(ask(names, "1.d.f.ip6.arpa"))
        self.assertIsNotNone(ask(SpecialNames.of(SpecialName, [b"\0"]), "x.onion"))

    def test_none(self) -> None:
        """
        Without special names, none is special.
        """
        self.assertIsNone(ask(SpecialNames.NONE, "localhost"))

    def test_problems(self) -> None:
        """
        Unknown switches and routes that are no names are told of.
        """
        spec = SpecialNamesSpec((("onions", True),), ("a..b",))
        invalid = self.assertRaises(InvalidPolicy, SpecialNames.build, spec)
        self.assertEqual(
            [problem.place for problem in invalid.problems], ["special_names.onions", "upstreams"]
        )
        self.assertIn("did you mean 'onion'?", str(invalid))
