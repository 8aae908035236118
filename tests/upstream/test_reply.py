# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.reply}.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.upstream import reply as module
from dnsguard.upstream.reply import MalformedReply, readReply
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import Layout, scan
from dnsguard.wire.names import fromText
from tests.support.upstreams import A_RECORD, OPT, QUESTION, opt, read, reply

COMPILED: Any = vars(module)["measure"]


def record(owner: bytes, type: int, data: bytes, ttl: int = 60) -> bytes:
    """
    A record with an uncompressed owner.
    """
    return owner + struct.pack("!HHIH", type, 1, ttl, len(data)) + data


CHAIN = [record(b"\xc0\x0c", 5, b"\5other\xc0\x10"), record(b"\5other\xc0\x10", 1, b"abcd")]
POINTED = [record(b"\xc0\x0c", 5, b"\5other\4test\0"), record(b"\xc0\x2d", 1, b"abcd")]
SOA = record(b"\xc0\x10", 6, b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, 30))
OPTION = opt(1, struct.pack("!HH", 3, 4) + b"nsid")


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """
    A reply to L{QUESTION} with some octets changed, but for the question.
    """
    wire = bytearray(
        reply(
            answers=draw(st.sampled_from([(), (A_RECORD,), (A_RECORD, A_RECORD), CHAIN, POINTED])),
            authority=draw(st.sampled_from([(), (SOA,), (record(b"\xc0\x10", 2, b"\xc0\x0c"),)])),
            additional=draw(
                st.sampled_from(
                    [(), (OPT,), (OPTION,), (OPT, A_RECORD), (A_RECORD, OPT), (OPT, OPT), (SOA,)]
                )
            ),
        )
    )
    places = [*range(2, 4), *range(6, 12), *range(12 + len(QUESTION), len(wire))]
    octets = st.one_of(st.sampled_from([0, 1, 0xC0, 0x0C, 41, 255]), st.integers(0, 255))
    for at, octet in draw(st.lists(st.tuples(st.sampled_from(places), octets), max_size=3)):
        wire[at] = octet
    cut = draw(st.sampled_from([0, 0, 0, 1, 5, 11]))
    return bytes(wire[: max(12 + len(QUESTION), len(wire) - cut)])


class ReadReplyTests(SynchronousTestCase):
    """
    Tests for L{readReply}.
    """

    def test_hopByHopIsRemoved(self) -> None:
        """
        Id, letter case and OPT record are gone, and the layout is that of
        what is left.
        """
        got = readReply(
            reply(b"\7\7", fromText("www.example.org").upper() + QUESTION[-4:]), QUESTION
        )
        self.assertEqual(got.wire, reply(additional=()))
        self.assertEqual(got.layout, scan(got.wire))
        assert got.edns is not None
        self.assertEqual(got.rCode, 0)

    def test_withoutOPT(self) -> None:
        """
        A reply without OPT record is kept whole.
        """
        got = read(additional=())
        self.assertEqual(got.wire, reply(additional=()))
        self.assertEqual(got.layout, scan(got.wire))
        self.assertIsNone(got.edns)

    def test_behindTheOPT(self) -> None:
        """
        Records behind the OPT record are left out with it.
        """
        extra = record(b"\2ns\xc0\x10", 1, b"\xc0\0\2\2")
        got = read(additional=[extra, OPT, extra])
        self.assertEqual(got.wire, reply(additional=[extra]))
        self.assertEqual(got.layout, scan(got.wire))

    def test_extendedRCode(self) -> None:
        """
        The OPT record's part of the response code counts.
        """
        self.assertEqual(read(additional=[opt(1)], answers=()).rCode, 16)

    def test_authenticData(self) -> None:
        """
        The AD bit is what the upstream says.
        """
        self.assertTrue(read(flags=0x81A0).authenticData)
        self.assertFalse(read().authenticData)

    def test_extendedError(self) -> None:
        """
        An extended error is found, made printable and bounded.
        """
        options = struct.pack("!HHH", 3, 4, 0) + b"xx"
        options += struct.pack("!HHH", 15, 9, 6) + b"b\nd\xff\0\0\0"
        got = read(additional=[opt(options=options)])
        self.assertEqual(got.extendedError, ExtendedError(6, "b d�"))
        long = struct.pack("!HHH", 15, 502, 6) + b"x" * 500
        error = read(additional=[opt(options=long)]).extendedError
        assert error is not None
        self.assertEqual(len(error.text), 200)
        short = struct.pack("!HHB", 15, 1, 6)
        self.assertIsNone(read(additional=[opt(options=short)]).extendedError)
        self.assertIsNone(read(additional=()).extendedError)

    def test_lacksEDNS(self) -> None:
        """
        BADVERS says that EDNS isn't understood, and so do FORMERR and NOTIMP
        from somebody who sends no OPT record.
        """
        self.assertTrue(read(rCode=1, answers=(), additional=()).lacksEDNS)
        self.assertTrue(read(rCode=4, answers=(), additional=()).lacksEDNS)
        self.assertTrue(read(additional=[opt(1)], answers=()).lacksEDNS)
        self.assertFalse(read(rCode=1, answers=()).lacksEDNS)
        self.assertFalse(read(rCode=2, answers=(), additional=()).lacksEDNS)

    def test_malformed(self) -> None:
        """
        What is no sound message is refused.
        """
        whole = reply()
        two = reply(additional=[OPT, OPT])
        for wire in (
            whole[:-1],
            whole + b"\0",
            whole[:40],
            two,
            reply(additional=[OPT[:-1] + b"\1"]),
        ):
            self.assertRaises(MalformedReply, readReply, wire, QUESTION)


class OwnerTests(SynchronousTestCase):
    """
    L{readReply} takes records only about what was asked.
    """

    alias = record(b"\xc0\x0c", 5, b"\5other\xc0\x10")
    target = record(b"\5other\xc0\x10", 1, b"\xc0\0\2\2")

    def test_aliases(self) -> None:
        """
        A chain of aliases is followed, in whatever order it stands.
        """
        for answers in ([self.alias, self.target], [self.target, self.alias]):
            got = read(answers=answers)
            self.assertEqual(got.wire, reply(answers=answers, additional=()))
            self.assertEqual(got.layout, scan(got.wire))

    def test_strangerIsRefused(self) -> None:
        """
        A record about another name isn't taken, also behind good ones.
        """
        stranger = record(b"\5other\4test\0", 1, b"\6\6\6\6")
        for answers in ([stranger], [A_RECORD, stranger], [self.alias, self.target, stranger]):
            self.assertRaises(MalformedReply, read, answers=answers)

    def test_aliasOfAStranger(self) -> None:
        """
        An alias counts only if it starts at the name asked for.
        """
        self.assertRaises(MalformedReply, read, answers=[self.target])

    def test_pointersToTargets(self) -> None:
        """
        Records that point at an alias's target belong to it, also when the
        target is itself a pointer; a pointer elsewhere doesn't make one.
        """
        first = record(b"\xc0\x0c", 5, b"\4edge\3cdn\4test\0")
        at = 12 + len(QUESTION) + 12
        second = record(bytes([0xC0, at]), 5, bytes([0xC0, at + 5]))
        third = record(bytes([0xC0, at + 5]), 1, b"abcd")
        fourth = record(bytes([0xC0, at + 5 + 4]), 1, b"abcd")
        self.assertEqual(read(answers=[first, second, third]).layout.counts[1], 3)
        self.assertRaises(MalformedReply, read, answers=[first, third])
        self.assertRaises(MalformedReply, read, answers=[first, second, third, fourth])

    def test_beyondAPointersReach(self) -> None:
        """
        An alias so far back that no pointer reaches it vouches for nothing
        that one points at.
        """
        start = 12 + len(QUESTION) + 12
        place = 0x4000 + start + 20
        alias = record(b"\xc0\x0c", 5, b"\5other\4test\0")
        hidden = record(b"\xc0\x0c", 16, b"x" * 20 + b"\4evil\4test\0")
        filler = record(b"\xc0\x0c", 16, b"x" * (place - start - len(hidden) - 12))
        self.assertEqual(12 + len(QUESTION) + len(hidden) + len(filler) + 12, place)
        evil = record((0xC000 | place).to_bytes(2, "big"), 1, b"\6\6\6\6")
        self.assertRaises(MalformedReply, read, answers=[hidden, filler, alias, evil])

    def test_tooManyNames(self) -> None:
        """
        There is a bound to the names that are read; records that just point
        at the question don't count.
        """
        self.assertRaises(MalformedReply, read, answers=[self.alias, *[self.target] * 512])
        self.assertEqual(read(answers=[self.alias, *[self.target] * 511]).layout.counts[1], 512)
        self.assertEqual(read(answers=[A_RECORD] * 2000).layout.counts[1], 2000)

    def test_emptyAlias(self) -> None:
        """
        An alias without a target, or with one that runs over, leads nowhere.
        """
        for data in (b"", b"\5", b"\5ot", self.target[:8] + b"\0"):
            alias = record(b"\xc0\x0c", 5, data)
            self.assertRaises(MalformedReply, read, answers=[alias, self.target])

    def test_circle(self) -> None:
        """
        An alias to itself is no endless chase.
        """
        got = read(answers=[record(b"\xc0\x0c", 5, b"\xc0\x0c")])
        self.assertEqual(got.layout.counts[1], 1)

    def test_domainAlias(self) -> None:
        """
        A DNAME record of a parent and its signature come with the alias made
        from it (RFC 6672 §3.1); one of another domain is refused.
        """
        made = record(b"\xc0\x0c", 5, b"\3www\7example\3net\0")
        good = record(b"\xc0\x10", 39, b"\7example\3net\0")
        signature = record(b"\xc0\x10", 46, b"x" * 20)
        self.assertEqual(read(answers=[good, signature, made]).layout.counts[1], 3)
        bad = record(b"\3com\0", 39, b"\7example\3net\0")
        self.assertRaises(MalformedReply, read, answers=[bad, made])

    def test_ownLetterCaseIsRestored(self) -> None:
        """
        A server that doesn't compress repeats the letters made up for it;
        they are put back where they are the question's, and nowhere else.
        """
        owner = fromText("www.example.org").upper()
        answers = [
            record(owner, 5, b"\5OTHER\xc0\x10"),
            record(b"\5Other\xc0\x10", 1, b"ABCD"),
        ]
        got = read(answers=answers)
        self.assertEqual(
            got.wire,
            reply(
                answers=[record(owner.lower(), 5, b"\5OTHER\xc0\x10"), answers[1]], additional=()
            ),
        )

    def test_pointerIsNotALetter(self) -> None:
        """
        Restoring letter case leaves compression pointers alone, whose low
        octet may look like a letter.
        """
        question = fromText("a" * 52 + ".example.org") + b"\0\1\0\1"
        owner = question[:53].upper() + b"\xc0\x41"
        self.assertEqual(question[0x41 - 12 :][:8], b"\7example")
        got = readReply(
            b"\0\0\x81\x80\0\1\0\1\0\0\0\0" + question + record(owner, 1, b"abcd"), question
        )
        self.assertEqual(scan(got.wire), got.layout)
        self.assertIn(owner[:53].lower() + b"\xc0\x41", got.wire)

    def test_asStockCodeReadsIt(self) -> None:
        """
        Twisted Names decodes what is left.
        """
        got = read(answers=[self.alias, self.target])
        answers, _, additional = Answer.fromWire(got.wire, got.layout, outcome=Outcome.UPSTREAM)
        self.assertEqual(
            [str(each.name) for each in answers], ["www.example.org", "other.example.org"]
        )
        self.assertEqual(answers[1].type, dns.A)
        self.assertEqual(additional, [])


class PurePythonTests(ReadReplyTests):
    """
    L{readReply} where nothing is compiled.
    """

    def setUp(self) -> None:
        self.patch(module, "measure", None)


class PurePythonOwnerTests(OwnerTests):
    """
    Owners where nothing is compiled.
    """

    def setUp(self) -> None:
        self.patch(module, "measure", None)


class TwinTests(SynchronousTestCase):
    """
    The compiled reading of replies against the one in Python.
    """

    def read(self, wire: bytes, measure: object) -> tuple[bytes, Layout, int, EDNS | None] | str:
        """
        What is made of a reply, or how it is refused.
        """
        self.patch(module, "measure", measure)
        try:
            read = readReply(wire, QUESTION)
        except MalformedReply as error:
            return str(error)
        return read.wire, read.layout, read.rCode, read.edns

    @settings(max_examples=500, deadline=None)
    @given(mangled())
    def test_mangledReply(self, wire: bytes) -> None:
        """
        A mangled reply is refused, or read into a message that scans as the
        layout says and is about the question asked; compiled or not.
        """
        got = self.read(wire, None)
        if not isinstance(got, str):
            read, layout, _, _ = got
            self.assertEqual(scan(read), layout)
            self.assertEqual(read[12 : 12 + len(QUESTION)], QUESTION)
        self.assertEqual(self.read(wire, COMPILED), got)

    def test_isUsed(self) -> None:
        """
        The compiled code reads plain replies, and leaves all others alone.
        """
        if COMPILED is None:
            raise SkipTest("nothing is compiled here")
        for answers, authority, additional in [
            ([A_RECORD], [], [OPT]),
            ([A_RECORD], [], []),
            (CHAIN, [], [OPT]),
            ([], [SOA], [OPT]),
        ]:
            wire = reply(answers=answers, authority=authority, additional=additional)
            self.assertIsNotNone(COMPILED(wire, QUESTION, Layout))
        whole = reply()
        for wire in (b"", whole[:20], whole[:-1], whole + b"\0", reply(additional=[OPTION])):
            self.assertIsNone(COMPILED(wire, QUESTION, Layout))
