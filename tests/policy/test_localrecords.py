# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.policy.localrecords}.
"""

from __future__ import annotations

import socket

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.policy.localrecords import CHAIN_LIMIT, LocalAnswer, LocalRecords, RecordSpec
from dnsguard.policy.problems import InvalidPolicy
from dnsguard.wire.names import fromText

A, CNAME, SOA, PTR, MX, TXT, AAAA, ANY = 1, 5, 6, 12, 15, 16, 28, 255


def build(*lines: str, automaticPTR: bool = False, imported: tuple[str, ...] = ()) -> LocalRecords:
    """
    Records of lines such as C{"www.example.org A 192.0.2.1"}.
    """
    return LocalRecords.build(
        [_spec(line, f"local_records[{place}]") for place, line in enumerate(lines)],
        [_spec(line, f"hosts:{place}") for place, line in enumerate(imported)],
        automaticPTR=automaticPTR,
    )


def _spec(line: str, place: str) -> RecordSpec:
    name, type, value = line.split(" ", 2)
    return RecordSpec(name, type, value, place=place)


def found(records: LocalRecords, name: str, type: int) -> LocalAnswer:
    """
    The answer to a question, which there must be.
    """
    answer = records.find(fromText(name), type)
    assert answer is not None, name
    return answer


def addresses(answer: LocalAnswer) -> list[str]:
    """
    The addresses in an answer, sorted.
    """
    return sorted(
        socket.inet_ntop(socket.AF_INET if record.type == A else socket.AF_INET6, record.data)
        for record in answer.answer
        if record.type in (A, AAAA)
    )


REWRITES = build(
    "some-alias CNAME some-host.example",
    "some-host.example A 0.0.0.0",
    "host.example A 192.0.2.4",
    "host.example A 192.0.2.5",
    "host.example AAAA 2001:db8::4",
    "www.host.example CNAME host.example",
    "*.host.example A 192.0.2.5",
    "a.host.example A 192.0.2.4",
    "*.host2.example CNAME host.example",
    "b.host.example CNAME some-alias",
    "b.host3.example CNAME a.host3.example",
    "a.host3.example CNAME x.host.example",
    "*.both.example A 192.0.2.6",
    "*.both.example AAAA 2001:db8::8",
    "BIG.EXAMPLE A 192.0.2.7",
    "*.self.example CNAME sub.self.example",
    "*.sub.deep.example A 192.0.2.5",
    "*.deep.example A 192.0.2.4",
    "*.hole.example A 192.0.2.2",
    "sub.hole.example CNAME sub.hole.example",
    "*.sub.hole.example CNAME *.sub.hole.example",
)


class LookupTests(SynchronousTestCase):
    """
    Tests for L{LocalRecords.find}.
    """

    def test_table(self) -> None:
        """
        Exact names, aliases and wildcards give the addresses they should.
        """
        for name, type, target, expected in [
            ("www.host.example", AAAA, "host.example", ["2001:db8::4"]),
            ("www.host.example", A, "host.example", ["192.0.2.4", "192.0.2.5"]),
            ("abc.host.example", A, None, ["192.0.2.5"]),
            ("deep.abc.host.example", A, None, ["192.0.2.5"]),
            ("a.host.example", A, None, ["192.0.2.4"]),
            ("www.host2.example", A, "host.example", ["192.0.2.4", "192.0.2.5"]),
            ("b.host.example", A, "some-host.example", ["0.0.0.0"]),
            ("b.host3.example", A, "x.host.example", ["192.0.2.5"]),
            ("www.both.example", A, None, ["192.0.2.6"]),
            ("www.both.example", AAAA, None, ["2001:db8::8"]),
            ("big.example", A, None, ["192.0.2.7"]),
            ("x.sub.deep.example", A, None, ["192.0.2.5"]),
            ("x.deep.example", A, None, ["192.0.2.4"]),
            ("my.hole.example", A, None, ["192.0.2.2"]),
        ]:
            answer = found(REWRITES, name, type)
            self.assertEqual(addresses(answer), expected, name)
            self.assertIsNone(answer.target, name)
            aliases = [record.data for record in answer.answer if record.type == CNAME]
            last = fromText(target) if target else None
            self.assertEqual(aliases[-1] if aliases else None, last, name)

    def test_othersNames(self) -> None:
        """
        Of names that aren't here, and of exempted ones, nothing is said.
        """
        for name in [
            "example",
            "host2.example",
            "sub.self.example",
            "sub.hole.example",
            "my.sub.hole.example",
            "xhost.example",
        ]:
            self.assertIsNone(REWRITES.find(fromText(name), A), name)
            self.assertNotIn(fromText(name), REWRITES)

    def test_aliasOfSomebodyElse(self) -> None:
        """
        An alias that leads out names the place to ask; one to an exempted
        name leads out too.
        """
        answer = found(REWRITES, "www.self.example", A)
        self.assertEqual(answer.target, fromText("sub.self.example"))
        self.assertEqual([record.type for record in answer.answer], [CNAME])

    def test_aliasAskedFor(self) -> None:
        """
        Who asks for the alias itself isn't led on.
        """
        answer = found(REWRITES, "b.host3.example", CNAME)
        self.assertIsNone(answer.target)
        self.assertEqual(len(answer.answer), 1)

    def test_noDataNeverLeaks(self) -> None:
        """
        A local name without the type asked for is "no data" with a SOA record.
        """
        answer = found(build("nas.example.org A 192.0.2.1"), "nas.example.org", AAAA)
        self.assertEqual(answer.answer, ())
        self.assertIsNone(answer.target)
        (soa,) = answer.authority
        self.assertEqual((soa.owner, soa.type), (fromText("nas.example.org"), SOA))

    def test_noDataBehindAnAlias(self) -> None:
        """
        No data at the end of a chain belongs to the last name.
        """
        records = build("a.example.org CNAME b.example.org", "b.example.org A 192.0.2.1")
        answer = found(records, "a.example.org", AAAA)
        self.assertEqual([record.type for record in answer.answer], [CNAME])
        self.assertEqual(answer.authority[0].owner, fromText("b.example.org"))

    def test_wildcardOnlyWithoutExactName(self) -> None:
        """
        A name with any record of its own gets nothing from a wildcard.
        """
        records = build("*.example.org AAAA 2001:db8::1", "www.example.org A 192.0.2.1")
        self.assertEqual(found(records, "www.example.org", AAAA).answer, ())

    def test_wildcardOwnerIsTheNameAsked(self) -> None:
        """
        A wildcard's record is given as the asked name's own.
        """
        records = build("*.example.org A 192.0.2.1")
        answer = found(records, "a.b.example.org", A)
        self.assertEqual(answer.answer[0].owner, fromText("a.b.example.org"))
        self.assertIsNone(records.find(fromText("example.org"), A))

    def test_oneTTL(self) -> None:
        """
        Records of one name and type have one TTL, the least that was written.
        """
        records = LocalRecords.build(
            [
                RecordSpec("a.example.org", "A", "192.0.2.1", 60),
                RecordSpec("a.example.org", "A", "192.0.2.2", 30),
                RecordSpec("a.example.org", "TXT", "x"),
            ],
            defaultTTL=90,
        )
        ttls = [record.ttl for record in found(records, "a.example.org", ANY).answer]
        self.assertEqual(ttls, [30, 30, 90])

    def test_any(self) -> None:
        """
        ANY gives all a name has.
        """
        records = build("h.example.org A 192.0.2.1", "h.example.org TXT hello")
        self.assertEqual(
            {record.type for record in found(records, "h.example.org", ANY).answer}, {A, TXT}
        )

    def test_circleOfWildcards(self) -> None:
        """
        Aliases that lead in a circle through a wildcard come to an end.
        """
        records = build("*.example.org CNAME a.example.net", "*.example.net CNAME b.example.org")
        answer = found(records, "x.example.org", A)
        self.assertTrue(0 < len(answer.answer) <= CHAIN_LIMIT)
        self.assertIsNone(answer.target)

    def test_longChainEnds(self) -> None:
        """
        A chain is followed so far and no further.
        """
        records = build(
            *(f"n{n}.example.org CNAME n{n + 1}.example.org" for n in range(40)),
        )
        answer = found(records, "n0.example.org", A)
        self.assertEqual(len(answer.answer), CHAIN_LIMIT)

    @given(st.lists(st.binary(min_size=1, max_size=63), max_size=3))
    @settings(max_examples=200, deadline=None)
    def test_anyNameIsFine(self, parts: list[bytes]) -> None:
        """
        No name upsets the lookup.
        """
        name = b"".join(bytes([len(part)]) + part for part in parts).lower()
        for suffix in (b"\0", fromText("both.example"), fromText("host.example")):
            answer = REWRITES.find(name + suffix, A)
            if answer is not None and answer.answer:
                self.assertEqual(answer.answer[0].owner, name + suffix)


class PointerTests(SynchronousTestCase):
    """
    Tests for automatic PTR records.
    """

    def test_addressPointsBack(self) -> None:
        """
        Each address points back to the first name that has it.
        """
        records = build(
            "a.example.org A 192.0.2.1",
            "b.example.org A 192.0.2.1",
            "a.example.org AAAA 2001:db8::1",
            automaticPTR=True,
        )
        for name in ("1.2.0.192.in-addr.arpa", "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"):
            (pointer,) = found(records, name, PTR).answer
            self.assertEqual(pointer.data, fromText("a.example.org"))

    def test_writtenPointerWins(self) -> None:
        """
        A PTR record that was written stands alone.
        """
        records = build(
            "a.example.org A 192.0.2.1",
            "1.2.0.192.in-addr.arpa PTR other.example.org",
            automaticPTR=True,
        )
        (pointer,) = found(records, "1.2.0.192.in-addr.arpa", PTR).answer
        self.assertEqual(pointer.data, fromText("other.example.org"))

    def test_switch(self) -> None:
        """
        It is on where nothing is said; without it, a reverse name is nobody's.
        """
        plain = LocalRecords.build([RecordSpec("a.example.org", "A", "192.0.2.1")])
        self.assertIn(fromText("1.2.0.192.in-addr.arpa"), plain)
        records = build("a.example.org A 192.0.2.1")
        self.assertIsNone(records.find(fromText("1.2.0.192.in-addr.arpa"), PTR))

    def test_someAddressesPointNowhere(self) -> None:
        """
        The address 0.0.0.0 and wildcards don't point back.
        """
        records = build(
            "ads.example.org A 0.0.0.0", "*.example.org A 192.0.2.9", automaticPTR=True
        )
        self.assertEqual(records.names, 2)


class ImportTests(SynchronousTestCase):
    """
    Tests for imported records.
    """

    def test_operatorsWordWins(self) -> None:
        """
        A name the operator wrote of gets nothing from a hosts file.
        """
        records = build(
            "a.example.org CNAME b.example.org",
            imported=("a.example.org A 192.0.2.1", "c.example.org A 192.0.2.3"),
        )
        self.assertEqual(found(records, "a.example.org", A).target, fromText("b.example.org"))
        self.assertEqual(addresses(found(records, "c.example.org", A)), ["192.0.2.3"])


class ProblemTests(SynchronousTestCase):
    """
    What is wrong is said, all at once.
    """

    def problems(self, *lines: str) -> list[tuple[str, str]]:
        """
        The places and reasons of all problems with these lines.
        """
        invalid = self.assertRaises(InvalidPolicy, build, *lines)
        return [(problem.place, problem.reason) for problem in invalid.problems]

    def test_allAtOnce(self) -> None:
        """
        Each bad record is named with its place and reason.
        """
        found = self.problems(
            "ok.example.org A 192.0.2.1",
            "a..b A 192.0.2.1",
            "c.example.org A 2001:db8::1",
            "d.example.org NONSENSE x",
            "e.example.org MX nonsense",
            "f.*.example.org A 192.0.2.1",
            "g.example.org ANY x",
        )
        self.assertEqual(
            [place for place, _ in found],
            [
                "local_records[1].name",
                "local_records[2].value",
                "local_records[3].type",
                "local_records[4].value",
                "local_records[5].name",
                "local_records[6].type",
            ],
        )
        self.assertIn("no IPv4 address", found[1][1])

    def test_aliasStandsAlone(self) -> None:
        """
        An alias beside other records, or a second alias, is refused.
        """
        for second in ("a.example.org A 192.0.2.1", "a.example.org CNAME c.example.org"):
            ((place, reason),) = self.problems("a.example.org CNAME b.example.org", second)
            self.assertEqual(place, "local_records[1]")
            self.assertIn("alias", reason)

    def test_circle(self) -> None:
        """
        A circle of aliases is named, once.
        """
        ((place, reason),) = self.problems(
            "x.example.org CNAME a.example.org",
            "a.example.org CNAME b.example.org",
            "b.example.org CNAME a.example.org",
        )
        self.assertEqual(place, "local_records[1]")
        self.assertIn("a.example.org -> b.example.org -> a.example.org", reason)

    def test_tooMuchForAMessage(self) -> None:
        """
        A name can't have more records than one message holds.
        """
        ((place, _),) = self.problems(
            *(f"big.example.org TXT {number}{'x' * 200}" for number in range(400))
        )
        self.assertEqual(place, "local_records[0]")

    def test_badTTL(self) -> None:
        """
        A TTL out of range is refused.
        """
        spec = RecordSpec("a.example.org", "A", "192.0.2.1", ttl=-1, place="local_records[0]")
        invalid = self.assertRaises(InvalidPolicy, LocalRecords.build, [spec])
        self.assertEqual(invalid.problems[0].place, "local_records[0].ttl")
