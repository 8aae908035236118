# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.document}.
"""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config import document
from dnsguard.config.document import MAX_OCTETS, DocumentError, parseDocument
from dnsguard.config.problem import Problem
from dnsguard.config.tree import Mapping, Scalar, Sequence, find
from tests.config.test_tree import plain, tree

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)

LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


class Parsers:
    """
    What holds for each of PyYAML's parsers: the one in C, and the one that is
    used where that isn't built.
    """

    loader: Any

    def setUp(self) -> None:
        """
        Use one of the parsers.
        """
        self.patch(document, "_Loader", self.loader)  # type: ignore[attr-defined]

    def problem(self, octets: bytes | str) -> Problem:
        """
        Why a file can't be read.
        """
        if isinstance(octets, str):
            octets = octets.encode()
        assert isinstance(self, SynchronousTestCase)
        error: DocumentError = self.assertRaises(DocumentError, parseDocument, octets, "a.yaml")
        return error.problem

    def assertProblem(self, octets: bytes | str, line: int, column: int, words: str) -> None:
        """
        A file can't be read because of something at a place.
        """
        problem = self.problem(octets)
        assert isinstance(self, SynchronousTestCase)
        self.assertEqual(
            (problem.file, problem.line, problem.column), ("a.yaml", line, column), problem
        )
        self.assertIn(words, problem.message)


class ParseMixin(Parsers):
    """
    Tests for L{parseDocument}.
    """

    def test_tree(self: Any) -> None:
        """
        Maps, lists and scalars come out as they were written, as text.
        """
        node = tree("a: [1, no, 21:30]\n'b c': {d: \"x\\ty\"}\n# comment\ne: |\n  two\n  lines\n")
        self.assertEqual(
            plain(node),
            {"a": ["1", "no", "21:30"], "b c": {"d": "x\ty"}, "e": "two\nlines\n"},
        )

    def test_places(self: Any) -> None:
        """
        Keys and values know their line and column, counted from 1.
        """
        node = tree("a:\n  - ü: x\n    b: y\n")
        entry = node.entries["a"]
        self.assertEqual(str(entry.place), "a.yaml:1:1")
        for path, place in [(("a", 0, "b"), "a.yaml:3:8"), (("a", 0, "ü"), "a.yaml:2:8")]:
            found = find(node, path)
            assert found is not None
            self.assertEqual(str(found.value.place), place)

    def test_empty(self: Any) -> None:
        """
        A file with nothing in it is an empty map.
        """
        for text in (b"", b"# only a comment\n", b"\n\n", b"\xef\xbb\xbf", b"---\n", b"   \n"):
            node = parseDocument(text, "a.yaml")
            self.assertTrue(
                (isinstance(node, Mapping) and not node.entries)
                or (isinstance(node, Scalar) and node.missing),
                text,
            )

    def test_byteOrderMark(self: Any) -> None:
        """
        A byte order mark in front of UTF-8 is no part of the first key.
        """
        self.assertEqual(list(parseDocument(b"\xef\xbb\xbfa: 1", "f").entries), ["a"])  # type: ignore[union-attr]

    def test_aliases(self: Any) -> None:
        """
        Aliases stand for what they refer to, and C{<<} merges maps, own keys
        first.
        """
        text = "base: &b {x: 1, y: 2}\nz: &z {y: 9}\na: *b\nc: {<<: *b, y: 3}\nd: {<<: [*z, *b]}"
        self.assertEqual(
            plain(tree(text)),
            {
                "base": {"x": "1", "y": "2"},
                "z": {"y": "9"},
                "a": {"x": "1", "y": "2"},
                "c": {"y": "3", "x": "1"},
                "d": {"y": "9", "x": "1"},
            },
        )

    def test_duplicateKey(self: Any) -> None:
        """
        A key that stands twice in a map is an error that names both lines.
        """
        self.assertProblem("a:\n  b: 1\n  b: 2\n", 3, 3, "'b' stands here again; first in line 2")

    def test_syntax(self: Any) -> None:
        """
        What isn't YAML is told with the place where it stops being it.
        """
        for text, line in [
            ("a: [1, 2", 1),
            ("a: 'open", 1),
            ("ok: 1\na: b: c\n", 2),
            ("ok: 1\n\tkey: 2\n", 2),
            ("a:\n  - 1\n b: 2\n", 3),
            ("a: @x\n", 1),
            ("a: %x\n", 1),
            ("%FOO\n", 1),
            ("ok: 1\n}\n", 2),
        ]:
            problem = self.problem(text)
            self.assertIn("not valid YAML", problem.message, text)
            self.assertTrue(abs(problem.line - line) <= 1, (text, problem))

    def test_notText(self: Any) -> None:
        """
        Octets that aren't UTF-8, other encodings and binary files are told in
        one sentence each.
        """
        self.assertProblem(b"a: 1\nb: \xff\n", 2, 4, "not UTF-8 text: octet 0xff")
        self.assertProblem("a: 1".encode("utf-16"), 0, 0, "UTF-16")
        self.assertProblem(b"a: 1\nb: x\0y\n", 2, 5, "U+0000")
        self.assertProblem(b"\x7fELF\x02\x01\x01\0\0", 1, 1, "U+007F")
        self.assertProblem("a: \x1b[31m", 1, 4, "U+001B")
        self.assertProblem(b"\x89PNG\r\n\x1a\n", 1, 1, "octet 0x89")

    def test_tooLarge(self: Any) -> None:
        """
        A file over the limit isn't parsed at all.
        """
        self.assertProblem(b"#" * (MAX_OCTETS + 1), 0, 0, "larger than 8 MiB")

    def test_tooDeep(self: Any) -> None:
        """
        Nesting is bounded, by lists, maps or aliases.
        """
        self.assertProblem("a: " + "[" * 40, 1, 35, "nested more than 32 deep")
        self.assertIn("nested", self.problem("{a: " * 20_000).message)
        self.assertIn("nested", self.problem("[" * 200_000).message)
        self.assertIn("nested", self.problem("- " * 20_000).message)
        deep = "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20
        self.assertProblem(deep, 2, 24, "nested")

    def test_aliasBomb(self: Any) -> None:
        """
        Aliases of aliases of aliases don't eat the memory.
        """
        text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for number in range(1, 12):
            text += f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n"
        self.assertIn("aliases expanded", self.problem(text).message)

    def test_strangeAliases(self: Any) -> None:
        """
        An alias of nothing, or of what it stands in, is an error.
        """
        self.assertProblem("a: *b", 1, 4, "no anchor &b")
        self.assertProblem("a: &a [*a]", 1, 8, "no anchor &a")
        self.assertIn("only a map", self.problem("a: {<<: [1]}").message)
        self.assertIn("only a map", self.problem("a: {<<: x}").message)

    def test_tags(self: Any) -> None:
        """
        Tags that would make objects are refused; those of plain values are
        allowed.
        """
        self.assertProblem("a: !!python/object:os.system x", 1, 4, "tag")
        self.assertProblem("a: !mine {b: 1}", 1, 4, "'!mine'")
        self.assertEqual(plain(tree("a: !!str 5\nb: !!int 6")), {"a": "5", "b": "6"})

    def test_keys(self: Any) -> None:
        """
        Keys are text; lists, maps and aliases of them are refused.
        """
        for text in ("? [a]\n: 1", "? {a: b}\n: 1", "{[a]: 1}", "x: &x [1]\n*x : 2"):
            self.assertIn("key must be plain text", self.problem(text).message, text)

    def test_secondDocument(self: Any) -> None:
        """
        A second document in the file isn't dropped in silence.
        """
        self.assertProblem("a: 1\n---\nb: 2\n", 2, 1, "second YAML document")


class PythonParserTests(ParseMixin, SynchronousTestCase):
    """
    With the parser in Python.
    """

    loader = yaml.SafeLoader


class CParserTests(ParseMixin, SynchronousTestCase):
    """
    With the parser in C.
    """

    loader = getattr(yaml, "CSafeLoader", None)
    if loader is None:
        skip = "PyYAML was built without libyaml"


class AnyTextTests(SynchronousTestCase):
    """
    Properties of L{parseDocument}, with both parsers.
    """

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(TREES)
    def test_whatYAMLWrites(self, value: object) -> None:
        """
        What PyYAML writes is read, with the same shape.
        """
        text = yaml.safe_dump(value, allow_unicode=True).encode("utf-8")
        for loader in LOADERS:
            self.patch(document, "_Loader", loader)
            try:
                node = parseDocument(text, "a.yaml")
            except DocumentError as error:
                # Keys that are the same as text, such as None and "null".
                self.assertIn("stands here again", error.problem.message)
                continue
            if isinstance(value, list):
                assert isinstance(node, Sequence)
                self.assertEqual(len(node.items), len(value))
            elif isinstance(value, str):
                assert isinstance(node, Scalar)
                self.assertEqual(node.text, value)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.binary(max_size=60)
        | st.text("ab:-[]{}&*!|>'\"%@`#,? \n\t<", max_size=40).map(str.encode)
    )
    @example(b"a: !<tag:yaml.org,2002:map> x")
    @example(b"\xff\xfe\x00")
    def test_anyOctets(self, octets: bytes) -> None:
        """
        No octets do anything else than being read or refused with a place.
        """
        for loader in LOADERS:
            self.patch(document, "_Loader", loader)
            try:
                parseDocument(octets, "a.yaml")
            except DocumentError as error:
                self.assertEqual(error.problem.file, "a.yaml")
