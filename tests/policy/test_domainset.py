# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for sets of names, in Python and compiled.
"""

from __future__ import annotations

import itertools
import os
import random
import stat
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import COMPILED, DomainSet, Scope, newBuilder, save
from dnsguard.policy.listparser import parseList
from dnsguard.policy.setbuilder import Collector
from dnsguard.policy.setformat import HEADER_SIZE, linePlace, suffixHashes
from dnsguard.wire.names import InvalidName, fromText, parents

KEYS = [(0x1234567890ABCDE, 0xF123456789ABCDEF), (0x2BCDEF012345678, 0xA5A5A5A5DEADBEEF)]

Entries = list[tuple[str, list[tuple[bytes, int, int]]]]

labels = st.text("ab-_09z", min_size=1, max_size=5).map(lambda text: text.encode("ascii"))
longLabels = st.one_of(labels, st.just(b"x" * 63), st.just(b"y" * 45))
names = (
    st.lists(longLabels, min_size=1, max_size=4)
    .map(lambda parts: b"".join(bytes([len(part)]) + part for part in parts) + b"\0")
    .filter(lambda name: len(name) <= 255)
)
entries = st.lists(
    st.tuples(names, st.integers(0, 30), st.sampled_from([0, 0, 0, 1, 2])), max_size=30
)
lists = st.lists(entries, min_size=1, max_size=4)


def compiledTable() -> bool:
    """
    Skip a test that needs the compiled twin.
    """
    if not COMPILED:
        raise SkipTest("the compiled twin isn't built")
    return True


def fill(builder: Collector, content: list[list[tuple[bytes, int, int]]]) -> Collector:
    """
    Add lists named C{list0}, C{list1} and so on.
    """
    for number, found in enumerate(content):
        builder.addSource(f"list{number}")
        for entry in found:
            builder.add(*entry)
    return builder


def expected(
    content: list[list[tuple[bytes, int, int]]], qname: bytes, chosen: set[int]
) -> list[tuple[int, int, int]]:
    """
    What L{DomainSet.matches} should give, by the plainest of means.
    """
    found = []
    for parent in parents(qname):
        start = len(qname) - len(parent)
        skipped = Scope.EXACT if start else Scope.BELOW
        for number, rules in enumerate(content):
            best: dict[int, int] = {}
            for name, line, scope in rules:
                if name == parent and scope != skipped:
                    best[scope] = min(line, best.get(scope, line))
            if number in chosen:
                places = sorted((line, scope) for scope, line in best.items())
                found += [(number, line, start) for line, _ in places]
    return found


class DomainSetContract:
    """
    What both implementations promise.
    """

    compiled: bool
    assertEqual: Any
    assertIsNone: Any
    assertRaises: Any
    assertIn: Any

    def collector(self) -> Collector:
        """
        An empty builder of the kind under test.
        """
        raise NotImplementedError

    def made(self, *content: list[tuple[bytes, int, int]]) -> DomainSet:
        """
        A set of some lists.
        """
        built = fill(self.collector(), list(content)).build()
        return DomainSet(built, compiled=self.compiled)

    def of(self, *words: str) -> DomainSet:
        """
        A set of one list with a name on each line.
        """
        return self.made([(fromText(word), line, 0) for line, word in enumerate(words, 1)])

    def test_listedName(self) -> None:
        """
        A listed name is found, with its line.
        """
        found = self.of("one.example.org", "two.example.org").lookup(fromText("two.example.org"))
        self.assertEqual(found, (0, 2, 0))

    def test_subdomain(self) -> None:
        """
        Names below a listed one are found, with the place where it starts.
        """
        found = self.of("ads.example.org").lookup(fromText("a.b.ads.example.org"))
        self.assertEqual(found, (0, 1, 4))

    def test_otherNames(self) -> None:
        """
        Parents, siblings and names that merely end alike aren't found.
        """
        domains = self.of("ads.example.org")
        for text in ["example.org", "org", "bads.example.org", "s.example.org", "ads.example.com"]:
            self.assertIsNone(domains.lookup(fromText(text)), text)
        self.assertIsNone(domains.lookup(b"\0"))

    def test_mostSpecific(self) -> None:
        """
        The most specific entry is the one that counts; all are told.
        """
        domains = self.of("example.org", "ads.example.org")
        qname = fromText("x.ads.example.org")
        self.assertEqual(domains.lookup(qname), (0, 2, 2))
        self.assertEqual(domains.matches(qname), [(0, 2, 2), (0, 1, 6)])

    def test_topLevel(self) -> None:
        """
        A whole top-level domain can be listed.
        """
        self.assertEqual(self.of("example").lookup(fromText("www.example")), (0, 1, 4))

    def test_empty(self) -> None:
        """
        A set without names finds nothing.
        """
        self.assertIsNone(self.of().lookup(fromText("example.org")))
        self.assertEqual(self.of().matches(fromText("example.org")), [])
        self.assertEqual(len(self.of()), 0)

    def test_emptyBuilder(self) -> None:
        """
        A set without lists finds nothing.
        """
        domains = DomainSet(self.collector().build(), compiled=self.compiled)
        self.assertIsNone(domains.lookup(fromText("example.org")))
        self.assertEqual(domains.sources, ())

    def test_scopes(self) -> None:
        """
        An exact entry doesn't speak of subdomains, one for those below not of
        the name itself.
        """
        domains = self.made(
            [(fromText("exact.example"), 1, Scope.EXACT), (fromText("below.example"), 2, 2)]
        )
        self.assertEqual(domains.lookup(fromText("exact.example")), (0, 1, 0))
        self.assertIsNone(domains.lookup(fromText("a.exact.example")))
        self.assertIsNone(domains.lookup(fromText("below.example")))
        self.assertEqual(domains.lookup(fromText("a.below.example")), (0, 2, 2))

    def test_severalLists(self) -> None:
        """
        Of lists with the same name the first one is told, and each counts its
        own lines; of one list, the first line.
        """
        name = fromText("ads.example.org")
        domains = self.made(
            [(fromText("x.example"), 7, 0)], [(name, 9, 0), (name, 3, 0)], [(name, 1, 0)]
        )
        self.assertEqual(domains.lookup(name), (1, 3, 0))
        self.assertEqual(domains.matches(name), [(1, 3, 0), (2, 1, 0)])
        self.assertEqual(len(domains), 2)
        self.assertEqual([source.names for source in domains.sources], [1, 1, 1])
        self.assertEqual([source.lines for source in domains.sources], [7, 9, 1])

    def test_select(self) -> None:
        """
        Lists that aren't selected don't count, and select isn't cumulative.
        """
        name = fromText("ads.example.org")
        domains = self.made([(name, 1, 0)], [(name, 2, 0)], [(fromText("example.org"), 3, 0)])
        self.assertEqual(domains.select(["list1", "other"]).lookup(name), (1, 2, 0))
        self.assertEqual(domains.select(["list2"]).lookup(name), (2, 3, 4))
        self.assertIsNone(domains.select([]).lookup(name))
        self.assertEqual(domains.select([]).select(["list0"]).lookup(name), (0, 1, 0))
        self.assertEqual(domains.select(["list2", "list0"]).selected, ("list0", "list2"))

    def test_oddOctets(self) -> None:
        """
        A label with odd octets matches nothing; listed parents still do. A dot
        inside a label doesn't end it.
        """
        domains = self.of("ads.example.org", "a.b.example")
        self.assertEqual(domains.lookup(b"\x03\0 \xff" + fromText("ads.example.org")), (0, 1, 4))
        self.assertIsNone(domains.lookup(b"\x03a.b\x07example\0"))
        self.assertIsNone(domains.lookup(b"\x0aads.exampl\x01e\x03org\0"))
        self.assertIsNone(domains.lookup(b"\x03ADS\x07example\x03org\0"))

    def test_longestNames(self) -> None:
        """
        Names of 255 octets and labels of 63 are kept whole.
        """
        longest = ("x" * 63 + ".") * 3 + "y" * 61
        deepest = ".".join("ab" * 63 + "c")
        domains = self.of(longest, deepest, longest[1:])
        self.assertEqual(domains.lookup(fromText(longest)), (0, 1, 0))
        self.assertEqual(domains.lookup(fromText(deepest)), (0, 2, 0))
        self.assertEqual(domains.lookup(fromText(longest[1:])), (0, 3, 0))
        self.assertIsNone(domains.lookup(fromText(longest[2:])))
        self.assertIsNone(domains.lookup(fromText(deepest[2:])))

    def test_refusedNames(self) -> None:
        """
        Names with other letters, the root, and malformed ones are refused.
        """
        for name in [b"\0", b"\x01A\0", b"\x03a.b\0", b"\x01\xff\0", b"\x02a\0", b"", b"\x01a", b"\x01a" * 128 + b"\0",
                     (b"\x3f" + b"x" * 63) * 4 + b"\0", b"\x40" + b"x" * 64 + b"\0"]:  # fmt: skip
            builder = self.collector()
            builder.addSource("some list")
            error = self.assertRaises(PolicyError, builder.add, name, 5)
            self.assertIn("some list: line 5: ", str(error))

    def test_tooManyLines(self) -> None:
        """
        Line numbers that don't fit are refused, not wrapped.
        """
        builder = self.collector()
        builder.addSource("first")
        builder.add(fromText("a.example"), (1 << 29) - 2)
        builder.addSource("second")
        builder.add(fromText("a.example"), 0)
        self.assertRaises(PolicyError, builder.add, fromText("a.example"), 1)

    def test_manyLists(self) -> None:
        """
        A name that stands in hundreds of lists is found in each of them.
        """
        name = fromText("ads.example.org")
        domains = self.made(*[[(name, 1, 0), (name, 2, 1), (name, 3, 2)] for _ in range(300)])
        self.assertEqual(len(domains.matches(name)), 600)
        self.assertEqual(domains.select(["list299"]).lookup(name), (299, 1, 0))

    def test_manyNames(self) -> None:
        """
        Each of many names is found with its line, and no name not listed.
        """
        rng = random.Random(5)
        words = sorted(
            {f"h{rng.randrange(10**9):x}.d{rng.randrange(500)}.example" for _ in range(6000)}
        )
        domains = self.of(*words)
        domains.verify()
        for line, word in enumerate(words, 1):
            self.assertEqual(domains.lookup(fromText(word)), (0, line, 0))
            self.assertIsNone(domains.lookup(fromText("x" + word)))

    def test_collision(self) -> None:
        """
        A name whose hash and page are another one's isn't found: names are
        compared.
        """
        builder = fill(self.collector(), [[(fromText("ads.example.org"), 1, 0)]])
        data = bytearray(builder.build())
        header = DomainSet(bytes(data)).header
        name = fromText("other.example.org")
        # Give the one name there is, and the free places, the other one's tag.
        data[header.linesOffset + 4 : header.linesOffset + 34] = (
            bytes((self.tagOf(header, name),)) * 30
        )
        domains = DomainSet(bytes(data), compiled=self.compiled)
        self.assertIsNone(domains.lookup(name))

    def tagOf(self, header: Any, name: bytes) -> int:
        """
        The tag that a name would have.
        """
        starts = [at for at in range(len(name) - 1) if at in (0, 6, 14)]
        *_, hashed = suffixHashes(name, starts, header.key, header.mix)
        line, tag = linePlace(hashed, header.lines)
        self.assertEqual(line, 0)
        return tag

    def test_facts(self) -> None:
        """
        What the builder is told is kept in the file.
        """
        data = self.collector().build({"inputs": ["abc"]})
        self.assertEqual(DomainSet(data).header.facts, {"inputs": ["abc"]})

    def test_badKeyIsReplaced(self) -> None:
        """
        A key under which names crowd on few lines is given up for another.
        """
        content = [[(fromText(f"n{number}.example"), number, 0) for number in range(4000)]]
        keys = itertools.chain([(1, 1)], KEYS)
        data = fill(self.collector(), content).build(keys=keys)
        domains = DomainSet(data, compiled=self.compiled)
        self.assertEqual(domains.header.key, KEYS[0][0])
        self.assertEqual(domains.lookup(fromText("n77.example")), (0, 77, 0))

    def test_malformedQuestion(self) -> None:
        """
        Octets that are no name find nothing and read nothing they shouldn't.
        """
        domains = self.of("ads.example.org")
        for octets in [b"", b"\x03", b"\x03ad", b"\xff" * 300, b"\x01a" * 400, b"\x01a" * 126]:
            self.assertIsNone(domains.lookup(octets))

    @given(content=lists, asked=st.lists(names, max_size=10), chosen=st.sets(st.integers(0, 3)))
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],
    )
    def test_likePlainSearch(
        self,
        content: list[list[tuple[bytes, int, int]]],
        asked: list[bytes],
        chosen: set[int],
    ) -> None:
        """
        Whatever the lists, answers are those of a plain search through them.
        """
        domains = self.made(*content).select([f"list{number}" for number in chosen])
        for name in asked + [b"\x01a" + name for found in content for name, _, _ in found]:
            if len(name) > 255:
                continue
            wanted = expected(content, name, chosen)
            found = domains.matches(name)
            self.assertEqual(sorted(found), sorted(wanted))
            self.assertEqual(domains.lookup(name), found[0] if found else None)
            self.assertEqual([start for _, _, start in found], [start for _, _, start in wanted])

    def test_damagedBodyIsHarmless(self) -> None:
        """
        Whatever stands behind the header, looking up ends and fails no worse
        than with a wrong answer; L{DomainSet.verify} tells.
        """
        rng = random.Random(3)
        content = [[(fromText(f"n{n}.d{n % 7}.example"), n, 0) for n in range(400)]]
        good = fill(self.collector(), content).build()
        header = DomainSet(good).header
        for _ in range(60):
            data = bytearray(good)
            for _ in range(rng.choice([1, 5, 300])):
                data[rng.randrange(header.linesOffset, len(data))] = rng.randrange(256)
            domains = DomainSet(bytes(data), compiled=self.compiled)
            for number in range(0, 400, 9):
                domains.matches(fromText(f"x.n{number}.d{number % 7}.example"))
            if data != good:
                self.assertRaises(PolicyError, domains.verify)


class PythonDomainSetTests(DomainSetContract, SynchronousTestCase):
    """
    The implementation in Python.
    """

    compiled = False

    def collector(self) -> Collector:
        """
        The builder in Python.
        """
        return newBuilder(False)


class CompiledDomainSetTests(DomainSetContract, SynchronousTestCase):
    """
    The compiled implementation.
    """

    compiled = True

    def setUp(self) -> None:
        """
        Skip without a compiled twin.
        """
        compiledTable()

    def collector(self) -> Collector:
        """
        The compiled builder.
        """
        return newBuilder(True)


class TwinTests(SynchronousTestCase):
    """
    Both implementations side by side.
    """

    def setUp(self) -> None:
        """
        Skip without a compiled twin.
        """
        compiledTable()

    @given(content=lists)
    @settings(max_examples=60, deadline=None)
    def test_sameFile(self, content: list[list[tuple[bytes, int, int]]]) -> None:
        """
        With the same keys both builders write the same octets.
        """
        built = [
            fill(builder, content).build({"a": 1}, iter(KEYS))
            for builder in (newBuilder(False), newBuilder(True))
        ]
        self.assertEqual(built[0], built[1])

    @given(
        st.lists(
            st.one_of(
                st.from_regex(
                    rb"(0\.0\.0\.0 |127\.0\.0\.1\t|\*\.|\|\|)?"
                    rb"[a-z0-9._-]{1,20}[.][a-z0-9_-]{1,6}\^?[ \t]{0,2}\r?",
                    fullmatch=True,
                ),
                st.sampled_from(
                    [
                        b"",
                        b"\r",
                        b"# x",
                        b"#x",
                        b"! x",
                        b"localhost.localdomain",
                        b"0.0.0.0 localhost.example",
                        b"0.0.0.0 0.0.0.0",
                        b"0.0.0.0.example",
                        b"127.0.0.1",
                        b"0.0.0.0 a.example b.example",
                        b"||a.example^\r",
                        b"||a.example^ ",
                        b"||",
                        b"||^",
                        b"*.",
                        b"*. a.example",
                        b"192.0.2.1",
                        b"a.b_",
                        b"x" * 63 + b".example",
                        b"x" * 64 + b".example",
                        b"a." * 125 + b"abc",
                        b"a." * 125 + b"abcd",
                        b"! " + b"x" * 5000,
                        b"a.example" + b" " * 600,
                        b"0.0.0.0" + b" " * 90 + b"a.example",
                    ]
                ),
                st.binary(max_size=30),
            ),
            max_size=12,
        ).map(b"\n".join)
    )
    @settings(max_examples=150, deadline=None)
    def test_sameLines(self, data: bytes) -> None:
        """
        Whether a list's easy lines are read by the one or the other, the set
        and the summary are the same.
        """
        built = []
        for compiled in (False, True):
            builder = newBuilder(compiled)
            builder.addSource("list")
            summary = parseList([data[:50], data[50:]], builder.add, builder.scan)
            built.append((summary, builder.build(None, iter(KEYS))))
        self.assertEqual(built[0], built[1])

    def test_scansItself(self) -> None:
        """
        The compiled builder reads easy lines itself.
        """
        builder = newBuilder(True)
        builder.addSource("list")
        assert builder.scan is not None
        self.assertEqual(
            builder.scan(b"a.example\nA.example\n# x", 5), (3, 1, [(6, b"A.example")])
        )
        self.assertIsNone(newBuilder(False).scan)

    def test_sameBigFile(self) -> None:
        """
        So they do with many pages.
        """
        rng = random.Random(8)
        content = [
            [
                (fromText(f"{rng.randrange(10**12):x}.d{rng.randrange(900)}.example"), line, 0)
                for line in range(5000)
            ]
            for _ in range(3)
        ]
        built = [
            fill(builder, content).build(None, iter(KEYS))
            for builder in (newBuilder(False), newBuilder(True))
        ]
        self.assertEqual(built[0], built[1])

    def test_foreignHeader(self) -> None:
        """
        The compiled table refuses a header that isn't the buffer's.
        """
        one = DomainSet.parse("a.example")
        other = DomainSet.parse("b.example b2.example", "a much longer name of a list " * 9)
        self.assertRaises(PolicyError, DomainSet, one._buffer, header=other.header)


class FileTests(SynchronousTestCase):
    """
    Sets saved, mapped and damaged.
    """

    def saved(self) -> Path:
        """
        A saved set.
        """
        builder = newBuilder()
        builder.addSource("list")
        builder.add(fromText("ads.example.org"), 4)
        path = Path(self.mktemp())
        save(builder.build(), path)
        return path

    def refused(self, path: Path) -> str:
        """
        The error that loading gives.
        """
        error = str(self.assertRaises(PolicyError, DomainSet.load, path))
        self.assertTrue(error.startswith(str(path) + ": "), error)
        return error.removeprefix(str(path) + ": ")

    def test_saveAndLoad(self) -> None:
        """
        What is saved is loaded, and stays usable when the file is replaced.
        """
        path = self.saved()
        domains = DomainSet.load(path)
        domains.verify()
        os.unlink(path)
        self.assertEqual(domains.lookup(fromText("ads.example.org")), (0, 4, 0))
        self.assertEqual(domains.sources[0].name, "list")

    def test_saveLeavesNothing(self) -> None:
        """
        A save that fails leaves neither a new file nor a half one.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "set").mkdir()
        self.assertRaises(OSError, save, b"data", folder / "set")
        self.assertEqual([path.name for path in folder.iterdir()], ["set"])
        self.assertTrue(stat.S_ISDIR((folder / "set").stat().st_mode))

    def test_missing(self) -> None:
        """
        A file that isn't there is an error that says so.
        """
        self.assertEqual(self.refused(Path(self.mktemp())), "No such file or directory")

    def test_foreign(self) -> None:
        """
        Another file is refused, whatever its size.
        """
        path = Path(self.mktemp())
        for content in [b"", b"hello", b"x" * 5000]:
            path.write_bytes(content)
            self.assertEqual(self.refused(path), "no compiled set of names")

    def test_otherVersion(self) -> None:
        """
        A file of another version is refused as such.
        """
        path = self.saved()
        data = bytearray(path.read_bytes())
        data[8] = 9
        path.write_bytes(data)
        self.assertEqual(self.refused(path), "compiled set of version 9, not 2")

    def test_truncated(self) -> None:
        """
        A file cut short, or with something behind its end, is refused.
        """
        path = self.saved()
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        self.assertEqual(
            self.refused(path), f"compiled set of {len(data) - 1} octets, should be {len(data)}"
        )
        path.write_bytes(data + b"x")
        self.assertIn("should be", self.refused(path))

    def test_damagedHeader(self) -> None:
        """
        Any changed octet of the header is noticed on loading.
        """
        path = self.saved()
        data = path.read_bytes()
        for at in range(8, HEADER_SIZE):
            changed = bytearray(data)
            changed[at] ^= 0x40
            path.write_bytes(changed)
            self.refused(path)

    def test_damagedSources(self) -> None:
        """
        So is any changed octet of what names the sources.
        """
        path = self.saved()
        data = path.read_bytes()
        for at in range(HEADER_SIZE, data.index(b"}", HEADER_SIZE)):
            changed = bytearray(data)
            changed[at] ^= 1
            path.write_bytes(changed)
            self.assertEqual(self.refused(path), "compiled set with a damaged list of sources")

    def test_damagedBody(self) -> None:
        """
        Any changed octet behind the header is noticed by verifying.
        """
        path = self.saved()
        data = bytearray(path.read_bytes())
        data[-300] ^= 1
        path.write_bytes(data)
        error = self.assertRaises(PolicyError, DomainSet.load(path).verify, "here")
        self.assertEqual(str(error), "here: compiled set with a wrong checksum")


class ParseTests(SynchronousTestCase):
    """
    L{DomainSet.parse}.
    """

    def test_names(self) -> None:
        """
        Names are told apart by white space; each counts as a line.
        """
        domains = DomainSet.parse("Ads.example\n tracker.example.")
        self.assertEqual(domains.lookup(fromText("x.tracker.example")), (0, 2, 2))
        self.assertEqual(len(domains), 2)
        self.assertEqual(repr(domains), "<DomainSet of 2 names from 1 lists>")

    def test_badName(self) -> None:
        """
        What is no name is an error.
        """
        self.assertRaises(InvalidName, DomainSet.parse, "a..example")
        self.assertRaises(PolicyError, DomainSet.parse, "a/b.example")
