# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.query}.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText, toText
from tests.support.fakeapi import runCommand
from tests.support.loopback import LoopbackServer, reply


def record(type: int, data: bytes, ttl: int = 60) -> bytes:
    """
    A record of the name that is asked for.
    """
    return struct.pack("!HHHIH", 0xC00C, type, 1, ttl, len(data)) + data


ADDRESS = record(1, bytes([192, 0, 2, 1]))
ODD = record(65280, b"\x01\x02\xff")


class QueryTests(SynchronousTestCase):
    """
    Tests for C{dnsguard query}.
    """

    def serve(self, *arguments: Any, **options: Any) -> LoopbackServer:
        """
        Begin to answer in some way.
        """
        server = LoopbackServer(*arguments, **options)
        self.addCleanup(server.close)
        self.server = server
        return server

    def ask(self, *arguments: str, status: int = 0) -> str:
        """
        Ask the server and give what is written.
        """
        result = runCommand("query", *arguments, "--port", str(self.server.port))
        self.assertEqual(result.exit_code, status, result.output + repr(result.exception))
        return result.stdout

    def test_answer(self) -> None:
        """
        Records, flags, EDNS and how it came are shown: 0.
        """
        opt = EDNS(payloadSize=1232).encode()
        self.serve(lambda question: [reply(question, ADDRESS, answers=1, additional=opt, extra=1)])
        lines = self.ask("WWW.example.org").splitlines()
        self.assertRegex(lines[0], r"^NOERROR  qr rd ra  id \d+$")
        self.assertEqual(lines[1], "edns version 0 udp 1232")
        self.assertEqual(lines[3:5], ["question", "www.example.org\tA"])
        self.assertEqual(lines[6:8], ["answer", "www.example.org.\t60\tIN\tA\t192.0.2.1"])
        self.assertRegex(
            lines[-1],
            rf"^127\.0\.0\.1 port {self.server.port} over udp, \d+\.\d ms, \d+ octets$",
        )
        (asked,) = self.server.asked
        layout = scan(asked[1])
        self.assertEqual((layout.name, layout.type), (fromText("www.example.org"), 1))
        self.assertEqual(layout.edns, EDNS())

    def test_short(self) -> None:
        """
        The values alone, also of a type that nobody knows (RFC 3597).
        """
        self.serve(lambda question: [reply(question, ADDRESS + ODD, answers=2)])
        self.assertEqual(self.ask("example.org", "any", "--short"), "192.0.2.1\n\\# 3 0102ff\n")

    def test_json(self) -> None:
        """
        For programs there is one object with everything.
        """
        opt = EDNS(options=(ExtendedError(17, "by rule").option(), (10, b"\x01"))).encode()
        self.serve(
            lambda question: [
                reply(question, ADDRESS, answers=1, additional=opt, extra=1, flags=0x8583)
            ]
        )
        told = json.loads(self.ask("example.org", "--json", "--dnssec", "--cd", status=1))
        self.assertEqual(told["rcode"], "NXDOMAIN")
        self.assertEqual(told["flags"], ["qr", "aa", "rd", "ra"])
        self.assertEqual(
            told["extended_errors"], [{"code": 17, "meaning": "Filtered", "text": "by rule"}]
        )
        self.assertEqual(told["edns"]["options"], [{"code": 10, "data": "01"}])
        self.assertEqual(told["answer"][0]["data"], "192.0.2.1")
        self.assertEqual((told["transport"], told["port"]), ("udp", self.server.port))
        layout = scan(self.server.asked[0][1])
        self.assertTrue(layout.edns is not None and layout.edns.dnssecOK)
        self.assertTrue(layout.flags & 0x10)

    def test_blocked(self) -> None:
        """
        A blocked name ends with 1 although there is an address, and it's shown
        why, whatever is in the reason.
        """
        opt = EDNS(options=(ExtendedError(15, "list \x1b[31mads").option(),)).encode()
        self.serve(lambda question: [reply(question, ADDRESS, answers=1, additional=opt, extra=1)])
        told = self.ask("ads.example.org", status=1)
        self.assertIn("reason 15 Blocked: list \\x1b[31mads\n", told)

    def test_nothing(self) -> None:
        """
        No records end with 1.
        """
        self.serve(lambda question: [reply(question)])
        self.ask("example.org", "AAAA", status=1)

    def test_tcp(self) -> None:
        """
        It is asked over TCP when that is wanted.
        """
        self.serve(lambda question: [reply(question, ADDRESS, answers=1)])
        self.assertIn("over tcp", self.ask("example.org", "--tcp", "--no-edns", "--no-recurse"))
        ((transport, asked),) = self.server.asked
        self.assertEqual((transport, scan(asked).edns, scan(asked).flags), ("tcp", None, 0))

    def test_truncated(self) -> None:
        """
        After a truncated datagram it is asked again over TCP, unless told not
        to.
        """
        self.serve(
            lambda question: [reply(question, flags=0x8380)],
            lambda question: [reply(question, ADDRESS, answers=1)],
        )
        self.assertIn("over tcp", self.ask("example.org"))
        self.assertIn("qr tc rd ra", self.ask("example.org", "--ignore", status=1))

    def test_others(self) -> None:
        """
        Datagrams that are no reply to this question aren't taken for one.
        """

        def answer(question: bytes) -> list[bytes]:
            right = reply(question, ADDRESS, answers=1)
            other = bytes([question[0] ^ 1]) + right[1:]
            return [b"", b"x", other, question, right[:12] + right[13:], right]

        self.serve(answer)
        self.assertEqual(self.ask("example.org", "--short"), "192.0.2.1\n")

    def test_silent(self) -> None:
        """
        No reply: 3, after it was asked a few times.
        """
        self.serve(lambda question: [])
        result = runCommand(
            "query", "example.org", "--port", str(self.server.port), "--timeout", "0.1"
        )
        self.assertEqual((result.exit_code, result.stdout), (3, ""))
        self.assertEqual(
            result.stderr,
            f"dnsguard: 127.0.0.1 port {self.server.port} over udp: no reply within 0.1 seconds\n",
        )
        self.assertEqual(len({question for _, question in self.server.asked}), 1)
        self.assertGreater(len(self.server.asked), 1)

    def test_closed(self) -> None:
        """
        A connection that is closed, or brings something else: 3.
        """
        for answers in ([], [b"xx"], [b"\0" * 20]):
            self.serve(lambda question, answers=answers: answers)
            self.ask("example.org", "--tcp", status=3)

    def test_damaged(self) -> None:
        """
        A damaged reply: 3, and in what way.
        """
        self.serve(lambda question: [reply(question, ADDRESS[:-1], answers=1)])
        result = runCommand("query", "example.org", "--port", str(self.server.port))
        self.assertEqual(result.exit_code, 3)
        self.assertIn("the reply is damaged", result.stderr)

    def test_oddRecord(self) -> None:
        """
        A record that isn't what its type says doesn't hide the others.
        """
        records = record(1, b"\xc0") + ADDRESS + record(99, b"") + record(15, b"\0\1\xc0\x0c")
        self.serve(lambda question: [reply(question, records, answers=4)])
        told = self.ask("example.org", "--short").splitlines()
        self.assertEqual(told, ["\\# 1 c0", "192.0.2.1", "\\# 0", "1 example.org."])

    def test_badName(self) -> None:
        """
        A name in a record that leads nowhere: 3.
        """
        self.serve(lambda question: [reply(question, record(5, b"\xc0\xff"), answers=1)])
        self.ask("example.org", status=3)

    def test_address(self) -> None:
        """
        An address without a type means its name in reverse.
        """
        self.serve(lambda question: [reply(question)])
        self.ask("192.0.2.1", status=1)
        self.ask("2001:db8::1", status=1)
        first, second = (scan(question) for _, question in self.server.asked)
        self.assertEqual((toText(first.name), first.type), ("1.2.0.192.in-addr.arpa", 12))
        self.assertTrue(toText(second.name).endswith(".8.b.d.0.1.0.0.2.ip6.arpa"))

    def test_usage(self) -> None:
        """
        What is no name or no type is a wrong command line.
        """
        for arguments in (["a..b"], ["a", "NONSENSE"], ["a", "TYPE65536"], ["\u2603" * 70]):
            self.assertEqual(runCommand("query", *arguments).exit_code, 2)
