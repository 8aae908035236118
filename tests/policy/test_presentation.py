# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.presentation}.
"""

from __future__ import annotations

from typing import Any

import dns.rdata
import dns.rdataclass
import dns.rdatatype
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.presentation import RecordError, parseName, parseType, parseValue
from dnsguard.wire.names import fromText


def written(type: int, data: bytes) -> str:
    """
    How dnspython writes a record's data.
    """
    return str(read(type, data).to_text())


def read(type: int, data: bytes) -> Any:
    """
    What dnspython makes of a record's data.
    """
    kind = dns.rdatatype.RdataType.make(type)
    return dns.rdata.from_wire(dns.rdataclass.IN, kind, data, 0, len(data))


class ValueTests(SynchronousTestCase):
    """
    Tests for L{parseValue}.
    """

    def test_roundTrips(self) -> None:
        """
        What was written is what dnspython reads back out of the octets.
        """
        for mnemonic, value in [
            ("A", "192.0.2.1"),
            ("AAAA", "2001:db8::1"),
            ("CNAME", "www.example.org."),
            ("PTR", "host.example.org."),
            ("NS", "ns.example.org."),
            ("MX", "10 mail.example.org."),
            ("SRV", "1 2 5060 sip.example.org."),
            ("CAA", '0 issue "ca.example.org"'),
            ("HTTPS", '1 . alpn="h2,h3" ipv4hint="192.0.2.1"'),
            ("SVCB", "0 svc.example.org."),
            ("SSHFP", "1 1 aa549bfe898489c02d1715d97d79c57ba2fa76ab"),
            ("NAPTR", '100 10 "S" "SIP+D2U" "" _sip._udp.example.org.'),
            ("TXT", '"one" "two"'),
        ]:
            type = parseType(mnemonic)
            self.assertEqual(written(type, parseValue(type, value)), value)

    def test_namesNeedNoFinalDot(self) -> None:
        """
        A name in a value is absolute with or without its dot.
        """
        for mnemonic, value in [("MX", "10 mail.example.org"), ("SRV", "1 2 3 a.example.org")]:
            type = parseType(mnemonic)
            self.assertEqual(parseValue(type, value), parseValue(type, value + "."))

    def test_everyTypeHasTheGenericForm(self) -> None:
        """
        The form of RFC 3597 serves known and unknown types, and is checked
        for known ones.
        """
        self.assertEqual(parseValue(parseType("TYPE65280"), r"\# 3 010203"), b"\1\2\3")
        self.assertEqual(parseValue(1, r"\# 4 c0000201"), b"\xc0\0\2\1")
        self.assertRaises(RecordError, parseValue, 1, r"\# 3 c00002")

    def test_text(self) -> None:
        """
        Plain text is one string, cut after 255 octets; several values are
        several strings.
        """
        self.assertEqual(parseValue(16, "v=spf1 -all"), b"\x0bv=spf1 -all")
        self.assertEqual(parseValue(16, ""), b"\0")
        self.assertEqual(parseValue(16, "x" * 300), b"\xff" + b"x" * 255 + b"\x2d" + b"x" * 45)
        self.assertEqual(parseValue(16, ("a", "b c")), b"\1a\3b c")

    def test_tooMuchForARecord(self) -> None:
        """
        Data is at most 65535 octets.
        """
        self.assertEqual(len(parseValue(16, "x" * (255 * 256 - 1))), 65535)
        self.assertRaises(RecordError, parseValue, 16, "x" * (255 * 256))

    def test_quotedText(self) -> None:
        """
        Quoted strings are read as in a zone file, escapes too, and may be
        longer than 255 octets.
        """
        for text, data in [
            ('"one" "two"', b"\3one\3two"),
            (r'"a\"b" c\032d', b'\3a"b\3c d'),
            ('""', b"\0"),
            ('"é"', "\2é".encode()),
            (f'"{"x" * 256}"', b"\xff" + b"x" * 255 + b"\1x"),
        ]:
            self.assertEqual(parseValue(16, text), data, text)
        for text in ('"open', '"a\n"', r'"\999"'):
            self.assertRaises(RecordError, parseValue, 16, text)

    @given(st.text(max_size=600).filter(lambda text: not text.strip().startswith(('"', "\\#"))))
    @settings(max_examples=100, deadline=None)
    def test_anyTextIsKept(self, text: str) -> None:
        """
        The strings of a text, joined, are the text.
        """
        data = parseValue(16, text)
        record = read(16, data)
        self.assertEqual(b"".join(record.strings).decode("utf-8"), text.strip())

    @given(
        st.sampled_from(
            ["A", "AAAA", "CNAME", "MX", "SRV", "CAA", "HTTPS", "TXT", "NAPTR", "TLSA"]
        ),
        st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
        | st.from_regex(r'[0-9]{1,5} [a-z.\\"=# ]{0,20}', fullmatch=True),
    )
    @settings(max_examples=300, deadline=None)
    def test_rubbishIsRefusedInWords(self, mnemonic: str, value: str) -> None:
        """
        Whatever is written is read or refused, never worse.
        """
        type = parseType(mnemonic)
        try:
            data = parseValue(type, value)
        except RecordError as reason:
            self.assertTrue(str(reason))
        else:
            written(type, data)

    def test_onlyTextHasStrings(self) -> None:
        """
        Several values are refused for other types than TXT.
        """
        self.assertRaises(RecordError, parseValue, 1, ("192.0.2.1", "192.0.2.2"))

    def test_emptyValues(self) -> None:
        """
        An empty value is refused where the type needs one.
        """
        for type in (1, 28, 5, 15, 65):
            self.assertRaises(RecordError, parseValue, type, " ")

    def test_scopedAddress(self) -> None:
        """
        An address with a scope makes no record.
        """
        self.assertRaises(RecordError, parseValue, 28, "fe80::1%eth0")


class NameTests(SynchronousTestCase):
    """
    Tests for L{parseName} and L{parseType}.
    """

    def test_lettersOutsideASCII(self) -> None:
        """
        Letters outside ASCII become A-labels, in names and in values.
        """
        alabel = fromText("xn--bcher-kva.example")
        self.assertEqual(parseName("Bücher.example"), alabel)
        self.assertEqual(parseValue(5, "bücher.example."), alabel)
        self.assertEqual(parseName("*.BÜCHER。example"), b"\1*" + alabel)
        self.assertEqual(parseName("_x._tcp.bücher.example"), fromText("_x._tcp")[:-1] + alabel)

    def test_noName(self) -> None:
        """
        What is no name is refused.
        """
        for text in ("a..b", "x" * 64, "a." * 130, "\u2028.example", "-\u00df\u0000"):
            self.assertRaises(RecordError, parseName, text)

    def test_types(self) -> None:
        """
        Mnemonics are read in any case; those of questions only are refused.
        """
        self.assertEqual(parseType("https"), 65)
        self.assertEqual(parseType(" TYPE1 "), 1)
        self.assertEqual(parseType("DNSKEY"), 48)
        for text in ("", "ANY", "AXFR", "OPT", "TYPE0", "TYPE70000", "A A"):
            self.assertRaises(RecordError, parseType, text)
